import type { Cancel } from '#core';
import { watchRules } from './rule-events.ts';

/** Transactions of nf_tables remembered: the news of one may come before the runner's word of what it started. */
const REMEMBERED = 64;

/**
 * Says when a process has committed its transaction. iptables-nft-restore does not end with it: closing its socket, the kernel waits until what the
 * transaction replaced is freed, which takes as long again as all the rest.
 */
export class Commits {
  readonly stop: Cancel;
  /** Process and number of each, oldest first. */
  readonly #recent: { readonly pid: number; readonly number: number }[] = [];
  readonly #waiting = new Map<number, () => void>();
  #number = 0;

  constructor() {
    this.stop = watchRules({ changed: (pid) => this.#onChange(pid), overrun: () => {} });
  }

  /** The number of the next transaction: what comes from it on is news to the caller. */
  get next(): number {
    return this.#number;
  }
  /** Resolves when that process has committed one since; never if it does not. */
  of(pid: number, since: number): Promise<void> {
    if (this.#recent.some((c) => c.pid === pid && c.number >= since)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(pid, resolve));
  }
  forget(pid: number): void {
    this.#waiting.delete(pid);
  }

  #onChange(pid: number): void {
    this.#recent.push({ pid, number: this.#number++ });
    if (this.#recent.length > REMEMBERED) this.#recent.shift();
    this.#waiting.get(pid)?.();
  }
}
