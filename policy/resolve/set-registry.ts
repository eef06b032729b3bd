import { Bug } from '#core';
import type { Budget } from '../budget.ts';
import type { Entry, Item } from '../labels/item.ts';
import { LabelIndex, type MatchListener } from '../labels/label-index.ts';
import type { ResolvedSet } from '../resolved.ts';
import type { SetId } from '../types.ts';
import { type Contribution, sameContribution } from './contents.ts';
import { SetMembers } from './members.ts';
import type { SetDefinition } from './sets.ts';

interface Registered {
  readonly members: SetMembers;
  readonly entry: Entry<SetMembers, Contribution> | null;
  users: number;
}
/** So many members cost as much as a set by itself. */
const MEMBERS = 32;

export type MemberItem = Item<SetMembers, Contribution>;

/** What `drain` gives: as in ResolvedChanges. */
export interface SetChanges {
  readonly sets: Map<SetId, ResolvedSet | null>;
  readonly added: Map<SetId, ReadonlySet<string>>;
  readonly removed: Map<SetId, ReadonlySet<string>>;
}

/**
 * The sets that active rules need, counted by use, with their members from the whole cluster. A set that nobody uses any more stays until
 * the next drain: if it is wanted again before, nothing was lost.
 */
export class SetRegistry implements MatchListener<SetMembers, Contribution> {
  readonly items = new LabelIndex<SetMembers, Contribution>(this, sameContribution);
  readonly #sets = new Map<SetId, Registered>();
  readonly #unused = new Set<SetId>();
  readonly #touched = new Set<SetMembers>();

  get size(): number {
    return this.#sets.size;
  }

  acquire(definition: SetDefinition): void {
    const known = this.#sets.get(definition.id);
    if (known) {
      known.users++;
      this.#unused.delete(definition.id);
      return;
    }
    const members = new SetMembers(definition);
    this.#touched.add(members);
    const entry = definition.selector ? this.items.addSelector(members, definition.selector) : null;
    this.#sets.set(definition.id, { members, entry, users: 1 });
  }

  release(id: SetId): void {
    const known = this.#sets.get(id);
    if (!known || known.users === 0) throw new Bug(`set ${id} is released more often than acquired`);
    if (--known.users === 0) this.#unused.add(id);
  }

  /** Whether there is something to drain. */
  get hasNews(): boolean {
    return this.#unused.size > 0 || this.#touched.size > 0;
  }
  /** What has changed since it was last drained, as far as the budget goes; everything must be settled. */
  drain(budget: Budget): SetChanges {
    const changes: SetChanges = { sets: new Map(), added: new Map(), removed: new Map() };
    for (const id of this.#unused) {
      if (budget.left <= 0) return changes;
      budget.left--;
      this.#unused.delete(id);
      this.#forget(id, changes);
    }
    for (const members of this.#touched) {
      if (budget.left <= 0) return changes;
      budget.left--;
      this.#touched.delete(members);
      if (!members.changed) continue;
      const { id } = members.definition;
      if (!members.known) changes.sets.set(id, members.resolved);
      const { added, removed } = members.drain();
      if (added.size > 0) changes.added.set(id, added);
      if (removed.size > 0) changes.removed.set(id, removed);
      budget.left -= (added.size + removed.size) / MEMBERS;
    }
    return changes;
  }

  started(entry: Entry<SetMembers, Contribution>, _item: MemberItem, data: Contribution): void {
    entry.key.give(data);
    this.#touched.add(entry.key);
  }
  stopped(entry: Entry<SetMembers, Contribution>, _item: MemberItem, data: Contribution): void {
    if (!entry.live) return;
    entry.key.take(data);
    this.#touched.add(entry.key);
  }
  replaced(entry: Entry<SetMembers, Contribution>, _item: MemberItem, before: Contribution, after: Contribution): void {
    entry.key.give(after);
    entry.key.take(before);
    this.#touched.add(entry.key);
  }

  #forget(id: SetId, changes: SetChanges): void {
    const { members, entry } = this.#sets.get(id) as Registered;
    this.#sets.delete(id);
    if (entry) this.items.removeSelector(entry);
    this.#touched.delete(members);
    if (members.known) changes.sets.set(id, null);
  }
}
