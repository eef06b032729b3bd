import type { IpamBlock } from '#datastore';
import {
  CLUSTER_AS,
  FABRIC_LENGTH,
  type LabPlan,
  type NodePlan,
  OFFICE,
  POOLS,
  PORT,
  type WorkloadPlan,
} from './plan.ts';

/**
 * Pure: what the programs of a Calico cluster (calico/node at start, the CNI plugin, IPAM, an operator with calicoctl) would have written
 * to etcd. The lab stands for those programs, so the values are spelled out here instead of coming from the code that the lab examines.
 */

export interface Entry {
  readonly key: string;
  readonly value: string;
}
/** A resource as a person would write it. */
export interface Manifest {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly spec: object;
}

const PLURALS: Readonly<Record<string, string>> = {
  NetworkPolicy: 'networkpolicies',
  GlobalNetworkPolicy: 'globalnetworkpolicies',
};
const pluralOf = (kind: string): string => PLURALS[kind] ?? `${kind.toLowerCase()}s`;

/** A resource's key in etcd. */
export const keyOf = ({ kind, namespace, name }: Pick<Manifest, 'kind' | 'namespace' | 'name'>): string =>
  ['/calico/resources/v3/projectcalico.org', pluralOf(kind), ...(namespace ? [namespace] : []), name].join('/');

/** The pair that a Go client would have written for the manifest. */
export function entryOf(manifest: Manifest, uid: string, created: Date): Entry {
  const { kind, name, namespace, labels, spec } = manifest;
  const creationTimestamp = `${created.toISOString().slice(0, 19)}Z`;
  const metadata = { name, namespace, uid, creationTimestamp, labels };
  return { key: keyOf(manifest), value: JSON.stringify({ kind, apiVersion: 'projectcalico.org/v3', metadata, spec }) };
}

/** Everything that is there before the first workload. */
export function clusterManifests(plan: LabPlan): Manifest[] {
  const pool = (name: string, cidr: string, blockSize: number): Manifest => ({
    kind: 'IPPool',
    name,
    spec: {
      cidr,
      vxlanMode: 'Never',
      ipipMode: 'Never',
      blockSize,
      nodeSelector: 'all()',
      allowedUses: ['Workload', 'Tunnel'],
      assignmentMode: 'Automatic',
    },
  });
  return [
    {
      kind: 'ClusterInformation',
      name: 'default',
      spec: { clusterGUID: '7d3a1f0c5b9e4682a1c0d9e8f7b6a543', clusterType: 'tsnet', datastoreReady: true },
    },
    { kind: 'Tier', name: 'kube-admin', spec: { order: 1000, defaultAction: 'Pass' } },
    { kind: 'Tier', name: 'default', spec: { order: 1_000_000, defaultAction: 'Deny' } },
    { kind: 'Tier', name: 'kube-baseline', spec: { order: 10_000_000, defaultAction: 'Pass' } },
    { kind: 'FelixConfiguration', name: 'default', spec: { logSeverityScreen: 'Info', reportingInterval: '0s' } },
    pool('default-ipv4-ippool', POOLS[0], 26),
    pool('default-ipv6-ippool', POOLS[1], 122),
    { kind: 'BGPConfiguration', name: 'default', spec: { nodeToNodeMeshEnabled: true, asNumber: CLUSTER_AS } },
    ...torPeers(plan),
    ...plan.nodes.map(nodeManifest),
    {
      kind: 'Profile',
      name: 'lab',
      spec: {
        ingress: [{ action: 'Allow', source: { selector: 'has(lab)' } }],
        egress: [{ action: 'Allow' }],
        labelsToApply: { lab: '' },
      },
    },
    ...samplePolicy(),
  ];
}

/** One session: a global peer. Separate ones: a global peer for IPv4, and one for IPv6 on each node, so that both scopes occur. */
function torPeers({ tor, nodes }: LabPlan): Manifest[] {
  const { asNumber, addresses, sessions } = tor;
  const [v4, v6] = addresses;
  const tors: Manifest[] = [{ kind: 'BGPPeer', name: 'tor', spec: { peerIP: v4, asNumber } }];
  if (sessions === 'shared') return tors;
  const own = (node: string): Manifest => ({
    kind: 'BGPPeer',
    name: `tor-${node}`,
    spec: { node, peerIP: v6, asNumber },
  });
  return [...tors, ...nodes.map(({ name }) => own(name))];
}

const nodeManifest = ({ name, addresses: [v4, v6] }: NodePlan): Manifest => ({
  kind: 'Node',
  name,
  labels: { rack: 'r1' },
  spec: {
    bgp: { ipv4Address: `${v4}/${FABRIC_LENGTH[0]}`, ipv6Address: `${v6}/${FABRIC_LENGTH[1]}` },
    addresses: [
      { address: v4, type: 'CalicoNodeIP' },
      { address: v6, type: 'CalicoNodeIP' },
    ],
  },
});

/** `web` answers clients and the office on its two ports, and nobody else; see `expected` for the same in one line. */
function samplePolicy(): Manifest[] {
  const from = (source: object, protocol: string, port: number) => ({
    action: 'Allow',
    protocol,
    source,
    destination: { ports: [port] },
  });
  const sources = [{ selector: "app == 'client'" }, { selector: "role == 'office'" }];
  return [
    { kind: 'GlobalNetworkSet', name: 'office', labels: { role: 'office' }, spec: { nets: [...OFFICE] } },
    {
      kind: 'GlobalNetworkPolicy',
      name: 'web',
      labels: { 'projectcalico.org/tier': 'default' },
      spec: {
        tier: 'default',
        order: 100,
        selector: "app == 'web'",
        types: ['Ingress'],
        ingress: sources.flatMap((source) => [from(source, 'TCP', PORT.http), from(source, 'UDP', PORT.echo)]),
      },
    },
  ];
}

/** What the sample policy and the profile say about a connection, worked out by hand. `office` stands for the host outside. */
export function expected(from: { app?: string }, to: { app?: string }): boolean {
  if (!to.app) return true; // the profile lets everything out
  if (to.app === 'web') return from.app === 'client' || !from.app;
  return Boolean(from.app); // the profile lets in what carries its label
}

const doubled = (segment: string): string => segment.replaceAll('-', '--');

/** As the CNI plugin with orchestrator `cni` writes it. */
export function endpointManifest(workload: WorkloadPlan, mac: string): Manifest {
  const { node, containerId, interfaceName, app, addresses } = workload;
  return {
    kind: 'WorkloadEndpoint',
    namespace: 'default',
    name: `${doubled(node)}-cni-${containerId}-eth0`,
    labels: { app, 'projectcalico.org/namespace': 'default', 'projectcalico.org/orchestrator': 'cni' },
    spec: {
      orchestrator: 'cni',
      node,
      containerID: containerId,
      endpoint: 'eth0',
      interfaceName,
      mac,
      ipNetworks: [`${addresses[0]}/32`, `${addresses[1]}/128`],
      profiles: ['lab'],
    },
  };
}

/** The node's claim on its two blocks, the blocks with the addresses in use, and their handles. */
export function ipamEntries(node: NodePlan, workloads: readonly WorkloadPlan[], created: Date): Entry[] {
  const claims = node.blocks.flatMap((cidr) => {
    const family = cidr.includes(':') ? 'ipv6' : 'ipv4';
    const name = cidr.replace('/', '-');
    return [
      {
        key: `/calico/ipam/v2/host/${node.name}/${family}/block/${name}`,
        value: '{"state":"confirmed","deleted":false}',
      },
      {
        key: `/calico/ipam/v2/assignment/${family}/block/${name}`,
        value: blockText(node, cidr, workloads, created),
      },
    ];
  });
  const handles = workloads.map((w) => ({ key: `/calico/ipam/v2/handle/${handleOf(w)}`, value: handleText(node) }));
  return [...claims, ...handles];
}
const handleOf = (workload: WorkloadPlan): string => `lab.${workload.containerId}`;
const handleText = ({ blocks }: NodePlan): string =>
  JSON.stringify({ block: Object.fromEntries(blocks.map((cidr) => [cidr, 1])), deleted: false });

const BLOCK_SIZE = 64;

function blockText(node: NodePlan, cidr: string, workloads: readonly WorkloadPlan[], created: Date): string {
  const first = BigInt(created.getTime()) * 1_000_000n;
  const allocations: (number | null)[] = Array.from({ length: BLOCK_SIZE }, () => null);
  for (const [at, { ordinal }] of workloads.entries()) allocations[ordinal] = at;
  const block: IpamBlock = {
    cidr,
    affinity: `host:${node.name}`,
    affinity_claim_time: `${created.toISOString().slice(0, 19)}Z`,
    allocations,
    unallocated: allocations.flatMap((used, ordinal) => (used === null ? [ordinal] : [])),
    attributes: workloads.map((w) => ({ handle_id: handleOf(w), secondary: { node: node.name } })),
    sequenceNumber: first + BigInt(workloads.length),
    sequenceNumberForAllocation: Object.fromEntries(workloads.map(({ ordinal }, at) => [ordinal, first + BigInt(at)])),
    deleted: false,
  };
  // Sequence numbers exceed 2^53: written as digits, which JSON.stringify cannot.
  return JSON.stringify(block, (_, value) => (typeof value === 'bigint' ? `#${value}#` : value)).replace(
    /"#(\d+)#"/g,
    '$1',
  );
}
