import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Family } from '#core';
import { PrefixTable } from '../../../../bgp/rib/prefixes.ts';

/** What the columns say of a prefix, as a key. */
const keyOf = (table: PrefixTable, id: number): string =>
  `${table.addr.subarray(id * table.words, (id + 1) * table.words).join(':')}/${table.length[id]}`;

/** A few hundred prefixes that collide, neighbours and lengths included. */
function columns(family: Family, pick: number): { addr: Uint32Array; length: number } {
  const length = pick % 3 === 0 ? 24 : pick % 3 === 1 ? 32 : 0;
  const last = length === 0 ? 0 : (pick >> 2) << 8;
  return { addr: family === 4 ? Uint32Array.of(last) : Uint32Array.of(0x20010db8, 0, last, 0), length };
}

describe('PrefixTable', () => {
  for (const family of [4, 6] as const)
    test(`IPv${family}: under any order of coming and going it is the set of what is held`, () => {
      const steps = fc.array(fc.tuple(fc.boolean(), fc.nat(1500)), { maxLength: 3000, size: 'max' });
      fc.assert(
        fc.property(steps, (all) => {
          const table = new PrefixTable(family);
          const held = new Map<string, number>();
          for (const [come, pick] of all) {
            const { addr, length } = columns(family, pick);
            const key = `${addr.join(':')}/${length}`;
            const known = held.get(key);
            expect(table.find(addr, 0, length)).toBe(known ?? 0);
            if (come && known === undefined) {
              const id = table.intern(addr, 0, length);
              expect(keyOf(table, id)).toBe(key);
              table.hold(id);
              held.set(key, id);
            } else if (come) expect(table.intern(addr, 0, length)).toBe(known);
            else if (known !== undefined) {
              table.release(known);
              held.delete(key);
            }
          }
          expect(table.count).toBe(held.size);
          expect(new Set(held.values()).size).toBe(held.size);
        }),
        { numRuns: 20 },
      );
    });
  test('one prefix that comes and goes for ever takes no more room', () => {
    const table = new PrefixTable(4);
    const stays = table.intern(Uint32Array.of(7 << 24), 0, 8);
    table.hold(stays);
    for (let i = 0; i < 100_000; i++) {
      const id = table.intern(Uint32Array.of(9 << 24), 0, 8);
      table.hold(id);
      table.release(id);
    }
    expect(table.capacity).toBe(64);
    expect(table.find(Uint32Array.of(7 << 24), 0, 8)).toBe(stays);
  });
});
