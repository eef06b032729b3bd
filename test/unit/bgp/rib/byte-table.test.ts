import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteTable, hashOf } from '../../../../bgp/rib/byte-table.ts';

/** Few values and few hashes, so that strings meet again and share slots. */
const text = fc.tuple(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 1, max: 90 }));
const bytesOf = ([seed, length]: readonly [number, number]) =>
  Uint8Array.from({ length }, (_, i) => (seed * 7 + i) & 255);

test('strings are found by their bytes alone, however they came and went', () => {
  const step = fc.record({ text, remove: fc.boolean(), hash: fc.option(fc.constantFrom(5, 6, 0xffffffff)) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const table = new ByteTable();
      const model = new Map<string, { id: number; hash: number; bytes: Uint8Array }>();
      const free: number[] = [];
      let next = 1;
      for (const s of steps) {
        const bytes = bytesOf(s.text);
        const name = Buffer.from(bytes).toString('latin1');
        const known = model.get(name);
        const hash = known?.hash ?? s.hash ?? hashOf(bytes);
        expect(table.find(bytes, hash)).toBe(known?.id ?? 0);
        if (known && s.remove) {
          table.remove(known.id);
          model.delete(name);
          free.push(known.id);
        } else if (!known) {
          const id = free.pop() ?? next++;
          table.add(id, bytes, hash);
          model.set(name, { id, hash, bytes });
        }
      }
      expect(table.count).toBe(model.size);
      for (const { id, hash, bytes } of model.values()) {
        expect(table.find(bytes, hash)).toBe(id);
        expect(table.arena.slice(table.startOf(id), table.endOf(id))).toEqual(bytes);
      }
    }),
  );
});

test('churn does not make the arena grow, and an empty table is small', () => {
  const table = new ByteTable();
  const bytes = (i: number) => Uint8Array.from({ length: 60 }, (_, at) => (i >> ((at % 4) * 8)) & 255);
  for (let i = 0; i < 50_000; i++) {
    const string = bytes(i);
    table.add((i % 100) + 1, string, hashOf(string));
    if (i >= 99) table.remove(((i + 1) % 100) + 1);
  }
  expect(table.arena.length).toBeLessThanOrEqual(32 << 10);
  for (let id = 1; id <= 100; id++) if (table.endOf(id) > table.startOf(id)) table.remove(id);
  expect(table.count).toBe(0);
  expect(table.arena.length).toBeLessThanOrEqual(4096);
});
