import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DeltaTracker } from '#core';

test('pending sets equal what a naive difference says, after any sequence of operations', () => {
  const key = fc.integer({ min: 0, max: 5 });
  const value = fc.integer({ min: 0, max: 2 });
  const entries = fc.array(fc.tuple(key, value));
  const operation = fc.oneof(
    fc.record({ op: fc.constant('setDesired' as const), key, value }),
    fc.record({ op: fc.constant('deleteDesired' as const), key }),
    fc.record({ op: fc.constant('replaceDesired' as const), entries }),
    fc.record({ op: fc.constant('setActual' as const), key, value: fc.option(value, { nil: undefined }) }),
    fc.record({ op: fc.constant('replaceActual' as const), entries }),
    fc.record({ op: fc.constant('apply' as const) }),
  );
  fc.assert(
    fc.property(fc.array(operation), (operations) => {
      const tracker = new DeltaTracker<number, number>((a, b) => a === b);
      let desired = new Map<number, number>();
      let actual = new Map<number, number>();
      for (const step of operations) {
        switch (step.op) {
          case 'setDesired':
            desired.set(step.key, step.value);
            tracker.setDesired(step.key, step.value);
            break;
          case 'deleteDesired':
            desired.delete(step.key);
            tracker.deleteDesired(step.key);
            break;
          case 'replaceDesired':
            desired = new Map(step.entries);
            tracker.replaceDesired(desired);
            break;
          case 'setActual':
            if (step.value === undefined) actual.delete(step.key);
            else actual.set(step.key, step.value);
            tracker.setActual(step.key, step.value);
            break;
          case 'replaceActual':
            actual = new Map(step.entries);
            tracker.replaceActual(actual);
            break;
          case 'apply':
            for (const { key: k } of tracker.pendingDeletes()) tracker.markDeleted(k);
            for (const { key: k } of tracker.pendingUpdates()) tracker.markUpdated(k);
            actual = new Map(desired);
            expect(tracker.inSync).toBe(true);
        }
        const updates = [...desired].filter(([k, v]) => actual.get(k) !== v).map(([k]) => k);
        const deletes = [...actual.keys()].filter((k) => !desired.has(k));
        expect([...tracker.pendingUpdates()].map((u) => u.key).sort()).toEqual(updates.sort());
        expect([...tracker.pendingDeletes()].map((d) => d.key).sort()).toEqual(deletes.sort());
      }
    }),
  );
});
