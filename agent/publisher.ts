import { type Cancel, type Clock, type Log, type Milliseconds, messageOf } from '#core';
import { STATUS_PREFIX, type Store } from '#datastore';
import type { PublishedStatus } from './published-status.ts';

/** Changes are collected for this long, so that a burst of sessions is one write. */
const SETTLE: Milliseconds = 1_000;
/** Written at least this often, so that the lease does not run out. */
const REPEAT: Milliseconds = 30_000;
/** A node that has been silent for this long has no status any more; seconds. */
const LEASE = 120;
/** More routes than this are not worth keeping in the datastore; the socket has them. */
export const MOST_PUBLISHED_ROUTES = 2_000;

/** Writes what this agent is to the datastore, for `tsnetctl --node` and `--all`; a datastore that is away is tried again at the next turn. */
export class Publisher {
  readonly #o: { store: Store; node: string; clock: Clock; log: Log; status: () => Omit<PublishedStatus, 'updated'> };
  #timer: Cancel = () => {};
  #due = Number.POSITIVE_INFINITY;
  #failed = false;
  #stopped = false;

  constructor(options: {
    store: Store;
    node: string;
    clock: Clock;
    log: Log;
    status: () => Omit<PublishedStatus, 'updated'>;
  }) {
    this.#o = options;
  }

  start(): void {
    this.#wake(SETTLE);
  }
  /** Something that the status tells has changed. */
  poke(): void {
    this.#wake(SETTLE);
  }
  stop(): void {
    this.#stopped = true;
    this.#timer();
  }

  #wake(delay: Milliseconds): void {
    const due = this.#o.clock.now() + delay;
    if (this.#stopped || due >= this.#due) return;
    this.#timer();
    this.#due = due;
    this.#timer = this.#o.clock.after(delay, () => void this.#publish());
  }

  async #publish(): Promise<void> {
    const { store, node, clock, log, status } = this.#o;
    this.#due = Number.POSITIVE_INFINITY;
    const published: PublishedStatus = { updated: clock.date().toISOString(), ...status() };
    try {
      await store.txn(
        [],
        [{ op: 'put', key: `${STATUS_PREFIX}${node}`, value: JSON.stringify(published), ttlSeconds: LEASE }],
      );
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) log.warn({ error: messageOf(error) }, 'status cannot be published; tried again');
      this.#failed = true;
    }
    this.#wake(REPEAT);
  }
}
