import { type Addr, Backoff, type Cancel, type Clock, DeltaTracker, FAMILIES, type Log, type Metrics } from '#core';
import { type Failure, isHostRoute, type Netlink, type Route, type RouteWrite, routeKey } from '../kernel/types.ts';
import { MovedFlows } from './moved-flows.ts';
import { declareRouteMetrics } from './route-metrics.ts';
import { RouteIndex, sameRoute } from './route-state.ts';

/** Why a desired route is not in the kernel. */
export interface RouteProblem {
  readonly route: Route;
  /** errno name. */
  readonly error: string;
  readonly detail: string;
  /** A stranger's route at the same key leads the same way: packets arrive, and nothing needs to be done. */
  readonly served: boolean;
}

export interface RouteReconcilerOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** There is work for `applyDeletes` and `applyUpdates`: an event, a retry that fell due, a grace that ended. */
  readonly onDirty: () => void;
  readonly isWorkloadLink: (name: string) => boolean;
}

interface Fact {
  readonly key: string;
  readonly route: Route | undefined;
}

interface Pending extends RouteWrite {
  readonly key: string;
  /** What stood there before the write, as far as known. */
  readonly before: Route | undefined;
}

/** A route to a workload interface that nobody asked for yet: the CNI plugin makes it before the datastore tells. */
const GRACE = 5_000;
const RETRY_FIRST = 100;
const RETRY_MOST = 10_000;
/** Routes handed to the kernel before the loop gets its turn. */
const CHUNK = 2_048;

/**
 * Makes the kernel's routes of protocol 80 exactly the desired ones.
 *
 *     update() ──▶ desired ┐                          ┌─▶ applyDeletes ─┐
 *                          ├─▶ DeltaTracker ─ pending ┤                 ├─▶ kernel
 *     events, readBack() ─▶ actual ┘                  └─▶ applyUpdates ─┘
 *
 * Before the first `readBack` nothing is written and nobody is woken (I2). An interface that comes, goes or is renamed changes only what is known of the
 * actual side; what then differs is written again.
 */
export class RouteReconciler {
  readonly #o: RouteReconcilerOptions;
  readonly #tracker = new DeltaTracker<string, Route>(sameRoute);
  readonly #index = new RouteIndex();
  readonly #failed = new Map<string, { problem: RouteProblem; backoff: Backoff; due: number; retries: number }>();
  /** Routes that nobody asked for, and when they were first seen. */
  readonly #strange = new Map<string, number>();
  /** Their flows are forgotten once their routes are settled. */
  readonly #moved: MovedFlows;
  #tail: Promise<unknown> = Promise.resolve();
  #readNeeded = true;
  /** `readBack` has been asked for: the desired side is whole. */
  #live = false;
  #written = 0;
  /** Facts that arrive while a dump runs are newer than the dump, and are put on top of it. */
  #during: Fact[] | null = null;
  #timer: { due: number; cancel: Cancel } | null = null;
  readonly #stop: Cancel;
  readonly #counters;

  constructor(options: RouteReconcilerOptions) {
    this.#o = options;
    this.#counters = declareRouteMetrics(options.metrics, () => this.counts);
    this.#moved = new MovedFlows({ ...options, onRemoved: (count) => this.#counters.flows.inc(count) });
    this.#stop = options.netlink.watch({
      link: ({ link, gone }) => this.#onLink(link.name, link.index, link.adminUp && !gone, gone),
      address: (_, gone) => {
        if (gone) this.#askReadBack('an address was removed');
      },
      route: (_, route, gone) => this.#onRoute(route, gone),
      overrun: () => {
        this.#counters.overruns.inc();
        this.#askReadBack('route events were lost');
      },
    });
  }

  /** Changes of the desired side, by `routeKey`; undefined removes. One that is told again as it was had been gone: its address may be another workload's. */
  update(changes: ReadonlyMap<string, Route | undefined>): void {
    for (const [key, route] of changes) {
      const before = this.#tracker.desired(key);
      if (before && isLocalHost(before)) this.#moved.add(addressOf(before));
      else if (before && route && isLocalHost(route) && !sameRoute(route, before)) this.#moved.add(addressOf(route));
      this.#strange.delete(key);
      this.#failed.delete(key);
      if (route) this.#tracker.setDesired(key, route);
      else this.#tracker.deleteDesired(key);
    }
  }
  /** Makes the desired side exactly these. */
  replace(all: readonly Route[]): void {
    const changes = new Map<string, Route | undefined>();
    for (const key of this.#tracker.allDesired.keys()) changes.set(key, undefined);
    for (const route of all) changes.set(routeKey(route), route);
    for (const [key, route] of changes) {
      const before = this.#tracker.desired(key);
      if (before && route && sameRoute(route, before)) changes.delete(key);
    }
    this.update(changes);
  }

  /** Reads what the kernel has; the next apply writes the difference. @throws OperationalError KERNEL */
  readBack(): Promise<void> {
    this.#live = true;
    return this.#inTurn(() => this.#read());
  }
  /** Removes what is not desired. First of the two, before the policy that protects the endpoints goes. */
  applyDeletes(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#live) return;
      if (this.#readNeeded) await this.#read();
      await this.#write(this.#dueDeletes());
    });
  }
  /** Writes what is missing or wrong. Last, when everything that the routes rely on is in place. */
  applyUpdates(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#live) return;
      if (this.#readNeeded) await this.#read();
      await this.#write(this.#dueUpdates());
      this.#moved.forget();
    });
  }

  /** Desired routes that are not in the kernel, with the kernel's reason. */
  *problems(): IterableIterator<RouteProblem> {
    for (const { problem } of this.#failed.values()) yield problem;
  }
  problem(key: string): RouteProblem | undefined {
    return this.#failed.get(key)?.problem;
  }
  /** Whether the route stands in the kernel as desired, or a stranger's equal one serves; of a route that is given, that very one. */
  isProgrammed(key: string, route?: Route): boolean {
    const want = this.#tracker.desired(key);
    if (want && route && !sameRoute(want, route)) return false;
    const have = this.#tracker.actual(key);
    return want !== undefined && ((have !== undefined && sameRoute(want, have)) || this.problem(key)?.served === true);
  }
  /** Route changes sent to the kernel so far. */
  get written(): number {
    return this.#written;
  }
  get inSync(): boolean {
    return !this.#readNeeded && this.#tracker.inSync;
  }
  get counts(): { desired: number; programmed: number; failed: number } {
    const desired = this.#tracker.allDesired.size;
    let failed = 0;
    for (const { problem } of this.#failed.values()) if (!problem.served) failed++;
    return { desired, programmed: this.#tracker.allActual.size, failed };
  }
  /** Every route of protocol 80 that the kernel is known to hold. */
  get actual(): ReadonlyMap<string, Route> {
    return this.#tracker.allActual;
  }
  close(): void {
    this.#stop();
    this.#moved.close();
    this.#timer?.cancel();
    this.#timer = null;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** What a write of ours will have made true. */
  #expect(key: string, route: Route | undefined): void {
    this.#index.move(key, this.#tracker.actual(key), route);
    this.#tracker.setActual(key, route);
  }
  /** What the kernel says. */
  #learn(key: string, route: Route | undefined): void {
    this.#expect(key, route);
    const want = this.#tracker.desired(key);
    if (route === undefined) {
      this.#strange.delete(key);
      // It is gone without us, as it was to be.
      if (want === undefined) this.#failed.delete(key);
    } else if (want !== undefined) {
      if (sameRoute(want, route)) this.#failed.delete(key);
    } else if (!this.#strange.has(key) && route.via.type === 'link' && this.#o.isWorkloadLink(route.via.link))
      this.#strange.set(key, this.#o.clock.now());
  }

  async #read(): Promise<void> {
    this.#readNeeded = false;
    const during: Fact[] = [];
    this.#during = during;
    try {
      for (const link of await this.#o.netlink.listLinks())
        this.#index.noteLink(link.index, link.name, link.adminUp, false);
      let done = 0;
      const breathe = async () => {
        if (++done % CHUNK === 0) await new Promise<void>((resolve) => setImmediate(resolve));
      };
      const found = new Map<string, Route>();
      for (const family of FAMILIES)
        for (const route of await this.#o.netlink.listRoutes(family)) {
          found.set(routeKey(route), route);
          await breathe();
        }
      for (const key of [...this.#tracker.allActual.keys()]) {
        if (!found.has(key)) this.#learn(key, undefined);
        await breathe();
      }
      for (const [key, route] of found) {
        this.#learn(key, route);
        await breathe();
      }
      for (const { key, route } of during) this.#learn(key, route);
      this.#counters.readBacks.inc();
    } catch (error) {
      this.#readNeeded = true;
      throw error;
    } finally {
      this.#during = null;
    }
  }

  *#dueDeletes(): IterableIterator<Pending> {
    const now = this.#o.clock.now();
    for (const { key, have } of this.#tracker.pendingDeletes()) {
      const seen = this.#strange.get(key);
      if (seen !== undefined && seen + GRACE > now) this.#wakeAt(seen + GRACE);
      else if (this.#isDue(key, now)) yield { key, op: 'delete', route: have, before: have };
    }
  }
  *#dueUpdates(): IterableIterator<Pending> {
    const now = this.#o.clock.now();
    for (const { key, want, have } of this.#tracker.pendingUpdates())
      if (this.#isDue(key, now)) yield { key, op: have ? 'replace' : 'add', route: want, before: have };
  }

  async #write(pending: Iterable<Pending>): Promise<void> {
    let chunk: Pending[] = [];
    for (const one of pending) {
      // The actual side is moved first, so that an event that arrives meanwhile has the last word.
      this.#expect(one.key, one.op === 'delete' ? undefined : one.route);
      if (one.op === 'delete' && isLocalHost(one.route)) this.#moved.add(addressOf(one.route));
      chunk.push(one);
      if (chunk.length < CHUNK) continue;
      await this.#writeChunk(chunk);
      chunk = [];
    }
    if (chunk.length > 0) await this.#writeChunk(chunk);
  }
  async #writeChunk(chunk: readonly Pending[]): Promise<void> {
    this.#written += chunk.length;
    this.#counters.writes.inc({ op: chunk[0].op === 'delete' ? 'delete' : 'update' }, chunk.length);
    const failures = await this.#o.netlink.writeRoutes(chunk);
    if (failures.length === 0 && this.#failed.size === 0) return;
    const byKey = new Map(failures.map((failure) => [failure.key, failure]));
    for (const { key, before } of chunk) {
      const failure = byKey.get(key);
      if (!failure) this.#failed.delete(key);
      else {
        await this.#onFailure(failure, before);
        await this.#giveUp(failure, before);
      }
    }
  }
  /**
   * The address has moved to a workload whose route the kernel refuses, mostly because its interface is not there yet. The former workload must not go on
   * getting its packets, nor be taken for their source.
   */
  async #giveUp({ key, error }: Failure, before: Route | undefined): Promise<void> {
    const want = this.#tracker.desired(key);
    if (!before || !want || !isLocalHost(before) || sameRoute(want, before) || error === 'ENOBUFS') return;
    this.#expect(key, undefined);
    this.#moved.add(addressOf(before));
    const [failure] = await this.#o.netlink.writeRoutes([{ op: 'delete', route: before }]);
    if (failure && failure.error !== 'ESRCH') this.#expect(key, before);
  }

  async #onFailure(failure: Failure, before: Route | undefined): Promise<void> {
    const { key, error, detail } = failure;
    this.#counters.failures.inc();
    this.#expect(key, before);
    const route = this.#tracker.desired(key) ?? before;
    if (!route) return;
    const known = this.#failed.get(key);
    const backoff = known?.backoff ?? new Backoff(RETRY_FIRST, RETRY_MOST);
    const due = this.#o.clock.now() + backoff.next();
    const served = error === 'EEXIST' && (await this.#isServed(route));
    const problem = { route, error, detail, served };
    this.#failed.set(key, { problem, backoff, due, retries: (known?.retries ?? 0) + 1 });
    this.#wakeAt(due);
    // EEXIST may be a route of ours that we did not know of; a lost answer may be anything.
    if ((error === 'EEXIST' && !known) || error === 'ENOBUFS') this.#askReadBack(error);
    // The first EEXIST may be our own route; the read-back tells.
    if (error === 'EEXIST' ? known?.problem.error === error && known.retries === 1 : !known)
      this.#o.log.warn({ route: route.to, via: route.via, error, detail }, 'route not programmed');
  }
  /** Whether packets to a local workload take the right interface although the route is not ours. */
  async #isServed(route: Route): Promise<boolean> {
    if (!isLocalHost(route) || route.via.type !== 'link') return false;
    const found = await this.#o.netlink.lookup(addressOf(route));
    return found !== null && found.link === route.via.link && found.gateway === undefined;
  }
  #isDue(key: string, now: number): boolean {
    const failed = this.#failed.get(key);
    if (!failed || failed.due <= now) return true;
    this.#wakeAt(failed.due);
    return false;
  }

  #onRoute(route: Route, gone: boolean): void {
    const key = routeKey(route);
    const now = gone ? undefined : route;
    this.#during?.push({ key, route: now });
    const was = this.#tracker.pendingCount;
    this.#learn(key, now);
    if (this.#tracker.pendingCount === was) return;
    this.#counters.repairs.inc();
    if (this.#tracker.desired(key)) this.#o.log.warn({ route: route.to, gone }, 'route changed by somebody else');
    this.#wake();
  }

  #onLink(name: string, index: number, up: boolean, gone: boolean): void {
    const { renamed, cameUp, wentDown } = this.#index.noteLink(index, name, up, gone);
    if (renamed) this.#askReadBack(`interface ${renamed} is now ${name}`);
    else if (wentDown) this.#onLinkDown(name);
    else if (cameUp) this.#onLinkUp(name);
  }
  #onLinkUp(name: string): void {
    let waiting = false;
    for (const [key, { problem }] of this.#failed)
      if (this.#index.concerns(problem.route, name)) {
        this.#failed.delete(key);
        waiting = true;
      }
    if (waiting) this.#wake();
  }
  /** The kernel drops an interface's routes without a word when it goes down or away. */
  #onLinkDown(name: string): void {
    const lost = [...this.#index.on(name)];
    for (const key of lost) {
      this.#during?.push({ key, route: undefined });
      this.#learn(key, undefined);
    }
    // Where the kernel chose the interface of a gateway by itself, only a read-back tells which routes went.
    if (this.#index.unresolved > 0 && !this.#o.isWorkloadLink(name)) this.#askReadBack(`interface ${name} is down`);
    if (lost.length > 0) this.#wake();
  }
  #askReadBack(why: string): void {
    if (this.#readNeeded) return;
    this.#readNeeded = true;
    this.#o.log.debug({ why }, 'routes will be read back');
    this.#wake();
  }

  #wake(): void {
    if (this.#live) this.#o.onDirty();
  }
  #wakeAt(due: number): void {
    if (this.#timer && this.#timer.due <= due) return;
    this.#timer?.cancel();
    const cancel = this.#o.clock.after(due - this.#o.clock.now(), () => {
      this.#timer = null;
      this.#wake();
    });
    this.#timer = { due, cancel };
  }
}

export const createRouteReconciler = (options: RouteReconcilerOptions): RouteReconciler => new RouteReconciler(options);

const isLocalHost = (route: Route): boolean => route.via.type === 'link' && isHostRoute(route);
const addressOf = (route: Route): Addr => route.to.slice(0, route.to.indexOf('/')) as Addr;
