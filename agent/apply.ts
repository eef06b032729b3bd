import { Backoff, type Cancel, type Clock, type Log, type Metrics, type Milliseconds, messageOf } from '#core';
import type { Failure } from './kernel/types.ts';

/** What a step did: things written, and what the kernel refused. A refusal stays pending in its reconciler and is tried again. */
export interface StepOutcome {
  readonly written: number;
  readonly failures: readonly Failure[];
  /** Work is left on purpose (a rate limit): come back after this time. */
  readonly again?: Milliseconds;
}

/** One step of bringing the kernel to the desired state. */
export interface ApplyStep {
  readonly name: string;
  /** Why it stands where it stands in the order. */
  readonly because: string;
  /** Rejects only when the step could not be carried out at all; the steps after it that need it must then not run. */
  run(): Promise<StepOutcome>;
  /** Names of earlier steps without whose success this one would break an invariant. */
  readonly needs?: readonly string[];
}

const RETRY_FIRST: Milliseconds = 100;
const RETRY_MOST: Milliseconds = 10_000;

/**
 * Runs the steps in order, one pass at a time. Requests that come during a pass lead to one more pass, however many they are, so
 * a slow kernel makes bigger batches (I8). A failed step holds back those that need it, and the pass is repeated with back-off.
 */
export class Applier {
  readonly #steps: readonly ApplyStep[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #metrics: ReturnType<typeof applyMetrics>;
  readonly #backoff = new Backoff(RETRY_FIRST, RETRY_MOST);
  readonly #onBegin: () => Promise<Milliseconds | undefined>;
  readonly #onPass: (failures: ReadonlyMap<string, readonly Failure[]>) => void;
  #wanted = false;
  #running: Promise<void> | undefined;
  #retry: Cancel | undefined;
  /** Arrival of the oldest input that passes were given and that is not in place. */
  #oldest: Milliseconds | undefined;
  #stopped = false;

  constructor(options: {
    steps: readonly ApplyStep[];
    clock: Clock;
    log: Log;
    metrics: Metrics;
    /** Before the first step of each pass: what is to be seen by all steps or by none changes here. When the oldest input of that arrived, for the latency metric. */
    onBegin?: () => Promise<Milliseconds | undefined>;
    /** After each pass: what failed, by step. */
    onPass?: (failures: ReadonlyMap<string, readonly Failure[]>) => void;
  }) {
    this.#steps = options.steps;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = applyMetrics(options.metrics);
    this.#onBegin = options.onBegin ?? (async () => undefined);
    this.#onPass = options.onPass ?? (() => {});
  }

  /** Something desired or actual has changed. */
  request(): void {
    if (this.#stopped) return;
    this.#wanted = true;
    this.#running ??= this.#passes().finally(() => {
      this.#running = undefined;
    });
  }

  /** Whether a pass is running. */
  get busy(): boolean {
    return this.#running !== undefined;
  }
  /** Resolves when no pass is running and none is asked for; retries that wait for their time do not count. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  /** Ends after the pass that is running: what it has begun is finished, and the kernel state stays. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#retry?.();
    await this.idle();
  }

  async #passes(): Promise<void> {
    // Inputs of one turn arrive in one go; let them all in first.
    await Promise.resolve();
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false;
      await this.#pass();
    }
  }

  async #pass(): Promise<void> {
    const started = this.#clock.now();
    this.#retry?.();
    const since = await this.#onBegin();
    this.#oldest ??= since;
    const failures = new Map<string, readonly Failure[]>();
    let again: Milliseconds | undefined;
    for (const step of this.#steps) {
      const missing = step.needs?.find((name) =>
        failures.get(name)?.some((f) => f.key === step.name || f.key === name),
      );
      if (missing !== undefined) {
        failures.set(step.name, [{ key: step.name, error: 'HELD', detail: `${missing} failed` }]);
        continue;
      }
      const outcome = await this.#run(step);
      if (outcome.failures.length > 0) failures.set(step.name, outcome.failures);
      if (outcome.again !== undefined) again = Math.min(again ?? outcome.again, outcome.again);
    }
    const now = this.#clock.now();
    this.#metrics.duration.observe((now - started) / 1000);
    this.#finish(failures, again, now);
  }

  #finish(failures: ReadonlyMap<string, readonly Failure[]>, again: Milliseconds | undefined, now: Milliseconds): void {
    if (failures.size === 0) {
      this.#backoff.reset();
      if (this.#oldest !== undefined) this.#metrics.latency.observe((now - this.#oldest) / 1000);
      this.#oldest = undefined;
    } else {
      // The latency of what failed counts until it is in place.
      this.#metrics.failures.inc();
      again = Math.min(again ?? RETRY_MOST, this.#backoff.next());
    }
    if (again !== undefined && !this.#stopped) this.#retry = this.#clock.after(again, () => this.request());
    this.#onPass(failures);
  }

  async #run(step: ApplyStep): Promise<StepOutcome> {
    const started = this.#clock.now();
    try {
      const outcome = await step.run();
      this.#metrics.written.inc({ step: step.name }, outcome.written);
      return outcome;
    } catch (error) {
      this.#log.error({ step: step.name, error: messageOf(error) }, 'apply step failed; it will be tried again');
      // Keyed by the step's own name: the step as a whole did not happen.
      return { written: 0, failures: [{ key: step.name, error: 'FAILED', detail: messageOf(error) }] };
    } finally {
      this.#metrics.stepDuration.observe({ step: step.name }, (this.#clock.now() - started) / 1000);
    }
  }
}

const applyMetrics = (metrics: Metrics) => ({
  duration: metrics.histogram('tsnet_apply_seconds', 'Duration of a whole apply pass'),
  stepDuration: metrics.histogram('tsnet_apply_step_seconds', 'Duration of a step of an apply pass', ['step']),
  latency: metrics.histogram(
    'tsnet_datastore_to_kernel_seconds',
    'From the arrival of a datastore event to the end of the apply pass that put it into the kernel',
  ),
  written: metrics.counter('tsnet_apply_writes_total', 'Objects written to the kernel', ['step']),
  failures: metrics.counter('tsnet_apply_failures_total', 'Apply passes in which something failed'),
});
