import type { Clock } from '#core';
import type { Store } from '#datastore';

/** Where text goes. */
export interface Out {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** The world as a run of tsnetctl sees it; tests give their own. */
export interface Io {
  readonly stdout: Out;
  readonly stderr: Out;
  /** All of standard input. */
  stdin(): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  /** Aborted by SIGINT and SIGTERM: ends what would go on for ever. */
  readonly signal: AbortSignal;
  /** Instead of the datastore that the configuration names. */
  openStore?(): Promise<Store>;
}

const CODES = { bold: 1, red: 31, green: 32, yellow: 33 } as const;

/** Colours for people: on a terminal, unless NO_COLOR is set. */
export function painter(out: Out, env: Io['env']): (colour: keyof typeof CODES, text: string) => string {
  const on = Boolean(out.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb';
  return (colour, text) => (on ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text);
}

/** Untrusted text on a terminal or in a line of output: no control characters, so that it can neither move the cursor nor add lines. */
export const printable = (text: string): string =>
  text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
