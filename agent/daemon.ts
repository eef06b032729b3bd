import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type RouteInfo, type RouteQuery, type Speaker, type SpeakerEvents, serveControl } from '#bgp';
import { type Clock, createMetrics, type Log, type Metrics, realClock, sleep } from '#core';
import { createResources, openStore, type StoreConfig, startSyncer } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { declareAgentMetrics } from './agent-metrics.ts';
import { Applier } from './apply.ts';
import { Bgp } from './bgp.ts';
import { Cluster } from './cluster.ts';
import { applySteps, Dataplane } from './dataplane.ts';
import { EndpointLog } from './endpoint-log.ts';
import { EndpointStatusFiles } from './endpoint-status.ts';
import { LocalEndpoints } from './endpoints.ts';
import { Health } from './health.ts';
import { healthPages, metricsPages, serve } from './http.ts';
import { createInterfaceMonitor } from './interfaces.ts';
import { joinCluster } from './join.ts';
import { createIpset } from './kernel/ipset.ts';
import { chooseVariant, createIptables } from './kernel/iptables.ts';
import { createNetlink } from './kernel/netlink/index.ts';
import { createRunner } from './kernel/runner.ts';
import { nodeSettings, sysctl } from './kernel/sysctl.ts';
import { LoopLag } from './loop-lag.ts';
import { MTU_FILE, MtuFile } from './mtu-file.ts';
import { Pipeline } from './pipeline.ts';
import { MOST_PUBLISHED_ROUTES, Publisher } from './publisher.ts';
import { ChainReconciler } from './reconcile/chains.ts';
import { OverlayReconciler } from './reconcile/overlay.ts';
import { createRouteReconciler } from './reconcile/routes.ts';
import { SetReconciler } from './reconcile/sets.ts';
import { SettingsReconciler } from './reconcile/settings.ts';
import { RouteTable } from './routes.ts';
import { Secrets } from './secrets.ts';
import type { AgentConfig } from './settings.ts';
import { endpointStates, type NodeStatus, nodeStatus } from './status.ts';

export interface RunningAgent {
  status(): NodeStatus;
  /** Ends cleanly and leaves the kernel state, and the peers' routes, in place. */
  stop(): Promise<void>;
}

export interface AgentContext {
  readonly config: AgentConfig;
  readonly version: string;
  readonly log: Log;
  readonly clock?: Clock;
  /** The BGP speaker; given by the program, so that tests can look on. */
  readonly createSpeaker?: (events: SpeakerEvents, context: { clock: Clock; log: Log; metrics: Metrics }) => Speaker;
}

/** A pass that takes longer than this counts as hung. */
const HUNG = 90_000;
const BEAT = 10_000;
/** The first turn waits this long for the Node to be registered, so that the first intent already knows its address. */
const REGISTRATION_PATIENCE = 10_000;

/**
 * Starts everything: the command runner first, while the heap is small; then what answers probes; then kernel and datastore. It returns once the
 * agent runs; a datastore that is away is waited for in the background.
 * @throws OperationalError CONFIG or KERNEL when this configuration can never work.
 */
export async function startAgent({
  config,
  version,
  log,
  clock = realClock,
  createSpeaker,
}: AgentContext): Promise<RunningAgent> {
  const since = clock.date().toISOString();
  const metrics = createMetrics();
  const health = new Health(clock);
  mkdirSync(config.runDir, { recursive: true, mode: 0o755 });
  const runner = createRunner({ log });
  const lag = new LoopLag(metrics);
  const servers = [
    await serve('--metrics-listen', config.metricsListen, metricsPages(metrics)),
    await serve('--health-listen', config.healthListen, healthPages(health)),
  ];
  health.register('datastore', 'waiting for the first snapshot');
  health.register('node', 'the Node is not registered yet');
  health.register('dataplane', 'nothing has been written yet', HUNG);

  const netlink = createNetlink();
  const variant = await chooseVariant(runner, config.iptablesBackend);
  log.info(
    { backend: variant, chosen: config.given.has('iptablesBackend') ? 'by configuration' : 'by what the machine uses' },
    'iptables backend',
  );
  const store = await openStore(storeConfig(config), { clock, log });
  const resources = createResources(store, clock);

  const cluster = new Cluster(config.nodeName);
  const table = new RouteTable();
  const endpoints = new LocalEndpoints(config.nodeName, table);
  const policy = createPolicyEngine({ node: config.nodeName, config: DEFAULT_RENDER_CONFIG });
  const isWorkloadLink = (name: string) => config.interfacePrefix.some((prefix) => name.startsWith(prefix));
  // These are made before what they call; nothing calls before the end of this function.
  const onDirty = () => dataplane.retry();
  const routes = config.policyOnly
    ? undefined
    : createRouteReconciler({ netlink, clock, log, metrics, onDirty, isWorkloadLink });
  const chains = new ChainReconciler({
    backend: createIptables({ runner, variant }),
    families: [4, 6],
    clock,
    log,
    metrics,
  });
  const sets = new SetReconciler({ backend: createIpset({ runner }), clock, log, metrics, maxElements: 1_048_576 });
  const settings = new SettingsReconciler({ sysctl, clock, log, onDirty });
  settings.set('', nodeSettings({ forwarding: true }));
  const overlay = config.policyOnly ? undefined : new OverlayReconciler({ netlink, clock, log, metrics, onDirty });
  const mtuFile = new MtuFile(MTU_FILE, log);
  const secrets = new Secrets(config.secretsDir, log, () => pipeline.poke('bgp'));
  const bgp =
    config.noBgp || !routes || !createSpeaker
      ? undefined
      : new Bgp({
          createSpeaker: (events) => createSpeaker(events, { clock, log, metrics }),
          routes: table,
          clock,
          log,
          onDirty: () => pipeline.poke(),
          isProgrammed: (key) => routes.isProgrammed(key),
        });
  if (bgp) health.register('bgp', 'the speaker has not started yet');
  const files = new EndpointStatusFiles(join(config.runDir, 'endpoint-status'), log);
  const endpointLog = new EndpointLog(log);
  const applier = new Applier({
    steps: applySteps({ chains, sets, routes, overlay, mtuFile, settings, sysctl, bgp }),
    clock,
    log,
    metrics,
    onPass: (failures) => {
      health.beat('dataplane');
      if (failures.size === 0) health.ready('dataplane');
      else
        health.notReady(
          'dataplane',
          [...failures].map(([step, [first]]) => `${step}: ${first.key} ${first.error} ${first.detail}`).join('; '),
        );
      const states = endpointStates({ endpoints, routes, chains });
      endpointLog.set(endpoints.all, states);
      files.set(
        [...endpoints.all.values()].filter((e) => states.get(e.id)?.state === 'programmed').map((e) => e.resource),
      );
    },
  });
  const dataplane = new Dataplane(
    { chains, sets, routes, overlay, mtuFile, settings, sysctl, bgp },
    { applier, clock, log },
  );
  const registration = joinCluster({ config, store, resources, netlink, clock, log, health });
  const interfaces = createInterfaceMonitor({
    netlink,
    clock,
    log,
    refresh: 90_000,
    onChange: (names) => {
      settings.onLinks(interfaces.links);
      overlay?.onLinks(interfaces.links);
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
    bgp,
    secrets,
    desired: dataplane,
    dispatch: 'tree',
    health,
    clock,
    log,
    onFirstSync: async () => {
      await Promise.race([registration.first, sleep(clock, REGISTRATION_PATIENCE)]);
      await routes?.readBack();
      if (routes) bgp?.inherit(routes.actual.values());
      settings.onLinks(interfaces.links);
      overlay?.onLinks(interfaces.links);
      endpoints.onLinks(interfaces.links);
    },
  });
  const publisher = new Publisher({
    store,
    node: config.nodeName,
    clock,
    log,
    status: () => ({ status: nodeStatus(parts), peers: bgp?.peers() ?? [], routes: publishedRoutes(bgp) }),
  });
  // The files of a directory are a person's; status does not belong among them.
  if (store.type !== 'directory') publisher.start();
  files.start();
  secrets.start();
  await interfaces.start();
  const syncer = startSyncer({ store, clock, log, sink: pipeline });
  const parts = {
    node: config.nodeName,
    version,
    since,
    datastoreType: store.type,
    revision: () => pipeline.revision,
    pipeline,
    health,
    endpoints,
    routes,
    chains,
    policies: () => policy.counts.activePolicies,
    policyProblems: () => policy.problems,
    bgp,
    lag,
  };
  const control = await serveControl(
    join(config.runDir, 'agent.sock'),
    {
      'node.status': () => nodeStatus(parts),
      'bgp.peers': () => bgp?.peers() ?? [],
      'bgp.routes': (query) => bgp?.routes(query as RouteQuery) ?? [],
    },
    log,
  );
  let beating = clock.after(BEAT, beat);
  function beat() {
    if (!applier.busy) health.beat('dataplane');
    beating = clock.after(BEAT, beat);
  }
  declareAgentMetrics(metrics, parts);

  return {
    status: () => nodeStatus(parts),
    stop: async () => {
      beating();
      registration.stop();
      publisher.stop();
      secrets.stop();
      pipeline.close();
      await syncer.stop();
      await bgp?.stop();
      await dataplane.stop();
      interfaces.close();
      routes?.close();
      settings.close();
      overlay?.close();
      await control.close();
      for (const server of servers) server.close();
      await store.close();
      netlink.close();
      lag.stop();
      runner.close();
    },
  };
}

/** Best routes, or null when they are too many to keep in the datastore. */
function publishedRoutes(bgp: Bgp | undefined): readonly RouteInfo[] | null {
  const routes = bgp?.routes({ limit: MOST_PUBLISHED_ROUTES + 1 }) ?? [];
  return routes.length > MOST_PUBLISHED_ROUTES ? null : routes.filter((route) => route.best);
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
