import type { Family } from '#core';
import type { Chain, ChainChange, ChainRule, Hook, Table } from '../types.ts';
import { TABLES } from '../types.ts';
import { DROP, rule } from './phrases.ts';

export type HooksByFamily = Record<Family, readonly Hook[]>;

/** A chain that may be wanted. */
interface Entry {
  readonly deps: readonly unknown[] | undefined;
  readonly make: (table: Table) => Chain;
  readonly made: Map<Table, Chain>;
  /** Declared again in each round, or gone at its end; undefined: until it is withdrawn. */
  round: number | undefined;
}

/** A chain that something leads to. */
interface Standing {
  chain: Chain;
  /** Hooks and chains that lead here. */
  references: number;
}

interface Shelf {
  readonly family: Family;
  readonly entries: Map<string, Entry>;
  readonly standing: Record<Table, Map<string, Standing>>;
  roots: Record<Table, readonly string[]>;
  /** Names, with a table before or without, whose declaration is another one than at the last settlement. */
  readonly touched: Set<string>;
}

/**
 * Chains that may be wanted, each made when a rule first leads to it, and counted: what nothing leads to any more is gone, so an unused
 * policy is not programmed. A settlement costs what has changed and what that leads to, not what there is. Chains lead only
 * downwards (hook, dispatch, endpoint, group, policy, verdict), so a count is enough.
 */
export class Library {
  readonly #shelves: Record<Family, Shelf> = { 4: emptyShelf(4), 6: emptyShelf(6) };
  readonly #memos = new Map<string, { deps: readonly unknown[]; value: unknown; round: number }>();
  #round = 0;

  /** Begins a round of declarations; what of an earlier round is not declared again is gone at its `end`. */
  begin(): void {
    this.#round++;
  }
  end(): void {
    for (const { entries, touched } of Object.values(this.#shelves))
      for (const [key, entry] of entries)
        if (entry.round !== undefined && entry.round !== this.#round) {
          entries.delete(key);
          touched.add(key);
        }
    for (const [name, memo] of this.#memos) if (memo.round !== this.#round) this.#memos.delete(name);
  }

  /** A value that is made anew only when something that it is made from is another value; `make` is given the value before. */
  memo<T>(name: string, deps: readonly unknown[], make: (before: T | undefined) => T): T {
    const memo = this.#memos.get(name);
    if (memo && same(memo.deps, deps)) {
      memo.round = this.#round;
      return memo.value as T;
    }
    const value = make(memo?.value as T | undefined);
    this.#memos.set(name, { deps, value, round: this.#round });
    return value;
  }

  /** Declares chains of one table for this round; each is another one only if it is another object. */
  declareAll(table: Table, family: Family, chains: readonly Chain[]): void {
    const { entries } = this.#shelves[family];
    for (const chain of chains) {
      const entry = entries.get(`${table} ${chain.name}`);
      if (entry?.round !== undefined && entry.deps?.length === 1 && entry.deps[0] === chain) entry.round = this.#round;
      else this.declareIn(table, family, [chain], chain.name, () => chain);
    }
  }
  /** Declares a chain of one table for this round; the same name may mean another chain elsewhere. */
  declareIn(table: Table, family: Family, deps: readonly unknown[], name: string, make: () => Chain): void {
    this.declare(family, `${table} ${name}`, deps, make);
  }
  /** Declares a chain of any table for this round, and what it is made from; it is made again only when one of those is another value. */
  declare(family: Family, name: string, deps: readonly unknown[], make: (table: Table) => Chain): void {
    const entry = this.#shelves[family].entries.get(name);
    if (entry?.round !== undefined && entry.deps && same(entry.deps, deps)) entry.round = this.#round;
    else this.#put(family, name, { deps, make, made: new Map(), round: this.#round });
  }
  /** Declares a chain of any table until it is withdrawn. */
  keep(family: Family, name: string, make: (table: Table) => Chain): void {
    this.#put(family, name, { deps: undefined, make, made: new Map(), round: undefined });
  }
  /** The same for a chain of one table. */
  keepIn(table: Table, family: Family, name: string, make: () => Chain): void {
    this.keep(family, `${table} ${name}`, make);
  }
  withdraw(family: Family, name: string, table?: Table): void {
    const { entries, touched } = this.#shelves[family];
    const key = table ? `${table} ${name}` : name;
    if (entries.delete(key)) touched.add(key);
  }

  #put(family: Family, key: string, entry: Entry): void {
    this.#shelves[family].entries.set(key, entry);
    this.#shelves[family].touched.add(key);
  }

  /** What differs from the settlement before, in what the hooks lead to; the hooks themselves if they are other ones. */
  settle(families: readonly Family[], hooks: HooksByFamily | undefined): ChainChange[] {
    return families.flatMap((family) => {
      const shelf = this.#shelves[family];
      const changes = TABLES.flatMap((table) => new Settlement(shelf, table).run(hooks?.[family]));
      shelf.touched.clear();
      return changes;
    });
  }
}

const emptyShelf = (family: Family): Shelf => ({
  family,
  entries: new Map(),
  standing: { raw: new Map(), mangle: new Map(), nat: new Map(), filter: new Map() },
  roots: { raw: [], mangle: [], nat: [], filter: [] },
  touched: new Set(),
});

/** One table of one family brought up to date. */
class Settlement {
  readonly #shelf: Shelf;
  readonly #table: Table;
  readonly #standing: Map<string, Standing>;
  /** What stood under the names that were looked at, before. */
  readonly #before = new Map<string, Chain | undefined>();
  /** Names that something stopped leading to. */
  readonly #left = new Set<string>();

  constructor(shelf: Shelf, table: Table) {
    this.#shelf = shelf;
    this.#table = table;
    this.#standing = shelf.standing[table];
  }

  run(hooks: readonly Hook[] | undefined): ChainChange[] {
    if (hooks) this.#lead(hooks);
    for (const key of this.#shelf.touched) {
      const space = key.indexOf(' ');
      if (space < 0) this.#refresh(key);
      else if (key.slice(0, space) === this.#table) this.#refresh(key.slice(space + 1));
    }
    // What is dropped leaves others: the set grows while it is walked, and a name that is left again comes again.
    for (const name of this.#left) {
      this.#left.delete(name);
      this.#drop(name);
    }
    return [...this.#before].flatMap(([name, before]) => this.#difference(name, before));
  }

  #lead(hooks: readonly Hook[]): void {
    const roots = hooks
      .filter((hook) => hook.table === this.#table)
      .flatMap((hook) => [...hook.insert, ...hook.append])
      .flatMap(targetsOf);
    for (const name of roots) this.#reach(name);
    for (const name of this.#shelf.roots[this.#table]) this.#leave(name);
    this.#shelf.roots[this.#table] = roots;
  }

  #reach(name: string): void {
    const known = this.#standing.get(name);
    if (known) {
      known.references++;
      return;
    }
    const chain = this.#chain(name);
    this.#remember(name, undefined);
    this.#standing.set(name, { chain, references: 1 });
    for (const target of referencesOf(chain)) this.#reach(target);
  }

  #leave(name: string): void {
    const known = this.#standing.get(name)!;
    if (--known.references === 0) this.#left.add(name);
  }

  #refresh(name: string): void {
    const known = this.#standing.get(name);
    if (!known) return;
    const chain = this.#chain(name);
    if (chain === known.chain) return;
    const old = known.chain;
    this.#remember(name, old);
    known.chain = chain;
    for (const target of referencesOf(chain)) this.#reach(target);
    for (const target of referencesOf(old)) this.#leave(target);
  }

  #drop(name: string): void {
    const known = this.#standing.get(name);
    if (!known || known.references > 0) return;
    this.#remember(name, known.chain);
    this.#standing.delete(name);
    for (const target of referencesOf(known.chain)) this.#leave(target);
  }

  #remember(name: string, chain: Chain | undefined): void {
    if (!this.#before.has(name)) this.#before.set(name, chain);
  }

  #difference(name: string, before: Chain | undefined): ChainChange[] {
    const now = this.#standing.get(name);
    const place = { table: this.#table, family: this.#shelf.family, name };
    if (!now) return before ? [{ ...place, chain: null }] : [];
    if (!before || !sameChain(before, now.chain)) return [{ ...place, chain: now.chain }];
    return [];
  }

  /** A chain that nobody declared drops: what is missing is closed. */
  #chain(name: string): Chain {
    const { entries } = this.#shelf;
    const entry = entries.get(`${this.#table} ${name}`) ?? entries.get(name);
    if (!entry) return { name, rules: [rule([], DROP, 'what should stand here is not known yet')] };
    let chain = entry.made.get(this.#table);
    if (!chain) {
      chain = entry.make(this.#table);
      entry.made.set(this.#table, chain);
    }
    return chain;
  }
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index]);

/** Maps as lists, so that JSON tells two of them apart. */
export const plain = (_: string, value: unknown): unknown => (value instanceof Map ? [...value] : value);

function sameChain(a: Chain, b: Chain): boolean {
  if (a === b) return true;
  if (a.rules.length !== b.rules.length || a.owner !== b.owner) return false;
  return JSON.stringify(a.rules, plain) === JSON.stringify(b.rules, plain);
}

function targetsOf({ action }: ChainRule): string[] {
  if (action.do === 'jump' || action.do === 'goto') return [action.chain];
  return action.do === 'map' ? [...action.targets.values()] : [];
}

const references = new WeakMap<Chain, string[]>();
/** Names of the chains that a chain leads to, each once. */
function referencesOf(chain: Chain): string[] {
  let found = references.get(chain);
  if (!found) {
    found = [...new Set(chain.rules.flatMap(targetsOf))];
    references.set(chain, found);
  }
  return found;
}
