import type { Clock, Milliseconds } from '#core';
import type { Update } from '#datastore';
import { SLICE } from './slices.ts';

/** Updates between two looks at the clock. */
const STRIDE = 64;

/** Who takes the updates out, in slices. */
export interface InboxReader {
  onUpdate(update: Update): void;
  /** The inbox is empty: what is dirty may be computed. `since`: when the oldest of the updates taken out had come in. */
  onDrained(since: Milliseconds | undefined): void;
}

/**
 * Updates on their way into the calculation: coalesced by key, so that a flood of changes to one object is one change (I8), and handed out in
 * slices of a few milliseconds, so that keepalives and kernel events are not kept waiting (I9).
 */
export class Inbox {
  readonly #clock: Clock;
  readonly #reader: InboxReader;
  /** By kind and id: a key made of both would have to be written and hashed for every object of the cluster. */
  readonly #queues = new Map<Update['kind'], Map<string, Update>>();
  #since: Milliseconds | undefined;
  #taking: Iterator<Update> | undefined;
  #scheduled = false;
  #closed = false;

  constructor(clock: Clock, reader: InboxReader) {
    this.#clock = clock;
    this.#reader = reader;
  }

  get size(): number {
    let size = 0;
    for (const queue of this.#queues.values()) size += queue.size;
    return size;
  }

  put(updates: readonly Update[]): void {
    this.#since ??= this.#clock.now();
    for (const update of updates) this.#queueOf(update.kind).set(update.id, update);
    this.poke();
  }
  #queueOf(kind: Update['kind']): Map<string, Update> {
    const queue = this.#queues.get(kind) ?? new Map<string, Update>();
    this.#queues.set(kind, queue);
    return queue;
  }
  /** Asks for a turn although nothing came in: something other than an update is dirty. */
  poke(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#slice();
    });
  }
  close(): void {
    this.#closed = true;
  }

  #slice(): void {
    const end = this.#clock.now() + SLICE;
    let count = 0;
    this.#taking ??= this.#takeAll();
    for (let next = this.#taking.next(); !next.done; next = this.#taking.next()) {
      this.#reader.onUpdate(next.value);
      if (++count % STRIDE === 0 && this.#clock.now() >= end) {
        this.poke();
        return;
      }
    }
    this.#taking = undefined;
    const since = this.#since;
    this.#since = undefined;
    this.#reader.onDrained(since);
  }

  /** Until nothing is left. A Map's iterator also visits what is put while it runs, and what it has passed and comes again. */
  *#takeAll(): Iterator<Update> {
    while (this.size > 0)
      for (const queue of this.#queues.values())
        for (const [id, update] of queue) {
          queue.delete(id);
          yield update;
        }
  }
}
