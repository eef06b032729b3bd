import type { Log } from '#core';
import { MOST_KEPT } from './rib/rib.ts';
import type { Update } from './wire/types.ts';

/** What was wrong in the UPDATEs of one peer since it was configured, counted, and said where a person can do something. */
export class Faults {
  /** UPDATEs whose routes were treated as withdrawn (RFC 7606 §2). */
  withdrawn = 0;
  /** Weaker faults: an attribute discarded, something odd. */
  noted = 0;
  /** Paths beyond `MOST_KEPT` of a prefix. */
  refused = 0;
  readonly #log: Log;
  readonly #peer: string;

  constructor(log: Log, peer: string) {
    this.#log = log;
    this.#peer = peer;
  }
  /** What decoding it found. */
  note({ fault, notes }: Update): void {
    this.noted += notes.length;
    if (!fault) return;
    this.withdrawn++;
    this.#log.warn({ peer: this.#peer, reason: fault.reason }, 'routes treated as withdrawn');
  }
  /** Paths of an UPDATE that were not taken. */
  refuse(count: number): void {
    if (count > 0 && this.refused === 0)
      this.#log.warn(
        { peer: this.#peer, limit: MOST_KEPT },
        'the peer announces more paths of a prefix than are kept; the rest is ignored',
      );
    this.refused += count;
  }
  get counts(): { withdrawn: number; noted: number; refused: number } {
    const { withdrawn, noted, refused } = this;
    return { withdrawn, noted, refused };
  }
}
