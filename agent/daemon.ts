import { join } from 'node:path';
import { declarePeerMetrics, type RouteInfo, type Speaker, type SpeakerEvents } from '#bgp';
import { type Clock, createMetrics, type Log, type Metrics, type Milliseconds, realClock, sleep } from '#core';
import {
  createResources,
  declareSyncMetrics,
  Ipam,
  openStore,
  type Store,
  type StoreConfig,
  startSyncer,
} from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { declareAgentMetrics } from './agent-metrics.ts';
import { Applier } from './apply.ts';
import { Bgp } from './bgp.ts';
import { Closures } from './closures.ts';
import { Cluster } from './cluster.ts';
import { CniFile, NODE_NAME_FILE } from './cni-file.ts';
import { answerQuestions } from './control.ts';
import { applySteps, Dataplane } from './dataplane.ts';
import { EndpointLog } from './endpoint-log.ts';
import { EndpointStatusFiles } from './endpoint-status.ts';
import { LocalEndpoints } from './endpoints.ts';
import { ForeignRoutes } from './foreign-routes.ts';
import { Health } from './health.ts';
import { healthPages, metricsPages, serve } from './http.ts';
import { createInterfaceMonitor, type InterfaceMonitor } from './interfaces.ts';
import { joinCluster } from './join.ts';
import { chooseVariant } from './kernel/iptables.ts';
import { createNetlink } from './kernel/netlink/index.ts';
import { createRunner, type Runner } from './kernel/runner.ts';
import { sysctl } from './kernel/sysctl.ts';
import type { Failure, Netlink } from './kernel/types.ts';
import { LoopLag } from './loop-lag.ts';
import { Pipeline } from './pipeline.ts';
import { MOST_PUBLISHED_ROUTES, Publisher } from './publisher.ts';
import { RuleWatch } from './reconcile/watch.ts';
import { createReconcilers, type ReconcilerContext, type Reconcilers } from './reconcilers.ts';
import { RouteTable } from './routes.ts';
import { makeRunDirectory } from './run-directory.ts';
import { Secrets } from './secrets.ts';
import type { AgentConfig } from './settings.ts';
import { endpointStates, type NodeStatus, nodeStatus } from './status.ts';
import { TunnelAddresses } from './tunnel-address.ts';
import { WorkloadLinks } from './workload-links.ts';

export interface RunningAgent {
  status(): NodeStatus;
  /** Ends cleanly and leaves the kernel state, and the peers' routes, in place. */
  stop(): Promise<void>;
}

export interface AgentContext {
  readonly config: AgentConfig;
  readonly version: string;
  readonly log: Log;
  /** Something changed that an agent takes in only when it starts: it is to be stopped, and another one started. Called once. */
  readonly onBeginAgain: (why: string) => void;
  readonly clock?: Clock;
  /** The BGP speaker; given by the program, so that tests can look on. */
  readonly createSpeaker: (events: SpeakerEvents, context: { clock: Clock; log: Log; metrics: Metrics }) => Speaker;
}

/** What everything that is started needs. */
interface Base {
  readonly config: AgentConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Ends what has been started, the last first. */
  readonly onStop: (stop: () => void | Promise<void>) => void;
}

/** A pass that takes longer than this counts as hung. */
const HUNG = 90_000;
const BEAT = 10_000;
/** The first turn waits this long for the Node to be registered, so that the first intent already knows its address. */
const REGISTRATION_PATIENCE = 10_000;
const INTERFACE_REFRESH = 90_000;

/**
 * Starts everything: the command runner first, while the heap is small; then what answers probes; then kernel and datastore. It returns once the
 * agent runs; a datastore that is away is waited for in the background.
 * @throws OperationalError CONFIG or KERNEL when this configuration can never work.
 */
export async function startAgent(context: AgentContext): Promise<RunningAgent> {
  const { config, log, clock = realClock } = context;
  const since = clock.date().toISOString();
  const stops: (() => void | Promise<void>)[] = [];
  const metrics = createMetrics();
  const health = new Health(clock);
  const base: Base = { config, clock, log, metrics, health, onStop: (stop) => stops.push(stop) };
  makeRunDirectory(config.runDir);
  const runner = createRunner({ log });
  stops.push(() => runner.close());
  const lag = new LoopLag(metrics);
  stops.push(() => lag.stop());
  await serveProbes(base);
  const netlink = createNetlink();
  stops.push(() => netlink.close());
  const store = await openStore(storeConfig(config), { clock, log });
  stops.push(() => store.close());
  const resources = createResources(store, clock);

  const cluster = new Cluster(config.nodeName);
  const table = new RouteTable();
  const endpoints = new LocalEndpoints(config.nodeName, table);
  const policy = createPolicyEngine({ node: config.nodeName, config: DEFAULT_RENDER_CONFIG });
  // These call what is made after them; nothing calls before the end of this function.
  const workloadLinks = new WorkloadLinks(config.interfacePrefix);
  const reconcilers = await reconcile(base, runner, netlink, workloadLinks, {
    onDirty: () => dataplane.retry(),
    onOther: context.onBeginAgain,
  });
  const { routes, chains, settings, overlay, bandwidth } = reconcilers;
  const secrets = new Secrets(config.secretsDir, log, () => pipeline.poke('bgp'));
  const bgp = speak(base, context.createSpeaker, reconcilers, table, () => pipeline.poke());
  const closures = new Closures(clock, log, (closed) => {
    policy.setClosed(closed);
    pipeline.poke();
  });
  stops.push(() => closures.stop());
  const applier = apply(base, reconcilers, endpoints, closures, bgp, () => pipeline.handOver());
  const dataplane = new Dataplane({ ...reconcilers, sysctl, bgp }, { applier, clock, log });
  stops.push(() => dataplane.stop());
  const watch = new RuleWatch({
    ...reconcilers,
    clock,
    log,
    onDirty: () => dataplane.retry(),
  });
  stops.push(() => watch.stop());
  void watch.readAhead();
  const registration = joinCluster({
    ...{ config, store, resources, netlink, clock, log, health },
    nodeNameFile: new CniFile(NODE_NAME_FILE, log),
  });
  stops.push(() => registration.stop());
  const onLinks = () => {
    settings.onLinks(interfaces.links);
    bandwidth.onLinks(interfaces.links);
    overlay?.onLinks(interfaces.links);
  };
  const interfaces: InterfaceMonitor = createInterfaceMonitor({
    netlink,
    clock,
    log,
    refresh: INTERFACE_REFRESH,
    onChange: (names) => {
      onLinks();
      pipeline.onLinks(names);
    },
  });
  const pipeline: Pipeline = new Pipeline({
    config,
    cluster,
    policy,
    endpoints,
    routes: table,
    interfaces,
    workloadLinks,
    bgp,
    tunnels: tunnelAddresses(base, store),
    secrets,
    desired: dataplane,
    filter: reconcilers.filter,
    health,
    clock,
    log,
    onFirstSync: async () => {
      const node = await Promise.race([registration.first, sleep(clock, REGISTRATION_PATIENCE)]);
      // A Node that has just been made is not among the updates yet, and without it nothing of this node is right.
      if (node && !cluster.nodes.has(config.nodeName))
        pipeline.onUpdates([{ kind: 'Node', id: config.nodeName, revision: 0n, value: node }]);
      await routes?.readBack();
      if (routes) bgp?.inherit(routes.actual.values());
      onLinks();
      endpoints.onLinks(interfaces.links);
    },
  });
  stops.push(() => pipeline.close());
  secrets.start();
  stops.push(() => secrets.stop());
  await interfaces.start();
  stops.push(() => interfaces.close());
  if (bgp) await watchForeignRoutes(base, netlink, bgp);
  const syncer = startSyncer({
    ...{ store, clock, log, sink: pipeline, node: config.nodeName },
    metrics: declareSyncMetrics(metrics),
  });
  stops.push(() => syncer.stop());

  const parts = {
    node: config.nodeName,
    version: context.version,
    since,
    datastoreType: store.type,
    revision: () => pipeline.revision,
    pipeline,
    health,
    endpoints,
    routes,
    chains,
    sets: reconcilers.sets,
    settings,
    bandwidth,
    closures,
    policies: () => policy.counts.activePolicies,
    policyProblems: () => policy.problems,
    bgp,
    lag,
  };
  const status = () => nodeStatus(parts);
  declareAgentMetrics(metrics, parts, table);
  // The files of a directory are a person's; status does not belong among them.
  if (store.type !== 'directory')
    publish(base, new Publisher({ store, node: config.nodeName, clock, log, status: () => published(status(), bgp) }));
  await control(base, status, bgp);
  return {
    status,
    stop: async () => {
      for (const stop of stops.reverse()) await stop();
    },
  };
}

async function serveProbes({ config, metrics, health, onStop }: Base): Promise<void> {
  const servers = [
    await serve('--metrics-listen', config.metricsListen, metricsPages(metrics)),
    await serve('--health-listen', config.healthListen, healthPages(health)),
  ];
  onStop(() => {
    for (const server of servers) server.close();
  });
  health.register('datastore', 'waiting for the first snapshot');
  health.register('node', 'the Node is not registered yet');
  health.register('dataplane', 'nothing has been written yet', HUNG);
}

async function reconcile(
  base: Base,
  runner: Runner,
  netlink: Netlink,
  workloadLinks: WorkloadLinks,
  events: Pick<ReconcilerContext, 'onDirty' | 'onOther'>,
): Promise<Reconcilers> {
  const { config, log, onStop } = base;
  const variant = await chooseVariant(runner, config.iptablesBackend);
  const chosen = config.given.has('iptablesBackend') ? 'by configuration' : 'by what the machine uses';
  log.info({ backend: variant, chosen }, 'iptables backend');
  const made = createReconcilers({
    ...base,
    runner,
    netlink,
    variant,
    policyOnly: config.policyOnly,
    isWorkloadLink: workloadLinks.has,
    ...events,
  });
  onStop(() => made.close());
  return made;
}

function speak(
  { config, clock, log, metrics, health, onStop }: Base,
  createSpeaker: AgentContext['createSpeaker'],
  { routes }: Reconcilers,
  table: RouteTable,
  onDirty: () => void,
): Bgp | undefined {
  if (config.noBgp || !routes) return undefined;
  const bgp = new Bgp({
    createSpeaker: (events) => createSpeaker(events, { clock, log, metrics }),
    routes: table,
    clock,
    log,
    onDirty,
    isProgrammed: (key) => routes.isProgrammed(key),
  });
  health.register('bgp', 'the speaker has not started yet');
  declarePeerMetrics(metrics, () => bgp.peers());
  onStop(() => bgp.stop());
  return bgp;
}

async function watchForeignRoutes({ clock, log, onStop }: Base, netlink: Netlink, bgp: Bgp): Promise<void> {
  const foreign = new ForeignRoutes({ netlink, clock, log, onChange: (changes) => bgp.noteForeign(changes) });
  onStop(() => foreign.close());
  await foreign.start();
}

/** Apply passes, and what is told of each: health, endpoint status files, log. */
function apply(
  { config, clock, log, metrics, health, onStop }: Base,
  reconcilers: Reconcilers,
  endpoints: LocalEndpoints,
  closures: Closures,
  bgp: Bgp | undefined,
  onBegin: () => Promise<Milliseconds | undefined>,
): Applier {
  const files = new EndpointStatusFiles(join(config.runDir, 'endpoint-status'), log);
  files.start();
  onStop(() => files.written());
  const endpointLog = new EndpointLog(log);
  const applier = new Applier({
    steps: applySteps({ ...reconcilers, sysctl, bgp }),
    clock,
    log,
    metrics,
    onBegin,
    onPass: (failures) => {
      health.beat('dataplane');
      if (failures.size === 0) health.ready('dataplane');
      else health.notReady('dataplane', failureText(failures));
      closures.onPass(reconcilers.chains.quarantined);
      const states = endpointStates({ endpoints, closures, ...reconcilers });
      endpointLog.set(endpoints.all, states);
      const isProgrammed = (id: string) => states.get(id)?.state === 'programmed';
      files.set([...endpoints.all.values()].filter(({ id }) => isProgrammed(id)).map(({ resource }) => resource));
    },
  });
  // Between passes there is nothing to do, which is a sign of life too.
  let beating = clock.after(BEAT, beat);
  function beat() {
    if (!applier.busy) health.beat('dataplane');
    beating = clock.after(BEAT, beat);
  }
  onStop(() => beating());
  return applier;
}

const failureText = (failures: ReadonlyMap<string, readonly Failure[]>): string =>
  [...failures].map(([step, [first]]) => `${step}: ${first.key} ${first.error} ${first.detail}`).join('; ');

function publish({ onStop }: Base, publisher: Publisher): void {
  publisher.start();
  onStop(() => publisher.stop());
}

/** A directory's resources are a person's to write, tunnel addresses included. */
function tunnelAddresses({ config, clock, log, onStop }: Base, store: Store): TunnelAddresses | undefined {
  if (config.policyOnly || store.type === 'directory') return undefined;
  const resources = createResources(store, clock);
  const ipam = new Ipam({ store, resources, clock });
  const tunnels = new TunnelAddresses({ node: config.nodeName, ipam, resources, clock, log });
  onStop(() => tunnels.stop());
  return tunnels;
}

async function control({ config, log, onStop }: Base, status: () => NodeStatus, bgp: Bgp | undefined): Promise<void> {
  const server = await answerQuestions(config, { status, bgp }, log);
  onStop(() => server.close());
}

/** Best routes, or null when they are too many to keep in the datastore. */
function published(status: NodeStatus, bgp: Bgp | undefined) {
  const routes: readonly RouteInfo[] = bgp?.routes({ limit: MOST_PUBLISHED_ROUTES + 1 }) ?? [];
  const kept = routes.length > MOST_PUBLISHED_ROUTES ? null : routes.filter((route) => route.best);
  return { status, peers: bgp?.peers() ?? [], routes: kept };
}

function storeConfig(config: AgentConfig): StoreConfig {
  if (config.datastore === 'directory') return { type: 'directory', directory: config.directory };
  return {
    type: 'etcdv3',
    endpoints: config.etcdEndpoints,
    ...(config.etcdCa && { caFile: config.etcdCa }),
    ...(config.etcdCert && { certFile: config.etcdCert }),
    ...(config.etcdKey && { keyFile: config.etcdKey }),
    ...(config.etcdUsername && { username: config.etcdUsername, password: config.etcdPassword }),
  };
}
