import { type Addr, type Cancel, type Clock, type Log, type Milliseconds, messageOf } from '#core';
import type { Netlink } from '../kernel/types.ts';

/** A walk that failed is made again after this time. */
const RETRY: Milliseconds = 10_000;
/** Time to rest after a walk, as a multiple of what it took. */
const REST = 3;

/**
 * Addresses that have moved or gone, whose tracked flows must be judged again. A walk over the kernel's table serves all of them; it costs tens of
 * milliseconds of a processor where the table is long, so it is made in the background, one at a time, and takes a quarter of a processor at most
 * while endpoints move all the time.
 */
export class MovedFlows {
  readonly #o: {
    readonly netlink: Pick<Netlink, 'forgetFlows'>;
    readonly clock: Clock;
    readonly log: Log;
    readonly onRemoved: (count: number) => void;
  };
  #moved = new Set<Addr>();
  /** A walk is made, or the time after it is not over. */
  #busy = false;
  #rest: Cancel | undefined;
  #closed = false;

  constructor(options: {
    readonly netlink: Pick<Netlink, 'forgetFlows'>;
    readonly clock: Clock;
    readonly log: Log;
    readonly onRemoved: (count: number) => void;
  }) {
    this.#o = options;
  }

  add(address: Addr): void {
    this.#moved.add(address);
  }
  /** Begins to remove flows of what was added, now or when the walk that runs has ended. */
  forget(): void {
    if (this.#moved.size === 0 || this.#busy) return;
    const { netlink, clock, log, onRemoved } = this.#o;
    const addresses = this.#moved;
    this.#moved = new Set();
    this.#busy = true;
    const started = clock.now();
    netlink.forgetFlows(addresses).then(
      (count) => {
        onRemoved(count);
        this.#again((clock.now() - started) * REST);
      },
      (error) => {
        log.warn({ error: messageOf(error), addresses: addresses.size }, 'flows not removed; tried again');
        for (const address of addresses) this.#moved.add(address);
        this.#again(RETRY);
      },
    );
  }
  close(): void {
    this.#closed = true;
    this.#rest?.();
  }

  #again(after: Milliseconds): void {
    if (this.#closed) return;
    this.#rest = this.#o.clock.after(after, () => {
      this.#busy = false;
      this.forget();
    });
  }
}
