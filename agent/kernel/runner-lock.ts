import { constants, fstatSync, openSync, statSync } from 'node:fs';
import { type Milliseconds, realClock } from '#core';
import { tryLock, unlock } from './netlink/libc.ts';

/** Between two tries for a lock that a stranger holds. */
const AGAIN: Milliseconds = 2;

/**
 * A lock file (flock(2)) that the runner holds for several of its programs at once, so that what keeps strangers out does not keep these from each other. It is held as
 * long as one of them needs it. Programs inherit the open file, and with it the lock: if agent and runner are killed, it is free when the last of them has ended.
 */
export class SharedLock {
  static readonly #all = new Map<string, SharedLock>();
  /** For programs to inherit. */
  readonly fd: number;
  readonly #path: string;
  #holders = 0;
  #taking: Promise<boolean> | undefined;

  /** The one of that path; made, as iptables makes it, if it is not there. @throws Error of node:fs */
  static at(path: string): SharedLock {
    let lock = SharedLock.#all.get(path);
    // One whose file is gone stays open: programs may have it yet.
    if (!lock || lock.#isStale()) lock = new SharedLock(path);
    SharedLock.#all.set(path, lock);
    return lock;
  }

  private constructor(path: string) {
    this.#path = path;
    this.fd = openSync(path, constants.O_RDONLY | constants.O_CREAT, 0o600);
  }

  /** Resolves with false when others hold it for all that time, or when another file has come into its place: strangers lock that one. */
  async hold(wait: Milliseconds): Promise<boolean> {
    if (this.#holders === 0) {
      this.#taking ??= this.#take(wait).finally(() => {
        this.#taking = undefined;
      });
      if (!(await this.#taking)) return false;
    }
    this.#holders++;
    return true;
  }
  /** Once for each `hold` that was granted. */
  release(): void {
    if (--this.#holders === 0) unlock(this.fd);
  }

  async #take(wait: Milliseconds): Promise<boolean> {
    const end = realClock.now() + wait;
    while (!tryLock(this.fd)) {
      if (realClock.now() > end) return false;
      await new Promise<void>((resolve) => void realClock.after(AGAIN, resolve));
    }
    if (!this.#isStale()) return true;
    unlock(this.fd);
    return false;
  }
  #isStale(): boolean {
    const [mine, now] = [fstatSync(this.fd), statSync(this.#path, { throwIfNoEntry: false })];
    return mine.ino !== now?.ino || mine.dev !== now.dev;
  }
}
