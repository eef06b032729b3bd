import type { Milliseconds } from '#core';
import type { Kept } from './kept.ts';
import type { CommandResult } from './runner.ts';

/** Characters of a change that is fed; what is more would leave the program with the memory that it took. */
const MOST = 256 << 10;
/** Time for the first answer, which is that comments come back. */
const FIRST_ANSWER: Milliseconds = 5_000;
/** Commands after a first failure, and after more in a row. */
const PAUSE = 8;
const LONGEST_PAUSE = 8192;
/** More than the buffer of a program's standard output, which goes on its way only when it is full. */
const FILLING = 'x'.repeat(4200);

/** A change that was fed: how the program ended instead of taking it, and how many lines it had been given before. */
export interface Fed {
  readonly ended: CommandResult | undefined;
  readonly linesBefore: number;
}

/**
 * A restore program that stays, for one family. It reads its input as if it were one long dump: each table is opened, locked, compared and committed by itself, as
 * with a program of its own, but nothing has to start, and nobody waits for what is to be freed at its end. With `--verbose` it writes a comment to standard
 * output as it comes to it; one after a COMMIT says that the kernel has taken what stands before, because a program that fails there ends.
 *
 * It is started when a command has succeeded, for the changes after that. When it fails it has ended, and commands do the work for a while, twice as many each time.
 */
export class StandingRestore {
  readonly #start: () => Promise<Kept>;
  #program: Kept | undefined;
  #isStarting = false;
  #isReady = false;
  #lines = 0;
  #asked = 0;
  #failures = 0;
  /** Commands to come until it is started. */
  #after = 0;

  /** @param start the program, with `--noflush --verbose` */
  constructor(start: () => Promise<Kept>) {
    this.#start = start;
  }

  /** @returns undefined: to be written by a command, for the program is not there or the change too large */
  feed(text: string, timeout: Milliseconds): Promise<Fed> | undefined {
    if (!this.#program || !this.#isReady || text.length > MOST) return undefined;
    if (this.#program.isGone) return void this.#failed();
    return this.#feed(this.#program, text, timeout);
  }

  /** A command has written. */
  succeeded(): void {
    if (this.#program || this.#isStarting || this.#after-- > 0) return;
    // If it cannot be started or does not answer, that is a failure like others; the commands that go on say what is wrong.
    void this.#begin().catch(() => {});
  }

  async #begin(): Promise<void> {
    this.#isStarting = true;
    try {
      this.#program = await this.#start();
    } catch (error) {
      this.#failed();
      throw error;
    } finally {
      this.#isStarting = false;
    }
    await this.#feed(this.#program, '', FIRST_ANSWER);
  }

  async #feed(program: Kept, text: string, timeout: Milliseconds): Promise<Fed> {
    const linesBefore = this.#lines;
    const mark = `#${++this.#asked} `;
    const input = `${text}${mark}${FILLING}\n`;
    this.#isReady = false;
    try {
      const ended = await program.feed(input, mark, timeout, text !== '');
      this.#lines += input.split('\n').length - 1;
      if (ended) this.#failed();
      else {
        this.#isReady = true;
        // One that was asked for nothing has shown nothing.
        if (text !== '') this.#failures = 0;
      }
      return { ended, linesBefore };
    } catch (error) {
      this.#failed();
      throw error;
    }
  }
  #failed(): void {
    this.#program = undefined;
    this.#isReady = false;
    this.#lines = 0;
    this.#after = Math.min(PAUSE * 2 ** this.#failures++, LONGEST_PAUSE);
  }
}
