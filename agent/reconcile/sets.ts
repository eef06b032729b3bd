import { Backoff, type Clock, type Family, hasCode, type Log, type Metrics, type Milliseconds, messageOf } from '#core';
import { type SetChange, type SetId, type SetType, setName } from '#policy';
import type { Failure, SetBackend, SetState } from '../kernel/types.ts';
import { atOnce, forEach, inSlices, type Sliced } from '../slices.ts';
import { Members } from './members.ts';
import { LARGE, SetLook } from './set-look.ts';
import { type Composed, compose, type Tracked } from './set-writes.ts';

export interface SetReconcilerOptions {
  readonly backend: SetBackend;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly maxElements: number;
  /** Sets destroyed per `applyDeletes`: one costs the kernel about 40 ms. */
  readonly destroysPerPass?: number;
}

export interface SetOutcome {
  readonly written: number;
  readonly failures: readonly Failure[];
  /** Sets still to destroy: come back after this time. */
  readonly again?: Milliseconds;
}

/**
 * So many members are written at once, and sets: on older kernels one that is replaced takes 40 ms, and the backend does not wait for ever.
 */
const BATCH_MEMBERS = 100_000;
const BATCH_SETS = 500;
const DESTROYS = 5;
const DESTROY_PAUSE = 100;

/** Makes the kernel's sets exactly the desired ones: made and filled before the chains that use them, destroyed after (I1). */
export class SetReconciler {
  readonly #o: SetReconcilerOptions;
  readonly #desired = new Map<string, Tracked>();
  /** Sets of ours in the kernel that nobody wants. */
  readonly #unwanted = new Set<string>();
  /** Those that the kernel does not give up: a rule that is not ours uses them. */
  readonly #stuck = new Map<string, { backoff: Backoff; due: Milliseconds; failure: Failure }>();
  readonly #look = new SetLook(this.#desired);
  /** Wanted sets that may differ from the kernel's. */
  readonly #dirty = new Set<string>();
  /** Those that rules may not ask yet. */
  readonly #unasked = new Set<string>();
  /** Those that keep members that nobody wants until rules have changed. */
  readonly #keeping = new Set<string>();
  readonly #failed = new Map<string, { backoff: Backoff; due: Milliseconds; failure: Failure; isTooLarge: boolean }>();
  #readNeeded = true;
  /** Names of our sets in the kernel, as far as is known. */
  #present = new Set<string>();
  #maxElements: number;
  readonly #counters;
  /** Reading and writing take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SetReconcilerOptions) {
    this.#o = options;
    this.#maxElements = options.maxElements;
    this.#counters = declareMetrics(options.metrics, this);
  }

  /** What policy says has changed. */
  update(changes: readonly SetChange[]): void {
    atOnce(this.updating(changes));
  }
  /** The same, to be done in slices; nothing may be applied meanwhile. */
  *updating(changes: readonly SetChange[]): Sliced {
    for (const { id, type, family, members, owner, other } of changes) {
      const name = setName(family, id);
      if (members === null) {
        this.#desired.delete(name);
        this.#failed.delete(name);
        this.#dirty.delete(name);
        if (this.#present.has(name)) this.#unwanted.add(name);
        continue;
      }
      const set = this.#track(name, type, family, owner, other);
      // It is another set now: it need not wait for the next try.
      const failed = this.#failed.get(name);
      if (failed) failed.due = 0;
      if (!set.members.begin(members.added)) {
        yield* forEach(members.removed, (member) => set.members.remove(member));
        yield* forEach(members.added, (member) => set.members.add(member));
      }
      yield;
    }
  }
  setMaxElements(count: number): void {
    if (count === this.#maxElements) return;
    this.#maxElements = count;
    for (const name of this.#desired.keys()) this.#dirty.add(name);
  }

  #track(name: string, type: SetType, family: Family, owner: string, otherId: SetId | undefined): Tracked {
    this.#dirty.add(name);
    const known = this.#desired.get(name);
    if (known?.type === type) {
      known.owner = owner;
      return known;
    }
    // What was not there when all was read, and was not made since, need not be asked for.
    const unread = this.#readNeeded || this.#present.has(name);
    const other = otherId === undefined ? undefined : setName(family, otherId);
    const fresh: Tracked = { type, family, owner, other, members: new Members(), actual: undefined, unread };
    this.#desired.set(name, fresh);
    this.#unasked.add(name);
    this.#unwanted.delete(name);
    return fresh;
  }

  /** Kernel state is not trusted any more; the next apply reads it again. */
  resync(): void {
    this.#readNeeded = true;
  }

  /**
   * Whether the kernel's sets look as we left them, by name, type and number of members, and, some sets each time, by the members themselves;
   * asks for a resync if not.
   * @param onTurn when what was being written before has ended
   */
  check(onTurn?: () => void): Promise<boolean> {
    return this.#inTurn(() => this.#check(onTurn));
  }
  /**
   * Makes missing sets, repairs and updates the others. A set that the kernel refuses harms only itself. What leaves a set may be covered by what comes into
   * its other one: until rules ask that it stays, or what is a member all the time would be none for a moment (I1).
   */
  applyUpdates(): Promise<SetOutcome> {
    return this.#inTurn(async () => {
      if (this.#readNeeded) await this.#read();
      return this.#write(this.#dirty);
    });
  }
  /** The rules ask the sets as they are: takes out what `applyUpdates` kept. */
  applyRemovals(): Promise<SetOutcome> {
    return this.#inTurn(async () => {
      this.#unasked.clear();
      const kept = [...this.#keeping];
      this.#keeping.clear();
      return this.#write(kept);
    });
  }
  /** Destroys what nobody wants, a few at a time. */
  applyDeletes(): Promise<SetOutcome> {
    return this.#inTurn(() => this.#applyDeletes());
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #check(onTurn?: () => void): Promise<boolean> {
    onTurn?.();
    if (this.#readNeeded) return true;
    const states = await this.#o.backend.list();
    const right = await inSlices(this.#o.clock, this.#look.looksRight(states));
    const same = right && (await this.#compare());
    if (!same) this.resync();
    return same;
  }

  /** A member exchanged for another leaves the number as it was. */
  async #compare(): Promise<boolean> {
    const names = this.#look.nextToCompare();
    if (names.length === 0) return true;
    const gone = new Set(names);
    let same = true;
    await this.#o.backend.members(names, (name, members) => {
      gone.delete(name);
      same &&= this.#desired.get(name)?.members.matches(members) ?? true;
    });
    return same && ![...gone].some((name) => this.#desired.has(name));
  }
  async #write(names: Iterable<string>): Promise<SetOutcome> {
    const failures: Failure[] = [];
    const ready = new Map<string, Tracked>();
    for (const name of names) {
      const want = this.#desired.get(name);
      const failed = this.#failed.get(name);
      if (failed && failed.due > this.#o.clock.now()) failures.push(failed.failure);
      else if (want) ready.set(name, want);
    }
    await this.#readThose([...ready].filter(([, set]) => set.unread));
    let written = 0;
    for (const rest = ready.entries(); ; ) {
      const batch = await inSlices(this.#o.clock, this.#nextBatch(rest, failures));
      if (batch.length === 0) break;
      written += await this.#writeBatch(batch, failures);
    }
    this.#counters.written.inc(written);
    const due = [...this.#failed.values()].map((f) => f.due - this.#o.clock.now());
    return { written, failures, ...(due.length > 0 && { again: Math.max(0, Math.min(...due)) }) };
  }

  /** What is to be written next, each as it is now, and what is true when it was. Empty: nothing more. */
  *#nextBatch(rest: Iterator<[string, Tracked]>, failures: Failure[]): Sliced<Composed[]> {
    const batch: Composed[] = [];
    let size = 0;
    while (batch.length < BATCH_SETS && size < BATCH_MEMBERS) {
      const next = rest.next();
      if (next.done) break;
      const composed = yield* this.#compose(...next.value, failures);
      if (composed) batch.push(composed);
      size += composed?.size ?? 0;
      yield;
    }
    return batch;
  }
  *#compose(name: string, set: Tracked, failures: Failure[]): Sliced<Composed | undefined> {
    // It may have been given up since, or become another one.
    if (this.#desired.get(name) !== set) return undefined;
    // A change that arrives while it is written makes it dirty again.
    this.#dirty.delete(name);
    const count = set.members.desired.size;
    if (count > this.#maxElements) {
      const error = new RangeError(`${count} members; maxIpsetSize is ${this.#maxElements}`);
      failures.push(this.#fail(name, set.owner, error));
      return undefined;
    }
    const keeps = this.#keeps(set);
    if (keeps && set.members.extra.size > 0) this.#keeping.add(name);
    const composed = yield* compose(name, set, this.#maxElements, keeps);
    if (!composed) this.#failed.delete(name);
    return composed;
  }
  /** Whether something comes into the other one, or rules may not ask that yet. */
  #keeps({ other = '' }: Tracked): boolean {
    const members = this.#desired.get(other)?.members;
    return (
      members !== undefined && (this.#unasked.has(other) || members.inKernel === undefined || members.missing.size > 0)
    );
  }

  /**
   * All at once; if that is refused as a whole, by halves, so that a set that the kernel refuses harms only itself, and is found soon among ten
   * thousand. What does not end is not begun again for each.
   */
  async #writeBatch(batch: readonly Composed[], failures: Failure[]): Promise<number> {
    let refused: ReadonlyMap<string, unknown>;
    try {
      const found = await this.#o.backend.write(batch.map(({ write }) => write));
      refused = new Map(found.map(({ key, detail }) => [key, detail]));
    } catch (error) {
      if (batch.length > 1 && !hasCode(error, 'TIMEOUT')) {
        const half = batch.length >> 1;
        const first = await this.#writeBatch(batch.slice(0, half), failures);
        return first + (await this.#writeBatch(batch.slice(half), failures));
      }
      refused = new Map(batch.map(({ write }) => [write.name, error]));
    }
    return inSlices(this.#o.clock, this.#settle(batch, refused, failures));
  }
  /** What is true when the batch was written; how much that was. */
  *#settle(batch: readonly Composed[], refused: ReadonlyMap<string, unknown>, failures: Failure[]): Sliced<number> {
    let written = 0;
    for (const { write, set, size, done } of batch) {
      const { name } = write;
      this.#present.add(name);
      if (refused.has(name)) {
        failures.push(this.#fail(name, set.owner, refused.get(name)));
        continue;
      }
      yield* done();
      written += size;
      // It may have been given up while it was written.
      if (!this.#desired.has(name)) this.#unwanted.add(name);
      this.#failed.delete(name);
      yield;
    }
    return written;
  }

  async #applyDeletes(): Promise<SetOutcome> {
    if (this.#readNeeded) await this.#read();
    const time = this.#o.clock.now();
    const ready = [...this.#unwanted].filter((name) => (this.#stuck.get(name)?.due ?? 0) <= time);
    const now = ready.slice(0, this.#o.destroysPerPass ?? DESTROYS);
    let destroyed = 0;
    for (const name of now)
      try {
        await this.#o.backend.destroy(name);
        this.#unwanted.delete(name);
        this.#present.delete(name);
        this.#stuck.delete(name);
        destroyed++;
      } catch (error) {
        await this.#stick(name, messageOf(error));
      }
    for (const name of this.#stuck.keys()) if (!this.#unwanted.has(name)) this.#stuck.delete(name);
    const due = [...this.#stuck.values()].map((s) => Math.max(0, s.due - time));
    if (ready.length > now.length) due.push(DESTROY_PAUSE);
    // What stays too long harms nobody: it is told by `problems` and fails no pass.
    return { written: destroyed, failures: [], ...(due.length > 0 && { again: Math.min(...due) }) };
  }

  /** It may be gone already; else it is tried again, ever later, and nothing else waits for it. */
  async #stick(name: string, detail: string): Promise<void> {
    if (!(await this.#o.backend.list()).some((state) => state.name === name)) {
      this.#unwanted.delete(name);
      this.#present.delete(name);
      return;
    }
    const backoff = this.#stuck.get(name)?.backoff ?? new Backoff(1_000, 60_000);
    if (!this.#stuck.has(name)) this.#o.log.warn({ set: name, error: detail }, 'a set that nobody wants does not go');
    const failure = { key: name, error: 'SET', detail };
    this.#stuck.set(name, { backoff, due: this.#o.clock.now() + backoff.next(), failure });
  }

  get size(): number {
    return this.#desired.size;
  }
  get members(): number {
    let count = 0;
    for (const set of this.#desired.values()) count += set.members.desired.size;
    return count;
  }
  /** Sets that the kernel does not have as they should be, and those that do not go, with the reason. */
  get problems(): readonly Failure[] {
    return [...this.#failed.values(), ...this.#stuck.values()].map((f) => f.failure);
  }

  /** Sets that will not be right until their selectors are, with the reason: what the kernel holds under their names is old, if anything. */
  get unusable(): ReadonlyMap<string, string> {
    const found = new Map<string, string>();
    for (const [name, { failure, isTooLarge }] of this.#failed) if (isTooLarge) found.set(name, failure.detail);
    return found;
  }

  async #read(): Promise<void> {
    const states = new Map((await this.#o.backend.list()).map((s) => [s.name, s]));
    this.#present = new Set(states.keys());
    this.#unwanted.clear();
    for (const name of states.keys()) if (!this.#desired.has(name)) this.#unwanted.add(name);
    await this.#readMembers([...this.#desired], states);
    for (const name of this.#desired.keys()) this.#dirty.add(name);
    this.#readNeeded = false;
  }
  async #readThose(sets: readonly (readonly [string, Tracked])[]): Promise<void> {
    if (sets.length === 0) return;
    await this.#readMembers(sets, new Map((await this.#o.backend.list()).map((s) => [s.name, s])));
  }
  async #readMembers(
    sets: readonly (readonly [string, Tracked])[],
    states: ReadonlyMap<string, SetState>,
  ): Promise<void> {
    const tracked = new Map(sets);
    const told = new Set<string>();
    const large: [Members, ReadonlySet<string>][] = [];
    const ofType = ([name, { type }]: (typeof sets)[number]) => states.get(name)?.type === type;
    await this.#o.backend.members(sets.filter(ofType).map(nameOf), (name, found) => {
      const members = tracked.get(name)?.members;
      told.add(name);
      // There may be a thousand small ones in an answer, and a million members in one that is large.
      if (!members) return;
      if (Math.max(found.size, members.desired.size) > LARGE) large.push([members, found]);
      else atOnce(members.found(found));
    });
    for (const [members, found] of large) await inSlices(this.#o.clock, members.found(found));
    for (const [name, set] of tracked) {
      const state = states.get(name);
      // It may have gone since it was listed.
      set.actual = told.has(name) || state?.type !== set.type ? state : undefined;
      if (!told.has(name)) set.members.forget();
      set.unread = false;
    }
  }

  #fail(name: string, owner: string, error: unknown): Failure {
    const failure: Failure = { key: name, error: 'SET', detail: `${owner}: ${messageOf(error)}` };
    const backoff = this.#failed.get(name)?.backoff ?? new Backoff(1_000, 60_000);
    const due = this.#o.clock.now() + backoff.next();
    this.#failed.set(name, { backoff, due, failure, isTooLarge: error instanceof RangeError });
    // Half of a change may have been done.
    const set = this.#desired.get(name);
    if (set) {
      set.unread = true;
      this.#dirty.add(name);
    }
    this.#counters.errors.inc();
    this.#o.log.error({ set: name, owner, error: messageOf(error) }, 'a set could not be written');
    return failure;
  }
}

const nameOf = ([name]: readonly [string, unknown]): string => name;

function declareMetrics(metrics: Metrics, sets: SetReconciler) {
  metrics.gauge('tsnet_sets', 'Address and port sets that policy needs.', [], (gauge) => gauge.set(sets.size));
  metrics.gauge('tsnet_set_members', 'Members of those sets.', [], (gauge) => gauge.set(sets.members));
  return {
    written: metrics.counter('tsnet_set_members_written_total', 'Members added, removed or loaded.'),
    errors: metrics.counter('tsnet_set_errors_total', 'Sets that the kernel refused, by attempt.'),
  };
}
