import type { Family } from '#core';
import type { SetChange, SetId, SetType } from '../types.ts';

type Members = NonNullable<SetChange['members']>;

/** What is to be told of a set. */
interface Pending {
  /** The last change that was put. */
  readonly change: SetChange;
  /** Of the sets that were told, the one whose members these are a change of: itself, or the one that it takes the place of; undefined: these are all. */
  readonly base: SetId | undefined;
  readonly added: ReadonlySet<string>;
  readonly removed: ReadonlySet<string>;
}

/**
 * Changes of sets that have not been told yet, merged: one entry for each set that was told or is wanted, however often it changed. What was added and
 * removed again is not told, nor is a set that came and went. Of each set the changes must be exact: only what is not a member is added, only what is one
 * is removed.
 */
export class PendingSets {
  readonly #families: Record<Family, FamilySets> = { 4: new FamilySets(), 6: new FamilySets() };

  put(change: SetChange): void {
    this.#families[change.family].put(change);
  }
  /** What differs from what was told before, in an order in which it can be applied. */
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
  readonly #told = new Map<SetId, Omit<SetChange, 'members' | 'like'>>();
  /** Sets of members that were made here, and so may be changed. */
  readonly #own = new WeakSet<ReadonlySet<string>>();

  get size(): number {
    return this.#pending.size;
  }

  put(change: SetChange): void {
    const { id, type, like, members } = change;
    if (members) this.#pending.set(id, this.#merged(this.#before(id, type, like), change, members));
    else if (this.#told.has(id)) this.#pending.set(id, null);
    else this.#pending.delete(id);
  }

  take(): SetChange[] {
    const out: SetChange[] = [];
    const [successors, others] = [[] as [SetId, Pending][], [] as [SetId, Pending | null][]];
    for (const [id, pending] of this.#pending)
      if (pending && pending.base !== undefined && pending.base !== id) successors.push([id, pending]);
      else others.push([id, pending]);
    // Those that begin with what another one has, while it has that.
    for (const [id, pending] of [...successors, ...others]) {
      const told = this.#told.get(id);
      if (told && pending?.base !== id) out.push({ ...told, members: null });
      if (!pending) {
        this.#told.delete(id);
        continue;
      }
      const { base, added, removed } = pending;
      const { type, family, owner } = pending.change;
      if (base === id && added.size === 0 && removed.size === 0) continue;
      const like = base === undefined || base === id ? {} : { like: base };
      out.push({ id, type, family, owner, members: { added, removed }, ...like });
      if (told?.type !== type) this.#told.set(id, { id, type, family, owner });
    }
    this.#pending.clear();
    return out;
  }

  /** What a change of the set builds on. */
  #before(id: SetId, type: SetType, like: SetId | undefined): Pick<Pending, 'base' | 'added' | 'removed'> {
    const known = this.#pending.get(id);
    if (known && known.change.type === type) return known;
    if (like !== undefined) return this.#contents(like);
    return known === undefined && this.#told.get(id)?.type === type ? { ...NOTHING, base: id } : NOTHING;
  }
  #contents(id: SetId): Pick<Pending, 'base' | 'added' | 'removed'> {
    const known = this.#pending.get(id);
    // It goes on by itself, so what was made for it is shared now.
    if (known) return { base: known.base, added: new Set(known.added), removed: new Set(known.removed) };
    return known === undefined && this.#told.has(id) ? { ...NOTHING, base: id } : NOTHING;
  }

  #merged(before: Pick<Pending, 'base' | 'added' | 'removed'>, change: Pending['change'], members: Members): Pending {
    const { base } = before;
    // The usual case, and sets may have a million members: nothing is copied.
    if (before.added.size === 0 && before.removed.size === 0) return { change, base, ...members };
    const [added, removed] = [this.#mine(before.added), this.#mine(before.removed)];
    for (const member of members.removed) if (!added.delete(member)) removed.add(member);
    for (const member of members.added) if (!removed.delete(member)) added.add(member);
    return { change, base, added, removed };
  }
  #mine(members: ReadonlySet<string>): Set<string> {
    if (this.#own.has(members)) return members as Set<string>;
    const copy = new Set(members);
    this.#own.add(copy);
    return copy;
  }
}

const NONE: ReadonlySet<string> = new Set();
const NOTHING = { base: undefined, added: NONE, removed: NONE };
