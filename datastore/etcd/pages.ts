import type { Clock, Milliseconds } from '#core';
import type { KeyValue } from '../store.ts';
import { keyAfter, keyBytes, prefixEnd } from './keys.ts';
import { type RangeAnswer, rangeAnswer, rangeRequest } from './messages.ts';

/** Keys asked for at first, when it is not known how large their values are. */
const FIRST = 5000;
const FEWEST = 500;
const MOST = 50_000;
/** What a page should have at most: bytes, and time until it is here. */
const BYTES = 16 << 20;
const TIME: Milliseconds = 1000;
/** By how much a page may be larger than the one before. */
const GROWTH = 4;

/**
 * All keys under a prefix, in pages of one revision. For each page etcd 3.4 walks over all keys that are left (it counts them), so pages of a few
 * thousand keys cost it more than what is in them; how many come in one follows from how large and how slow the one before was. Large pages end with
 * the folder under the prefix in which they began, since what another kind of object weighs is not known.
 */
export class Pages {
  readonly first: Promise<RangeAnswer>;
  readonly #range: (request: Buffer) => Promise<Buffer>;
  readonly #clock: Clock;
  readonly #prefix: Buffer;
  #limit = FIRST;
  /** Where the last request ended. */
  #end: Buffer;

  constructor(range: (request: Buffer) => Promise<Buffer>, clock: Clock, prefix: string) {
    this.#range = range;
    this.#clock = clock;
    this.#prefix = keyBytes(prefix);
    this.#end = prefixEnd(prefix);
    this.first = this.#ask(this.#prefix);
  }

  async *read(): AsyncGenerator<readonly KeyValue[]> {
    let page = await this.first;
    const { revision } = page;
    for (;;) {
      // etcd reads the next page while the reader works on this one; never more than one lies waiting.
      const next = this.#after(page, revision);
      // A reader that stops early does not take it.
      next?.catch(() => {});
      if (page.entries.length > 0) yield page.entries;
      if (!next) return;
      page = await next;
    }
  }

  #after({ entries, last, more }: RangeAnswer, revision: bigint): Promise<RangeAnswer> | null {
    const end = prefixEnd(this.#prefix);
    if (more && entries.length > 0) {
      const folder = last.indexOf('/', this.#prefix.length) + 1;
      this.#end = this.#limit > FIRST && folder > 0 ? prefixEnd(last.subarray(0, folder)) : end;
      return this.#ask(keyAfter(last), revision);
    }
    if (this.#end.equals(end)) return null;
    const key = this.#end;
    this.#end = end;
    this.#limit = FIRST;
    return this.#ask(key, revision);
  }

  async #ask(key: Buffer, revision?: bigint): Promise<RangeAnswer> {
    const asked = this.#clock.now();
    const limit = this.#limit;
    const answer = await this.#range(rangeRequest({ key, end: this.#end, limit, ...(revision && { revision }) }));
    const room = Math.min(BYTES / (answer.length + 1), TIME / (this.#clock.now() - asked + 1), GROWTH);
    this.#limit = Math.round(Math.min(MOST, Math.max(FEWEST, limit * room)));
    return rangeAnswer(answer);
  }
}
