import { Backoff, type Cancel, type Clock, type Log, type Metrics } from '#core';
import type { BandwidthLimits, Direction } from '../bandwidth.ts';
import { type Failure, type Link, type Netlink, type TrafficWrite, trafficKey } from '../kernel/types.ts';
import { IFB_PREFIX, ifbOf, planBandwidth, type TrafficState } from './bandwidth-plan.ts';

export interface BandwidthReconcilerOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly onDirty: () => void;
}

/**
 * Bandwidth of workloads: a token bucket at the root of the host's end for what they receive; for what they send, a redirect at its ingress to
 * an `ifb` device with a bucket. What the kernel refuses harms no other limit, and no policy: it is said, and tried again.
 */
export class BandwidthReconciler {
  readonly #o: BandwidthReconcilerOptions;
  readonly #backoff = new Backoff(1_000, 60_000);
  readonly #writes;
  readonly #stop: Cancel;
  /** undefined until the first `set`: nothing is removed before it is known what is wanted. */
  #limits: ReadonlyMap<string, BandwidthLimits> | undefined;
  #links: ReadonlyMap<string, Link> = new Map();
  /** The links that matter, as they were when the kernel was last looked at. */
  #seen = '';
  #dirty = true;
  /** Wishes that cannot be honoured as they stand; and limits that are not in force. */
  #wrong: readonly string[] = [];
  #problems: readonly string[] = [];
  #timer: Cancel | null = null;

  constructor(options: BandwidthReconcilerOptions) {
    this.#o = options;
    this.#writes = options.metrics.counter('tsnet_bandwidth_writes_total', 'Changes to qdiscs sent to the kernel');
    options.metrics.gauge('tsnet_bandwidth_endpoints', 'Local endpoints whose bandwidth is limited', [], (gauge) =>
      gauge.set(this.#limits?.size ?? 0),
    );
    const changed = () => {
      this.#dirty = true;
      options.onDirty();
    };
    this.#stop = options.netlink.watch({
      traffic: (link) => {
        if (this.#limits?.has(link) || link.startsWith(IFB_PREFIX)) changed();
      },
      overrun: changed,
    });
  }

  /** @param wrong what of the wishes cannot be honoured as it stands, one line each */
  set(limits: ReadonlyMap<string, BandwidthLimits>, wrong: readonly string[] = []): void {
    this.#warn(wrong, this.#wrong);
    this.#wrong = wrong;
    if (this.#limits && JSON.stringify([...this.#limits]) === JSON.stringify([...limits])) return;
    this.#limits = limits;
    this.#dirty = true;
  }
  onLinks(links: ReadonlyMap<string, Link>): void {
    this.#links = links;
    if (this.#matter() !== this.#seen) this.#dirty = true;
  }
  /** Everything is read from the kernel again at the next `apply`. */
  recheck(): void {
    this.#dirty = true;
  }
  /** What is wrong with limits, and which are not in force: endpoint, field and reason. */
  get problems(): readonly string[] {
    return [...this.#wrong, ...this.#problems];
  }

  /** Resolves with the number of changes. @throws OperationalError KERNEL if the kernel cannot be read */
  async apply(): Promise<number> {
    const limits = this.#limits;
    if (!limits || !this.#dirty) return 0;
    this.#dirty = false;
    this.#seen = this.#matter();
    try {
      const { netlink } = this.#o;
      const { devices, changes, unused, obstacles } = planBandwidth(limits, await this.#look(limits));
      const failures: Failure[] = [];
      for (const { name, mtu } of devices) failures.push(...(await netlink.createIfb(name, mtu)));
      failures.push(...(await netlink.writeTraffic(changes)));
      for (const name of unused) failures.push(...(await netlink.deleteLink(name)));
      const written = devices.length + changes.length + unused.length;
      this.#writes.inc(written);
      this.#settle([
        ...obstacles.map(({ link, direction, message }) => this.#say(link, direction, message)),
        ...failures.map((failure) => this.#failure(failure, changes)),
      ]);
      if (failures.length > 0) this.#retry();
      else this.#backoff.reset();
      return written;
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }
  close(): void {
    this.#timer?.();
    this.#stop();
  }

  /** Filters are asked for only where one of ours can be: while there is no device of ours, nothing leads to one. */
  async #look(limits: ReadonlyMap<string, BandwidthLimits>): Promise<TrafficState> {
    const { netlink } = this.#o;
    const links = new Map((await netlink.listLinks()).map((link) => [link.name, link]));
    const qdiscs = await netlink.listQdiscs();
    const hasDevices = [...links.keys()].some((name) => name.startsWith(IFB_PREFIX));
    const filters = new Map<string, Awaited<ReturnType<Netlink['listIngressFilters']>>>();
    for (const { at, link } of qdiscs)
      if (at === 'ingress' && (hasDevices || limits.get(link)?.egress))
        filters.set(link, await netlink.listIngressFilters(link));
    return { links, qdiscs, filters };
  }

  #matter(): string {
    const indexes: string[] = [];
    for (const { name, index } of this.#links.values())
      if (this.#limits?.has(name) || name.startsWith(IFB_PREFIX)) indexes.push(`${name} ${index}`);
    return indexes.sort().join();
  }

  #failure(failure: Failure, changes: readonly TrafficWrite[]): string {
    const change = changes.find((c) => trafficKey(c) === failure.key);
    const name = change?.link ?? failure.key;
    const isEgress = name.startsWith(IFB_PREFIX) || (change && !change.op.endsWith('bucket'));
    const link = [...(this.#limits?.keys() ?? [])].find((l) => ifbOf(l) === name) ?? name;
    const message = `${failure.key}: ${failure.error} ${failure.detail}`.trim();
    return this.#say(link, isEgress ? 'egress' : 'ingress', message);
  }
  #say(link: string, direction: Direction, message: string): string {
    const owner = this.#limits?.get(link)?.owner;
    return owner === undefined
      ? `bandwidth of ${link}: ${message}`
      : `WorkloadEndpoint ${owner}: qosControls.${direction}Bandwidth: not in force: ${message}`;
  }
  #settle(problems: readonly string[]): void {
    this.#warn(problems, this.#problems);
    this.#problems = problems;
  }
  #warn(now: readonly string[], before: readonly string[]): void {
    for (const problem of now) if (!before.includes(problem)) this.#o.log.warn(problem);
  }
  #retry(): void {
    this.#timer?.();
    this.#timer = this.#o.clock.after(this.#backoff.next(), () => {
      this.#dirty = true;
      this.#o.onDirty();
    });
  }
}
