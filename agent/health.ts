import type { Clock, Milliseconds } from '#core';

/** One part of the agent that can be not ready, or hang. */
interface Part {
  /** null: ready. */
  notReady: string | null;
  lastBeat: Milliseconds;
  /** Longest silence before the part counts as hung; undefined: it has no heartbeat. */
  readonly timeout: Milliseconds | undefined;
}

/**
 * Readiness and liveness with reasons. Ready means: traffic of this node's workloads is programmed as the datastore asks. Live
 * means: no part that promised a heartbeat has fallen silent. A datastore that is away makes the agent neither: what is in the kernel stays right.
 */
export class Health {
  readonly #clock: Clock;
  readonly #parts = new Map<string, Part>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A part starts out not ready. */
  register(name: string, reason: string, timeout?: Milliseconds): void {
    this.#parts.set(name, { notReady: reason, lastBeat: this.#clock.now(), timeout });
  }
  ready(name: string): void {
    this.#set(name, null);
  }
  notReady(name: string, reason: string): void {
    this.#set(name, reason);
  }
  /** The part's loop has come round. */
  beat(name: string): void {
    const part = this.#parts.get(name);
    if (part) part.lastBeat = this.#clock.now();
  }

  /** Reasons why the agent is not ready; empty when it is. */
  get notReadyReasons(): string[] {
    return [...this.#parts].flatMap(([name, part]) => (part.notReady === null ? [] : [`${name}: ${part.notReady}`]));
  }
  /** Reasons why the agent should be restarted; empty when it lives. */
  get deadReasons(): string[] {
    const now = this.#clock.now();
    return [...this.#parts].flatMap(([name, part]) => {
      const silent = now - part.lastBeat;
      return part.timeout !== undefined && silent > part.timeout
        ? [`${name}: no sign of life for ${Math.round(silent / 1000)} s`]
        : [];
    });
  }

  #set(name: string, reason: string | null): void {
    const part = this.#parts.get(name);
    if (part) part.notReady = reason;
  }
}
