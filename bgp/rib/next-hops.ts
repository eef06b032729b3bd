import type { Addr } from '#core';
import { grown } from './prefixes.ts';

/** How far a next hop is, as a number that columns hold. */
export const REACH = {
  /** There is no way to it. */
  none: 0,
  /** Link-local: it depends on the link of the session that names it. */
  link: 1,
  /** Behind a gateway. */
  gateway: 2,
  /** On a network of ours. */
  connected: 3,
} as const;
export type Reach = (typeof REACH)[keyof typeof REACH];

const MIN = 64;

/** Who finds out how next hops are reached. */
export interface NextHopWatch {
  /** A next hop that no set had before; its columns are to be filled now. */
  onNew(hop: number): void;
  /** No set has it any more; the id may come again as another. */
  onGone(hop: number): void;
}

/**
 * The next hops of all attribute sets as small integers, each with how it is reached: a million routes of one next hop are resolved once.
 * Without a watch every next hop counts as connected: nobody knows better.
 */
export class NextHopTable {
  /** `Reach` by id. */
  reach = new Uint8Array(MIN);
  #refs = new Uint32Array(MIN);
  readonly #addresses: (Addr | undefined)[] = [undefined];
  readonly #ids = new Map<Addr, number>();
  readonly #free: number[] = [];
  #watch: NextHopWatch | null = null;

  /** From now on each next hop is what the watch says of it; it learns of those that are there already. */
  watch(watch: NextHopWatch): void {
    this.#watch = watch;
    for (const hop of this.#ids.values()) watch.onNew(hop);
  }
  get all(): Iterable<number> {
    return this.#ids.values();
  }
  addressOf(hop: number): Addr {
    return this.#addresses[hop] as Addr;
  }
  /** The id of the address, held once more. */
  hold(address: Addr): number {
    let hop = this.#ids.get(address);
    if (hop === undefined) {
      hop = this.#free.pop() ?? this.#addresses.length;
      if (hop >= this.reach.length) this.#grow();
      this.#addresses[hop] = address;
      this.#ids.set(address, hop);
      this.reach[hop] = REACH.connected;
      this.#refs[hop] = 0;
      this.#watch?.onNew(hop);
    }
    this.#refs[hop]++;
    return hop;
  }
  release(hop: number): void {
    if (--this.#refs[hop] > 0) return;
    this.#watch?.onGone(hop);
    this.#ids.delete(this.addressOf(hop));
    this.#addresses[hop] = undefined;
    this.#free.push(hop);
  }

  #grow(): void {
    const size = this.reach.length * 2;
    this.reach = grown(this.reach, size);
    this.#refs = grown(this.#refs, size);
  }
}
