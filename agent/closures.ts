import { Backoff, type Cancel, type Clock, type Log, type Milliseconds } from '#core';
import type { Quarantined } from './reconcile/chains.ts';

/** First and longest time that an endpoint stays closed before the kernel is asked again. */
const FIRST: Milliseconds = 30_000;
const MOST: Milliseconds = 600_000;

interface Closure {
  readonly refusals: readonly Quarantined[];
  readonly backoff: Backoff;
  reopen: Cancel;
  isClosed: boolean;
}

/**
 * Endpoints of which the kernel refuses a rule are closed wholly, established flows included (invariant I6: never half open), and tried again
 * with back-off. Closing replaces the refused rule, so the refusal has to be remembered here as long as the endpoint is closed.
 */
export class Closures {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #onChange: (closed: ReadonlySet<string>) => void;
  readonly #all = new Map<string, Closure>();

  /** @param onChange gets all endpoints to close, as `WorkloadEndpoint/namespace/name` */
  constructor(clock: Clock, log: Log, onChange: (closed: ReadonlySet<string>) => void) {
    this.#clock = clock;
    this.#log = log;
    this.#onChange = onChange;
  }

  /** What the kernel has refused, as the last apply pass left it. */
  onPass(quarantined: readonly Quarantined[]): void {
    const byOwner = groupByOwner(quarantined);
    let changed = false;
    for (const [owner, refusals] of byOwner) {
      if (!owner.startsWith('WorkloadEndpoint/') || this.#all.get(owner)?.isClosed) continue;
      this.#close(owner, refusals);
      changed = true;
    }
    for (const [owner, closure] of this.#all)
      if (!closure.isClosed && !byOwner.has(owner)) {
        // It was opened again, and the kernel has taken its rules.
        this.#all.delete(owner);
        this.#log.info({ endpoint: owner }, 'the kernel accepts the rules of this endpoint again');
      }
    if (changed) this.#tell();
  }

  /** Refusals that keep an endpoint closed. */
  get refusals(): Quarantined[] {
    return [...this.#all.values()].flatMap(({ refusals }) => refusals);
  }
  stop(): void {
    for (const { reopen } of this.#all.values()) reopen();
  }

  #close(owner: string, refusals: readonly Quarantined[]): void {
    const backoff = this.#all.get(owner)?.backoff ?? new Backoff(FIRST, MOST);
    const reopen = this.#clock.after(backoff.next(), () => {
      const closure = this.#all.get(owner);
      if (!closure) return;
      closure.isClosed = false;
      this.#tell();
    });
    this.#all.set(owner, { refusals, backoff, reopen, isClosed: true });
    this.#log.error(
      { endpoint: owner, rule: refusals[0].rule, error: refusals[0].error },
      'endpoint closed: the kernel refuses a rule of it',
    );
  }

  #tell(): void {
    this.#onChange(new Set([...this.#all].filter(([, { isClosed }]) => isClosed).map(([owner]) => owner)));
  }
}

function groupByOwner(quarantined: readonly Quarantined[]): Map<string, Quarantined[]> {
  const groups = new Map<string, Quarantined[]>();
  for (const refusal of quarantined) groups.set(refusal.owner, [...(groups.get(refusal.owner) ?? []), refusal]);
  return groups;
}
