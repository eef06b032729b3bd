import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Candidate, lossText, ROUTE_CLASSES, type Route, RouteTable, routeKey } from '#agent';
import { type Prefix, prefix } from '#core';

const to = prefix('10.65.0.1/32');
const route = (link: string, metric = 1024, target: Prefix = to): Route => ({
  to: target,
  metric,
  table: 254,
  via: { type: 'link', link },
});
const offer = (name: Candidate['class'], owner: string, rank?: number, metric?: number): Candidate => ({
  class: name,
  owner,
  route: route(owner, metric),
  ...(rank !== undefined && { rank }),
});

test('the stronger class wins, and each loser says why', () => {
  const table = new RouteTable();
  for (const candidate of [offer('bgp', '10.0.0.2'), offer('workload', 'default/a'), offer('vxlan', 'node2')])
    table.offer(candidate);
  const choice = table.explain(to);
  expect(choice?.winner.owner).toBe('default/a');
  expect(choice?.losers.map(({ candidate, reason }) => [candidate.owner, lossText(reason)])).toEqual([
    ['10.0.0.2', 'a workload route of default/a is preferred'],
    ['node2', 'a workload route of default/a is preferred'],
  ]);
});

test('within a class the greater rank wins, then the smaller owner', () => {
  const table = new RouteTable();
  table.offer(offer('workload', 'b', 1));
  table.offer(offer('workload', 'a', 1));
  expect(table.explain(to)?.winner.owner).toBe('a');
  table.offer(offer('workload', 'c', 2));
  expect(table.explain(to)?.winner.owner).toBe('c');
  expect(lossText(table.explain(to)!.losers[0].reason)).toBe('c offers the same prefix and is preferred');
});

test('a winner with another metric takes the place of the one before', () => {
  const table = new RouteTable();
  table.offer(offer('bgp', 'peer', undefined, 2000));
  expect([...table.takeChanges().keys()]).toEqual([`${to} 254 2000`]);
  table.offer(offer('workload', 'a'));
  const changes = table.takeChanges();
  expect(changes.get(`${to} 254 2000`)).toBeUndefined();
  expect(changes.get(`${to} 254 1024`)).toEqual(route('a'));
  table.offer(offer('workload', 'a'));
  expect(table.takeChanges().size).toBe(0);
  table.withdraw(to, 'workload', 'a');
  expect(table.takeChanges().get(`${to} 254 2000`)).toEqual(route('peer', 2000));
  table.withdraw(to, 'bgp', 'peer');
  expect([...table.takeChanges()]).toEqual([[`${to} 254 2000`, undefined]]);
  expect([table.size, table.explain(to)]).toEqual([0, null]);
});

test('a workload that is offered again is not told again, unless it was withdrawn in between: another may have its address', () => {
  const table = new RouteTable();
  table.offer(offer('workload', 'a'));
  table.takeChanges();
  table.offer(offer('workload', 'a', 1));
  expect(table.takeChanges().size).toBe(0);
  table.withdraw(to, 'workload', 'a');
  table.offer(offer('workload', 'a'));
  expect([...table.takeChanges()]).toEqual([[`${to} 254 1024`, route('a')]]);
  table.offer(offer('workload', 'a'));
  expect(table.takeChanges().size).toBe(0);
});

test('what BGP did not learn is told to it whether or not the kernel has been told', () => {
  const table = new RouteTable();
  table.offer(offer('workload', 'a'));
  expect([...table.takeGround()]).toEqual([[to, route('a')]]);
  table.takeChanges();
  expect(table.takeGround().size).toBe(0);
  table.withdraw(to, 'workload', 'a');
  table.offer(offer('bgp', 'peer', undefined, 2000));
  expect([...table.takeGround()]).toEqual([[to, null]]);
  expect(table.takeChanges().size).toBe(2);
});

test('a class is replaced whole, others stay', () => {
  const table = new RouteTable();
  const other = prefix('10.65.0.2/32');
  table.replaceClass('vxlan', [{ owner: 'n2', route: route('n2') }]);
  table.offer(offer('bgp', 'p'));
  table.replaceClass('vxlan', [{ owner: 'n3', route: route('n3', 1024, other) }]);
  expect([table.explain(to)?.winner.owner, table.explain(other)?.winner.owner]).toEqual(['p', 'n3']);
  table.replaceClass('vxlan', []);
  expect(table.explain(other)).toBeNull();
});

test('the order of offers changes nothing (I7), and the changes always lead to the winners', () => {
  const prefixes = ['10.0.0.1/32', '10.0.0.2/32'].map(prefix);
  const step = fc.record({
    to: fc.constantFrom(...prefixes),
    class: fc.constantFrom(...ROUTE_CLASSES),
    owner: fc.constantFrom('a', 'b', 'c'),
    rank: fc.integer({ min: 0, max: 2 }),
    metric: fc.constantFrom(1024, 512),
    withdraw: fc.boolean(),
    take: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const table = new RouteTable();
      const kernel = new Map<string, Route>();
      const standing = new Map<string, Candidate>();
      const take = (from: RouteTable, into: Map<string, Route>) => {
        for (const [key, value] of from.takeChanges()) value ? into.set(key, value) : into.delete(key);
      };
      for (const s of steps) {
        const key = `${s.to} ${s.class} ${s.owner}`;
        if (s.withdraw) {
          table.withdraw(s.to, s.class, s.owner);
          standing.delete(key);
        } else {
          const link = `${s.owner}${s.class}`;
          const candidate = { class: s.class, owner: s.owner, rank: s.rank, route: route(link, s.metric, s.to) };
          table.offer(candidate);
          standing.set(key, candidate);
        }
        if (s.take) take(table, kernel);
      }
      take(table, kernel);
      const fresh = new RouteTable();
      const freshKernel = new Map<string, Route>();
      for (const candidate of [...standing.values()].reverse()) fresh.offer(candidate);
      take(fresh, freshKernel);
      const sorted = (map: Map<string, Route>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
      expect(sorted(kernel)).toEqual(sorted(freshKernel));
      for (const [key, value] of kernel) expect(routeKey(value)).toBe(key);
    }),
  );
});
