import { Bug, type Milliseconds } from '#core';
import type { CommandResult, KeptRequest } from './runner.ts';

/** A program that stays and takes one input after the other, at the runner. */
export interface Kept {
  /**
   * Gives it more input. Resolves with nothing when it has written `until` to its standard output; with how it ended, if it did so instead: by itself, or because it
   * was killed after `timeout`, or because a stranger did not let go of the lock that it needs (`needsLock`). One at a time. Rejects with EXEC when it cannot be started or the runner died.
   */
  feed(stdin: string, until: string, timeout: Milliseconds, needsLock?: boolean): Promise<CommandResult | undefined>;
  /** It has ended, or could not be started. */
  readonly isGone: boolean;
}

/** The agent's end of a kept program: what the runner says of it. */
export class KeptProgram implements Kept {
  readonly #send: (request: KeptRequest) => void;
  #waiting: { resolve(result: CommandResult | undefined): void; reject(error: Error): void } | undefined;
  #end: { result: CommandResult } | { error: Error } | undefined;

  /** @param send is given what is to be told to the runner */
  constructor(send: (request: KeptRequest) => void) {
    this.#send = send;
  }

  get isGone(): boolean {
    return this.#end !== undefined;
  }
  feed(stdin: string, until: string, timeout: Milliseconds, needsLock = false): Promise<CommandResult | undefined> {
    if (this.#waiting) throw new Bug('a kept program was fed while it was busy');
    const end = this.#end;
    if (end) return 'error' in end ? Promise.reject(end.error) : Promise.resolve(end.result);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#send({ feed: stdin, until, timeout, needsLock });
    });
  }

  answered(): void {
    this.#settled()?.resolve(undefined);
  }
  resolve(result: CommandResult): void {
    this.#end ??= { result };
    this.#settled()?.resolve(result);
  }
  reject(error: Error): void {
    this.#end ??= { error };
    this.#settled()?.reject(error);
  }

  #settled() {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}
