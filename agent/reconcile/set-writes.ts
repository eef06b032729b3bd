import type { Family } from '#core';
import type { SetType } from '#policy';
import type { SetWrite } from '../kernel/types.ts';
import { forEach, type Sliced } from '../slices.ts';
import type { Members } from './members.ts';

/** A set that is wanted, and what is known of the one in the kernel. */
export interface Tracked {
  readonly type: SetType;
  readonly family: Family;
  owner: string;
  /** The name of the set that holds the other members of what this one stands for, where there are any. */
  readonly other: string | undefined;
  readonly members: Members;
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

/**
 * undefined: there is nothing to write.
 * @param keeps whether members that are there stay although nobody wants them
 */
export function* compose(
  name: string,
  set: Tracked,
  maxElements: number,
  keeps: boolean,
): Sliced<Composed | undefined> {
  const { members, type, family, actual } = set;
  if (actual?.type !== type || (actual.maxElements ?? maxElements) !== maxElements) {
    const all = members.lend();
    const write = { op: 'create', name, type, family, members: all, maxElements, current: actual } as const;
    const done = function* () {
      yield* members.found(all);
      set.actual = { type, maxElements };
    };
    return { set, write, size: all.size + 1, done };
  }
  const extra: ReadonlySet<string> = keeps ? new Set() : members.extra;
  if (members.missing.size + extra.size === 0) return undefined;
  const [added, removed] = [new Set<string>(), new Set<string>()];
  yield* forEach(members.missing, (member) => added.add(member));
  yield* forEach(extra, (member) => removed.add(member));
  const done = () => members.wrote(added, removed);
  return { set, write: { op: 'change', name, added, removed }, size: added.size + removed.size, done };
}
