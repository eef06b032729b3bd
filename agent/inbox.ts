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
  #queue = new Map<string, Update>();
  #since: Milliseconds | undefined;
  #taking: Iterator<[string, Update]> | undefined;
  #scheduled = false;
  #closed = false;

  constructor(clock: Clock, reader: InboxReader) {
    this.#clock = clock;
    this.#reader = reader;
  }

  get size(): number {
    return this.#queue.size;
  }

  put(updates: readonly Update[]): void {
    this.#since ??= this.#clock.now();
    for (const update of updates) this.#queue.set(`${update.kind}/${update.id}`, update);
    this.poke();
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
    // A Map's iterator also visits what is put while it runs; what it has passed and comes again is found by the next round.
    this.#taking ??= this.#queue.entries();
    for (let next = this.#taking.next(); !next.done; next = this.#taking.next()) {
      const [key, update] = next.value;
      this.#queue.delete(key);
      this.#reader.onUpdate(update);
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
}
