import type { Clock, Milliseconds } from '#core';

/** The longest that the loop works without looking at its sockets (invariant I9). */
export const SLICE: Milliseconds = 5;

/** Does a piece of its work; true: there is more. */
export type Task = () => boolean;

/**
 * The speaker's work, in slices: after each the event loop reads sockets and fires timers. What must follow reading at once (telling peers)
 * comes first, then long tasks in turn.
 */
export class Loop {
  readonly #clock: Clock;
  readonly #defer: (run: () => void) => void;
  readonly #first: Task;
  readonly #tasks: Task[] = [];
  #scheduled = false;
  #began: Milliseconds;
  #closed = false;

  /** @param first runs in every slice; `defer` calls back after pending input was read (setImmediate). */
  constructor(clock: Clock, first: Task, defer: (run: () => void) => void = (run) => void setImmediate(run)) {
    this.#clock = clock;
    this.#defer = defer;
    this.#first = first;
    this.#began = clock.now();
  }
  /** Something has changed: a slice is due. */
  wake(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    // Reading and this slice share one budget.
    this.#began = this.#clock.now();
    this.#defer(() => this.#slice());
  }
  add(task: Task): void {
    this.#tasks.push(task);
    this.wake();
  }
  /** Whether this turn has used up its time. */
  get isSpent(): boolean {
    return this.#clock.now() - this.#began >= SLICE;
  }
  /** Long tasks that have yet to end. */
  get pending(): number {
    return this.#tasks.length;
  }
  /** Calls back once all that can be read now was read. */
  afterReading(run: () => void): void {
    this.#defer(() => this.#defer(run));
  }
  close(): void {
    this.#closed = true;
    this.#tasks.length = 0;
  }

  #slice(): void {
    if (this.#closed) return;
    this.#began = this.#clock.now();
    this.#scheduled = false;
    let more = this.#first();
    while (this.#tasks.length > 0 && !this.isSpent) {
      const task = this.#tasks.shift() as Task;
      if (task()) this.#tasks.push(task);
      // What it did is to be told, too.
      more = true;
    }
    if (more || this.#tasks.length > 0) this.wake();
  }
}
