import type { Loop } from './loop.ts';
import type { Rib } from './rib/rib.ts';

/** Rows that are looked at between two looks at the clock. */
const ROWS = 4096;

/**
 * Removes the paths of lost peers. One pass over the table serves all that were lost until it began, so a rack of peers costs what one does.
 */
export class Sweeper {
  readonly #rib: Rib;
  readonly #loop: Loop;
  readonly #runOf: (source: number) => number;
  #now = new Map<number, (() => void)[]>();
  #next = new Map<number, (() => void)[]>();
  #busy = false;
  /** Rows looked at since the start: a measure of work for tests. */
  rows = 0;

  /** @param runOf the current run of a source: paths of any other go. */
  constructor(rib: Rib, loop: Loop, runOf: (source: number) => number) {
    this.#rib = rib;
    this.#loop = loop;
    this.#runOf = runOf;
  }
  /** Removes what the source announced in earlier runs than its current one. */
  sweep(source: number, done: () => void = () => {}) {
    if (this.#rib.countsOf(source).received === 0) return done();
    const waiting = this.#next.get(source);
    if (waiting) waiting.push(done);
    else this.#next.set(source, [done]);
    this.#start();
  }

  #start() {
    if (this.#busy) return;
    this.#busy = true;
    this.#now = this.#next;
    this.#next = new Map();
    let row = 1;
    this.#loop.add(() => {
      row = this.#rib.sweep((source, run) => this.#now.has(source) && run !== this.#runOf(source), row, ROWS);
      this.rows += ROWS;
      if (row !== 0) return true;
      this.#finish();
      return false;
    });
  }
  #finish(): void {
    const ended = this.#now;
    this.#now = new Map();
    this.#busy = false;
    for (const calls of ended.values()) for (const done of calls) done();
    if (this.#next.size > 0) this.#start();
  }
}
