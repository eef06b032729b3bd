import { execa } from 'execa';
import { type Cancel, type Milliseconds, messageOf, realClock } from '#core';
import type { Command, CommandResult, HeldLock, KeptRequest } from './runner.ts';
import { COMMAND, endGroup } from './runner-group.ts';
import { SharedLock } from './runner-lock.ts';

/** Characters of standard output while it is fed once, and of standard error in its life; a program that writes more is killed. */
const MAX_OUTPUT = 1 << 20;

/** A program that stays, in the runner: fed until it ends, with a bound for each answer. */
export class KeptChild {
  /** undefined: it could not be started. */
  readonly pid: number | undefined;
  /** How it ended. */
  readonly end: Promise<CommandResult>;
  readonly #child;
  readonly #onAnswer: () => void;
  readonly #lock: { shared: SharedLock; wait: Milliseconds } | undefined;
  #hasLock = false;
  #isOver = false;
  #awaited: { until: string; cancel: Cancel } | undefined;
  /** Characters written since it was fed last, and the last of them. */
  #written = 0;
  #tail = '';
  #stderr = '';
  #ended: CommandResult['ended'];

  constructor([file, ...args]: Command['argv'], onAnswer: () => void, lock?: HeldLock) {
    this.#onAnswer = onAnswer;
    this.#lock = lock && { shared: SharedLock.at(lock.path), wait: lock.wait };
    // Any descriptor will do; the type knows one digit.
    const inherited = this.#lock ? [this.#lock.shared.fd as 3] : [];
    this.#child = execa(file, args, { ...COMMAND, stdio: ['pipe', 'pipe', 'pipe', ...inherited], buffer: false });
    this.pid = this.#child.pid;
    const { stdin, stdout, stderr } = this.#child;
    // What it did not read of an input is told by its end.
    stdin.on('error', () => {});
    stdout.setEncoding('utf8').on('data', (text: string) => this.#onOutput(text));
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
      this.#bound(this.#stderr.length);
    });
    this.end = this.#untilEnd();
  }

  async feed({ feed, until, timeout, needsLock }: KeptRequest): Promise<void> {
    this.#written = 0;
    this.#tail = '';
    if (needsLock && !(await this.#takeLock())) return;
    const cancel = realClock.after(timeout, () => this.#kill('timeout'));
    this.#awaited = { until, cancel };
    this.#child.stdin.write(feed);
  }

  #onOutput(text: string): void {
    this.#written += text.length;
    this.#bound(this.#written);
    if (!this.#awaited) return;
    const { until } = this.#awaited;
    const output = this.#tail + text;
    this.#tail = output.slice(-until.length);
    if (!output.includes(until)) return;
    this.#awaited.cancel();
    this.#awaited = undefined;
    this.#letGo();
    this.#onAnswer();
  }
  #bound(characters: number): void {
    if (characters > MAX_OUTPUT) this.#kill('output');
  }
  /** Resolves with false when there is nothing more to do. */
  async #takeLock(): Promise<boolean> {
    if (!this.#lock) return true;
    try {
      this.#hasLock = await this.#lock.shared.hold(this.#lock.wait);
    } catch (error) {
      this.#stderr += messageOf(error);
    }
    if (!this.#hasLock) this.#kill('lock');
    if (this.#isOver) this.#letGo();
    return this.#hasLock;
  }
  #letGo(): void {
    if (this.#hasLock) this.#lock?.shared.release();
    this.#hasLock = false;
  }
  #kill(why: 'timeout' | 'output' | 'lock'): void {
    this.#ended ??= why;
    endGroup(this.pid);
  }

  async #untilEnd(): Promise<CommandResult> {
    const result = await this.#child;
    this.#isOver = true;
    this.#awaited?.cancel();
    this.#letGo();
    if (this.pid === undefined)
      throw new Error(`${result.command} cannot be started: ${result.shortMessage ?? 'unknown'}`);
    return {
      code: result.exitCode ?? null,
      stdout: '',
      stderr: this.#stderr,
      pid: this.pid,
      ...(this.#ended && { ended: this.#ended }),
    };
  }
}
