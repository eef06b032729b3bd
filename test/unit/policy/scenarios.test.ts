import { describe, expect, test } from 'vitest';
import type { AnyResource, Update } from '#datastore';
import { createPolicyGraph, evaluateFlow, type FlowEnd, type FlowSettings, type PolicyResources, World } from '#policy';
import {
  ACTORS,
  type Actor,
  CAST,
  describeProbe,
  Interpreter,
  idOf,
  NODES,
  type Probe,
  packetOf,
  SCENARIOS,
  type Scenario,
  updateOf,
} from '../../scenarios/index.ts';

const SETTINGS: FlowSettings = { endpointToHostAction: 'Drop', failsafeInbound: [], failsafeOutbound: [] };

/** The cast with the scenario's own resources, which take the place of the cast's where they have the same id. */
function resourcesOf({ resources }: Scenario): AnyResource[] {
  return [...new Map([...CAST, ...resources].map((r) => [`${r.kind}/${idOf(r)}`, r])).values()];
}

const actor = (name: string): Actor => {
  const found = ACTORS.get(name);
  if (!found) throw new TypeError(`no actor ${name}`);
  return found;
};

function worldOf(resources: readonly AnyResource[]): World {
  const byKind: Record<string, Map<string, AnyResource>> = {};
  for (const resource of resources) {
    byKind[resource.kind] ??= new Map();
    byKind[resource.kind].set(idOf(resource), resource);
  }
  return new World(byKind as PolicyResources);
}

const end = ({ workload }: Actor): FlowEnd =>
  workload === undefined ? { at: 'elsewhere' } : { at: 'endpoint', ref: { kind: 'WorkloadEndpoint', id: workload } };

/** Runs updates through the graph of every node, with a flush after every `every` of them, and keeps what comes out. */
function run(updates: readonly Update[], every: number): Map<string, Interpreter> {
  return new Map(
    NODES.map((node) => {
      const graph = createPolicyGraph({ node });
      const interpreter = new Interpreter();
      for (const [i, update] of updates.entries()) {
        graph.onUpdate(update);
        if (i % every === every - 1) interpreter.apply(graph.flush());
      }
      interpreter.apply(graph.flush());
      return [node, interpreter];
    }),
  );
}

function passes(nodes: ReadonlyMap<string, Interpreter>, probe: Probe): boolean {
  const [from, to] = [actor(probe.from), actor(probe.to)];
  const packet = packetOf(probe, from, to);
  const at = ({ workload = '' }: Actor, direction: 'ingress' | 'egress') =>
    [...nodes.values()].some((node) => node.workload(workload, direction, packet) === 'Allow');
  return (from.workload === undefined || at(from, 'egress')) && (to.workload === undefined || at(to, 'ingress'));
}

const verdicts = (scenario: Scenario, allows: (probe: Probe) => boolean): string[] =>
  scenario.probes.map((probe) => `${describeProbe(probe)}: ${allows(probe) ? 'yes' : 'no'}`);
const expected = (scenario: Scenario): string[] => verdicts(scenario, (probe) => probe.allow);

const present = (resources: readonly AnyResource[]): Update[] => resources.map((r) => updateOf(r));
const snapshots = (nodes: ReadonlyMap<string, Interpreter>) => [...nodes].map(([node, i]) => [node, i.snapshot()]);

/** Ways in which the same end state can be told; the number is how many updates there are between flushes. */
function tellings(resources: readonly AnyResource[], others: readonly AnyResource[]): [string, Update[], number][] {
  const there = present(resources);
  const gone = (list: readonly AnyResource[]) => list.map((r) => updateOf(r, false));
  const strangers = others.filter((o) => !resources.some((r) => r.kind === o.kind && idOf(r) === idOf(o)));
  return [
    ['one flush an update', there, 1],
    ['reversed', there.toReversed(), 3],
    ['reversed in one', there.toReversed(), 1e9],
    ['each twice', there.flatMap((u) => [u, u]), 1],
    ['all twice', [...there, ...there], 7],
    ['removed and told again', [...there, ...gone(resources), ...there], 5],
    ['removed and told again in one', [...there, ...gone(resources), ...there.toReversed()], 1e9],
    ['each removed in between', there.flatMap((u) => [u, { ...u, value: null } as Update, u]), 2],
    ['others before, which leave', [...present(strangers), ...there, ...gone(strangers)], 4],
    ['others in their place before', [...present(others), ...gone(strangers), ...there], 6],
  ];
}

test('there are many scenarios, in both families, with unique names', () => {
  expect(SCENARIOS.length).toBeGreaterThanOrEqual(150);
  expect(new Set(SCENARIOS.map(({ name }) => name)).size).toBe(SCENARIOS.length);
  for (const family of [4, 6])
    for (const allow of [true, false])
      expect(
        SCENARIOS.filter((s) => s.probes.some((p) => p.family === family && p.allow === allow)).length,
      ).toBeGreaterThan(100);
});

describe.each(
  SCENARIOS.map((scenario, i) => [scenario.name, scenario, SCENARIOS[(i + 1) % SCENARIOS.length]] as const),
)('%s', (_, scenario, other) => {
  const resources = resourcesOf(scenario);
  test('evaluator', () => {
    const world = worldOf(resources);
    const allows = (probe: Probe): boolean => {
      const [from, to] = [actor(probe.from), actor(probe.to)];
      return evaluateFlow(world, end(from), end(to), packetOf(probe, from, to), SETTINGS).verdict === 'Allow';
    };
    expect(verdicts(scenario, allows)).toEqual(expected(scenario));
  });
  test('graph, whatever the order', () => {
    const straight = run(present(resources), 1e9);
    expect(verdicts(scenario, (probe) => passes(straight, probe))).toEqual(expected(scenario));
    for (const [telling, updates, every] of tellings(resources, resourcesOf(other)))
      expect({ telling, state: snapshots(run(updates, every)) }).toEqual({ telling, state: snapshots(straight) });
  });
});
