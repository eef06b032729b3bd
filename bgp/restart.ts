import { type Cancel, type Clock, FAMILIES, type Milliseconds } from '#core';
import type { Peer } from './peer.ts';

/** A peer that has not come back by then is not waited for any longer. */
const RETURN_AT_MOST: Milliseconds = 15_000;

/**
 * After a restart of ours (RFC 4724 §4.1): peers that restart gracefully keep our routes, and are told nothing until they all have told
 * theirs, so that no route goes away and comes back. Each peer counts for itself: one that is down, that has restarted as well, or that knows
 * no graceful restart holds nobody up.
 */
export class RestartWatch {
  readonly #done: () => void;
  readonly #waiting = new Set<Peer>();
  readonly #timers: Cancel[];
  #over = false;

  constructor(clock: Clock, peers: Iterable<Peer>, restartTime: Milliseconds, done: () => void) {
    this.#done = done;
    for (const peer of peers) this.#waiting.add(peer);
    this.#timers = [
      clock.after(Math.min(RETURN_AT_MOST, restartTime), () => {
        for (const peer of this.#waiting) if (peer.negotiated === null) this.#waiting.delete(peer);
        this.#check();
      }),
      clock.after(restartTime, () => this.#finish()),
    ];
    if (this.#waiting.size === 0) this.#finish();
  }
  get isOver(): boolean {
    return this.#over;
  }
  /** The peer has come, told a family to its end, or gone. */
  look(peer: Peer): void {
    const { negotiated } = peer;
    if (!negotiated) return;
    const { gracefulRestart, families } = negotiated;
    const hopeless = gracefulRestart === null || gracefulRestart.restarting;
    if (hopeless || FAMILIES.every((family) => !families.includes(family) || peer.retention.synced.has(family)))
      this.#waiting.delete(peer);
    this.#check();
  }
  cancel(): void {
    this.#over = true;
    for (const cancel of this.#timers) cancel();
  }

  #check(): void {
    if (this.#waiting.size === 0) this.#finish();
  }
  #finish(): void {
    if (this.#over) return;
    this.cancel();
    this.#done();
  }
}
