import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '#core';

/** Something in the lab is not as it should be: what, and the last lines of the logs that show it. */
export class LabError extends Error {
  readonly evidence: readonly string[];
  constructor(message: string, evidence: readonly string[] = []) {
    super([message, ...evidence].join('\n'));
    this.name = 'LabError';
    this.evidence = evidence;
  }
}

export interface WaitOptions {
  /** Milliseconds; generous, because it is only spent when something is wrong. */
  readonly timeout?: number;
  readonly interval?: number;
  /** Log lines for the error. */
  readonly evidence?: () => readonly string[];
  /** Why it cannot come true any more; null while it can. */
  readonly hopeless?: () => string | null;
}

let interrupted = false;

/** Ctrl-C: whatever is waited for now or later is no longer worth it. */
export function stopWaiting(): void {
  interrupted = true;
}

/**
 * Waits until `check` answers true. It answers with the reason as text while that is not so; throwing counts as a reason too.
 * Rejects with a LabError that says what was waited for and the last reason.
 */
export async function waitFor(
  what: string,
  check: () => true | string | Promise<true | string>,
  options: WaitOptions = {},
): Promise<void> {
  const { timeout = 30_000, interval = 50 } = options;
  const end = performance.now() + timeout;
  for (;;) {
    const answer = await reasonOf(check);
    if (answer === true) return;
    const dead = interrupted ? `interrupted; so far: ${answer}` : options.hopeless?.();
    if (dead) throw new LabError(`waiting for ${what}: ${dead}`, options.evidence?.());
    if (performance.now() > end)
      throw new LabError(`waited ${timeout / 1000} s for ${what}: ${answer}`, options.evidence?.());
    await sleep(interval);
  }
}

async function reasonOf(check: () => true | string | Promise<true | string>): Promise<true | string> {
  try {
    return await check();
  } catch (error) {
    return messageOf(error);
  }
}
