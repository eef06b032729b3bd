import type { BestChange } from '#bgp';
import { Backoff, type Cancel, type Clock, FAMILIES, type Log, messageOf, type Prefix } from '#core';
import { type Failure, type Netlink, type Route, type RouteWrite, routeKey } from './kernel/types.ts';
import { learnedRoute } from './learned-route.ts';
import { sameRoute } from './reconcile/route-state.ts';

/** Routes that go to the kernel at a time, in the calling thread (1 to 2 ms); sockets are read in between. */
const BATCH = 512;
/** Routes of an earlier run wait this long for the peers to confirm them. */
const INHERITED_AT_MOST = 120_000;

export interface LearnedKernelOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Best routes straight into the kernel, for a speaker that owns every route of protocol 80: a router, not a node. Changes coalesce by prefix while
 * the kernel is busy; a stranger's route at the same key is left alone and the prefix is tried again later.
 */
export class LearnedKernel {
  readonly #o: LearnedKernelOptions;
  /** What the kernel holds of ours. */
  readonly #held = new Map<Prefix, Route>();
  readonly #wanted = new Map<Prefix, BestChange['best']>();
  #pending = new Map<Prefix, BestChange['best']>();
  /** Left by an earlier run, and not confirmed yet. */
  readonly #inherited = new Set<Prefix>();
  readonly #retry = new Backoff(1_000, 30_000);
  readonly #cancels: Cancel[] = [];
  #busy: Promise<void> | null = null;
  #closed = false;

  constructor(options: LearnedKernelOptions) {
    this.#o = options;
  }
  /** Reads what is there. @throws OperationalError KERNEL */
  async start(): Promise<void> {
    const { netlink, clock } = this.#o;
    this.#cancels.push(
      netlink.watch({
        route: (_, route, gone) => gone && this.#onGone(route),
        overrun: () => void this.#readBack(),
      }),
    );
    await this.#readBack();
    for (const prefix of this.#held.keys()) this.#inherited.add(prefix);
    if (this.isRestart) this.#cancels.push(clock.after(INHERITED_AT_MOST, () => this.restartComplete()));
  }
  get isRestart(): boolean {
    return this.#inherited.size > 0;
  }
  apply(changes: readonly BestChange[]): void {
    for (const { prefix, best } of changes) {
      if (best) this.#wanted.set(prefix, best);
      else this.#wanted.delete(prefix);
      // An inherited route stays until its peer had the time to tell it again.
      if (best === null && this.#inherited.has(prefix)) continue;
      this.#inherited.delete(prefix);
      this.#pending.set(prefix, best);
    }
    this.#run();
  }
  restartComplete(): void {
    for (const prefix of this.#inherited) this.#pending.set(prefix, null);
    this.#inherited.clear();
    this.#run();
  }
  /** Ends; the routes stay. */
  async stop(): Promise<void> {
    this.#closed = true;
    for (const cancel of this.#cancels) cancel();
    await this.#busy;
    this.#o.netlink.close();
  }

  #run(): void {
    if (this.#busy || this.#closed || this.#pending.size === 0) return;
    this.#busy = this.#drain()
      .catch((error) => this.#o.log.error({ error: messageOf(error) }, 'routes cannot be written'))
      .finally(() => {
        this.#busy = null;
        setImmediate(() => this.#run());
      });
  }
  async #drain(): Promise<void> {
    const writes: RouteWrite[] = [];
    for (const [prefix, best] of this.#pending) {
      if (writes.length >= BATCH) break;
      this.#pending.delete(prefix);
      this.#plan(prefix, best ? learnedRoute(prefix, best) : null, writes);
    }
    if (writes.length === 0) return;
    const failures = await this.#o.netlink.writeRoutes(writes);
    for (const { op, route } of writes) if (op !== 'delete') this.#held.set(route.to, route);
    if (failures.length > 0) this.#onFailures(failures, writes);
  }
  #plan(prefix: Prefix, want: Route | null, writes: RouteWrite[]): void {
    const have = this.#held.get(prefix);
    if (have && (!want || want.metric !== have.metric)) {
      writes.push({ op: 'delete', route: have });
      this.#held.delete(prefix);
      if (want) writes.push({ op: 'add', route: want });
    } else if (want && have) {
      if (!sameRoute(want, have)) writes.push({ op: 'replace', route: want });
    } else if (want) writes.push({ op: 'add', route: want });
  }
  #onFailures(failures: readonly Failure[], writes: readonly RouteWrite[]): void {
    const byKey = new Map(writes.map((write) => [routeKey(write.route), write]));
    for (const { key, error, detail } of failures) {
      const write = byKey.get(key);
      if (!write) continue;
      this.#o.log.warn({ route: key, op: write.op, error, detail }, 'the kernel refused a route');
      if (write.op === 'add') this.#held.delete(write.route.to);
    }
    const again = failures.flatMap(({ key }) => byKey.get(key)?.route.to ?? []);
    this.#cancels.push(
      this.#o.clock.after(this.#retry.next(), () => {
        for (const prefix of again) this.#pending.set(prefix, this.#wanted.get(prefix) ?? null);
        this.#run();
      }),
    );
  }
  #onGone({ to, metric }: Route): void {
    if (this.#held.get(to)?.metric !== metric) return;
    this.#held.delete(to);
    this.#pending.set(to, this.#wanted.get(to) ?? null);
    this.#run();
  }
  /** Everything once more, because events were lost: what differs is written. */
  async #readBack(): Promise<void> {
    await this.#busy;
    this.#held.clear();
    for (const family of FAMILIES)
      for (const route of await this.#o.netlink.listRoutes(family)) this.#held.set(route.to, route);
    for (const [prefix, best] of this.#wanted) this.#pending.set(prefix, best);
    for (const prefix of this.#held.keys())
      if (!this.#wanted.has(prefix) && !this.#inherited.has(prefix)) this.#pending.set(prefix, null);
    this.#run();
  }
}
