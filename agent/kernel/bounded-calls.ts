import type { Clock, Milliseconds } from '#core';

/**
 * Calls into the kernel, made from worker threads. None can be ended from outside. One that does not come back in time counts as failed, and nothing more is
 * asked until it has, so that no second thread is lost.
 */
export class BoundedCalls {
  readonly #clock: Clock;
  readonly #timeout: Milliseconds;
  readonly #lateError: () => Error;
  /** Calls that have not come back in time, and may yet. */
  #late = 0;

  constructor(clock: Clock, timeout: Milliseconds, lateError: () => Error) {
    this.#clock = clock;
    this.#timeout = timeout;
    this.#lateError = lateError;
  }

  /** Rejects with the error for what is late, or as the work does. */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#late > 0) return Promise.reject(this.#lateError());
    return new Promise((resolve, reject) => {
      let isLate = false;
      const cancel = this.#clock.after(this.#timeout, () => {
        isLate = true;
        this.#late++;
        reject(this.#lateError());
      });
      const settled = () => {
        cancel();
        if (isLate) this.#late--;
      };
      work().then(resolve, reject).finally(settled);
    });
  }
}
