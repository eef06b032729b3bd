import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SetChange, SetType } from '#policy';
import { PendingSets } from '../../../../policy/render/pending-sets.ts';

const TYPES: Record<string, SetType> = { a: 'hash:ip', s: 'hash:net', n: 'hash:ip,port' };
const change = (id: string, added: string[] | null, removed: string[] = []): SetChange => ({
  ...{ id, type: TYPES[id[0]], family: 4, owner: `selector of ${id}`, other: `other ${id}` },
  members: added && { added: new Set(added), removed: new Set(removed) },
});
const merged = (before: SetChange[], changes: SetChange[]): SetChange[] => {
  const sets = new PendingSets();
  for (const one of before) sets.put(one);
  expect(sets.take()).toEqual(before);
  for (const one of changes) sets.put(one);
  return sets.take();
};

describe('changes between two takings are one', () => {
  test('of members: what came and went, or went and came back, is not told', () => {
    expect(merged([change('s1', ['1', '2'])], [change('s1', ['3'], ['1']), change('s1', ['4'], ['3'])])).toEqual([
      change('s1', ['4'], ['1']),
    ]);
    expect(merged([change('s1', ['1'])], [change('s1', [], ['1']), change('s1', ['1'])])).toEqual([]);
  });
  test('of a new set: it is told whole, and not at all when it is given up', () => {
    const news = [change('s1', ['1', '2']), change('s1', ['3'], ['1'])];
    expect(merged([], news)).toEqual([change('s1', ['2', '3'])]);
    expect(merged([], [...news, change('s1', null)])).toEqual([]);
  });
  test('of a set that goes: only that, unless another one comes in its place', () => {
    const given = [change('s1', ['1'])];
    expect(merged(given, [change('s1', ['2']), change('s1', null)])).toEqual([change('s1', null)]);
    expect(merged(given, [change('s1', null), change('s1', ['5'])])).toEqual([change('s1', null), change('s1', ['5'])]);
  });
  test('and nothing that was given is changed', () => {
    const [first, second] = [change('s1', ['1', '2']), change('s1', ['3'], ['1'])];
    merged([], [first, second, change('s1', ['1'], ['3'])]);
    expect([first, second]).toEqual([change('s1', ['1', '2']), change('s1', ['3'], ['1'])]);
  });
});

/** Sets as they are when changes are applied to them one after the other, as a reconciler does. */
class Applied {
  readonly sets = new Map<string, Set<string>>();
  apply({ id, members }: SetChange): void {
    if (!members) {
      expect(this.sets.delete(id)).toBe(true);
      return;
    }
    const set = this.sets.get(id) ?? new Set();
    for (const member of members.removed) expect(set.delete(member)).toBe(true);
    for (const member of members.added) {
      expect(set.has(member)).toBe(false);
      set.add(member);
    }
    this.sets.set(id, set);
  }
}

/** What becomes of one of three sets; `null`: it goes. */
const step = fc.record({
  id: fc.constantFrom('a1', 's1', 's2'),
  members: fc.option(fc.subarray(['1', '2', '3', '4', '5']), { freq: 3 }),
  take: fc.boolean(),
});

test('however many changes are taken together, they amount to the same, and each set is in them once', () => {
  const seen = { again: 0, gone: 0, merged: 0 };
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      const [one, many] = [new Applied(), new Applied()];
      const pending = new PendingSets();
      let waiting = 0;
      const put = (next: SetChange) => {
        one.apply(next);
        pending.put(next);
        waiting++;
      };
      const take = () => {
        const changes = pending.take();
        for (const next of changes) many.apply(next);
        expect(new Set(changes.map((c) => `${c.id} ${c.members === null}`)).size).toBe(changes.length);
        seen.again += changes.length - new Set(changes.map((c) => c.id)).size;
        seen.gone += changes.filter((c) => c.members === null).length;
        seen.merged += Number(changes.length < waiting);
        waiting = 0;
        expect(many.sets).toEqual(one.sets);
        expect(pending.size).toBe(0);
      };
      for (const { id, members, take: now } of steps) {
        const have = one.sets.get(id) ?? new Set<string>();
        const [added, removed] = [members?.filter((m) => !have.has(m)), [...have].filter((m) => !members?.includes(m))];
        if (added) put(change(id, added, removed));
        else if (one.sets.has(id)) put(change(id, null));
        expect(pending.size).toBeLessThanOrEqual(3);
        if (now) take();
      }
      take();
    }),
    { numRuns: 500 },
  );
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(100);
});
