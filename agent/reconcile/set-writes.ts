import type { DeltaTracker, Family } from '#core';
import type { SetType } from '#policy';
import type { SetWrite } from '../kernel/types.ts';
import { forEach, type Sliced } from '../slices.ts';

/** A set that is wanted, and what is known of the one in the kernel. */
export interface Tracked {
  readonly type: SetType;
  readonly family: Family;
  owner: string;
  readonly members: DeltaTracker<string, true>;
  /** What the kernel has under the name; undefined: nothing. */
  actual: { readonly type: SetType; readonly maxElements: number | undefined } | undefined;
  /** The kernel's members must be read before they are trusted. */
  unread: boolean;
}

/** A write, and what is known when it was done. */
export interface Composed {
  readonly set: Tracked;
  readonly write: SetWrite;
  /** Members written or removed, and the set itself if it is made. */
  readonly size: number;
  done(): Sliced;
}

/** undefined: the kernel has the set as it should be. */
export function* compose(name: string, set: Tracked, maxElements: number): Sliced<Composed | undefined> {
  const { members, type, family, actual } = set;
  if (actual?.type !== type || (actual.maxElements ?? maxElements) !== maxElements) {
    const all = new Set<string>();
    yield* forEach(members.allDesired.keys(), (member) => all.add(member));
    const write = { op: 'create', name, type, family, members: all, maxElements, current: actual } as const;
    const done = function* () {
      yield* replaceActual(members, all);
      set.actual = { type, maxElements };
    };
    return { set, write, size: all.size + 1, done };
  }
  if (members.inSync) return undefined;
  const added = new Set([...members.pendingUpdates()].map((u) => u.key));
  const removed = new Set([...members.pendingDeletes()].map((d) => d.key));
  const done = function* () {
    yield* forEach(added, (member) => members.setActual(member, true));
    yield* forEach(removed, (member) => members.markDeleted(member));
  };
  return { set, write: { op: 'change', name, added, removed }, size: added.size + removed.size, done };
}

/** Makes what the kernel is known to have exactly `all`; a set may have a million members, so nothing is copied. */
export function* replaceActual(members: Tracked['members'], all: ReadonlySet<string>): Sliced {
  yield* forEach(members.allActual.keys(), (member) => {
    if (!all.has(member)) members.setActual(member, undefined);
  });
  yield* forEach(all, (member) => members.setActual(member, true));
}

/** As many in one command as have this many members together. */
const BATCH = 200_000;
export function* batchesOf(all: readonly Composed[]): Iterable<Composed[]> {
  let batch: Composed[] = [];
  let size = 0;
  for (const one of all) {
    if (batch.length > 0 && size + one.size > BATCH) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(one);
    size += one.size;
  }
  if (batch.length > 0) yield batch;
}
