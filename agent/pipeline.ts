import { type Addr, type Clock, type Family, type Log, type Milliseconds, type Prefix, parseCidr } from '#core';
import {
  ALLOW_ALL_PROFILE,
  allowAllProfile,
  felixSpec,
  type InvalidObject,
  type SyncSink,
  type SyncStatus,
  type Update,
} from '#datastore';
import type { ClusterFacts, HostInterface, PolicyChanges, RenderConfig } from '#policy';
import { type BandwidthLimits, bandwidthLimits } from './bandwidth.ts';
import type { Bgp } from './bgp.ts';
import { bgpIntent, type IntentInput, ignoredInterfaces, learnedVerdict } from './bgp-intent/index.ts';
import type { Cluster, Dirty } from './cluster.ts';
import type { LocalEndpoints } from './endpoints.ts';
import {
  clusterFacts,
  endpointSettings,
  type FelixProblem,
  type Intervals,
  intervals,
  iptablesVariant,
  type NodeWide,
  nodeWide,
  renderConfig,
} from './felix.ts';
import type { Health } from './health.ts';
import { Inbox } from './inbox.ts';
import type { InterfaceMonitor } from './interfaces.ts';
import type { Route } from './kernel/types.ts';
import { hostMtu, workloadMtu } from './mtu.ts';
import type { PacketFilter } from './packet-filter.ts';
import type { RouteTable } from './routes.ts';
import type { Secrets } from './secrets.ts';
import type { AgentConfig } from './settings.ts';
import { SLICE } from './slices.ts';
import { type TunnelAddresses, tunnelNeed } from './tunnel-address.ts';
import { type OverlayIntent, overlayIntent } from './vxlan.ts';
import type { WorkloadLinks } from './workload-links.ts';

/** What the pipeline needs of the policy calculation and its renderer. */
export interface PolicyPart {
  onUpdate(update: Update): void;
  setConfig(config: RenderConfig): void;
  setFacts(facts: ClusterFacts): void;
  setHostInterfaces(interfaces: readonly HostInterface[]): void;
  /** Does some of calculation and rendering ahead of `flush`, about `limit` objects' worth; true if nothing is left. */
  settle(limit: number): boolean;
  /** What differs from the flush before. */
  flush(): PolicyChanges;
}

/** How much of the calculation is done between two looks at the clock. */
const STRIDE = 64;

/** Where the results of turns go: the desired sides of the reconcilers. */
export interface Desired {
  /** As a pass begins. Resolves when all of it is taken over: it may be too much for one slice. */
  policy(changes: PolicyChanges): Promise<void>;
  /** As a pass begins. */
  routes(changes: ReadonlyMap<string, Route | undefined>): void;
  /** What the VXLAN overlay needs besides its routes, and the MTU that workloads are to have. */
  overlay(intent: OverlayIntent, workloadMtu: number): void;
  /** Workload interfaces that are to have their kernel settings; `spoofing`: no reverse path check. */
  interfaces(all: ReadonlyMap<string, { spoofing: boolean }>): void;
  /** Limits of workload interfaces, and what of the wishes cannot be honoured, one line each. */
  bandwidth(limits: ReadonlyMap<string, BandwidthLimits>, wrong: readonly string[]): void;
  intervals(intervals: Intervals): void;
  /** Settings of the node as a whole. */
  node(settings: NodeWide): void;
  /** What is desired has changed; a pass takes it by `Pipeline.handOver`. */
  request(): void;
}

export interface PipelineOptions {
  readonly config: AgentConfig;
  readonly cluster: Cluster;
  readonly policy: PolicyPart;
  readonly endpoints: LocalEndpoints;
  readonly routes: RouteTable;
  readonly interfaces: InterfaceMonitor;
  readonly workloadLinks: WorkloadLinks;
  /** undefined under --no-bgp and --policy-only. */
  readonly bgp: Bgp | undefined;
  /** undefined where routing is another plugin's. */
  readonly tunnels: TunnelAddresses | undefined;
  readonly secrets: Secrets;
  readonly desired: Desired;
  /** Decides the packet filter by nftablesMode of FelixConfiguration. */
  readonly filter: Pick<PacketFilter, 'choose'>;
  readonly health: Health;
  readonly clock: Clock;
  readonly log: Log;
  /** Once, when everything up to the first in-sync has been taken in, before the first turn. */
  readonly onFirstSync: () => Promise<void>;
}

/**
 * One turn of the agent: inputs → recompute what is dirty → ask for a pass, which takes what was computed as it begins. Until then that waits where it
 * was computed, one entry for each chain, set and prefix, so that a kernel that hangs makes no queue longer (I8). Before the first in-sync inputs are
 * taken in and nothing is desired (invariant I2).
 */
export class Pipeline implements SyncSink {
  readonly #o: PipelineOptions;
  readonly #inbox: Inbox;
  readonly #dirty = new Set<Dirty | 'links'>();
  /** What was dirty when the turn that is under way began, or became so since. */
  readonly #due = new Set<Dirty | 'links'>();
  readonly #invalid = new Map<string, InvalidObject>();
  #status: SyncStatus = 'waiting';
  /** Why the datastore is waited for. */
  #reason: string | null = null;
  #revision: bigint | null = null;
  /** `no`: not yet in-sync; `preparing`: in-sync, reading the kernel back; `yes`: turns lead to writes. */
  #live: 'no' | 'preparing' | 'yes' = 'no';
  /** The cluster says that its datastore is not to be acted on. */
  #held = false;
  #problems: readonly FelixProblem[] = [];
  #machine = '';
  /** When the oldest input came in that has not been handed over yet. */
  #since: Milliseconds | undefined;
  /** What is computed follows from all that was taken in, so that it may be handed over. */
  #isWhole = false;
  overlayProblems: readonly string[] = [];

  constructor(options: PipelineOptions) {
    this.#o = options;
    // It is in no datastore, and every host endpoint that kube-controllers make names it.
    const builtIn = { kind: 'Profile', id: ALLOW_ALL_PROFILE, value: allowAllProfile(), revision: 0n } as const;
    options.policy.onUpdate(builtIn);
    this.#inbox = new Inbox(options.clock, {
      onUpdate: (update) => this.#take(update),
      onDrained: (since) => this.#turn(since),
    });
  }

  onUpdates(updates: readonly Update[]): void {
    this.#inbox.put(updates);
  }
  onStatus(status: SyncStatus, reason?: string): void {
    if (status !== this.#status || (reason ?? null) !== this.#reason)
      this.#o.log[reason ? 'warn' : 'info']({ status, ...(reason && { reason }) }, 'datastore');
    this.#status = status;
    this.#reason = reason ?? null;
    if (status === 'in-sync') this.#o.health.ready('datastore');
    else if (this.#live === 'no') this.#o.health.notReady('datastore', reason ?? status);
    this.#inbox.poke();
  }
  onInvalid(where: string, invalid: InvalidObject | null): void {
    if (!invalid) this.#invalid.delete(where);
    else {
      this.#invalid.set(where, invalid);
      this.#o.log.warn(
        { where, kind: invalid.kind, id: invalid.id },
        `${invalid.used ? 'object needs attention' : 'invalid object is treated as absent'}: ${invalid.message}`,
      );
    }
  }
  /** Interfaces came, went or changed. */
  onLinks(names: ReadonlySet<string>): void {
    this.#o.endpoints.onLinks(this.#o.interfaces.links, names);
    this.#dirty.add('links');
    this.#inbox.poke();
  }
  /** Something that the turn reads has changed. */
  poke(...dirty: Dirty[]): void {
    for (const what of dirty) this.#dirty.add(what);
    this.#inbox.poke();
  }
  /**
   * As a pass begins: policy and routes of one moment. In the middle of a pass a rule could name a set that the step of the sets had not seen, and a route
   * could stand before the policy of its workload (I1). While a turn is under way nothing is handed over: it asks for another pass at its end.
   * Resolves with when the oldest of the inputs came in that are handed over.
   */
  async handOver(): Promise<Milliseconds | undefined> {
    if (!this.#isWhole) return undefined;
    const [policy, routes, since] = [this.#o.policy.flush(), this.#o.routes.takeChanges(), this.#since];
    this.#since = undefined;
    await this.#o.desired.policy(policy);
    this.#o.desired.routes(routes);
    return since;
  }
  close(): void {
    this.#inbox.close();
  }

  get reason(): string | null {
    return this.#reason;
  }
  get status(): SyncStatus {
    return this.#status;
  }
  get invalid(): readonly InvalidObject[] {
    return [...this.#invalid.values()];
  }
  get settingProblems(): readonly FelixProblem[] {
    return this.#problems;
  }
  get queued(): number {
    return this.#inbox.size;
  }

  /** The newest revision that has been taken in. */
  get revision(): bigint | null {
    return this.#revision;
  }

  #take(update: Update): void {
    this.#isWhole = false;
    if (this.#revision === null || update.revision > this.#revision) this.#revision = update.revision;
    if (update.kind === 'Profile' && update.id === ALLOW_ALL_PROFILE) return;
    for (const what of this.#o.cluster.onUpdate(update)) this.#dirty.add(what);
    this.#o.policy.onUpdate(update);
    if (update.kind === 'WorkloadEndpoint') this.#o.endpoints.onUpdate(update);
  }

  #turn(since: Milliseconds | undefined): void {
    const isReady = this.#o.cluster.datastoreReady;
    if (!isReady) this.#o.health.notReady('datastore', 'ClusterInformation default says datastoreReady: false');
    else if (this.#held) this.#o.health.ready('datastore');
    this.#held = !isReady;
    if (this.#live === 'no' && this.#status === 'in-sync' && isReady) this.#goLive();
    if (this.#live !== 'yes' || !isReady) return;
    if (since !== undefined) this.#since = Math.min(since, this.#since ?? since);
    this.#isWhole = false;
    this.#note();
    if (!this.#settle()) {
      this.#inbox.poke();
      return;
    }
    const dirty = new Set(this.#due);
    this.#due.clear();
    if (dirty.has('bgp') || dirty.has('config')) this.#intend();
    this.#overlay(dirty.has('overlay'));
    // Taken also where nobody asks for it, or what changed would be kept for ever.
    const ground = this.#o.routes.takeGround();
    this.#o.bgp?.noteGround(ground);
    if (dirty.has('endpoints') || dirty.has('links') || dirty.has('config')) this.#settings();
    this.#isWhole = true;
    this.#o.desired.request();
  }

  /** What the calculation of policy has to know, and what is due when it is done. */
  #note(): void {
    if (this.#dirty.has('config')) this.#configure();
    if (this.#dirty.has('links') || this.#dirty.has('config')) this.#hostInterfaces();
    for (const what of this.#dirty) this.#due.add(what);
    this.#dirty.clear();
  }

  /** A slice of the calculation; false: there is more of it, or there was no time to see. */
  #settle(): boolean {
    const { policy, clock } = this.#o;
    const end = clock.now() + SLICE;
    while (!policy.settle(STRIDE)) if (clock.now() >= end) return false;
    return true;
  }

  #goLive(): void {
    this.#live = 'preparing';
    this.#dirty.add('config').add('links').add('endpoints');
    this.#o.onFirstSync().then(
      () => {
        this.#live = 'yes';
        this.#inbox.poke();
      },
      (error) => {
        // The kernel could not be read: without that nothing may be written.
        this.#live = 'no';
        this.#o.log.error({ error: String(error) }, 'kernel state cannot be read; tried again');
        this.#o.clock.after(1000, () => this.#inbox.poke());
      },
    );
  }

  #configure(): void {
    const { config, cluster } = this.#o;
    const labels = cluster.nodes.get(config.nodeName)?.metadata.labels ?? {};
    const spec = felixSpec(cluster.felixConfigurations, config.nodeName, labels);
    const vxlan = [...cluster.pools.values()].some((pool) => (pool.spec.vxlanMode ?? 'Never') !== 'Never');
    const dispatch =
      this.#o.filter.choose(spec.nftablesMode, iptablesVariant(spec, config)) === 'nftables' ? 'map' : 'tree';
    const rendered = renderConfig(spec, config, { vxlan, dispatch });
    const known = new Set(this.#problems.map((p) => p.message));
    for (const { field, message } of rendered.problems)
      if (!known.has(message)) this.#o.log.warn({ field }, `FelixConfiguration: ${message}; the default is used`);
    this.#problems = rendered.problems;
    this.#o.policy.setConfig(rendered.config);
    this.#o.policy.setFacts(clusterFacts(cluster, spec));
    const bgp = cluster.bgpConfigurations.get('default')?.spec;
    const metric = { 4: bgp?.ipv4NormalRoutePriority ?? 1024, 6: bgp?.ipv6NormalRoutePriority ?? 1024 };
    this.#o.workloadLinks.prefixes = rendered.config.interfacePrefixes;
    const isWorkloadLink = this.#o.workloadLinks.has;
    this.#o.endpoints.configure(endpointSettings(spec, { metric, routes: !config.policyOnly, isWorkloadLink }));
    this.#o.desired.intervals(intervals(spec));
    this.#o.desired.node(nodeWide(spec));
  }

  #hostInterfaces(): void {
    const { interfaces } = this.#o;
    const isWorkload = this.#o.workloadLinks.has;
    const all = [...interfaces.links.keys()].filter((name) => !isWorkload(name)).sort();
    this.#o.policy.setHostInterfaces(
      all.map((name) => ({ name, addresses: interfaces.addressesOf(name).map((a) => a.address) })),
    );
    const ignored = ignoredInterfaces(this.#o.cluster.bgpConfigurations.get('default'));
    this.#o.bgp?.onLinks(interfaces, (name) => isWorkload(name) || ignored(name));
  }

  #intend(): void {
    const { bgp, cluster, config, secrets, endpoints } = this.#o;
    if (!bgp) return;
    const input: IntentInput = {
      node: config.nodeName,
      profile: config.bgpProfile,
      routerId: config.routerId,
      nodes: cluster.nodes,
      configurations: cluster.bgpConfigurations,
      peers: cluster.bgpPeers,
      filters: cluster.bgpFilters,
      pools: cluster.pools,
      affinities: cluster.affinities,
      localEndpoints: cluster.localEndpoints,
      localAddresses: localAddresses(endpoints, this.#o.routes),
      secret: (name, key) => secrets.get(name, key),
    };
    bgp.set(bgpIntent(input), learnedVerdict(input)).then(
      () => this.#o.health.ready('bgp'),
      (error) => {
        this.#o.health.notReady('bgp', String(error));
        this.#o.log.error({ error: String(error) }, 'the BGP speaker does not start; tried again');
        this.#o.clock.after(5000, () => this.poke('bgp'));
      },
    );
  }

  /** Computed again when resources changed, or the few facts of the machine that it depends on. */
  #overlay(changed: boolean): void {
    const { config, cluster, interfaces, routes } = this.#o;
    if (config.policyOnly) return;
    const labels = cluster.nodes.get(config.nodeName)?.metadata.labels ?? {};
    const felix = felixSpec(cluster.felixConfigurations, config.nodeName, labels);
    const mtu = hostMtu(interfaces.links.values(), felix.mtuIfacePattern);
    const bgp = cluster.nodes.get(config.nodeName)?.spec.bgp;
    const parentOf = (address: Addr) => interfaces.holderOf(address)?.link.name;
    const parents = [bgp?.ipv4Address, bgp?.ipv6Address].map((text) => {
      const parsed = text ? parseCidr(text) : undefined;
      return parsed?.ok ? parentOf(parsed.value.addr) : undefined;
    });
    const machine = [mtu, ...parents].join(' ');
    if (!changed && machine === this.#machine) return;
    this.#machine = machine;
    const { nodes, pools, affinities, blocks } = cluster;
    const node = config.nodeName;
    const intent = overlayIntent({ node, nodes, pools, affinities, blocks, felix, hostMtu: mtu, parentOf });
    const own = nodes.get(node);
    const need = (family: Family) => tunnelNeed(family, node, own, pools, blocks, felix.vxlanEnabled !== false);
    if (own) this.#o.tunnels?.want({ 4: need(4), 6: need(6) });
    for (const problem of intent.problems) if (!this.overlayProblems.includes(problem)) this.#o.log.warn(problem);
    this.overlayProblems = intent.problems;
    routes.replaceClass('vxlan', intent.routes);
    this.#o.desired.overlay(intent, workloadMtu(mtu, pools, felix));
  }

  #settings(): void {
    const wanted = new Map<string, { spoofing: boolean }>();
    for (const endpoint of this.#o.endpoints.served()) {
      const { spoofing = true } = wanted.get(endpoint.interfaceName) ?? {};
      wanted.set(endpoint.interfaceName, { spoofing: spoofing && this.#o.endpoints.maySpoof(endpoint) });
    }
    this.#o.desired.interfaces(wanted);
    const { limits, problems } = bandwidthLimits(this.#o.endpoints.served(), this.#o.interfaces.links);
    this.#o.desired.bandwidth(limits, problems);
  }
}

/** Host routes of this node's workloads that have won their prefix. */
function localAddresses(endpoints: LocalEndpoints, routes: RouteTable): Map<Prefix, number> {
  const found = new Map<Prefix, number>();
  for (const endpoint of endpoints.all.values())
    for (const to of endpoints.routedTo(endpoint)) {
      const winner = routes.explain(to)?.winner;
      if (winner?.class === 'workload') found.set(to, winner.route.metric);
    }
  return found;
}
