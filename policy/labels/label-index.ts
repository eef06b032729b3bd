import type { Selector } from '#core';
import { type CompactSet, sizeOf } from './compact-set.ts';
import { Crowd } from './crowd.ts';
import { Entry, type Home, Item, NOTHING, Parent } from './item.ts';
import { type Carrier, LabelTable, type Pair } from './label-table.ts';
import { isImpossible, type Restriction, restrictionsOf } from './restriction.ts';

/** Who is told which items match which selectors. */
export interface MatchListener<E, D> {
  started(entry: Entry<E, D>, item: Item<E, D>, data: D): void;
  /** `data` is what was told last. */
  stopped(entry: Entry<E, D>, item: Item<E, D>, data: D): void;
  /** It goes on matching, with other data. */
  replaced(entry: Entry<E, D>, item: Item<E, D>, before: D, after: D): void;
}

/** So many lists of parents are remembered with their first. */
const MOST_LISTS = 8;

/**
 * Which of many items match which of many selectors, kept true while both change, without looking at every pair.
 *
 * Each selector is filed under the one label restriction that it cannot match without and that the fewest items and selectors share (a value,
 * several values, or presence), or under none. An item looks at the selectors filed under its own and inherited labels; a new selector looks
 * at the items that carry the label it is filed under. Items that have changed are only marked: `settle` works them off, so a snapshot of items and
 * selectors in any order costs one look at each candidate.
 */
export class LabelIndex<E, D> {
  readonly #table = new LabelTable<E, D>();
  readonly #parents = new Map<string, Parent<E, D>>();
  /** Selectors that no label restricts. */
  readonly #anywhere = new Set<Entry<E, D>>();
  readonly #items = new Crowd<Item<E, D>>();
  readonly #dirty: Item<E, D>[] = [];
  /** What is found for one item; kept, so that it need not grow anew for each. */
  readonly #found: Entry<E, D>[] = [];
  readonly #listener: MatchListener<E, D>;
  readonly #same: (a: D, b: D) => boolean;
  #turn = 0;

  constructor(listener: MatchListener<E, D>, same: (a: D, b: D) => boolean) {
    this.#listener = listener;
    this.#same = same;
  }

  get pending(): number {
    return this.#dirty.length;
  }
  get size(): number {
    return this.#items.size;
  }

  /**
   * Says what an item is now. Labels are flat (name, value, …) with unique names. Nothing is marked if nothing differs.
   */
  setItem(item: Item<E, D>, labels: readonly string[], parents: readonly string[], data: D): void {
    const isNew = item.data === undefined;
    const sameLabels = equalLabels(item.pairs, labels);
    const sameParents = named(item.parents, parents);
    if (!isNew && sameLabels && sameParents && this.#same(item.data as D, data)) return;
    if (isNew) this.#items.add(item);
    item.data = data;
    if (!sameLabels) this.#relabel(item, labels);
    if (!sameParents) this.#adopt(item, parents);
    this.#mark(item);
  }

  removeItem(item: Item<E, D>): void {
    if (item.data === undefined) return;
    item.data = undefined;
    this.#items.leave((other) => other.data !== undefined);
    this.#relabel(item, []);
    this.#adopt(item, []);
    this.#mark(item);
  }

  /** Says which labels the children of a parent inherit; none: it does not exist. */
  setParent(name: string, labels: readonly string[]): void {
    const parent = this.#parents.get(name) ?? new Parent<E, D>(name);
    if (equalFlat(parent.labels, labels)) return;
    parent.labels = labels;
    this.#parents.set(name, parent);
    if (parent.children.size > 0) this.#relabel(parent, labels);
    parent.children.each((child) => this.#mark(child));
    this.#forgetUnused(parent);
  }

  addSelector(key: E, selector: Selector): Entry<E, D> {
    const entry = new Entry<E, D>(key, selector);
    this.#file(entry);
    this.#eachCandidate(entry, (item) => {
      if (item.dirty || item.data === undefined || !selector.matches(item)) return;
      if (item.matches === NOTHING) item.matches = [entry];
      else item.matches.push(entry);
      this.#listener.started(entry, item, item.data);
    });
    return entry;
  }

  /** Takes the selector out; the listener hears `stopped` for every item that matched, for a marked one when it is worked off. */
  removeSelector(entry: Entry<E, D>): void {
    entry.live = false;
    this.#eachCandidate(entry, (item) => {
      if (!item.dirty) this.#unmatch(item, entry);
    });
    for (const home of entry.homes) this.#table.unfile(home, entry);
    this.#anywhere.delete(entry);
  }

  /** Works off at most `limit` changed items; true if none is left. */
  settle(limit = Number.POSITIVE_INFINITY): boolean {
    let left = limit;
    for (let item = this.#dirty.pop(); item; item = this.#dirty.pop()) {
      item.dirty = false;
      this.#match(item);
      if (--left <= 0) break;
    }
    return this.#dirty.length === 0;
  }

  #match(item: Item<E, D>): void {
    const turn = ++this.#turn;
    const before = item.matches;
    const now = item.data === undefined ? NOTHING : this.#matching(item, turn);
    const { settled, data } = item;
    item.matches = now;
    item.settled = data;
    const changed = settled !== undefined && data !== undefined && !this.#same(settled, data);
    for (const entry of before) {
      if (entry.matched !== turn) this.#listener.stopped(entry, item, settled as D);
      else {
        entry.kept = turn;
        if (changed) this.#listener.replaced(entry, item, settled, data);
      }
    }
    for (const entry of now) if (entry.kept !== turn) this.#listener.started(entry, item, data as D);
  }

  #matching(item: Item<E, D>, turn: number): Entry<E, D>[] {
    const found = this.#found;
    found.length = 0;
    this.#lookUnder(item.pairs, item, turn);
    for (const parent of item.parents) this.#lookUnder(parent.pairs, item, turn);
    for (const entry of this.#anywhere) this.#look(entry, item, turn);
    return found.length === 0 ? NOTHING : found.slice();
  }

  #lookUnder(pairs: readonly Pair<E, D>[], item: Item<E, D>, turn: number): void {
    for (const pair of pairs) {
      if (pair.selectors !== undefined) this.#lookAt(pair.selectors, item, turn);
      if (pair.label.selectors !== undefined) this.#lookAt(pair.label.selectors, item, turn);
    }
  }

  #lookAt(entries: NonNullable<CompactSet<Entry<E, D>>>, item: Item<E, D>, turn: number): void {
    if (entries instanceof Entry) this.#look(entries, item, turn);
    else for (const entry of entries) this.#look(entry, item, turn);
  }

  #look(entry: Entry<E, D>, item: Item<E, D>, turn: number): void {
    if (entry.seen === turn) return;
    entry.seen = turn;
    if (!entry.selector.matches(item)) return;
    entry.matched = turn;
    this.#found.push(entry);
  }

  #unmatch(item: Item<E, D>, entry: Entry<E, D>): void {
    const at = item.matches.indexOf(entry);
    if (at < 0) return;
    item.matches[at] = item.matches[item.matches.length - 1];
    item.matches.pop();
    this.#listener.stopped(entry, item, item.settled as D);
  }

  /** Items that may match the selector, each once. */
  #eachCandidate(entry: Entry<E, D>, visit: (item: Item<E, D>) => void): void {
    const turn = ++this.#turn;
    const once = (item: Item<E, D>) => {
      if (item.seen === turn) return;
      item.seen = turn;
      visit(item);
    };
    if (entry.anywhere) this.#items.each(once);
    for (const pair of pairsOf(entry.homes))
      pair.carriers.each((carrier) => {
        if (carrier instanceof Item) once(carrier);
        else carrier.children.each(once);
      });
  }

  #file(entry: Entry<E, D>): void {
    const restrictions = restrictionsOf(entry.selector.root);
    if (isImpossible(restrictions)) return;
    let best: { name: string; restriction: Restriction; cost: number } | undefined;
    for (const [name, restriction] of restrictions) {
      const cost = this.#cost(name, restriction);
      if (!best || cost < best.cost) best = { name, restriction, cost };
    }
    if (!best) {
      entry.anywhere = true;
      this.#anywhere.add(entry);
      return;
    }
    const { name, restriction } = best;
    entry.homes =
      restriction === 'present'
        ? [this.#table.name(name)]
        : [...restriction].map((value) => this.#table.pair(name, value));
    for (const home of entry.homes) this.#table.file(home, entry);
  }

  /** How many looks filing under the restriction will cost, roughly: items that carry it, and selectors that are there already. */
  #cost(name: string, restriction: Restriction): number {
    const label = this.#table.find(name);
    if (!label) return 0;
    if (restriction === 'present') return label.carriers + sizeOf(label.selectors);
    let cost = 0;
    for (const value of restriction) {
      const pair = label.values.get(value);
      if (pair) cost += pair.carriers.size * weightOf(pair) + sizeOf(pair.selectors);
    }
    return cost;
  }

  #relabel(carrier: Carrier<E, D>, labels: readonly string[]): void {
    const before = carrier.pairs;
    const pairs = new Array<Pair<E, D>>(labels.length / 2);
    for (let i = 0; i < pairs.length; i++) pairs[i] = this.#table.pair(labels[2 * i], labels[2 * i + 1]);
    carrier.pairs = pairs;
    if (before.length === 0) {
      this.#table.carry(pairs, carrier);
      return;
    }
    // The new ones first: a pair that both have must not be forgotten in between.
    this.#table.carry(
      pairs.filter((pair) => !before.includes(pair)),
      carrier,
    );
    this.#table.drop(before.filter((pair) => !pairs.includes(pair)));
  }

  #adopt(item: Item<E, D>, names: readonly string[]): void {
    const before = item.parents;
    item.parents = this.#parentsOf(names);
    for (const parent of item.parents) {
      if (before.includes(parent)) continue;
      parent.children.add(item);
      if (parent.children.size === 1) this.#relabel(parent, parent.labels);
    }
    for (const parent of before) {
      if (item.parents.includes(parent)) continue;
      parent.children.leave((child) => child.parents.includes(parent));
      if (parent.children.size === 0) this.#relabel(parent, []);
      this.#forgetUnused(parent);
    }
  }

  #parentsOf(names: readonly string[]): readonly Parent<E, D>[] {
    if (names.length === 0) return NOTHING;
    const first = this.#parents.get(names[0]);
    for (const list of first?.lists ?? NOTHING)
      if (named(list, names) && list.every((parent) => parent.live)) return list;
    const parents = names.map((name) => this.#parents.get(name) ?? this.#newParent(name));
    if (parents[0].lists.length < MOST_LISTS) parents[0].lists.push(parents);
    return parents;
  }

  #newParent(name: string): Parent<E, D> {
    const parent = new Parent<E, D>(name);
    this.#parents.set(name, parent);
    return parent;
  }

  #forgetUnused(parent: Parent<E, D>): void {
    if (parent.children.size > 0 || parent.labels.length > 0) return;
    parent.live = false;
    this.#parents.delete(parent.name);
  }

  #mark(item: Item<E, D>): void {
    if (item.dirty) return;
    item.dirty = true;
    this.#dirty.push(item);
  }
}

function* pairsOf<E, D>(homes: readonly Home<E, D>[]): Iterable<Pair<E, D>> {
  for (const home of homes)
    if ('label' in home) yield home;
    else yield* home.values.values();
}

/** Children of the first carrier, if that is a parent: an estimate of what all of them have. */
function weightOf<E, D>(pair: Pair<E, D>): number {
  const carrier = pair.carriers.any;
  return carrier instanceof Parent ? carrier.children.size : 1;
}

function equalLabels<E, D>(pairs: readonly Pair<E, D>[], labels: readonly string[]): boolean {
  if (pairs.length * 2 !== labels.length) return false;
  for (const [i, { label, value }] of pairs.entries())
    if (label.name !== labels[2 * i] || value !== labels[2 * i + 1]) return false;
  return true;
}

function named<E, D>(parents: readonly Parent<E, D>[], names: readonly string[]): boolean {
  if (parents.length !== names.length) return false;
  for (let i = 0; i < names.length; i++) if (parents[i].name !== names[i]) return false;
  return true;
}

const equalFlat = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, i) => text === b[i]);
