import type { Family, Log, Milliseconds } from '#core';
import { afiOf } from './wire/codes.ts';

/** From this share of the limit on there is a warning. */
const WARN = 0.75;
/** How long a session that went beyond a limit stays down: the peer is likely to say the same again at once. A changed limit ends the time. */
export const LIMIT_HOLD: Milliseconds = 300_000;

/** One limit of one peer on prefixes, for each family by itself: warns when it comes near, and says when it is exceeded. */
export class PrefixLimit {
  readonly #log: Log;
  readonly #peer: string;
  readonly #what: 'received' | 'advertised';
  /** Families that have been warned of. */
  readonly #near = new Set<Family>();

  constructor(log: Log, peer: string, what: 'received' | 'advertised') {
    this.#log = log;
    this.#peer = peer;
    this.#what = what;
  }
  /** Null while the count is within the limit; beyond it, a line for a person. */
  exceeded(family: Family, count: number, most: number | undefined): string | null {
    if (most === undefined || count < most * WARN) {
      if (this.#near.size > 0) this.#near.delete(family);
      return null;
    }
    if (!this.#near.has(family)) {
      this.#near.add(family);
      const fields = { peer: this.#peer, family: `IPv${family}`, count, limit: most };
      this.#log.warn(fields, `more than three quarters of the limit on prefixes ${this.#what}`);
    }
    return count <= most ? null : `${count} IPv${family} prefixes ${this.#what}, at most ${most} wanted`;
  }
}

/** What a Cease for too many prefixes carries: AFI, SAFI and the limit (RFC 4486 §4). */
export const limitData = (family: Family, most: number): Uint8Array =>
  Uint8Array.of(0, afiOf(family), 1, most >>> 24, (most >>> 16) & 0xff, (most >>> 8) & 0xff, most & 0xff);
