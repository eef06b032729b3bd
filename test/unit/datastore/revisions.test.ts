import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DISTRUSTED, Revisions } from '../../../datastore/sync/revisions.ts';

test('is a map from keys to revisions, whatever is done in whichever order', () => {
  const key = fc.integer({ min: 0, max: 30 }).map((n) => `key-${n}`);
  const revision = fc.oneof(fc.bigInt({ min: 0n, max: 100n }), fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n }));
  const step = fc.oneof(
    fc.record({ do: fc.constant('set' as const), key, revision }),
    fc.record({ do: fc.constant('set in order' as const), revision }),
    fc.record({ do: fc.constant('delete' as const), key }),
    fc.record({ do: fc.constant('distrust' as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const revisions = new Revisions();
      const model = new Map<string, bigint>();
      let next = 0;
      for (const one of steps) {
        if (one.do === 'delete') expect(revisions.delete(one.key)).toBe(model.delete(one.key));
        else if (one.do === 'distrust') {
          revisions.distrust();
          for (const known of model.keys()) model.set(known, BigInt(DISTRUSTED));
        } else {
          const name = one.do === 'set' ? one.key : `key-${String(next++).padStart(3, '0')}`;
          revisions.set(name, one.revision);
          model.set(name, one.revision);
        }
        expect(revisions.size).toBe(model.size);
        for (const [known, value] of model) expect(BigInt(revisions.get(known) ?? -2)).toBe(value);
        const distrusted = [...model].flatMap(([known, value]) => (value === BigInt(DISTRUSTED) ? [known] : []));
        expect(revisions.distrusted().sort()).toEqual(distrusted.sort());
      }
    }),
    { numRuns: 300 },
  );
});

test('keys that come last and go again, without end, leave nothing behind', () => {
  const revisions = new Revisions();
  for (let n = 0; n < 5000; n++) revisions.set(`a-${n}`, 1n);
  for (let n = 0; n < 20_000; n++) {
    revisions.set(`b-${String(n).padStart(6, '0')}`, 2n);
    if (n >= 10) expect(revisions.delete(`b-${String(n - 10).padStart(6, '0')}`)).toBe(true);
  }
  expect(revisions.size).toBe(5010);
  for (let n = 0; n < 5000; n++) expect(revisions.has(`a-${n}`)).toBe(true);
  expect(revisions.has('b-000000')).toBe(false);
  expect(revisions.has('b-019999')).toBe(true);
});
