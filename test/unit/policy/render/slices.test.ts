import { expect, test } from 'vitest';
import { type ActivePolicy, createRenderer, DEFAULT_RENDER_CONFIG, type ResolvedChanges } from '#policy';
import { resource } from '../../../scenarios/scenario.ts';

const POLICIES = 300;
const LIMIT = 10;

/** How often the rules of a policy were looked at, which is what making its chains costs. */
let looks = 0;
const policy = (n: number): ActivePolicy => ({
  ...{ id: `GlobalNetworkPolicy/p${n}`, tier: 'default', selector: `app == '${n}'`, egress: [] },
  get ingress() {
    looks++;
    return [];
  },
});

/** Policies, and a workload under ten of them each. */
function everything(): ResolvedChanges {
  const policies = Array.from({ length: POLICIES }, (_, n) => policy(n));
  const endpoints = Array.from({ length: POLICIES / 10 }, (_, n) => {
    const spec = { node: 'here', interfaceName: `cali${n}`, ipNetworks: [`10.0.0.${n}/32`] };
    const ingress = policies.slice(n * 10, n * 10 + 10).map(({ id }) => id);
    const endpoint = resource('WorkloadEndpoint', `a/w${n}`, spec);
    const tiers = [{ tier: 'default', defaultAction: 'Deny', ingress, egress: [] }];
    return [`WorkloadEndpoint/a/w${n}`, { kind: 'workload', id: `a/w${n}`, endpoint, tiers, profiles: [] }] as const;
  });
  return {
    ...{ sets: new Map(), added: new Map(), removed: new Map(), profiles: new Map() },
    policies: new Map(policies.map((p) => [p.id, p])),
    endpoints: new Map(endpoints) as ResolvedChanges['endpoints'],
  };
}

test('rendering is done in slices of about the work that is asked for, also when another configuration concerns everything', () => {
  const renderer = createRenderer(DEFAULT_RENDER_CONFIG);
  const slices = (): number[] => {
    const out: number[] = [];
    for (let isDone = false; !isDone; ) {
      looks = 0;
      isDone = renderer.settle(LIMIT);
      out.push(looks);
    }
    return out;
  };
  const sum = (all: readonly number[]) => all.reduce((a, b) => a + b, 0);

  renderer.take(everything());
  const first = slices();
  expect(sum(first)).toBe(POLICIES);
  expect(Math.max(...first)).toBeLessThanOrEqual(LIMIT);
  expect(first.length).toBeGreaterThan((2 * POLICIES) / LIMIT);
  looks = 0;
  expect(renderer.flush().chains.length).toBeGreaterThan(POLICIES);
  expect(looks).toBe(0);

  renderer.configure({ ...DEFAULT_RENDER_CONFIG, log: { prefix: 'other' }, filterDenyAction: 'Reject' });
  const again = slices();
  expect(sum(again)).toBe(POLICIES);
  expect(Math.max(...again)).toBeLessThanOrEqual(LIMIT);
  looks = 0;
  // What says no for all of them.
  const names = renderer.flush().chains.map(({ name }) => name);
  expect(names).toEqual(expect.arrayContaining(['cali-no-verdict', 'cali-end-default']));
  expect(looks).toBe(0);

  renderer.configure({ ...DEFAULT_RENDER_CONFIG, log: { prefix: 'other' }, filterDenyAction: 'Reject' });
  expect(sum(slices())).toBe(0);
});

test('what changes while it is being rendered is rendered as it is in the end', () => {
  const [sliced, whole] = [createRenderer(DEFAULT_RENDER_CONFIG), createRenderer(DEFAULT_RENDER_CONFIG)];
  const config = { ...DEFAULT_RENDER_CONFIG, filterDenyAction: 'Reject' as const };
  sliced.take(everything());
  for (let i = 0; i < 40; i++) sliced.settle(LIMIT);
  sliced.configure(config);
  for (let i = 0; i < 40; i++) sliced.settle(LIMIT);
  const gone = `GlobalNetworkPolicy/p${POLICIES - 1}`;
  const nothing = { sets: new Map(), added: new Map(), removed: new Map(), profiles: new Map(), endpoints: new Map() };
  sliced.take({ ...nothing, policies: new Map([[gone, null]]) });
  whole.configure(config);
  const { policies, ...rest } = everything();
  whole.take({ ...rest, policies: new Map([...policies].filter(([id]) => id !== gone)) });
  const sorted = ({ chains }: ReturnType<typeof sliced.flush>) =>
    chains.map((c) => [`${c.family} ${c.table} ${c.name}`, c.chain] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  const told = sorted(sliced.flush());
  expect(told).toEqual(sorted(whole.flush()));
  expect(told.filter(([, chain]) => chain === null)).toEqual([]);
});
