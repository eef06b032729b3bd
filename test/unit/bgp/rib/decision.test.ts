import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Addr, addr } from '#core';
import type { Source } from '../../../../bgp/rib/source.ts';
import type { PathAttributes } from '../../../../bgp/wire/types.ts';
import { path, World } from './world.ts';

const P = '10.0.0.0/8';

interface Given {
  source?: Partial<Source>;
  value?: Partial<PathAttributes>;
  as?: readonly number[];
}
/** Index of the winner, and the step in which each of the others falls. */
function decide(given: readonly Given[], order: readonly number[] = given.map((_, i) => i)) {
  const world = new World();
  const sources = given.map(({ source }) => world.source(source));
  for (const i of order) world.announce(sources[i], P, path(given[i].as ?? [65001], given[i].value));
  const { row, lost } = world.rib.explain(1);
  const { paths } = world.rib;
  const indexOf = (r: number) => sources.findIndex((s) => s.index === paths.source[r]);
  return { winner: indexOf(row), lost: Object.fromEntries([...lost].map(([r, step]) => [indexOf(r), step])), world };
}

describe('RFC 4271 §9.1.2.2, step by step: the first of the two wins', () => {
  const cases: [string, Given, Given][] = [
    ['local preference', { value: { localPref: 200 }, as: [1, 2, 3] }, { value: { localPref: 100 } }],
    ['local preference', { value: {}, as: [1, 2, 3] }, { value: { localPref: 99 } }], // none is 100
    ['AS path length', { as: [1] }, { as: [1, 2] }],
    ['AS path length', { value: { asPath: [{ type: 'set', asNumbers: [1, 2, 3] }] } }, { as: [1, 2] }], // a set counts once
    ['origin', { value: { origin: 0 } }, { value: { origin: 1 } }],
    ['MED', { value: { med: 5 } }, { value: { med: 6 } }],
    ['MED', { value: { med: null } }, { value: { med: 1 } }], // none is 0
    ['not external', { source: { ebgp: true }, as: [1] }, { source: { ebgp: false }, as: [2] }],
    ['BGP identifier', { source: { routerId: 1 }, as: [1] }, { source: { routerId: 2 }, as: [2] }],
    [
      'BGP identifier',
      { source: { routerId: 9, ebgp: false }, value: { originatorId: 1 } },
      { source: { routerId: 2, ebgp: false } },
    ], // RFC 4456 §9
    [
      'cluster list length',
      { source: { routerId: 1, ebgp: false } },
      { source: { routerId: 1, ebgp: false }, value: { clusterList: [7] } },
    ],
    ['peer address', { source: { routerId: 1, order: 'a' } }, { source: { routerId: 1, order: 'b' } }],
  ];
  test.each(cases)('%s', (step, better, worse) => {
    expect(decide([better, worse])).toMatchObject({ winner: 0, lost: { 1: step } });
    expect(decide([worse, better])).toMatchObject({ winner: 1, lost: { 0: step } });
  });
  test('MED is compared within one neighbouring AS only', () =>
    expect(
      decide([
        { as: [1, 9], value: { med: 50 }, source: { routerId: 1 } },
        { as: [2, 9], value: { med: 10 }, source: { routerId: 2 } },
      ]),
    ).toMatchObject({ winner: 0, lost: { 1: 'BGP identifier' } }));
  test('what import did not accept never wins', () => {
    const world = new World();
    const [good, bad] = [world.source(), world.source()];
    world.announce(good, P, path([1, 2, 3]));
    const id = world.attributes.intern(path([1]));
    world.rib.announce(
      bad.index,
      0,
      { family: 4, count: 1, addr: Uint32Array.of(10 << 24), length: Uint8Array.of(8), pathId: null },
      id,
      0,
    );
    expect(world.bestOf(P)).toBe(good);
    expect([...world.rib.explain(1).lost.values()]).toEqual(['not accepted']);
  });
});

const given: fc.Arbitrary<Given> = fc.record({
  source: fc.record({ ebgp: fc.boolean(), routerId: fc.integer({ min: 1, max: 3 }) }),
  as: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 3 }),
  value: fc.record({
    localPref: fc.constantFrom(null, 100, 200),
    med: fc.constantFrom(null, 1, 2),
    origin: fc.constantFrom(0 as const, 1 as const),
    nextHop: fc.constantFrom<Addr>(addr('198.51.100.1'), addr('198.51.100.2')),
  }),
});

test('the order of arrival never changes the winner, nor any reason', () => {
  fc.assert(
    fc.property(
      fc.array(given, { minLength: 1, maxLength: 6 }).chain((list) =>
        fc.tuple(
          fc.constant(list),
          fc.shuffledSubarray(
            list.map((_, i) => i),
            { minLength: list.length },
          ),
        ),
      ),
      ([list, order]) => {
        const straight = decide(list);
        const shuffled = decide(list, order);
        expect(shuffled.winner).toBe(straight.winner);
        expect(shuffled.lost).toEqual(straight.lost);
        expect(Object.keys(straight.lost)).toHaveLength(list.length - 1);
      },
    ),
    { numRuns: 500 },
  );
});

test('equal-cost paths are those that only the tie-breakers tell apart', () => {
  const { world } = decide([
    { as: [1, 9], source: { routerId: 3 } },
    { as: [2, 9], source: { routerId: 1 } },
    { as: [2, 9, 9], source: { routerId: 2 } },
  ]);
  expect(world.rib.equalPaths(1)).toHaveLength(2);
});
