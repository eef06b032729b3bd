import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AnyResource } from '#datastore';
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
    for (const { family, table, name, chain } of changes.chains) {
      const key = `${family} ${table} ${name}`;
      if (chain) this.chains.set(key, chain);
      else expect(this.chains.delete(key)).toBe(true);
    }
    for (const { family, id, type, members, like } of changes.sets) {
      const key = `${family} ${id}`;
      if (!members) expect(this.sets.delete(key)).toBe(true);
      else {
        const base = like === undefined ? [] : this.sets.get(`${family} ${like}`)!.members;
        const set = this.sets.get(key) ?? { type, members: new Set(base) };
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
  { ...DEFAULT_RENDER_CONFIG, dispatch: 'map', workloadSourceSpoofing: 'Any', filterAllowAction: 'Return' },
  { ...DEFAULT_RENDER_CONFIG, interfacePrefixes: ['cali', 'tap'], floatingIps: true, filterDenyAction: 'Reject' },
];
const keyOf = (resource: AnyResource) => `${resource.kind}/${idOf(resource)}`;

/** Some resources take the interface of another, or one of few, so that endpoints compete and the dispatch grows and shrinks. */
function renamed(resources: readonly AnyResource[], names: readonly string[]): AnyResource[] {
  let i = 0;
  return resources.map((r) =>
    r.kind === 'WorkloadEndpoint'
      ? { ...r, spec: { ...r.spec, interfaceName: names[i++ % names.length] ?? r.spec.interfaceName } }
      : r,
  );
}

const interfaceName = fc.constantFrom(...Array.from({ length: 24 }, (_, i) => `cali${(i * 37).toString(16)}`));
const step = fc.record({
  resources: fc.tuple(cluster, fc.array(interfaceName, { maxLength: 6 })).map(([r, n]) => renamed(r, n)),
  keep: fc.double({ min: 0, max: 1, noNaN: true }),
  config: fc.option(fc.constantFrom(...configs), { freq: 3 }),
  closed: fc.boolean(),
});

function walk(
  engine: PolicyEngine,
  sum: Sum,
  steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[],
) {
  let present = new Map<string, AnyResource>();
  let config = DEFAULT_RENDER_CONFIG;
  let closed = new Set<string>();
  for (const { resources, keep, config: next, closed: close } of steps) {
    const wanted = new Map([...present].slice(0, Math.floor(present.size * keep)));
    for (const resource of resources) wanted.set(keyOf(resource), resource);
    for (const [key, resource] of present) if (!wanted.has(key)) engine.onUpdate(updateOf(resource, false));
    for (const [key, resource] of wanted) if (present.get(key) !== resource) engine.onUpdate(updateOf(resource));
    present = wanted;
    if (next) {
      config = next;
      engine.setConfig(next);
    }
    closed = new Set(close ? [...present.keys()].filter((k) => k.startsWith('WorkloadEndpoint')).slice(0, 2) : []);
    engine.setClosed(closed);
    sum.add(engine.flush());
  }
  return { present, config, closed };
}

test('random histories: what was rendered step by step is what is rendered from scratch', () => {
  let edits = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 2, maxLength: 5 }), (steps) => {
      const engine = createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG });
      const sum = new Sum();
      const { present, config, closed } = walk(engine, sum, steps);
      const fresh = createPolicyEngine({ node: 'here', config });
      const whole = new Sum();
      for (const resource of present.values()) fresh.onUpdate(updateOf(resource));
      fresh.setClosed(closed);
      whole.add(fresh.flush());
      expect(sum.text).toEqual(whole.text);
      edits += sum.chains.size;
    }),
    { numRuns: 30 },
  );
  expect(edits).toBeGreaterThan(100);
});
