import { lookup } from 'node:dns/promises';
import { type Addr, Backoff, type Clock, type Family, hasCode, type Log, messageOf, parseAddr, sleep } from '#core';
import { initialiseCluster, type Node, type Resources, type Store } from '#datastore';
import type { CniFile } from './cni-file.ts';
import { makeDefaultPools } from './default-pools.ts';
import type { Health } from './health.ts';
import type { Netlink } from './kernel/types.ts';
import type { MachineAddresses } from './node-address.ts';
import { type NodeClient, registerNode } from './registration.ts';
import type { AgentConfig } from './settings.ts';

export interface Joining {
  /** Resolves after the first attempt, whatever came of it: with the Node if it is registered. */
  readonly first: Promise<Node | undefined>;
  stop(): void;
}

export interface JoinContext {
  readonly config: AgentConfig;
  readonly store: Store;
  readonly resources: Resources;
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  readonly health: Health;
  /** Told the name once the Node is there. */
  readonly nodeNameFile: CniFile;
}

/**
 * Makes this node part of the cluster: what every cluster has is there, and the Node resource says how to reach this one. Repeated until it
 * succeeds; until then the agent is not ready, with the reason.
 */
export function joinCluster(context: JoinContext): Joining {
  const abort = new AbortController();
  const first = deferred();
  void attempts(context, abort.signal, first.resolve);
  return { first: first.promise, stop: () => abort.abort() };
}

function deferred(): { promise: Promise<Node | undefined>; resolve: (node?: Node) => void } {
  let resolve: (node?: Node) => void = () => {};
  const promise = new Promise<Node | undefined>((r) => {
    resolve = r;
  });
  return { promise, resolve };
}

async function attempts(context: JoinContext, signal: AbortSignal, onFirst: (node?: Node) => void): Promise<void> {
  const { clock, log, health } = context;
  const backoff = new Backoff(500, 30_000);
  const said = new Set<string>();
  while (!signal.aborted) {
    try {
      const node = await attempt(context);
      health.ready('node');
      onFirst(node);
      return;
    } catch (error) {
      const reason = messageOf(error);
      health.notReady('node', reason);
      if (!said.has(reason)) log.warn({ error: reason }, 'the Node is not registered yet; tried again');
      said.add(reason);
      onFirst();
    }
    await sleep(clock, backoff.next(), signal).catch(() => undefined);
  }
}

async function attempt({ config, store, resources, netlink, clock, log, nodeNameFile }: JoinContext): Promise<Node> {
  await initialiseCluster(store, clock, { clusterTypes: ['tsnet', 'bgp'] });
  await makeDefaultPools(resources, config, log);
  const node = await registerNode(nodeClient(resources), config, await machineAddresses(netlink), clock, log);
  nodeNameFile.set(config.nodeName);
  return node;
}

const nodeClient = (resources: Resources): NodeClient => ({
  get: async (name) => {
    try {
      return await resources.get('Node', name);
    } catch (error) {
      if (hasCode(error, 'NOT_FOUND')) return null;
      throw error;
    }
  },
  list: async () => (await resources.list('Node')).items,
  create: (node) => resources.create<'Node'>(node),
  update: (node) => resources.update<'Node'>(node),
});

async function machineAddresses(netlink: Netlink): Promise<MachineAddresses> {
  return {
    links: await netlink.listLinks(),
    addresses: await netlink.listAddresses(),
    sourceTowards: async (to) => (await netlink.lookup(to))?.source ?? null,
    resolve: async (host, family) => resolveHost(host, family),
  };
}

async function resolveHost(host: string, family: Family): Promise<Addr | null> {
  try {
    const parsed = parseAddr((await lookup(host, { family })).address);
    return parsed.ok ? parsed.value : null;
  } catch {
    // A name that does not resolve reaches nothing; detection says that it found no address.
    return null;
  }
}
