import fc from 'fast-check';
import { expect, test } from 'vitest';
import { revised } from '../../../../agent/kernel/revised-map.ts';

const key = fc.integer({ min: 0, max: 2000 });
const changes = fc.array(fc.tuple(key, fc.option(fc.string(), { nil: null })), { maxLength: 80 });

test('is what a copy with the changes would be, change after change', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(key, fc.string()), { maxLength: 1500 }),
      fc.array(changes, { maxLength: 8 }),
      (entries, all) => {
        const copy = new Map(entries);
        let map: ReadonlyMap<number, string> = new Map(entries);
        for (const some of all) {
          const before = [...map];
          const next = revised(map, new Map(some));
          expect([...map]).toEqual(before);
          map = next;
          for (const [k, value] of new Map(some))
            if (value === null) copy.delete(k);
            else copy.set(k, value);
          expect(map.size).toBe(copy.size);
          expect(new Map(map)).toEqual(copy);
          expect(new Map([...map.keys()].map((k, i) => [k, [...map.values()][i]]))).toEqual(copy);
          for (const [k] of some) expect([map.has(k), map.get(k)]).toEqual([copy.has(k), copy.get(k)]);
        }
      },
    ),
    { numRuns: 50 },
  );
});
