import { type Family, OperationalError } from '#core';
import {
  type Chain,
  type ChainRule,
  type Hook,
  nftChain,
  type PrintedRule,
  printNftChain,
  type Table,
  verdictMap,
} from '#policy';
import type { Sliced } from '../../slices.ts';
import type { HookState, TableChange, TableState } from '../types.ts';
import { VERDICT_MAP, verdictElement, verdictKey } from './elements.ts';
import type { KernelRule } from './read.ts';
import { type BaseChain, Transaction } from './transaction.ts';

const PRIORITY: Record<Table, Readonly<Record<string, number>>> = {
  raw: { PREROUTING: -300, OUTPUT: -300 },
  mangle: { PREROUTING: -150, INPUT: -150, FORWARD: -150, OUTPUT: -150, POSTROUTING: -150 },
  nat: { PREROUTING: -100, OUTPUT: -100, INPUT: 100, POSTROUTING: 100 },
  filter: { INPUT: 0, FORWARD: 0, OUTPUT: 0 },
};
/** NF_INET_* */
const HOOK_NUMBER: Readonly<Record<string, number>> = {
  PREROUTING: 0,
  INPUT: 1,
  FORWARD: 2,
  OUTPUT: 3,
  POSTROUTING: 4,
};

/** The base chain that stands for a chain of the kernel in iptables, at the same place on a packet's way. */
function baseChain(table: Table, chain: string): BaseChain {
  const priority = PRIORITY[table][chain];
  if (priority === undefined) throw new OperationalError('VALIDATION', `table ${table} has no chain ${chain}`);
  const type = table === 'nat' ? 'nat' : table === 'mangle' && chain === 'OUTPUT' ? 'route' : 'filter';
  return { type, hook: HOOK_NUMBER[chain], priority };
}

interface Target {
  readonly name: string;
  readonly have: readonly (string | null)[] | undefined;
  readonly want: readonly PrintedRule[];
  readonly rules: readonly ChainRule[];
  readonly base?: BaseChain;
}
interface MapTarget {
  readonly name: string;
  readonly have: ReadonlyMap<string, string> | undefined;
  readonly want: ReadonlyMap<string, string>;
}

/** The steps of one change of a table. A rule whose hash stands in its place is not mentioned, so its counter survives. */
export class Plan {
  readonly after: TableState & { readonly maps: ReadonlyMap<string, ReadonlyMap<string, string>> };
  rules = 0;
  /** Chains of which a rule is replaced or deleted: only the kernel knows the handles. */
  readonly inner: string[] = [];
  readonly #family: Family;
  readonly #table: Table;
  readonly #targets: Target[] = [];
  readonly #maps: MapTarget[] = [];
  readonly #gone: string[] = [];
  readonly #goneMaps: string[] = [];

  constructor(family: Family, table: Table, { update, remove, hooks, base }: TableChange) {
    this.#family = family;
    this.#table = table;
    this.after = {
      chains: new Map(base.chains),
      hooks: new Map(base.hooks),
      lengths: new Map(base.lengths),
      maps: new Map(base.maps),
    };
    for (const chain of update) this.#updateChain(chain, base);
    if (hooks) this.#updateHooks(hooks, base);
    for (const name of remove) this.#remove(name);
    for (const { name, have, want } of this.#targets)
      if (have?.some((hash, i) => hash !== want[i]?.hash)) this.inner.push(name);
  }

  #updateChain(chain: Chain, base: TableState): void {
    const { name, rules } = chain;
    const want = printNftChain(this.#table, chain, this.#family);
    this.#targets.push({ name, have: base.chains.get(name), want, rules });
    put(
      this.after.chains,
      name,
      want.map((r) => r.hash),
    );
    const targets = verdictMap(chain);
    const have = base.maps?.get(name);
    if (targets) this.#maps.push({ name, have, want: targets });
    else if (have) this.#goneMaps.push(name);
    put(this.after.maps, name, targets);
  }

  #updateHooks(hooks: readonly Hook[], base: TableState): void {
    const wanted = hooks.filter((h) => h.table === this.#table);
    for (const { chain, insert, append } of wanted) {
      const rules = [...insert, ...append];
      const want = printNftChain(this.#table, { name: chain, rules }, this.#family);
      const have = base.hooks.get(chain)?.map((h) => h.hash);
      this.#targets.push({ name: chain, have, want, rules, base: baseChain(this.#table, chain) });
      put(
        this.after.hooks,
        chain,
        want.map(({ hash }, i): HookState => ({ position: i + 1, hash, spec: '' })),
      );
    }
    for (const chain of base.hooks.keys())
      if (!wanted.some((h) => h.chain === chain)) {
        put(this.after.hooks, chain, undefined);
        this.#gone.push(chain);
      }
  }

  #remove(name: string): void {
    if (!this.after.chains.has(name)) return;
    put(this.after.chains, name, undefined);
    this.#gone.push(name);
    if (this.after.maps.has(name)) this.#goneMaps.push(name);
    put(this.after.maps, name, undefined);
  }

  /** @param listed the rules of the `inner` chains as they are now */
  *transaction(listed: ReadonlyMap<string, readonly KernelRule[]>): Sliced<Transaction> {
    const t = new Transaction(this.#family);
    const kernel = (name: string) => nftChain(this.#table, name);
    if (this.#isEmpty) return t;
    t.addTable();
    for (const { name, have, base } of this.#targets) if (!have) t.addChain(kernel(name), base);
    for (const { name, have } of this.#maps) if (!have) t.addSet(kernel(name), VERDICT_MAP);
    for (const name of this.#gone) t.flushChain(kernel(name));
    for (const target of this.#targets) {
      this.#delta(t, target, this.#fresh(target, listed));
      yield;
    }
    for (const map of this.#maps) this.#mapDelta(t, map);
    for (const name of this.#goneMaps) t.deleteSet(kernel(name));
    for (const name of this.#gone) t.deleteChain(kernel(name));
    return t;
  }

  get #isEmpty(): boolean {
    const differs = ({ have, want }: Target) =>
      have?.length !== want.length || want.some(({ hash }, i) => hash !== have[i]);
    return (
      this.#gone.length + this.#goneMaps.length === 0 &&
      !this.#targets.some(differs) &&
      this.#maps.every(({ have, want }) => have && sameMap(have, want))
    );
  }

  #delta(t: Transaction, { name, have = [], want, rules }: Target, fresh: readonly KernelRule[]): void {
    const [table, chain] = [this.#table, nftChain(this.#table, name)];
    for (const [i, printed] of want.entries()) {
      if (have[i] === printed.hash) continue;
      const instead = i < have.length ? { instead: fresh[i].handle } : {};
      t.writeRule({ table, chain, name, rule: rules[i], printed, ...instead });
      this.rules++;
    }
    for (let i = want.length; i < have.length; i++) t.deleteRule(chain, fresh[i].handle);
    this.rules += Math.max(0, have.length - want.length);
  }

  #mapDelta(t: Transaction, { name, have = new Map(), want }: MapTarget): void {
    const kernel = nftChain(this.#table, name);
    const old = [...have].filter(([iface, chain]) => want.get(iface) !== chain);
    const fresh = [...want].filter(([iface, chain]) => have.get(iface) !== chain);
    t.deleteElements(
      kernel,
      old.map(([iface]) => verdictKey(iface)),
    );
    t.addElements(
      kernel,
      fresh.map(([iface, chain]) => verdictElement(this.#table, iface, chain)),
    );
    this.rules += old.length + fresh.length;
  }

  /** The chain's rules, if it still is what it was taken for. */
  #fresh({ name, have }: Target, listed: ReadonlyMap<string, readonly KernelRule[]>): readonly KernelRule[] {
    const now = listed.get(name);
    if (!now) return [];
    if (now.length === have?.length && now.every(({ hash }, i) => (hash ?? '') === (have[i] ?? ''))) return now;
    throw new OperationalError('EXEC', `chain ${name} of table ${this.#table} was changed by somebody else`);
  }
}

function put<V>(map: ReadonlyMap<string, V>, key: string, value: V | undefined): void {
  // Maps of `after` were made for it.
  if (value === undefined) (map as Map<string, V>).delete(key);
  else (map as Map<string, V>).set(key, value);
}

export function sameMap(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}
