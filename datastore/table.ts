import type { Cancel, Clock } from '#core';
import type { Compare, KeyValue, Store, TxnResult, WatchEvent, WatchMessage, Write } from './store.ts';

/** How many past events a table remembers for watchers that lag; one that lags more takes a new snapshot. */
const HISTORY = 20_000;
const PAGE = 5000;

interface Entry {
  readonly value: string;
  readonly mod: bigint;
}

/**
 * Keys at revisions in this process's memory: what the memory store is, and what the directory store keeps of its files. A watcher is
 * a position in the common history, so that a slow one costs nothing.
 */
export class KeyTable {
  #revision = 1n;
  #entries = new Map<string, Entry>();
  #history: WatchEvent[] = [];
  /** Events at or before this revision are gone. */
  #compacted = 0n;
  /** Counts restores to another state, each of which rewinds all watchers. */
  #era = 0;
  /** The era of the last list of each prefix: a watch that follows a list continues that one. */
  readonly #listed = new Map<string, number>();
  #waiters = new Set<() => void>();
  #expiries = new Map<string, Cancel>();
  /** Whether contents decided elsewhere were taken over; what came before that has no history here. */
  #adopted = false;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get revision(): bigint {
    return this.#revision;
  }

  get(key: string): KeyValue | null {
    const entry = this.#entries.get(key);
    return entry ? { key, value: entry.value, modRevision: entry.mod } : null;
  }

  /** All entries under the prefix, in key order. */
  under(prefix: string): KeyValue[] {
    const found: KeyValue[] = [];
    for (const [key, entry] of this.#entries)
      if (key.startsWith(prefix)) found.push({ key, value: entry.value, modRevision: entry.mod });
    return found.sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  list(prefix: string): ReturnType<Store['list']> {
    const entries = this.under(prefix);
    this.#listed.set(prefix, this.#era);
    async function* pages() {
      for (let i = 0; i < entries.length; i += PAGE) yield entries.slice(i, i + PAGE);
    }
    return Object.assign(pages(), { revision: Promise.resolve(this.#revision) });
  }

  /** What the compared keys hold if a compare fails, null if all hold. */
  failed(compares: readonly Compare[]): TxnResult | null {
    if (compares.every(({ key, mod }) => (this.#entries.get(key)?.mod ?? 0n) === mod)) return null;
    return { ok: false, now: compares.map(({ key }) => this.get(key)) };
  }

  /** All writes at one new revision; deleting what is not there changes nothing. */
  write(writes: readonly Write[]): bigint {
    const effective = writes.filter((w) => w.op === 'put' || this.#entries.has(w.key));
    if (effective.length === 0) return this.#revision;
    const revision = ++this.#revision;
    for (const write of effective) {
      this.#expiries.get(write.key)?.();
      this.#expiries.delete(write.key);
      if (write.op === 'put') {
        this.#entries.set(write.key, { value: write.value, mod: revision });
        if (write.ttlSeconds) this.#expire(write.key, write.ttlSeconds);
      } else this.#entries.delete(write.key);
      this.#history.push({ key: write.key, value: write.op === 'put' ? write.value : null, revision });
    }
    this.#forget();
    this.#wake();
    return revision;
  }

  #expire(key: string, ttlSeconds: number): void {
    const cancel = this.#clock.after(ttlSeconds * 1000, () => this.write([{ op: 'delete', key }]));
    this.#expiries.set(key, cancel);
  }

  #forget(): void {
    if (this.#history.length <= 2 * HISTORY) return;
    this.#compacted = this.#history[this.#history.length - HISTORY - 1].revision;
    this.#history = this.#history.filter((event) => event.revision > this.#compacted);
  }

  /** Forgets all events up to the revision, as an administrator of etcd does. */
  compact(revision: bigint): void {
    this.#compacted = revision;
    this.#history = this.#history.filter((event) => event.revision > revision);
    this.#wake();
  }

  /** Becomes what a backup held: other contents, a lower revision. Watchers are told that they were rewound. */
  restore(entries: readonly (readonly [key: string, value: string])[], revision: bigint): void {
    this.#revision = revision;
    this.#entries = new Map(entries.map(([key, value]) => [key, { value, mod: revision }]));
    this.#history = [];
    this.#compacted = revision;
    this.#era++;
    this.#wake();
  }

  /** Takes over contents that were decided elsewhere: what differs becomes events up to the revision. */
  adopt(revision: bigint, contents: ReadonlyMap<string, Entry>): void {
    if (revision < this.#revision) {
      this.restore([], revision);
      this.#entries = new Map([...contents].map(([key, { value, mod }]) => [key, { value, mod }]));
      return;
    }
    const events: WatchEvent[] = [];
    for (const key of this.#entries.keys()) if (!contents.has(key)) events.push({ key, value: null, revision });
    for (const [key, { value, mod }] of contents)
      if (this.#entries.get(key)?.mod !== mod) events.push({ key, value, revision: mod });
    if (!this.#adopted) this.#compacted = revision;
    else this.#history.push(...events.sort((a, b) => (a.revision < b.revision ? -1 : a.revision > b.revision ? 1 : 0)));
    this.#entries = new Map([...contents].map(([key, { value, mod }]) => [key, { value, mod }]));
    this.#revision = revision;
    this.#adopted = true;
    this.#forget();
    this.#wake();
  }

  #wake(): void {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const wake of waiters) wake();
  }

  async *watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncGenerator<WatchMessage> {
    const era = this.#listed.get(prefix) ?? this.#era;
    let seen = fromRevision;
    if (seen > this.#revision || era !== this.#era) return yield { type: 'rewound' };
    yield { type: 'connected' };
    while (!signal.aborted) {
      if (this.#era !== era) return yield { type: 'rewound' };
      if (seen < this.#compacted) return yield { type: 'compacted' };
      if (seen < this.#revision) {
        const events = this.#after(seen).filter((event) => event.key.startsWith(prefix));
        seen = this.#revision;
        if (events.length > 0) yield { type: 'events', events };
        else yield { type: 'progress', revision: seen };
        continue;
      }
      await this.#change(signal);
    }
  }

  #after(revision: bigint): WatchEvent[] {
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#history[middle].revision <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#history.slice(low);
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake);
        this.#waiters.delete(wake);
        resolve();
      };
      signal.addEventListener('abort', wake, { once: true });
      this.#waiters.add(wake);
    });
  }

  /** Ends all timers; watchers end by their signals. */
  close(): void {
    for (const cancel of this.#expiries.values()) cancel();
    this.#expiries.clear();
  }
}
