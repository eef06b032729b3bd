import { createHash } from 'node:crypto';
import {
  type Addr,
  addrPlus,
  covers,
  FAMILIES,
  type Family,
  familyOf,
  hostPrefix,
  type Prefix,
  parseAddr,
  parseCidr,
  parsePrefix,
  prefixAddr,
  prefixOf,
} from '#core';
import type { FelixConfigurationSpec, IPPool, IpamAffinity, IpamBlock, Node } from '#datastore';
import { VXLAN_DEVICES } from '#policy';
import type { FdbEntry, Neighbour, Route, VxlanDevice } from './kernel/types.ts';
import { vxlanMtu } from './mtu.ts';
import type { Candidate } from './routes.ts';

export { VXLAN_DEVICES };

export interface OverlayInput {
  readonly node: string;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly pools: ReadonlyMap<string, IPPool>;
  readonly affinities: ReadonlyMap<string, IpamAffinity>;
  readonly blocks: ReadonlyMap<string, IpamBlock>;
  readonly felix: Pick<FelixConfigurationSpec, 'vxlanEnabled' | 'vxlanVNI' | 'vxlanPort' | 'vxlanMTU' | 'vxlanMTUV6'>;
  /** Smallest MTU of the node's own interfaces, see `hostMtu`. */
  readonly hostMtu: number;
  /** The interface that holds an address of this node. */
  readonly parentOf: (address: Addr) => string | undefined;
}

/** A device and the address that it carries. */
export interface OverlayDevice {
  readonly device: VxlanDevice;
  readonly address: Addr;
}

/** What the overlay needs in the kernel. Neighbours and forwarding entries come before the routes that use them (I1). */
export interface OverlayIntent {
  readonly devices: readonly OverlayDevice[];
  readonly neighbours: readonly Neighbour[];
  readonly fdb: readonly FdbEntry[];
  /** Offers of class `vxlan`. */
  readonly routes: readonly Omit<Candidate, 'class'>[];
  /** What is missing, for a person. */
  readonly problems: readonly string[];
}
export const NO_OVERLAY: OverlayIntent = { devices: [], neighbours: [], fdb: [], routes: [], problems: [] };

/** One node as the overlay of a family sees it. */
interface Vtep {
  readonly node: string;
  /** Address of its tunnel device. */
  readonly tunnel: Addr;
  readonly mac: string;
  /** Its own address, to which the outer packets go. */
  readonly host: Addr;
}

/** The MAC of a node's VXLAN device, unless its Node resource says otherwise: `66:` and five bytes of SHA-1 over its name. */
export function vtepMac(node: string, family: Family): string {
  const digest = createHash('sha1')
    .update(family === 4 ? node : `${node}-v6`)
    .digest();
  return ['66', ...Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

/** From resources to devices, entries and routes; both families by the same rules. */
export function overlayIntent(input: OverlayInput): OverlayIntent {
  const parts = FAMILIES.map((family) => familyIntent(input, family));
  return {
    devices: parts.flatMap((p) => p.devices),
    neighbours: parts.flatMap((p) => p.neighbours),
    fdb: parts.flatMap((p) => p.fdb),
    routes: parts.flatMap((p) => p.routes),
    problems: parts.flatMap((p) => p.problems),
  };
}

function familyIntent(input: OverlayInput, family: Family): OverlayIntent {
  const pools = vxlanPools(input.pools, family);
  if (pools.length === 0 || input.felix.vxlanEnabled === false) return NO_OVERLAY;
  const problems: string[] = [];
  const own = input.nodes.get(input.node);
  const local = own && vtepOf(input.node, own, family);
  if (!local) problems.push(`Node ${input.node} has no ${fieldOf(family)} or no IPv${family} address: no overlay here`);
  const vteps = remoteVteps(input, family, local, problems);
  const name = VXLAN_DEVICES[family];
  const used = local ? [...vteps.values()] : [];
  return {
    devices: local ? [{ device: deviceOf(input, family, local), address: local.tunnel }] : [],
    neighbours: used.map(({ tunnel, mac }) => ({ link: name, address: tunnel, mac })),
    fdb: used.map(({ mac, host }) => ({ link: name, mac, destination: host })),
    routes: routesOf(input, family, pools, vteps, local !== undefined),
    problems,
  };
}

interface Pool {
  readonly cidr: Prefix;
  readonly crossSubnet: boolean;
}

function vxlanPools(pools: ReadonlyMap<string, IPPool>, family: Family): Pool[] {
  return [...pools.values()].flatMap(({ spec }) => {
    const cidr = parsePrefix(spec.cidr);
    const on = spec.vxlanMode === 'Always' || spec.vxlanMode === 'CrossSubnet';
    return on && cidr.ok && familyOf(cidr.value) === family
      ? [{ cidr: cidr.value, crossSubnet: spec.vxlanMode === 'CrossSubnet' }]
      : [];
  });
}

const fieldOf = (family: Family): 'ipv4VXLANTunnelAddr' | 'ipv6VXLANTunnelAddr' =>
  family === 4 ? 'ipv4VXLANTunnelAddr' : 'ipv6VXLANTunnelAddr';

/** The node's own address with the length of its subnet. */
function hostOf(node: Node, family: Family): { addr: Addr; length: number } | undefined {
  const text = family === 4 ? node.spec.bgp?.ipv4Address : node.spec.bgp?.ipv6Address;
  const parsed = text ? parseCidr(text) : undefined;
  return parsed?.ok ? parsed.value : undefined;
}

function vtepOf(name: string, node: Node, family: Family): Vtep | undefined {
  const text = node.spec[fieldOf(family)];
  const tunnel = text ? parseAddr(text) : undefined;
  const host = hostOf(node, family);
  if (!tunnel?.ok || !host) return undefined;
  const stated = family === 4 ? node.spec.vxlanTunnelMACAddr : node.spec.vxlanTunnelMACAddrV6;
  return { node: name, tunnel: tunnel.value, mac: stated?.toLowerCase() || vtepMac(name, family), host: host.addr };
}

/**
 * Those that can be told apart. Of two with one tunnel address or MAC the one created last is reached, as with endpoints: the older is what is left of a
 * node that was named otherwise. A MAC of a group, or of zeros, is nobody's: to it the kernel would send what is for none of the others.
 */
function remoteVteps(
  input: OverlayInput,
  family: Family,
  local: Vtep | undefined,
  problems: string[],
): Map<string, Vtep> {
  const found = new Map<string, Vtep>();
  const taken = new Map<string, string>();
  const take = ({ node, tunnel, mac }: Vtep) => taken.set(tunnel, node).set(mac, node);
  if (local) take(local);
  for (const [name, node] of [...input.nodes].sort(lastCreatedFirst)) {
    const vtep = name === input.node ? undefined : vtepOf(name, node, family);
    if (!vtep) continue;
    const other = taken.get(vtep.tunnel) ?? taken.get(vtep.mac);
    if (isNoDevice(vtep.mac)) problems.push(`Node ${name}: MAC ${vtep.mac} is no device's: no overlay to it`);
    else if (other) problems.push(`Node ${name} has the tunnel address or MAC of Node ${other}: no overlay to it`);
    else {
      take(vtep);
      found.set(name, vtep);
    }
  }
  return found;
}

const isNoDevice = (mac: string): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1 || /^[0:]+$/.test(mac);

function lastCreatedFirst([a, { metadata: one }]: [string, Node], [b, { metadata: other }]: [string, Node]): number {
  // RFC 3339 in UTC and whole seconds, so that text sorts as time does.
  const [before, after] = [one.creationTimestamp ?? '', other.creationTimestamp ?? ''];
  if (before !== after) return before > after ? -1 : 1;
  return a < b ? -1 : 1;
}

function deviceOf(input: OverlayInput, family: Family, { mac, host }: Vtep): VxlanDevice {
  const { felix, hostMtu, parentOf } = input;
  const parent = parentOf(host);
  return {
    name: VXLAN_DEVICES[family],
    vni: felix.vxlanVNI ?? 4096,
    port: felix.vxlanPort ?? 4789,
    mac,
    mtu: vxlanMtu(hostMtu, family, felix),
    local: host,
    ...(parent !== undefined && { parent }),
  };
}

function routesOf(
  input: OverlayInput,
  family: Family,
  pools: readonly Pool[],
  vteps: ReadonlyMap<string, Vtep>,
  tunnels: boolean,
): Omit<Candidate, 'class'>[] {
  const own = input.nodes.get(input.node);
  const ownHost = own && hostOf(own, family);
  const subnet = ownHost && prefixOf(ownHost.addr, ownHost.length);
  const parent = ownHost && input.parentOf(ownHost.addr);
  const routes: Omit<Candidate, 'class'>[] = [];
  for (const { to, node } of destinations(input, family)) {
    const pool = pools.find(({ cidr }) => covers(cidr, to));
    if (!pool) continue;
    if (node === input.node) {
      // Under the routes of its workloads the node's own block leads nowhere, so that packets to free addresses do not circle.
      if (to !== hostPrefix(prefixAddr(to))) routes.push({ owner: node, route: routeTo(to, { type: 'blackhole' }) });
      continue;
    }
    const host = input.nodes.get(node);
    const remote = host && hostOf(host, family);
    if (pool.crossSubnet && subnet && remote && covers(subnet, remote.addr)) {
      const hop = { gateway: remote.addr, ...(parent !== undefined && { link: parent }) };
      routes.push({ owner: node, route: routeTo(to, { type: 'gateway', hops: [hop] }) });
      continue;
    }
    const vtep = vteps.get(node);
    if (!vtep || !tunnels) continue;
    const hop = { gateway: vtep.tunnel, link: VXLAN_DEVICES[family], onlink: true };
    routes.push({ owner: node, route: routeTo(to, { type: 'gateway', hops: [hop] }) });
  }
  return routes;
}

const routeTo = (to: Prefix, via: Route['via']): Route => ({ to, metric: 1024, via, table: 254 });

/** Blocks and the nodes that hold them, then single addresses that a node took from another node's block. */
function* destinations(input: OverlayInput, family: Family): IterableIterator<{ to: Prefix; node: string }> {
  const holders = new Map<string, string>();
  for (const { owner, cidr, state } of input.affinities.values()) {
    if (owner.type !== 'host' || (state !== 'confirmed' && state !== '')) continue;
    const to = parsePrefix(cidr);
    if (!to.ok || familyOf(to.value) !== family) continue;
    holders.set(to.value, owner.name);
    yield { to: to.value, node: owner.name };
  }
  for (const block of input.blocks.values())
    for (const { to, node } of borrowedAddresses(block))
      if (familyOf(to) === family && holders.get(block.cidr) !== node) yield { to, node };
}

const borrowedCache = new WeakMap<IpamBlock, readonly { to: Prefix; node: string }[]>();

/** Addresses of the block that are in use on a node other than its holder. Blocks are values, so each is looked through once. */
export function borrowedAddresses(block: IpamBlock): readonly { to: Prefix; node: string }[] {
  const known = borrowedCache.get(block);
  if (known) return known;
  const found: { to: Prefix; node: string }[] = [];
  const cidr = parsePrefix(block.cidr);
  if (cidr.ok && !block.deleted)
    block.allocations.forEach((attribute, ordinal) => {
      const node = attribute === null ? undefined : block.attributes[attribute]?.secondary?.node;
      if (node && `host:${node}` !== block.affinity)
        found.push({ to: hostPrefix(addrPlus(prefixAddr(cidr.value), ordinal)), node });
    });
  borrowedCache.set(block, found);
  return found;
}
