import { execa } from 'execa';
import { type Cancel, realClock } from '#core';
import type { Command, CommandResult, KeptRequest } from './runner.ts';
import { COMMAND, endGroup } from './runner-group.ts';

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
  #awaited: { until: string; cancel: Cancel } | undefined;
  /** Characters written since it was fed last, and the last of them. */
  #written = 0;
  #tail = '';
  #stderr = '';
  #ended: CommandResult['ended'];

  constructor([file, ...args]: Command['argv'], onAnswer: () => void) {
    this.#onAnswer = onAnswer;
    this.#child = execa(file, args, { ...COMMAND, stdin: 'pipe', buffer: false });
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

  feed({ feed, until, timeout }: KeptRequest): void {
    this.#written = 0;
    this.#tail = '';
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
    this.#onAnswer();
  }
  #bound(characters: number): void {
    if (characters > MAX_OUTPUT) this.#kill('output');
  }
  #kill(why: 'timeout' | 'output'): void {
    this.#ended ??= why;
    endGroup(this.pid);
  }

  async #untilEnd(): Promise<CommandResult> {
    const result = await this.#child;
    this.#awaited?.cancel();
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
