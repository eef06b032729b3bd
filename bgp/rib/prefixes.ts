import type { Family } from '#core';
import type { NlriColumns } from '../wire/nlri.ts';

const MIN_SLOTS = 64;
/** The last bits of a prefix that choose among neighbouring slots. */
const RUN_BITS = 3;
const RUN = (1 << RUN_BITS) - 1;
/** The length of a row that holds no prefix, equal to that of none. */
const NO_LENGTH = 0xff;

/**
 * The prefixes of one family as small integers: open addressing (linear probing) over columns of words. An id stays valid while something
 * holds it: routes, and adjacencies that have yet to withdraw it. Id 0 is no prefix.
 *
 * A freed id stays in its slot, where it is equal to nothing, or to the prefix that took the id over; so a withdrawal writes no slot at all.
 * The slots are made anew from the columns when such remains take the room.
 */
export class PrefixTable implements NlriColumns {
  readonly family: Family;
  readonly words: 1 | 4;
  addr: Uint32Array;
  length: Uint8Array;
  /** First path of the prefix, 0: none; of a free id the next free one. */
  head: Uint32Array;
  /** The best path, 0: none. */
  best: Uint32Array;
  /** How many hold the id. */
  #refs: Uint16Array;
  #slots: Uint32Array;
  #shift: number;
  #free = 0;
  #next = 1;
  #count = 0;
  /** Slots that are not 0. */
  #used = 0;
  /** The id found last: feeds and withdrawals come in the order of an earlier feed, so the next one is tried first, without a hash. */
  #last = 0;

  constructor(family: Family) {
    this.family = family;
    this.words = family === 4 ? 1 : 4;
    this.addr = new Uint32Array(MIN_SLOTS * this.words);
    this.length = new Uint8Array(MIN_SLOTS);
    this.head = new Uint32Array(MIN_SLOTS);
    this.best = new Uint32Array(MIN_SLOTS);
    this.#refs = new Uint16Array(MIN_SLOTS);
    this.#slots = new Uint32Array(MIN_SLOTS * 2);
    this.#shift = Math.clz32(MIN_SLOTS * 2 - 1);
  }
  /** Prefixes that are held. */
  get count(): number {
    return this.#count;
  }
  /** Ids run from 1 to below this; those of free rows have no head and no best. */
  get end(): number {
    return this.#next;
  }
  get capacity(): number {
    return this.length.length;
  }

  /** The id of the prefix at `index` of the columns, or 0. */
  find(addr: Uint32Array, index: number, length: number): number {
    const guess = this.#last + 1;
    if (guess < this.#next && this.#equal(guess, addr, index, length)) {
      this.#last = guess;
      return guess;
    }
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = this.#hash(addr, index, length); ; slot = (slot + 1) & mask) {
      const id = slots[slot];
      if (id !== 0 && !this.#equal(id, addr, index, length)) continue;
      this.#last = id;
      return id;
    }
  }
  /** The id of the prefix, a new one when it is not known yet; a new one is held by nobody and must be held at once. */
  intern(addr: Uint32Array, index: number, length: number): number {
    const known = this.find(addr, index, length);
    return known === 0 ? this.#add(addr, index, length) : known;
  }
  hold(id: number): void {
    this.#refs[id]++;
  }
  /** Gives up one hold; with the last one the id is free. */
  release(id: number): void {
    if (--this.#refs[id] > 0) return;
    this.best[id] = 0;
    this.length[id] = NO_LENGTH;
    this.head[id] = this.#free;
    this.#free = id;
    this.#count--;
    if (this.#count === 0) this.#shrink();
  }
  isHeld(id: number): boolean {
    return this.#refs[id] > 0;
  }

  /** A prefix that is not in the table; `find` has just said so. */
  #add(addr: Uint32Array, index: number, length: number): number {
    if ((this.#used + 1) * 3 > this.#slots.length * 2) this.#rehash();
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#hash(addr, index, length);
    // The remains of a freed id may go, and a prefix that comes and goes leaves no more than one behind.
    while (slots[slot] !== 0 && this.length[slots[slot]] !== NO_LENGTH) slot = (slot + 1) & mask;
    if (slots[slot] === 0) this.#used++;
    const id = this.#take();
    const { words } = this;
    if (words === 1) this.addr[id] = addr[index];
    else for (let word = 0; word < 4; word++) this.addr[id * 4 + word] = addr[index * 4 + word];
    this.length[id] = length;
    slots[slot] = id;
    this.#count++;
    this.#last = id;
    return id;
  }
  #equal(id: number, addr: Uint32Array, index: number, length: number): boolean {
    if (this.words === 1) return this.addr[id] === addr[index] && this.length[id] === length;
    const own = this.addr;
    const a = id * 4;
    const b = index * 4;
    return (
      own[a + 1] === addr[b + 1] &&
      own[a + 3] === addr[b + 3] &&
      own[a + 2] === addr[b + 2] &&
      own[a] === addr[b] &&
      this.length[id] === length
    );
  }
  /**
   * Fibonacci hashing of all but the last bits of the prefix, which choose a slot among neighbours: feeds and aggregates come in runs, and a run of
   * prefixes meets in one line of the processor's cache.
   */
  #hash(addr: Uint32Array, index: number, length: number): number {
    if (length === 0) return 0;
    const own = 31 - ((length - 1) & 31);
    if (this.words === 1) {
      const key = addr[index] >>> own;
      const h = Math.imul((key >>> RUN_BITS) ^ Math.imul(length, 0x85ebca6b), 0x9e3779b1);
      return ((h >>> this.#shift) & ~RUN) | (key & RUN);
    }
    const at = index * 4;
    const word = at + ((length - 1) >> 5);
    const run = (addr[word] >>> own) & RUN;
    let h = length;
    for (let i = at; i < word; i++) h = Math.imul((h ^ (h >>> 15)) + addr[i], 0x85ebca6b);
    h = Math.imul((h ^ (h >>> 13)) + ((addr[word] >>> own) - run), 0x9e3779b1);
    h = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
    return (((h ^ (h >>> 15)) >>> this.#shift) & ~RUN) | run;
  }
  #take(): number {
    if (this.#free !== 0) {
      const id = this.#free;
      this.#free = this.head[id];
      this.head[id] = 0;
      return id;
    }
    if (this.#next === this.length.length) this.#grow();
    return this.#next++;
  }
  #grow(): void {
    const size = grownSize(this.length.length);
    this.addr = grown(this.addr, size * this.words);
    this.length = grown(this.length, size);
    this.head = grown(this.head, size);
    this.best = grown(this.best, size);
    this.#refs = grown(this.#refs, size);
  }
  /** An empty table gives its memory back. */
  #shrink(): void {
    if (this.length.length <= MIN_SLOTS * 16) return;
    const empty = new PrefixTable(this.family);
    this.addr = empty.addr;
    this.length = empty.length;
    this.head = empty.head;
    this.best = empty.best;
    this.#refs = empty.#refs;
    this.#slots = empty.#slots;
    this.#shift = empty.#shift;
    this.#used = 0;
    this.#last = 0;
    this.#free = 0;
    this.#next = 1;
  }
  /** Slots for the prefixes that are held, a quarter full at most: a table that fills up is moved half as often. */
  #rehash(): void {
    let size = MIN_SLOTS * 2;
    while (size < this.#count * 4) size *= 2;
    const slots = new Uint32Array(size);
    this.#shift = Math.clz32(size - 1);
    const { addr, length } = this;
    for (let id = 1; id < this.#next; id++) {
      if (length[id] === NO_LENGTH) continue;
      let slot = this.#hash(addr, id, length[id]);
      while (slots[slot] !== 0) slot = (slot + 1) & (size - 1);
      slots[slot] = id;
    }
    this.#slots = slots;
    this.#used = this.#count;
  }
}

/** How large a full column becomes: small ones grow in great steps, because a feed that fills them is likely to go on. */
export const grownSize = (size: number): number => size * (size < 1 << 18 ? 4 : 2);

/** A copy with more room. */
export function grown<T extends Uint32Array | Uint16Array | Uint8Array>(from: T, size: number): T {
  const to = new (from.constructor as new (size: number) => T)(size);
  to.set(from);
  return to;
}
