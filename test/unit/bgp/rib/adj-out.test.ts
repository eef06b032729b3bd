import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Source } from '../../../../bgp/rib/source.ts';
import { FarEnd, path, World } from './world.ts';

const PREFIXES = ['10.0.0.0/8', '10.1.0.0/16', '10.1.1.0/24', '20.0.0.0/8', '30.0.0.0/32', '0.0.0.0/0'];

type Op =
  | { op: 'announce'; source: number; prefix: number; length: number; pathId: number }
  | { op: 'withdraw'; source: number; prefix: number; pathId: number }
  | { op: 'pull'; peer: number }
  | { op: 'join' }
  | { op: 'refresh'; peer: number };

const number = (most: number) => fc.integer({ min: 0, max: most });
const ops: fc.Arbitrary<Op[]> = fc.array(
  fc.oneof(
    fc.record({
      op: fc.constant('announce' as const),
      source: number(2),
      prefix: number(5),
      length: number(2),
      pathId: number(1),
    }),
    fc.record({ op: fc.constant('withdraw' as const), source: number(2), prefix: number(5), pathId: number(1) }),
    fc.record({ op: fc.constant('pull' as const), peer: number(5) }),
    fc.record({ op: fc.constant('join' as const) }),
    fc.record({ op: fc.constant('refresh' as const), peer: number(5) }),
  ),
  { maxLength: 150 },
);

/** Three sources that are peers of the group themselves, and others that come. */
function play(list: readonly Op[], addPath: number) {
  const world = new World();
  const out = world.group({ addPath });
  const sources = [world.source(), world.source(), world.source()];
  const peers = sources.map((source) => new FarEnd(out, source.index));
  for (const op of list) {
    if (op.op === 'announce') {
      const source = sources[op.source];
      const pathId = addPath > 0 ? op.pathId + 1 : 0;
      world.announce(source, PREFIXES[op.prefix], path(Array(op.length + 1).fill(source.asNumber)), pathId);
    } else if (op.op === 'withdraw')
      world.withdraw(sources[op.source], PREFIXES[op.prefix], addPath > 0 ? op.pathId + 1 : 0);
    else if (op.op === 'pull') {
      peers[op.peer % peers.length].pull(1);
      out.tidy();
    } else if (op.op === 'join') peers.push(new FarEnd(out, world.source().index));
    else out.restart(peers[op.peer % peers.length].member);
  }
  for (const peer of peers) peer.pull();
  return { world, out, sources, peers };
}

describe('what peers know follows from the table alone, whatever the order and however slow they are', () => {
  test('best paths', () => {
    fc.assert(
      fc.property(ops, (list) => {
        const { world, peers, out } = play(list, 0);
        for (const peer of peers) {
          const expected = PREFIXES.filter((prefix) => {
            const best = world.bestOf(prefix);
            return best !== null && best.index !== peer.member.source;
          });
          expect([...peer.routes.keys()].sort()).toEqual(expected.sort());
          for (const [prefix, { asPath }] of peer.routes)
            expect(asPath[0].asNumbers.slice(0, 2)).toEqual([65000, (world.bestOf(prefix) as Source).asNumber]);
          expect(out.advertisedTo(peer.member)).toBe(expected.length);
        }
      }),
      { numRuns: 400 },
    );
  });
  test('every path, with identifiers', () => {
    fc.assert(
      fc.property(ops, (list) => {
        const { world, peers } = play(list, 8);
        const { paths, prefixes } = world.rib;
        for (const peer of peers) {
          let expected = 0;
          for (let row = 1; row < paths.end; row++)
            if (paths.prefix[row] !== 0 && paths.source[row] !== peer.member.source) expected++;
          expect(peer.routes.size).toBe(expected);
          for (const key of peer.routes.keys()) {
            const row = Number(key.split(' ')[1]);
            expect(paths.prefix[row]).not.toBe(0);
            expect(prefixes.isHeld(paths.prefix[row])).toBe(true);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
  test('nothing is held when everything is withdrawn and told', () => {
    fc.assert(
      fc.property(ops, (list) => {
        const { world, out, sources, peers } = play(list, 0);
        for (const source of sources) for (const prefix of PREFIXES) world.withdraw(source, prefix);
        for (const peer of peers) {
          peer.pull();
          expect(peer.routes.size).toBe(0);
        }
        out.tidy();
        expect(world.rib.prefixes.count).toBe(0);
        expect(world.rib.paths.count).toBe(0);
        expect(world.attributes.count).toBe(0);
        expect(out.emissions.count).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});

describe('one tick', () => {
  const value = path([65001]);
  const run = (steps: string) => {
    const world = new World();
    const source = world.source();
    const far = new FarEnd(world.group(), 99);
    for (const step of steps) {
      if (step === 'a') world.announce(source, '10.0.0.0/8', value);
      else if (step === 'w') world.withdraw(source, '10.0.0.0/8');
      else far.pull();
    }
    far.pull();
    return far;
  };
  test.each(['aw', 'waw', 'aaw', 'apw', 'apwaw', 'awaw'])('%s ends withdrawn', (steps) =>
    expect(run(steps).routes.size).toBe(0),
  );
  test.each(['a', 'awa', 'wa', 'apwa', 'aawa', 'apwpa'])('%s ends announced', (steps) =>
    expect(run(steps).routes.size).toBe(1),
  );
});

test('a peer is not told of its own routes, and learns that what it had from others is gone', () => {
  const world = new World();
  const [one, two] = [world.source(), world.source()];
  const out = world.group();
  const far = new FarEnd(out, two.index);
  world.announce(one, '10.0.0.0/8', path([65001, 1, 2]));
  far.pull();
  expect(far.routes.size).toBe(1);
  world.announce(two, '10.0.0.0/8', path([65002]));
  far.pull();
  expect(far.routes.size).toBe(0);
  expect(far.redundant).toBe(0);
});

test('peers at the same place share the same bytes', () => {
  const world = new World();
  const source = world.source();
  const out = world.group();
  const members = [out.join(50), out.join(51)];
  for (let i = 0; i < 1000; i++) world.announce(source, `10.${i >> 8}.${i & 255}.0/24`, path([65001]));
  const [first, second] = members.map((member) => out.next(member));
  expect(first).toBe(second);
  expect(first?.bytes.length).toBeLessThan(1000 * 4 + 400);
});

test('a slow peer costs a place in the log: a million changes of ten prefixes leave ten entries', () => {
  const world = new World();
  const source = world.source();
  const out = world.group();
  const slow = new FarEnd(out, 77);
  const values = [path([65001]), path([65001, 2])];
  for (let i = 0; i < 100_000; i++) world.announce(source, `10.0.${i % 10}.0/24`, values[(i / 10) & 1]);
  expect(out.end).toBeLessThan(200);
  slow.pull();
  expect(slow.routes.size).toBe(10);
});

test('a withdrawal for which the log has to be compacted is told like any other', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 150 }), fc.constantFrom(0, 8), (size, addPath) => {
      const world = new World();
      const source = world.source();
      const far = new FarEnd(world.group({ addPath }), 77);
      const value = path([65001]);
      const pathId = addPath > 0 ? 1 : 0;
      const set = (round: number) => Array.from({ length: size }, (_, i) => `10.${round & 1}.${i}.0/24`);
      for (let round = 0; round < 40; round++) {
        if (round > 0) for (const prefix of set(round - 1)) world.withdraw(source, prefix, pathId);
        for (const prefix of set(round)) world.announce(source, prefix, value, pathId);
        far.pull();
        expect(far.routes.size).toBe(size);
      }
      for (const prefix of set(39)) world.withdraw(source, prefix, pathId);
      far.pull();
      expect([far.routes.size, far.redundant]).toEqual([0, 0]);
    }),
    { numRuns: 60 },
  );
});
