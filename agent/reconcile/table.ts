import { Backoff, type Clock, type Family, hasCode, type Log, type Milliseconds, messageOf } from '#core';
import { type Chain, type Hook, setName, type Table } from '#policy';
import type { Failure, RuleBackend, TableState } from '../kernel/types.ts';
import { inSlices, type Sliced } from '../slices.ts';
import { closedForm, findRefused, type Refusal } from './refused.ts';

/** A chain that the kernel refused stays closed until it changes, or until this time has passed and it is tried again. */
const QUARANTINE_FIRST = 30_000;
const QUARANTINE_MOST = 600_000;
const RETRY_FIRST = 200;
const RETRY_MOST = 30_000;
/** A stranger who undoes our rules this often within the window is not a reload but a fight. */
const FIGHT_COUNT = 5;
const FIGHT_WINDOW = 60_000;

const NO_SETS: ReadonlyMap<string, string> = new Map();

/** What is to be written. */
interface Change {
  readonly update: readonly Chain[];
  readonly remove: readonly string[];
  readonly hooks: readonly Hook[] | undefined;
}

interface Quarantine {
  readonly refusal: Refusal;
  due: Milliseconds;
}

export interface TableOptions {
  readonly backend: RuleBackend;
  readonly family: Family;
  readonly table: Table;
  readonly clock: Clock;
  readonly log: Log;
}

export interface TableOutcome {
  readonly rules: number;
  readonly failures: readonly Failure[];
  readonly again?: Milliseconds;
}

/** One table of one family: desired chains and hooks against what the kernel holds. */
export class TableReconciler {
  readonly #o: TableOptions;
  readonly #desired = new Map<string, Chain>();
  #hooks: readonly Hook[] = [];
  #actual: TableState | undefined;
  readonly #dirty = new Set<string>();
  #hooksDirty = true;
  readonly #quarantine = new Map<string, Quarantine>();
  /** Waiting times of chains that are being tried again. */
  readonly #patience = new Map<string, Backoff>();
  #retry: { backoff: Backoff; due: Milliseconds; failure: Failure } | undefined;
  #unusable: ReadonlyMap<string, string> = NO_SETS;
  #foreign: Milliseconds[] = [];
  #fighting = false;

  constructor(options: TableOptions) {
    this.#o = options;
  }

  setChain(name: string, chain: Chain | null): void {
    if (chain === null) this.#desired.delete(name);
    else this.#desired.set(name, chain);
    this.#quarantine.delete(name);
    this.#patience.delete(name);
    this.#dirty.add(name);
    this.#retry = undefined;
  }
  setHooks(hooks: readonly Hook[]): void {
    this.#hooks = hooks.filter((h) => h.table === this.#o.table);
    this.#hooksDirty = true;
  }
  /** Sets that the kernel does not have as they should be, by their name there, with the reason: a chain that asks one is closed. */
  setUnusable(sets: ReadonlyMap<string, string>): void {
    if (sets.size === 0 && this.#unusable.size === 0) return;
    const before = this.#unusable;
    this.#unusable = sets;
    for (const [name, chain] of this.#desired)
      if (this.#askedOf(chain, before) !== this.#askedOf(chain, sets)) this.#dirty.add(name);
  }
  /** The kernel is read again at the next apply. */
  distrust(): void {
    this.#actual = undefined;
  }
  get chains(): number {
    return this.#desired.size;
  }
  get rules(): number {
    let count = 0;
    for (const chain of this.#desired.values()) count += chain.rules.length;
    return count;
  }
  get refusals(): readonly Refusal[] {
    const refused = [...this.#quarantine.values()].map((q) => q.refusal);
    return this.#unusable.size > 0 ? [...refused, ...this.#withoutSets()] : refused;
  }
  /** Somebody else keeps undoing our rules here. */
  get fighting(): boolean {
    return this.#fighting;
  }

  /** Whether nothing of ours is here that a stranger could change. */
  get isVacant(): boolean {
    return this.#desired.size === 0 && this.#hooks.length === 0;
  }
  /** Whether this, which was read once, is still what it takes the kernel to hold. */
  believes(state: TableState): boolean {
    return this.#actual === state;
  }
  /** Whether a stranger has changed what is ours, by what was read just now. */
  check(now: TableState): boolean {
    const { family, table, clock, log } = this.#o;
    if (this.isVacant) return false;
    const before = this.#actual;
    if (!before) {
      this.adopt(now);
      return false;
    }
    this.#actual = now;
    const changed = differences(before, now);
    if (changed.length === 0) return false;
    for (const name of changed) this.#dirty.add(name);
    this.#hooksDirty = true;
    const time = clock.now();
    this.#foreign = [...this.#foreign.filter((t) => time - t < FIGHT_WINDOW), time];
    this.#fighting = this.#foreign.length >= FIGHT_COUNT;
    const where = { family, table, chains: changed.slice(0, 10) };
    if (this.#fighting) log.error(where, 'somebody keeps changing our chains; they are repaired each time');
    else log.warn(where, 'somebody changed our chains; they are repaired');
    return true;
  }

  /** Takes what was read just now for what the kernel holds. */
  adopt(state: TableState): void {
    this.#actual = state;
    for (const name of this.#desired.keys()) this.#dirty.add(name);
    for (const name of state.chains.keys()) if (!this.#desired.has(name)) this.#dirty.add(name);
    this.#hooksDirty = true;
  }

  /** @param read gives the table as it is at the beginning of this pass; it is asked when what is there is not known */
  async apply(read: () => Promise<TableState>): Promise<TableOutcome> {
    const { clock } = this.#o;
    if (this.#retry && this.#retry.due > clock.now())
      return { rules: 0, failures: [this.#retry.failure], again: this.#retry.due - clock.now() };
    try {
      const rules = await this.#write(read);
      this.#retry = undefined;
      return { rules, failures: this.#refusedFailures(), ...this.#nextTrial() };
    } catch (error) {
      return this.#failed(error);
    }
  }

  #failed(error: unknown): TableOutcome {
    const { family, table, clock, log } = this.#o;
    const key = `${family === 4 ? 'ipv4' : 'ipv6'} ${table}`;
    const failure = { key, error: hasCode(error, 'TIMEOUT') ? 'TIMEOUT' : 'EXEC', detail: messageOf(error) };
    const backoff = this.#retry?.backoff ?? new Backoff(RETRY_FIRST, RETRY_MOST);
    const wait = backoff.next();
    this.#retry = { backoff, due: clock.now() + wait, failure };
    this.#actual = undefined;
    log.error({ family, table, error: messageOf(error) }, 'a table could not be written; it is tried again');
    return { rules: 0, failures: [failure, ...this.#refusedFailures()], again: wait };
  }

  #refusedFailures(): Failure[] {
    return this.refusals.map((r) => ({ key: r.owner, error: 'REFUSED', detail: `${r.chain}: ${r.rule}: ${r.error}` }));
  }
  #nextTrial(): { again?: Milliseconds } {
    const due = [...this.#quarantine.values()].map((q) => q.due - this.#o.clock.now());
    return due.length > 0 ? { again: Math.max(0, Math.min(...due)) } : {};
  }

  async #write(read: () => Promise<TableState>): Promise<number> {
    const { backend, family, table, clock } = this.#o;
    if (this.#actual === undefined) this.adopt(await read());
    const base = this.#actual!;
    this.#releaseDue();
    const change = await inSlices(clock, this.#change(base));
    if (!change) return 0;
    try {
      return await this.#commit(base, change);
    } catch (error) {
      if (hasCode(error, 'TIMEOUT')) throw error;
      // The table may have been changed under our hands: then the same write on what is there now is right.
      const now = (await backend.read(family))[table];
      const stale = differences(base, now).length > 0;
      this.adopt(now);
      if (stale) return this.#write(read);
      const after = await this.#quarantineRefused(now, change.update, error);
      const again = await inSlices(clock, this.#change(after));
      return again ? this.#commit(after, again) : 0;
    }
  }

  async #commit(base: TableState, { update, remove, hooks }: Change): Promise<number> {
    const { backend, family, table } = this.#o;
    const dirty = new Set(this.#dirty);
    const wanted = this.#hooks;
    this.#dirty.clear();
    this.#hooksDirty = false;
    try {
      const change = { update, remove, ...(hooks && { hooks }), base };
      const { rules, after } = await backend.write(family, table, change);
      // Who has ceased to trust it meanwhile wants it read.
      if (this.#actual === base) this.#actual = after;
      return rules;
    } catch (error) {
      for (const name of dirty) this.#dirty.add(name);
      this.#hooksDirty ||= hooks !== undefined || wanted !== this.#hooks;
      throw error;
    }
  }

  /** What differs from what the kernel holds; undefined: nothing. */
  *#change(actual: TableState): Sliced<Change | undefined> {
    const update: Chain[] = [];
    const remove: string[] = [];
    for (const name of this.#dirty) {
      yield;
      const want = this.#standing(name);
      if (!want) {
        if (actual.chains.has(name)) remove.push(name);
      } else if (this.#differs(want, actual)) update.push(want);
    }
    if (update.length === 0 && remove.length === 0 && !this.#hooksDirty) {
      this.#dirty.clear();
      return undefined;
    }
    return { update, remove, hooks: this.#hooksDirty ? this.#hooks : undefined };
  }

  /** The chain as it should stand now: as wanted, or closed. */
  #standing(name: string): Chain | undefined {
    const wanted = this.#desired.get(name);
    if (!wanted) return undefined;
    return this.#quarantine.has(name) || this.#askedOf(wanted, this.#unusable) ? closedForm(wanted) : wanted;
  }
  /** The first of the sets that the chain asks. */
  #askedOf(chain: Chain, sets: ReadonlyMap<string, string>): string | undefined {
    if (sets.size === 0) return undefined;
    for (const { match } of chain.rules)
      for (const m of match) if ('set' in m && sets.has(setName(this.#o.family, m.set))) return m.set;
    return undefined;
  }
  *#withoutSets(): IterableIterator<Refusal> {
    for (const [name, chain] of this.#desired) {
      const set = this.#askedOf(chain, this.#unusable);
      if (set === undefined || this.#quarantine.has(name)) continue;
      const error = this.#unusable.get(setName(this.#o.family, set))!;
      yield { chain: name, rule: `set ${set}`, owner: chain.owner ?? name, error };
    }
  }

  #differs(chain: Chain, actual: TableState): boolean {
    const { backend, family, table } = this.#o;
    try {
      return !backend.holds(family, table, chain, actual);
    } catch {
      // It cannot be printed: the write will say so, by name.
      return true;
    }
  }

  /** Resolves with what the kernel holds afterwards. */
  async #quarantineRefused(base: TableState, update: readonly Chain[], error: unknown): Promise<TableState> {
    const { backend, family, table, clock, log } = this.#o;
    const found = await findRefused(backend, family, table, base, update);
    if (!found) throw error;
    this.adopt(found.base);
    // Every chain alone is fine: the write failed for another reason, and is tried again.
    if (found.refused.size === 0) throw error;
    for (const [chain, refusal] of found.refused) {
      const patience = this.#patience.get(chain.name) ?? new Backoff(QUARANTINE_FIRST, QUARANTINE_MOST);
      this.#patience.set(chain.name, patience);
      this.#quarantine.set(chain.name, { refusal, due: clock.now() + patience.next() });
      log.error(
        { family, table, ...refusal },
        'the kernel refuses a rule; its owner is closed, everything else goes on',
      );
    }
    return found.base;
  }

  /** Chains whose time has come are wanted as they are again; if they are still refused, the write finds them again. */
  #releaseDue(): void {
    for (const [name, quarantine] of this.#quarantine)
      if (quarantine.due <= this.#o.clock.now()) {
        this.#quarantine.delete(name);
        this.#dirty.add(name);
      }
  }
}

/** Names of chains of ours, and of kernel chains that hold our hooks, which are not the same in both. */
export function differences(a: TableState, b: TableState): string[] {
  const out: string[] = [];
  for (const name of new Set([...a.chains.keys(), ...b.chains.keys()])) {
    const [x, y] = [a.chains.get(name), b.chains.get(name)];
    if (!x || !y || x.length !== y.length || x.some((hash, i) => hash !== y[i])) out.push(name);
  }
  for (const name of new Set([...(a.maps?.keys() ?? []), ...(b.maps?.keys() ?? [])]))
    if (JSON.stringify(entries(a, name)) !== JSON.stringify(entries(b, name))) out.push(name);
  for (const name of new Set([...a.hooks.keys(), ...b.hooks.keys()]))
    if (JSON.stringify(places(a, name)) !== JSON.stringify(places(b, name))) out.push(name);
  return out;
}

const entries = (state: TableState, name: string): unknown => [...(state.maps?.get(name) ?? [])].sort();

/** Where our rules stand, counted from the nearer end, so that a stranger's rule between them is no difference. */
function places(state: TableState, chain: string): unknown {
  const length = state.lengths.get(chain) ?? 0;
  return (state.hooks.get(chain) ?? []).map(({ position, hash }, i) => [
    hash,
    position === i + 1 ? position : position - length,
  ]);
}
