/** Milliseconds. The unit of every duration in tsnet unless its name says otherwise. */
export type Milliseconds = number;

/** Cancels a timer; calling it twice is harmless. */
export type Cancel = () => void;

/** The only source of time. `now` is monotonic, so a wall-clock jump moves no timer (catalogue F16). */
export interface Clock {
  /** Monotonic time with sub-millisecond resolution; only differences have a meaning. */
  now(): Milliseconds;
  /** Wall-clock time, for people and for stored timestamps. */
  date(): Date;
  /** Runs `fire` once, not before `delay`. */
  after(delay: Milliseconds, fire: () => void): Cancel;
}

export const realClock: Clock = {
  now: () => performance.now(),
  date: () => new Date(),
  after: (delay, fire) => {
    let timer: NodeJS.Timeout;
    const arm = (left: Milliseconds) => {
      timer = setTimeout(() => (left > LONGEST ? arm(left - LONGEST) : fire()), Math.min(left, LONGEST));
    };
    arm(delay);
    return () => clearTimeout(timer);
  },
};
/** A timer of Node.js that is to wait longer, which is 24 days, fires at once. */
const LONGEST: Milliseconds = 0x7fff_ffff;

/** A clock that moves only when told to; timers fire in order of their time, then of their making. */
export class FakeClock implements Clock {
  #now = 0;
  #next = 0;
  #timers = new Map<number, { at: Milliseconds; fire: () => void }>();
  #epoch: number;

  constructor(epoch = Date.UTC(2026, 0, 1)) {
    this.#epoch = epoch;
  }
  now(): Milliseconds {
    return this.#now;
  }
  date(): Date {
    return new Date(this.#epoch + this.#now);
  }
  after(delay: Milliseconds, fire: () => void): Cancel {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, delay), fire });
    return () => {
      this.#timers.delete(id);
    };
  }
  /** How many timers are pending: a test's proof that nothing leaked. */
  get pending(): number {
    return this.#timers.size;
  }
  /** Moves the wall clock alone, as an administrator or a time server does. */
  shiftDate(by: Milliseconds): void {
    this.#epoch += by;
  }
  /** Moves time forward, firing what falls due on the way, at its own time. */
  advance(by: Milliseconds): void {
    const end = this.#now + by;
    for (;;) {
      let due: [number, { at: Milliseconds; fire: () => void }] | undefined;
      for (const entry of this.#timers) if (entry[1].at <= end && (!due || entry[1].at < due[1].at)) due = entry;
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].fire();
    }
    this.#now = end;
  }
}

/** Waits; rejects with the signal's reason when aborted. */
export function sleep(clock: Clock, delay: Milliseconds, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.after(delay, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Delays of a retry loop: doubling from `first` to `most`, each shortened by up to a quarter at random so that
 * many nodes do not come back in step.
 */
export class Backoff {
  readonly #first: Milliseconds;
  readonly #most: Milliseconds;
  readonly #random: () => number;
  #next: Milliseconds;
  constructor(first: Milliseconds, most: Milliseconds, random: () => number = Math.random) {
    this.#first = first;
    this.#most = most;
    this.#random = random;
    this.#next = first;
  }
  /** The delay to wait now; the following one is twice as long. */
  next(): Milliseconds {
    const delay = this.#next;
    this.#next = Math.min(this.#most, delay * 2);
    return delay * (1 - this.#random() / 4);
  }
  reset(): void {
    this.#next = this.#first;
  }
}
