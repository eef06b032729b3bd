import type { Clock, Milliseconds } from '#core';

/** Time that work may take before the loop gets its turn (invariant I9): keepalives and kernel events wait no longer. */
export const SLICE: Milliseconds = 5;

/** Work that yields wherever it may be interrupted, each time after a fraction of a millisecond. */
export type Sliced<T = void> = Generator<void, T>;

/** Does the work in slices, with a turn of the loop between them; resolves with what it returns. */
export async function inSlices<T>(clock: Clock, work: Sliced<T>): Promise<T> {
  let end = clock.now() + SLICE;
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (clock.now() < end) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    end = clock.now() + SLICE;
  }
}

/** Does the work without interruption. */
export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Members handled between two places where it may be interrupted. */
const PORTION = 256;

/** The same for each of many small things. */
export function* forEach<T>(all: Iterable<T>, handle: (one: T) => void): Sliced {
  let count = 0;
  for (const one of all) {
    handle(one);
    if (++count % PORTION === 0) yield;
  }
}
