import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AnyResource, Update, WorkloadEndpoint } from '#datastore';
import {
  type Chain,
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  type Hook,
  type PolicyChanges,
  type PolicyEngine,
  type RenderConfig,
} from '#policy';
import { idOf, updateOf } from '../../../scenarios/index.ts';
import { cluster } from '../../../scenarios/random.ts';

/** What all answers together amount to. */
class Sum {
  readonly chains = new Map<string, Chain>();
  readonly sets = new Map<string, { type: string; members: Set<string> }>();
  hooks: Record<4 | 6, readonly Hook[]> | undefined;

  add(changes: PolicyChanges): void {
    const told = changes.chains.map(({ family, table, name }) => `${family} ${table} ${name}`);
    expect(new Set(told).size).toBe(told.length);
    for (const { family, table, name, chain } of changes.chains) {
      const key = `${family} ${table} ${name}`;
      if (chain) this.chains.set(key, chain);
      else expect(this.chains.delete(key)).toBe(true);
    }
    for (const { family, id, type, members } of changes.sets) {
      const key = `${family} ${id}`;
      if (!members) expect(this.sets.delete(key)).toBe(true);
      else {
        const set = this.sets.get(key) ?? { type, members: new Set() };
        expect(set.type).toBe(type);
        for (const member of members.removed) set.members.delete(member);
        for (const member of members.added) set.members.add(member);
        this.sets.set(key, set);
      }
    }
    this.hooks = changes.hooks ?? this.hooks;
  }
  get text(): unknown {
    const sorted = (map: Map<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    const sets = [...this.sets].map(([k, s]) => [k, { type: s.type, members: [...s.members].sort() }] as const);
    return { chains: sorted(this.chains), sets: sorted(new Map(sets)), hooks: this.hooks };
  }
}

const configs: readonly RenderConfig[] = [
  DEFAULT_RENDER_CONFIG,
  { ...DEFAULT_RENDER_CONFIG, workloadSourceSpoofing: 'Any', filterAllowAction: 'Return' },
  { ...DEFAULT_RENDER_CONFIG, interfacePrefixes: ['cali', 'tap'], floatingIps: true, filterDenyAction: 'Reject' },
];
const keyOf = (resource: AnyResource) => `${resource.kind}/${idOf(resource)}`;

/** Some resources take the interface of another, or one of few, so that endpoints compete and the dispatch grows and shrinks. */
function renamed(resources: readonly AnyResource[], names: readonly string[], extras: readonly Extra[]): AnyResource[] {
  let i = 0;
  return resources.map((r) => {
    if (r.kind !== 'WorkloadEndpoint') return r;
    const [interfaceName, extra] = [names[i % names.length] ?? r.spec.interfaceName, extras[i % extras.length] ?? {}];
    i++;
    return { ...r, spec: { ...r.spec, interfaceName, ...extra } };
  });
}
/** What of an endpoint is seen outside its own chains. */
type Extra = Pick<WorkloadEndpoint['spec'], 'qosControls' | 'ipNATs' | 'allowSpoofedSourcePrefixes'>;
const EXTRAS: readonly Extra[] = [
  {},
  { qosControls: { ingressPacketRate: 10 } },
  { qosControls: { egressPacketRate: 20, dscp: 8 } },
  { ipNATs: [{ internalIP: '10.0.0.1', externalIP: '192.0.2.1' }] },
  { allowSpoofedSourcePrefixes: ['198.51.100.0/24'] },
];
const extra = fc.constantFrom(...EXTRAS);

const interfaceName = fc.constantFrom(...Array.from({ length: 24 }, (_, i) => `cali${(i * 37).toString(16)}`));
const step = fc.record({
  resources: fc
    .tuple(cluster, fc.array(interfaceName, { maxLength: 6 }), fc.array(extra, { maxLength: 4 }))
    .map(([r, n, e]) => renamed(r, n, e)),
  keep: fc.double({ min: 0, max: 1, noNaN: true }),
  /** So much is done in each slice, and so many slices after each update; then all is told, or waits for the next step. */
  slice: fc.record({
    limit: fc.integer({ min: 1, max: 20 }),
    count: fc.integer({ min: 0, max: 2 }),
    tell: fc.boolean(),
  }),
  config: fc.option(fc.constantFrom(...configs), { freq: 3 }),
  closed: fc.boolean(),
});

function updatesBetween(before: ReadonlyMap<string, AnyResource>, after: ReadonlyMap<string, AnyResource>): Update[] {
  const gone = [...before].filter(([key]) => !after.has(key)).map(([, resource]) => updateOf(resource, false));
  const there = [...after].filter(([key, resource]) => before.get(key) !== resource);
  return [...gone, ...there.map(([, resource]) => updateOf(resource))];
}

function walk(
  engine: PolicyEngine,
  sum: Sum,
  steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
  dispatch: RenderConfig['dispatch'],
) {
  let present = new Map<string, AnyResource>();
  let config: RenderConfig = { ...DEFAULT_RENDER_CONFIG, dispatch };
  let closed = new Set<string>();
  for (const { resources, keep, slice, config: next, closed: close } of steps) {
    const wanted = new Map([...present].slice(0, Math.floor(present.size * keep)));
    for (const resource of resources) wanted.set(keyOf(resource), resource);
    for (const update of updatesBetween(present, wanted)) {
      engine.onUpdate(update);
      for (let i = 0; i < slice.count; i++) engine.settle(slice.limit);
    }
    present = wanted;
    if (next) {
      config = { ...next, dispatch };
      engine.setConfig(config);
    }
    // Said only when it is news: it makes more than endpoints be laid out anew.
    if (close || closed.size > 0) {
      closed = new Set(close ? [...present.keys()].filter((k) => k.startsWith('WorkloadEndpoint')).slice(0, 2) : []);
      engine.setClosed(closed);
    }
    if (slice.tell) sum.add(engine.flush());
    else while (!engine.settle(slice.limit));
  }
  sum.add(engine.flush());
  return { present, config, closed };
}

test.each(['tree', 'map'] as const)(
  'random histories: what was rendered step by step is what is rendered from scratch, %s',
  (dispatch) => {
    let edits = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 5 }), (steps) => {
        const engine = createPolicyEngine({ node: 'here', config: { ...DEFAULT_RENDER_CONFIG, dispatch } });
        const sum = new Sum();
        const { present, config, closed } = walk(engine, sum, steps, dispatch);
        const fresh = createPolicyEngine({ node: 'here', config });
        const whole = new Sum();
        for (const resource of present.values()) fresh.onUpdate(updateOf(resource));
        fresh.setClosed(closed);
        whole.add(fresh.flush());
        expect(sum.text).toEqual(whole.text);
        edits += sum.chains.size;
      }),
      { numRuns: 40 },
    );
    expect(edits).toBeGreaterThan(100);
  },
);

test('an endpoint that comes to ask for more than its own chains, or no longer does, is laid out as if it always had', () => {
  const config: RenderConfig = { ...DEFAULT_RENDER_CONFIG, workloadSourceSpoofing: 'Any', floatingIps: true };
  const endpoint = (name: string, spec: Extra, address: string) => ({
    ...{ apiVersion: 'projectcalico.org/v3', kind: 'WorkloadEndpoint', metadata: { name, namespace: 'default' } },
    spec: {
      ...{ node: 'here', orchestrator: 'k8s', pod: name, endpoint: 'eth0', interfaceName: `cali${name}` },
      ...{ ipNetworks: [`${address}/32`], ...spec },
    },
  });
  const shown = (histories: Extra[]) => {
    const engine = createPolicyEngine({ node: 'here', config });
    const sum = new Sum();
    engine.onUpdate(updateOf(endpoint('other', {}, '10.0.0.2') as AnyResource));
    for (const [i, spec] of histories.entries()) {
      // Another address each time, but the last: what is compared is what stands in the end.
      engine.onUpdate(
        updateOf(endpoint('one', spec, i === histories.length - 1 ? '10.0.0.1' : '10.0.0.9') as AnyResource),
      );
      sum.add(engine.flush());
    }
    return sum.text;
  };
  for (const before of EXTRAS) for (const after of EXTRAS) expect(shown([before, after])).toEqual(shown([after]));
});
