import { added, type CompactSet, removed } from './compact-set.ts';
import { Crowd } from './crowd.ts';
import type { Entry, Item, Parent } from './item.ts';

/** Who has a label: an item itself, or a parent, for all its children. */
export type Carrier<E, D> = Item<E, D> | Parent<E, D>;

/** A label name that some carrier has or some selector asks for. */
export interface LabelName<E, D> {
  readonly name: string;
  readonly values: Map<string, Pair<E, D>>;
  /** How many (carrier, value) there are under this name. */
  carriers: number;
  /** Selectors filed here: they need the label to be present. */
  selectors: CompactSet<Entry<E, D>>;
}

/** A name with a value, once for all who share it: an item's labels are an array of these. */
export interface Pair<E, D> {
  readonly label: LabelName<E, D>;
  readonly value: string;
  readonly carriers: Crowd<Carrier<E, D>>;
  /** Selectors filed here: they need the label to have this value (or one of several). */
  selectors: CompactSet<Entry<E, D>>;
}

/** Interns names and pairs, and forgets those that nobody has and nobody asks for. */
export class LabelTable<E, D> {
  readonly #names = new Map<string, LabelName<E, D>>();

  get size(): number {
    return this.#names.size;
  }

  find(name: string): LabelName<E, D> | undefined {
    return this.#names.get(name);
  }

  name(name: string): LabelName<E, D> {
    let found = this.#names.get(name);
    if (!found) {
      found = { name, values: new Map(), carriers: 0, selectors: undefined };
      this.#names.set(name, found);
    }
    return found;
  }

  pair(name: string, value: string): Pair<E, D> {
    const label = this.name(name);
    let found = label.values.get(value);
    if (!found) {
      found = { label, value, carriers: new Crowd(), selectors: undefined };
      label.values.set(value, found);
    }
    return found;
  }

  carry(pairs: readonly Pair<E, D>[], carrier: Carrier<E, D>): void {
    for (const pair of pairs) {
      pair.carriers.add(carrier);
      pair.label.carriers++;
    }
  }

  /** The pairs have lost a carrier, whose pairs they are no longer. */
  drop(pairs: readonly Pair<E, D>[]): void {
    for (const pair of pairs) {
      pair.carriers.leave((carrier) => carrier.pairs.includes(pair));
      pair.label.carriers--;
      this.forgetUnused(pair);
    }
  }

  file(at: Pair<E, D> | LabelName<E, D>, entry: Entry<E, D>): void {
    at.selectors = added(at.selectors, entry);
  }

  unfile(at: Pair<E, D> | LabelName<E, D>, entry: Entry<E, D>): void {
    at.selectors = removed(at.selectors, entry);
    if ('label' in at) this.forgetUnused(at);
    else this.#forgetName(at);
  }

  forgetUnused(pair: Pair<E, D>): void {
    if (pair.carriers.size > 0 || pair.selectors !== undefined) return;
    pair.label.values.delete(pair.value);
    this.#forgetName(pair.label);
  }

  #forgetName(label: LabelName<E, D>): void {
    if (label.values.size === 0 && label.selectors === undefined) this.#names.delete(label.name);
  }
}
