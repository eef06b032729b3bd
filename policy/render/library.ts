import type { Family } from '#core';
import type { Budget } from '../budget.ts';
import type { Chain, ChainChange, Hook, Table } from '../types.ts';
import { TABLES } from '../types.ts';
import { DROP, rule } from './phrases.ts';
import { Standing } from './standing.ts';

export type HooksByFamily = Record<Family, readonly Hook[]>;

/** A chain that may be wanted. */
interface Entry {
  readonly deps: readonly unknown[] | undefined;
  readonly make: (table: Table) => Chain;
  readonly made: Partial<Record<Table, Chain>>;
  /** Declared again in each round, or gone at its end; undefined: until it is withdrawn. */
  round: number | undefined;
}

interface Shelf {
  readonly entries: Map<string, Entry>;
  /** Those of the entries that are to be declared again in each round. */
  readonly inRounds: Set<string>;
  /** Chains that were declared as one list, by their names, and the round of it. */
  readonly lists: Map<string, { readonly table: Table; readonly chains: ReadonlyMap<string, Chain>; round: number }>;
  readonly standing: Record<Table, Standing>;
  /** Names, with a table before or without, whose declaration is another one than when they were last looked at. */
  readonly touched: Set<string>;
}

/** What it costs to look at a declaration that has changed. */
const LOOK = 1 / 16;

/** Chains that may be wanted, by declarations, and those of them that stand: an unused policy is not programmed. */
export class Library {
  readonly #shelves: Record<Family, Shelf> = { 4: emptyShelf(), 6: emptyShelf() };
  readonly #memos = new Map<string, { deps: readonly unknown[]; value: unknown; round: number }>();
  #round = 0;

  /** Begins a round of declarations; what of an earlier round is not declared again is gone at its `end`. */
  begin(): void {
    this.#round++;
  }
  end(): void {
    for (const { entries, inRounds, lists, touched } of Object.values(this.#shelves)) {
      for (const key of inRounds)
        if (entries.get(key)!.round !== this.#round) {
          entries.delete(key);
          inRounds.delete(key);
          touched.add(key);
        }
      for (const [title, { table, chains, round }] of lists)
        if (round !== this.#round) {
          lists.delete(title);
          for (const name of chains.keys()) if (entries.delete(`${table} ${name}`)) touched.add(`${table} ${name}`);
        }
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

  /** Declares a list of chains of one table for this round; each is another one only if it is another object than in the round before. No other declaration has their names. */
  declareAll(table: Table, family: Family, title: string, list: readonly Chain[]): void {
    const { lists } = this.#shelves[family];
    const key = `${table} ${title}`;
    const before = lists.get(key)?.chains;
    const chains = new Map(list.map((chain) => [chain.name, chain]));
    for (const [name, chain] of chains) if (before?.get(name) !== chain) this.keepIn(table, family, name, () => chain);
    for (const name of before?.keys() ?? []) if (!chains.has(name)) this.withdraw(family, name, table);
    lists.set(key, { table, chains, round: this.#round });
  }
  /** Declares a chain of one table for this round; the same name may mean another chain elsewhere. */
  declareIn(table: Table, family: Family, deps: readonly unknown[], name: string, make: () => Chain): void {
    this.declare(family, `${table} ${name}`, deps, make);
  }
  /** Declares a chain of any table for this round, and what it is made from; it is made again only when one of those is another value. */
  declare(family: Family, name: string, deps: readonly unknown[], make: (table: Table) => Chain): void {
    const entry = this.#shelves[family].entries.get(name);
    if (entry?.round !== undefined && entry.deps && same(entry.deps, deps)) entry.round = this.#round;
    else this.#put(family, name, { deps, make, made: {}, round: this.#round });
  }
  /** Declares a chain of any table until it is withdrawn. */
  keep(family: Family, name: string, make: (table: Table) => Chain): void {
    this.#put(family, name, { deps: undefined, make, made: {}, round: undefined });
  }
  /** The same for a chain of one table. */
  keepIn(table: Table, family: Family, name: string, make: () => Chain): void {
    this.keep(family, `${table} ${name}`, make);
  }
  withdraw(family: Family, name: string, table?: Table): void {
    const { entries, inRounds, touched } = this.#shelves[family];
    const key = table ? `${table} ${name}` : name;
    inRounds.delete(key);
    if (entries.delete(key)) touched.add(key);
  }

  #put(family: Family, key: string, entry: Entry): void {
    const { entries, inRounds, touched } = this.#shelves[family];
    entries.set(key, entry);
    if (entry.round === undefined) inRounds.delete(key);
    else inRounds.add(key);
    touched.add(key);
  }

  /** What the kernel's chains lead to now. */
  lead(hooks: HooksByFamily): void {
    for (const family of [4, 6] as const)
      for (const table of TABLES) {
        const rules = hooks[family].filter((hook) => hook.table === table);
        this.#shelves[family].standing[table].lead(rules.flatMap(({ insert, append }) => [...insert, ...append]));
      }
  }
  /** Brings what stands up to date with the declarations; true if all is done. */
  settle(families: readonly Family[], budget: Budget): boolean {
    return families.every((family) => {
      const { touched, standing } = this.#shelves[family];
      for (const key of touched) {
        if (budget.left <= 0) return false;
        budget.left -= LOOK;
        touched.delete(key);
        const space = key.indexOf(' ');
        if (space >= 0) standing[key.slice(0, space) as Table].touch(key.slice(space + 1));
        else for (const table of TABLES) standing[table].touch(key);
      }
      return TABLES.every((table) => standing[table].settle(budget));
    });
  }
  /** What stands otherwise than at the last call; everything must be settled. */
  take(families: readonly Family[]): ChainChange[] {
    const changes: ChainChange[] = [];
    for (const family of families)
      for (const table of TABLES)
        for (const [name, chain] of this.#shelves[family].standing[table].take())
          changes.push({ table, family, name, chain });
    return changes;
  }
}

function emptyShelf(): Shelf {
  const entries = new Map<string, Entry>();
  const standing = (table: Table) => new Standing((name) => chainOf(entries, table, name));
  return {
    ...{ entries, inRounds: new Set(), lists: new Map() },
    standing: { raw: standing('raw'), mangle: standing('mangle'), nat: standing('nat'), filter: standing('filter') },
    touched: new Set(),
  };
}

/** A chain that nobody declared drops: what is missing is closed. */
function chainOf(entries: ReadonlyMap<string, Entry>, table: Table, name: string): Chain {
  const entry = entries.get(`${table} ${name}`) ?? entries.get(name);
  if (!entry) return { name, rules: [rule([], DROP, 'what should stand here is not known yet')] };
  entry.made[table] ??= entry.make(table);
  return entry.made[table];
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index]);
