import { type Addr, addrBytes, type Family } from '#core';
import { grown } from './prefixes.ts';

/** An address as words in network order. */
export function addressWords(address: Addr): Uint32Array {
  const bytes = addrBytes(address);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4));
}

/** The first `length` bits of the words; the others 0. */
export function masked(words: Uint32Array, length: number): Uint32Array {
  return words.map((word, i) => {
    const bits = Math.min(32, Math.max(0, length - i * 32));
    return bits === 0 ? 0 : (word & (0xffffffff << (32 - bits))) >>> 0;
  });
}

/** Addresses of one family in order, so that the few that lie in a prefix are found without looking at the others. */
export class AddressIndex {
  readonly #words: 1 | 4;
  readonly #members = new Map<number, Uint32Array>();
  #ids: number[] = [];
  #rows = new Uint32Array(0);
  #isSorted = true;

  constructor(family: Family) {
    this.#words = family === 4 ? 1 : 4;
  }
  get size(): number {
    return this.#members.size;
  }
  has(id: number): boolean {
    return this.#members.has(id);
  }
  set(id: number, address: Addr): void {
    this.#members.set(id, addressWords(address));
    this.#isSorted = false;
  }
  delete(id: number): void {
    if (this.#members.delete(id)) this.#isSorted = false;
  }
  /** Ids of the addresses in the prefix that stands at `index` of the columns. */
  *within(addr: Uint32Array, index: number, length: number): IterableIterator<number> {
    if (!this.#isSorted) this.#sort();
    const from = index * this.#words;
    for (let at = this.#firstFrom(addr, from); at < this.#ids.length; at++) {
      if (!this.#isInside(at, addr, from, length)) return;
      yield this.#ids[at];
    }
  }

  #sort(): void {
    const sorted = [...this.#members].sort(([, a], [, b]) => {
      let word = 0;
      while (word < a.length - 1 && a[word] === b[word]) word++;
      return a[word] - b[word];
    });
    this.#ids = sorted.map(([id]) => id);
    this.#rows = grown(new Uint32Array(0), sorted.length * this.#words);
    for (const [at, [, words]] of sorted.entries()) this.#rows.set(words, at * this.#words);
    this.#isSorted = true;
  }
  /** The place of the first address that is not below the one at `from`. */
  #firstFrom(addr: Uint32Array, from: number): number {
    let low = 0;
    let high = this.#ids.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#isBelow(middle, addr, from)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  #isBelow(at: number, addr: Uint32Array, from: number): boolean {
    for (let word = 0; word < this.#words; word++) {
      const difference = this.#rows[at * this.#words + word] - addr[from + word];
      if (difference !== 0) return difference < 0;
    }
    return false;
  }
  #isInside(at: number, addr: Uint32Array, from: number, length: number): boolean {
    for (let word = 0; word * 32 < length; word++) {
      const bits = Math.min(32, length - word * 32);
      if ((this.#rows[at * this.#words + word] ^ addr[from + word]) >>> (32 - bits) !== 0) return false;
    }
    return true;
  }
}
