import { type Addr, type Family, familyOf, OperationalError, parseCidr } from '#core';
import type { HostEndpoint, Node, WorkloadEndpoint } from '#datastore';
import type { FlowEnd } from '#policy';
import type { EndKind, Reading, Wanted } from './wanted.ts';

/** What a flow begins or ends at, found. */
export interface End {
  readonly flag: Wanted['flag'];
  /** As it was asked for. */
  readonly given: string;
  readonly kind: EndKind | 'Address';
  /** As in steps: `WorkloadEndpoint/namespace/name`, `HostEndpoint/name`, `Node/name`; an address by itself. */
  readonly name: string;
  readonly node: string | null;
  /** By which it can be reached; those of a family in the order in which they are preferred. */
  readonly addresses: readonly Addr[];
  readonly flow: FlowEnd;
}

/** The resources that ends are found among, by id. */
export interface Known {
  readonly workloads: ReadonlyMap<string, WorkloadEndpoint>;
  readonly hosts: ReadonlyMap<string, HostEndpoint>;
  readonly nodes: ReadonlyMap<string, Node>;
}

/** All that one side of the flow can mean by name. An endpoint without address counts as absent, and is found all the same: it is to be told. */
export function endsNamed({ flag, text, readings }: Wanted, known: Known): End[] {
  const ends = new Map<string, End>();
  for (const reading of readings)
    for (const end of endsOf(reading, known, { flag, given: text })) ends.set(end.name, end);
  return [...ends.values()];
}

type Asked = Pick<End, 'flag' | 'given'>;

function endsOf(reading: Reading, known: Known, asked: Asked): End[] {
  switch (reading.kind) {
    case 'WorkloadEndpoint':
      return [...known.workloads]
        .filter(([id, { spec }]) => isCalled(id, spec, reading))
        .map(([id, endpoint]) => workloadEnd(id, endpoint, asked));
    case 'HostEndpoint': {
      const endpoint = known.hosts.get(reading.name);
      return endpoint ? [hostEnd(reading.name, endpoint, known, asked)] : [];
    }
    case 'Node': {
      const node = known.nodes.get(reading.name);
      return node ? [nodeEnd(reading.name, node, asked)] : [];
    }
    case 'Address':
      return [];
  }
}

/** A container runtime shows so much of a container's ID. */
const SHORT_ID = 12;

/** Whether a workload is known by the name: its endpoint's, its own, its interface's on the node, or its container's, also in short. */
export function isCalled(
  id: string,
  spec: Readonly<Record<string, unknown>> | WorkloadEndpoint['spec'],
  { namespace, name }: Extract<Reading, { kind: 'WorkloadEndpoint' }>,
): boolean {
  if (id === `${namespace}/${name}`) return true;
  if (!id.startsWith(`${namespace}/`)) return false;
  const { pod, workload, containerID, interfaceName } = spec;
  if ([pod, workload, containerID, interfaceName].includes(name)) return true;
  return name.length >= SHORT_ID && typeof containerID === 'string' && containerID.startsWith(name);
}

/** What has the address: workloads first; else the node whose it is; else nobody of the cluster. */
export function endsAt({ flag, text }: Wanted, address: Addr, known: Known): End[] {
  const asked = { flag, given: text };
  const workloads = [...known.workloads].filter(([, { spec }]) => addressesIn(spec.ipNetworks).includes(address));
  if (workloads.length > 0)
    return workloads.map(([id, endpoint]) => ({ ...workloadEnd(id, endpoint, asked), addresses: [address] }));
  const owners = new Set<string>();
  for (const [name, node] of known.nodes) if (allAddressesOf(node).includes(address)) owners.add(name);
  for (const { spec } of known.hosts.values())
    if (addressesIn(spec.expectedIPs).includes(address)) owners.add(spec.node);
  const flow: FlowEnd = { at: 'elsewhere' };
  if (owners.size === 0) return [{ ...asked, kind: 'Address', name: address, node: null, addresses: [address], flow }];
  return [...owners].map((name) => ({
    ...asked,
    kind: 'Node',
    name: `Node/${name}`,
    node: name,
    addresses: [address],
    flow: { at: 'node', node: name },
  }));
}

/**
 * A node's address that a host endpoint of one interface expects is that endpoint's. One of all interfaces may not be what a packet meets, where
 * another endpoint has its interface: the node is asked by all it has.
 */
export function hostEndpointsAt(end: End, address: Addr, known: Known): End[] {
  if (end.kind !== 'Node') return [end];
  const hosts = [...known.hosts].filter(
    ([, { spec }]) =>
      spec.node === end.node && spec.interfaceName !== '*' && addressesIn(spec.expectedIPs).includes(address),
  );
  if (hosts.length === 0) return [end];
  return hosts.map(([id, endpoint]) => ({ ...hostEnd(id, endpoint, known, end), addresses: [address] }));
}

export const workloadEnd = (id: string, { spec }: WorkloadEndpoint, { flag, given }: Asked): End => ({
  flag,
  given,
  kind: 'WorkloadEndpoint',
  name: `WorkloadEndpoint/${id}`,
  node: spec.node,
  addresses: addressesIn(spec.ipNetworks),
  flow: { at: 'endpoint', ref: { kind: 'WorkloadEndpoint', id } },
});

/** Where the endpoint says no address, it is reached by its node's. */
export function hostEnd(id: string, { spec }: HostEndpoint, { nodes }: Known, { flag, given }: Asked): End {
  const own = addressesIn(spec.expectedIPs);
  const node = nodes.get(spec.node);
  const others = (node ? mainAddressesOf(node) : []).filter((one) => !own.some((o) => familyOf(o) === familyOf(one)));
  return {
    flag,
    given,
    kind: 'HostEndpoint',
    name: `HostEndpoint/${id}`,
    node: spec.node,
    addresses: [...own, ...others],
    flow: { at: 'endpoint', ref: { kind: 'HostEndpoint', id } },
  };
}

const nodeEnd = (name: string, node: Node, { flag, given }: Asked): End => ({
  flag,
  given,
  kind: 'Node',
  name: `Node/${name}`,
  node: name,
  addresses: mainAddressesOf(node),
  flow: { at: 'node', node: name },
});

/** What is no address is passed over, as the agent does. */
function addressesIn(texts: readonly (string | undefined)[] | undefined): Addr[] {
  return (texts ?? []).flatMap((text) => {
    const parsed = text ? parseCidr(text) : undefined;
    return parsed?.ok ? [parsed.value.addr] : [];
  });
}

const mainAddressesOf = ({ spec }: Node): Addr[] =>
  addressesIn([spec.bgp?.ipv4Address, spec.bgp?.ipv6Address, ...(spec.addresses ?? []).map((a) => a.address)]);

/** Those of its tunnels, too. */
const allAddressesOf = (node: Node): Addr[] => [
  ...mainAddressesOf(node),
  ...addressesIn([
    node.spec.ipv4VXLANTunnelAddr,
    node.spec.ipv6VXLANTunnelAddr,
    node.spec.bgp?.ipv4IPIPTunnelAddr,
    node.spec.wireguard?.interfaceIPv4Address,
    node.spec.wireguard?.interfaceIPv6Address,
  ]),
];

export interface Pair {
  readonly source: Addr;
  readonly destination: Addr;
}

/** The first address of each end in a family; null: one of them has none. */
export function pairIn(from: Pick<End, 'addresses'>, to: Pick<End, 'addresses'>, family: Family): Pair | null {
  const first = ({ addresses }: Pick<End, 'addresses'>) => addresses.find((one) => familyOf(one) === family);
  const [source, destination] = [first(from), first(to)];
  return source && destination ? { source, destination } : null;
}

/** The addresses that the flow is between: in a family that both ends have, IPv4 before IPv6, or in the one asked for. */
export function pairOf(from: End, to: End, asked: Family | null): Pair {
  for (const family of asked === null ? ([4, 6] as const) : [asked]) {
    const pair = pairIn(from, to, family);
    if (pair) return pair;
  }
  const has = ({ flag, given, addresses }: End) =>
    `${flag} '${given}' has ${addresses.length > 0 ? addresses.join(', ') : 'no address that the datastore knows'}`;
  const missing = asked === null ? 'no family in common' : `no IPv${asked} address on both sides`;
  const remedy = asked === null ? 'give an address, or another end' : 'ask for the other family, or give an address';
  throw new OperationalError('CONFIG', `the ends have ${missing}: ${has(from)}; ${has(to)}; ${remedy}`);
}
