import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { AnyResource } from '#datastore';
import { createPolicyGraph, evaluateEndpoint, type Packet, type PolicyResources, World } from '#policy';
import { Interpreter, idOf, updateOf } from '../../scenarios/index.ts';
import { cluster, packet } from '../../scenarios/random.ts';

const LISTS = ['normal', 'forward', 'preDNAT', 'untracked'] as const;
const DIRECTIONS = ['ingress', 'egress'] as const;

function worldOf(resources: readonly AnyResource[]): World {
  const byKind: Record<string, Map<string, AnyResource>> = {};
  for (const resource of resources) {
    byKind[resource.kind] ??= new Map();
    byKind[resource.kind].set(idOf(resource), resource);
  }
  return new World(byKind as PolicyResources);
}

type Verdicts = Map<string, string>;

function evaluated(resources: readonly AnyResource[], packets: readonly Packet[]): Verdicts {
  const world = worldOf(resources);
  const verdicts: Verdicts = new Map();
  for (const { kind, metadata } of resources) {
    if (kind !== 'WorkloadEndpoint' && kind !== 'HostEndpoint') continue;
    const id = metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;
    for (const list of kind === 'WorkloadEndpoint' ? LISTS.slice(0, 1) : LISTS)
      for (const direction of DIRECTIONS)
        for (const [i, p] of packets.entries())
          verdicts.set(
            `${kind}/${id} ${list} ${direction} ${i}`,
            evaluateEndpoint(world, { kind, id }, direction, list, p).verdict,
          );
  }
  return verdicts;
}

function interpreted(interpreter: Interpreter, packets: readonly Packet[]): Verdicts {
  const verdicts: Verdicts = new Map();
  for (const [key, { kind, id }] of interpreter.endpoints)
    for (const list of kind === 'workload' ? LISTS.slice(0, 1) : LISTS)
      for (const direction of DIRECTIONS)
        for (const [i, p] of packets.entries()) {
          const verdict =
            kind === 'workload' ? interpreter.workload(id, direction, p) : interpreter.host(id, list, direction, p);
          verdicts.set(`${key} ${list} ${direction} ${i}`, verdict);
        }
  return verdicts;
}

const sorted = (verdicts: Verdicts) => [...verdicts].sort(([a], [b]) => (a < b ? -1 : 1));
const packets = fc.array(packet, { minLength: 8, maxLength: 8 });

test('random policy: the evaluator and the graph agree packet by packet', () => {
  const seen = new Map<string, number>();
  fc.assert(
    fc.property(cluster, packets, (resources, sent) => {
      const graph = createPolicyGraph({ node: 'here' });
      for (const resource of resources) graph.onUpdate(updateOf(resource));
      const interpreter = new Interpreter();
      interpreter.apply(graph.flush());
      expect(graph.problems.size).toBe(0);
      const verdicts = sorted(evaluated(resources, sent));
      for (const [, verdict] of verdicts) seen.set(verdict, (seen.get(verdict) ?? 0) + 1);
      expect(sorted(interpreted(interpreter, sent))).toEqual(verdicts);
    }),
    { numRuns: 300 },
  );
  // Had the clusters been all open or all closed, agreement would mean little.
  for (const verdict of ['Allow', 'Deny', 'None']) expect(seen.get(verdict)).toBeGreaterThan(500);
});

test('random histories: what the graph says follows from what is there now', () => {
  const history = fc.tuple(
    cluster,
    cluster,
    fc.integer({ min: 1, max: 9 }),
    fc.infiniteStream(fc.integer({ min: 0, max: 2 })),
  );
  fc.assert(
    fc.property(history, ([before, after, every, coins]) => {
      const told = new Interpreter();
      const graph = createPolicyGraph({ node: 'here' });
      const tell = (resource: AnyResource, there: boolean) => {
        graph.onUpdate(updateOf(resource, there));
        const coin = coins.next().value;
        if (coin === 1) graph.settle(every);
        if (coin === 2) told.apply(graph.flush());
      };
      const isThere = new Set(after.map((r) => `${r.kind}/${idOf(r)}`));
      for (const resource of before) tell(resource, true);
      told.apply(graph.flush());
      for (const resource of before) if (!isThere.has(`${resource.kind}/${idOf(resource)}`)) tell(resource, false);
      for (const resource of after.toReversed()) tell(resource, true);
      told.apply(graph.flush());

      const straight = new Interpreter();
      const fresh = createPolicyGraph({ node: 'here' });
      for (const resource of after) fresh.onUpdate(updateOf(resource));
      straight.apply(fresh.flush());
      expect(told.snapshot()).toEqual(straight.snapshot());
      expect(graph.flush().endpoints.size).toBe(0);
    }),
    { numRuns: 200 },
  );
});
