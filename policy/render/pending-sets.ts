import type { Family } from '#core';
import type { SetChange, SetId } from '../types.ts';

type Members = NonNullable<SetChange['members']>;

/** What is to be told of a set. */
interface Pending {
  /** The last change that was put. */
  readonly change: SetChange;
  /** Whether these are all members, and not what differs from what was told. */
  readonly isWhole: boolean;
  readonly added: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
}

/**
 * Changes of sets that have not been told yet, merged: one entry for each set that was told or is wanted, however often it changed. What was added and
 * removed again is not told, nor is a set that came and went. Of each set the changes must be exact: only what is not a member is added, only what is one
 * is removed; and it is always of one type.
 */
export class PendingSets {
  readonly #families: Record<Family, FamilySets> = { 4: new FamilySets(), 6: new FamilySets() };

  put(change: SetChange): void {
    this.#families[change.family].put(change);
  }
  /** What differs from what was told before. */
  take(): SetChange[] {
    return [...this.#families[4].take(), ...this.#families[6].take()];
  }
  /** Sets of which there is something to tell. */
  get size(): number {
    return this.#families[4].size + this.#families[6].size;
  }
}

class FamilySets {
  /** null: the set goes. */
  readonly #pending = new Map<SetId, Pending | null>();
  /** The last change of each that was told and is wanted. */
  readonly #told = new Map<SetId, Omit<SetChange, 'members'>>();
  /** Sets of members that were made here, and so may be changed. */
  readonly #own = new WeakSet<ReadonlySet<string>>();

  get size(): number {
    return this.#pending.size;
  }

  put(change: SetChange): void {
    const { id, members } = change;
    if (members) this.#pending.set(id, this.#merged(this.#pending.get(id), change, members));
    else if (this.#told.has(id)) this.#pending.set(id, null);
    else this.#pending.delete(id);
  }

  take(): SetChange[] {
    const out: SetChange[] = [];
    for (const [id, pending] of this.#pending) {
      const told = this.#told.get(id);
      if (told && (!pending || pending.isWhole)) out.push({ ...told, members: null });
      if (!pending) {
        this.#told.delete(id);
        continue;
      }
      const { change, isWhole, added, removed } = pending;
      if (!isWhole && added.size === 0 && removed.size === 0) continue;
      const { members: _, ...about } = change;
      out.push({ ...about, members: { added, removed } });
      if (!told) this.#told.set(id, about);
    }
    this.#pending.clear();
    return out;
  }

  #merged(before: Pending | null | undefined, change: SetChange, members: Members): Pending {
    const isWhole = before ? before.isWhole : before === null || !this.#told.has(change.id);
    // The usual case, and sets may have a million members: nothing is copied.
    if (!before || before.added.size + before.removed.size === 0) return { change, isWhole, ...members };
    const [added, removed] = [this.#mine(before.added), this.#mine(before.removed)];
    for (const member of members.removed) if (!added.delete(member)) removed.add(member);
    for (const member of members.added) if (!removed.delete(member)) added.add(member);
    return { change, isWhole, added, removed };
  }
  #mine(members: ReadonlySet<string>): Set<string> {
    if (this.#own.has(members)) return members as Set<string>;
    const copy = new Set(members);
    this.#own.add(copy);
    return copy;
  }
}
