import type { PeerConfig, PeerType } from '#bgp';
import { type Addr, FAMILIES, type Family, labelsOf, type Prefix, parseAddr, prefixAddr, selectorMatches } from '#core';
import { type BGPPeer, type BGPPeerSpec, parseDuration } from '#datastore';
import { clusterAs, nodeFacts, readAs } from './facts.ts';
import type { IntentInput, IntentProblem, NodeFacts } from './input.ts';
import { DEFAULT_PORT } from './input.ts';
import { exportPolicy, importPolicy } from './route-policy.ts';

/** One session that some resource asks for, before several requests for the same one are settled. */
interface Wanted {
  readonly address: Addr;
  readonly port: number;
  readonly families: readonly Family[];
  readonly asNumber: number;
  readonly type: PeerType;
  readonly resource: string;
  /** Explicit before implicit, global before node-specific (reference/bgp.md 7.2.4); smaller wins. */
  readonly rank: number;
  readonly spec: BGPPeerSpec;
  /** The other end, when it is a node of this cluster. */
  readonly node: NodeFacts | undefined;
}

const RANK = { global: 0, nodeSpecific: 1, reverse: 2, mesh: 3 } as const;

/** Every session of this node, sorted by name, each configured once whoever asks for it. */
export function sessions(input: IntentInput, self: NodeFacts): { peers: PeerConfig[]; problems: IntentProblem[] } {
  const problems: IntentProblem[] = [];
  const others = [...input.nodes.values()]
    .filter((node) => node.metadata.name !== input.node)
    .map((node) => nodeFacts(node, input.configurations));
  const wanted = [...meshSessions(input, self, others), ...peerSessions(input, self, others, problems)];
  const chosen = new Map<string, Wanted>();
  const order = (w: Wanted) => `${w.rank} ${w.resource}`;
  for (const w of wanted.sort((a, b) => (order(a) < order(b) ? -1 : 1))) {
    const name = sessionName(w.address, w.port);
    const holder = chosen.get(name);
    if (!holder) chosen.set(name, w);
    else if (holder.asNumber !== w.asNumber)
      problems.push({
        resource: w.resource,
        message: `${holder.resource} already configures ${name} with AS ${holder.asNumber}; AS ${w.asNumber} is ignored`,
      });
  }
  const settled = [...chosen].map(
    ([name, w]) => [name, { ...w, families: carried(w, self, chosen.values()) }] as const,
  );
  const peers = settled.map(([name, w]) => peerConfig(input, self, name, w, problems));
  peers.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { peers, problems };
}

export function sessionName(address: Addr, port: number): string {
  if (port === DEFAULT_PORT) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Families to offer to a router: its own, and the other one too if this node has an address of it, since one session can carry both
 * (RFC 4760) and a router that cannot simply does not take it up. Where somebody configures a second session to the same AS over the
 * other family, each carries its own.
 */
function carried(w: Wanted, self: NodeFacts, all: Iterable<Wanted>): readonly Family[] {
  if (w.node || w.type === 'LocalWorkload') return w.families;
  const isSeparate = [...all].some((o) => !o.node && o.asNumber === w.asNumber && o.families[0] !== w.families[0]);
  return isSeparate ? w.families : FAMILIES.filter((family) => w.families.includes(family) || self.addresses[family]);
}

/** reference/bgp.md 7.2.1: every other node with an address of the family, unless either end is a reflector. */
function* meshSessions(input: IntentInput, self: NodeFacts, others: readonly NodeFacts[]): Iterable<Wanted> {
  const spec = input.configurations.get('default')?.spec;
  if (spec?.nodeToNodeMeshEnabled === false || self.clusterId) return;
  const settings: BGPPeerSpec = {
    ...(spec?.nodeMeshPassword && { password: spec.nodeMeshPassword }),
    ...(spec?.nodeMeshMaxRestartTime && { maxRestartTime: spec.nodeMeshMaxRestartTime }),
  };
  const ownAs = self.asNumber ?? clusterAs(input.configurations);
  for (const other of others) {
    if (other.clusterId) continue;
    const common = {
      type: 'NodeMesh',
      resource: 'BGPConfiguration(default)',
      rank: RANK.mesh,
      spec: settings,
    } as const;
    yield* nodeSessions(self, other, { ...common, asNumber: other.asNumber ?? ownAs });
  }
}

/**
 * Sessions between two nodes: one for both families where both carry that (RFC 4760), else one a family, each over its own addresses,
 * as Calico's pair of daemons expects.
 */
function* nodeSessions(
  self: NodeFacts,
  other: NodeFacts,
  common: Omit<Wanted, 'address' | 'port' | 'families' | 'node'>,
): Iterable<Wanted> {
  const families = FAMILIES.filter((family) => self.addresses[family] && other.addresses[family]);
  const joined = families.length === 2 && self.multiprotocol && other.multiprotocol;
  for (const group of joined ? [families] : families.map((family) => [family])) {
    const address = other.addresses[group[0]] as Addr;
    yield { ...common, address, port: other.listenPort, families: group, node: other };
  }
}

function* peerSessions(
  input: IntentInput,
  self: NodeFacts,
  others: readonly NodeFacts[],
  problems: IntentProblem[],
): Iterable<Wanted> {
  for (const [name, peer] of input.peers) {
    const resource = `BGPPeer(${name})`;
    const complain = (message: string) => problems.push({ resource, message });
    if (selects(peer, self)) yield* explicitSessions(input, self, others, peer, resource, complain);
    if (
      peer.spec.peerSelector &&
      peer.spec.reversePeering !== 'Manual' &&
      selectorMatches(peer.spec.peerSelector, labelsOf(self.labels))
    )
      for (const other of others)
        if (selects(peer, other))
          yield* nodeSessions(self, other, { ...nodeTarget(input, peer, resource, other), rank: RANK.reverse });
  }
}

const isGlobal = (spec: BGPPeerSpec): boolean => !spec.node && !spec.nodeSelector;

/** Whether the resource's local side includes the node. */
function selects(peer: BGPPeer, node: NodeFacts): boolean {
  const { node: name, nodeSelector } = peer.spec;
  if (name) return name === node.name;
  return nodeSelector ? selectorMatches(nodeSelector, labelsOf(node.labels)) : true;
}

const typeOf = (spec: BGPPeerSpec): PeerType => (isGlobal(spec) ? 'GlobalPeer' : 'NodePeer');

function nodeTarget(input: IntentInput, peer: BGPPeer, resource: string, other: NodeFacts) {
  const { spec } = peer;
  const rank = isGlobal(spec) ? RANK.global : RANK.nodeSpecific;
  return { type: typeOf(spec), resource, rank, spec, asNumber: other.asNumber ?? clusterAs(input.configurations) };
}

function* explicitSessions(
  input: IntentInput,
  self: NodeFacts,
  others: readonly NodeFacts[],
  peer: BGPPeer,
  resource: string,
  complain: (message: string) => void,
): Iterable<Wanted> {
  const { spec } = peer;
  if (spec.peerSelector) {
    for (const other of others)
      if (selectorMatches(spec.peerSelector, labelsOf(other.labels)))
        yield* nodeSessions(self, other, nodeTarget(input, peer, resource, other));
    return;
  }
  const asNumber = readAs(spec.asNumber);
  if (asNumber === undefined) {
    complain('asNumber is missing; the peer is not configured');
    return;
  }
  const rank = isGlobal(spec) ? RANK.global : RANK.nodeSpecific;
  if (spec.localWorkloadSelector) {
    yield* workloadSessions(input, spec, { asNumber, resource, rank });
    return;
  }
  const target = parsePeerAddress(spec.peerIP ?? '');
  if (!target) {
    complain(`peerIP '${spec.peerIP ?? ''}' is not an address or address:port`);
    return;
  }
  const family: Family = target.address.includes(':') ? 6 : 4;
  if (self.addresses[family] === target.address) return; // a global peer that is this node itself
  const node = others.find((other) => other.addresses[family] === target.address);
  const port = target.port ?? node?.listenPort ?? DEFAULT_PORT;
  yield { address: target.address, port, families: [family], asNumber, type: typeOf(spec), resource, rank, spec, node };
}

function* workloadSessions(
  input: IntentInput,
  spec: BGPPeerSpec,
  common: Pick<Wanted, 'asNumber' | 'resource' | 'rank'>,
): Iterable<Wanted> {
  for (const endpoint of input.localEndpoints.values()) {
    if (!selectorMatches(spec.localWorkloadSelector ?? '', labelsOf(endpoint.metadata.labels))) continue;
    for (const net of endpoint.spec.ipNetworks ?? []) {
      const address = prefixAddr(net as Prefix);
      const families: Family[] = [address.includes(':') ? 6 : 4];
      yield { ...common, type: 'LocalWorkload', address, port: DEFAULT_PORT, families, spec, node: undefined };
    }
  }
}

/** `10.0.0.1`, `10.0.0.1:1790`, `fd00::1` or `[fd00::1]:1790`. */
export function parsePeerAddress(text: string): { address: Addr; port: number | undefined } | null {
  const withPort = /^(?:\[([^\]]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  const parsed = parseAddr(withPort ? (withPort[1] ?? withPort[2]) : text);
  const port = withPort ? Number(withPort[3]) : undefined;
  if (!parsed.ok || (port !== undefined && (port < 1 || port > 65535))) return null;
  return { address: parsed.value, port };
}

function peerConfig(
  input: IntentInput,
  self: NodeFacts,
  name: string,
  w: Wanted,
  problems: IntentProblem[],
): PeerConfig {
  const { spec } = w;
  const family: Family = w.address.includes(':') ? 6 : 4;
  const clusterAsNumber = clusterAs(input.configurations);
  const localAs = readAs(spec.localASNumber);
  const internal = w.asNumber === (localAs ?? self.asNumber ?? clusterAsNumber);
  const own = self.addresses[family];
  const filters = w.type === 'NodeMesh' ? [] : (spec.filters ?? []);
  const missing = filters.filter((filter) => !input.filters.has(filter));
  for (const filter of missing)
    problems.push({
      resource: w.resource,
      message: `BGPFilter '${filter}' does not exist; nothing is imported from or exported to ${name}`,
    });
  const context = { input, family, filters, internal, inCluster: w.node !== undefined, families: w.families };
  return {
    name,
    type: w.type,
    resource: w.resource,
    address: w.address,
    port: w.port,
    asNumbers: [w.asNumber],
    ...(localAs !== undefined && { localAs }),
    ...(own && spec.sourceAddress !== 'None' && w.type !== 'LocalWorkload' && { localAddress: own }),
    passive: w.type === 'LocalWorkload' || (w.node !== undefined && own !== undefined && own < w.address),
    families: w.families,
    ...password(input, spec),
    ...(spec.ttlSecurity ? { ttlSecurity: spec.ttlSecurity } : {}),
    routeReflectorClient: internal && self.clusterId !== undefined && w.node?.clusterId !== self.clusterId,
    addPath: { receive: true, send: true },
    gracefulRestart: { restartTime: seconds(spec.maxRestartTime) ?? 120 },
    ...keepalive(spec),
    nextHop: nextHopOf(spec, internal),
    nextHopSelf: self.addresses,
    allowOwnAs: spec.numAllowedLocalASNumbers ?? 0,
    requirePolicy: false,
    ...reachableBy(spec),
    importPolicy: importPolicy(context),
    exportPolicy: exportPolicy(context),
    filterNames: filters,
  };
}

function password(input: IntentInput, spec: BGPPeerSpec): Pick<PeerConfig, 'password' | 'missingPassword'> {
  const ref = spec.password?.secretKeyRef;
  if (!ref) return {};
  const key = input.secret(ref.name, ref.key);
  if (key !== undefined) return { password: key };
  return { missingPassword: `the password is not there: secret '${ref.name}', key '${ref.key}'` };
}

function nextHopOf(spec: BGPPeerSpec, internal: boolean): PeerConfig['nextHop'] {
  if (spec.nextHopMode) return spec.nextHopMode.toLowerCase() as PeerConfig['nextHop'];
  return spec.keepOriginalNextHop && !internal ? 'keep' : 'auto';
}

function keepalive(spec: BGPPeerSpec): Pick<PeerConfig, 'keepaliveTime' | 'holdTime'> {
  const every = seconds(spec.keepaliveTime);
  // A third of the hold time, as everywhere (RFC 4271 §4.4).
  return every === undefined || every < 1 ? {} : { keepaliveTime: every, holdTime: Math.min(65535, every * 3) };
}

function reachableBy(spec: BGPPeerSpec): Pick<PeerConfig, 'reachableBy'> {
  const gateway = spec.reachableBy ? parseAddr(spec.reachableBy) : undefined;
  return gateway?.ok ? { reachableBy: gateway.value } : {};
}

/** Whole seconds of a Go duration, or undefined. */
function seconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const parsed = parseDuration(text);
  return parsed.ok ? Math.round(parsed.value / 1000) : undefined;
}
