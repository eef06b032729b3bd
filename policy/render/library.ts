import type { Family } from '#core';
import type { Chain, ChainRule, Hook, Table } from '../types.ts';
import { DROP, rule } from './phrases.ts';

interface Entry {
  deps: readonly unknown[];
  make: (table: Table) => Chain;
  readonly made: Map<Table, Chain>;
  round: number;
}

/**
 * Chains that may be wanted, each made when a rule first leads to it. What nothing leads to is never rendered, so an unused policy is
 * not programmed; what a chain was made from is kept beside it, so what did not change is the same object as before.
 */
export class Library {
  readonly #entries: Record<Family, Map<string, Entry>> = { 4: new Map(), 6: new Map() };
  readonly #memos = new Map<string, { deps: readonly unknown[]; value: unknown; round: number }>();
  #round = 0;

  /** Begins a round of declarations; what is not declared again is gone at its `end`. */
  begin(): void {
    this.#round++;
  }
  end(): void {
    for (const entries of Object.values(this.#entries))
      for (const [name, entry] of entries) if (entry.round !== this.#round) entries.delete(name);
    for (const [name, memo] of this.#memos) if (memo.round !== this.#round) this.#memos.delete(name);
  }

  /** A value that is made anew only when something that it is made from is another value. */
  memo<T>(name: string, deps: readonly unknown[], make: () => T): T {
    const memo = this.#memos.get(name);
    if (memo && same(memo.deps, deps)) {
      memo.round = this.#round;
      return memo.value as T;
    }
    const value = make();
    this.#memos.set(name, { deps, value, round: this.#round });
    return value;
  }

  /** Declares a chain of one table; the same name may mean another chain elsewhere. */
  declareIn(table: Table, family: Family, deps: readonly unknown[], name: string, make: () => Chain): void {
    this.declare(family, `${table} ${name}`, deps, make);
  }
  /** Declares a chain of any table, and what it is made from; it is made again only when one of those is another value. */
  declare(family: Family, name: string, deps: readonly unknown[], make: (table: Table) => Chain): void {
    const entries = this.#entries[family];
    const entry = entries.get(name);
    if (!entry) entries.set(name, { deps, make, made: new Map(), round: this.#round });
    else {
      entry.round = this.#round;
      if (same(entry.deps, deps)) return;
      entry.deps = deps;
      entry.make = make;
      entry.made.clear();
    }
  }

  /** Every chain that the hooks lead to. A chain that nobody declared drops: what is missing is closed. */
  reach(family: Family, table: Table, hooks: readonly Hook[]): Map<string, Chain> {
    const reached = new Map<string, Chain>();
    const waiting = hooks
      .filter((hook) => hook.table === table)
      .flatMap((hook) => [...hook.insert, ...hook.append])
      .flatMap(targetsOf);
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (reached.has(name)) continue;
      const chain = this.#chain(family, table, name);
      reached.set(name, chain);
      for (const target of referencesOf(chain)) if (!reached.has(target)) waiting.push(target);
    }
    return reached;
  }

  #chain(family: Family, table: Table, name: string): Chain {
    const entry = this.#entries[family].get(`${table} ${name}`) ?? this.#entries[family].get(name);
    if (!entry) return missing(name);
    let chain = entry.made.get(table);
    if (!chain) {
      chain = entry.make(table);
      entry.made.set(table, chain);
    }
    return chain;
  }
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index]);

const missing = (name: string): Chain => ({
  name,
  rules: [rule([], DROP, 'what should stand here is not known yet')],
});

function targetsOf({ action }: ChainRule): string[] {
  if (action.do === 'jump' || action.do === 'goto') return [action.chain];
  return action.do === 'map' ? [...action.targets.values()] : [];
}

const references = new WeakMap<Chain, string[]>();
/** Names of the chains that a chain leads to. */
export function referencesOf(chain: Chain): string[] {
  let found = references.get(chain);
  if (!found) {
    found = [...new Set(chain.rules.flatMap(targetsOf))];
    references.set(chain, found);
  }
  return found;
}
