import { createHash } from 'node:crypto';

/** Pure: who is in the lab and what every one of them is called and numbered. Nothing here touches the machine. */

export interface LabOptions {
  /** Prefix of every namespace and of the state directory; two labs of different names do not meet. */
  readonly name?: string;
  readonly nodes?: number;
  readonly workloadsPerNode?: number;
  readonly tor?: Partial<TorOptions>;
  /** Names of nodes without a default route; the others have one by the top-of-rack router. */
  readonly noDefaultRoute?: readonly string[];
  /** False: the agents are not told of etcd. Default true. */
  readonly etcd?: boolean;
  /** Further arguments of every agent. */
  readonly agentArgs?: readonly string[];
}
export interface TorOptions {
  /** 65001: eBGP with the nodes; 64512, the cluster's own: iBGP. */
  readonly asNumber: number;
  /** `shared`: both families in one session over IPv4; `separate`: one session a family, as a Calico node makes them. */
  readonly sessions: 'shared' | 'separate';
}

/** A machine of the lab with a namespace of its own. Addresses are without prefix length, IPv4 first. */
export interface Host {
  readonly name: string;
  readonly netns: string;
  readonly addresses: readonly [v4: string, v6: string];
}
export interface NodePlan extends Host {
  readonly index: number;
  readonly blocks: readonly [v4: string, v6: string];
  readonly defaultRoute: boolean;
}
export interface WorkloadPlan extends Host {
  readonly node: string;
  readonly app: string;
  readonly containerId: string;
  /** Host side of its veth pair. */
  readonly interfaceName: string;
  /** Position in the node's blocks. */
  readonly ordinal: number;
}
export interface LabPlan {
  readonly name: string;
  readonly fabric: string;
  readonly etcd: Host;
  readonly tor: Host & TorOptions;
  /** A host behind the top-of-rack router, outside the cluster. */
  readonly office: Host;
  readonly nodes: readonly NodePlan[];
  readonly workloads: readonly WorkloadPlan[];
  readonly agentsUseEtcd: boolean;
  readonly agentArgs: readonly string[];
}

export const CLUSTER_AS = 64512;
export const TOR_AS = 65001;
export const POOLS = ['10.65.0.0/16', 'fd00:65::/48'] as const;
/** Networks behind the top-of-rack router; it originates them. */
export const OFFICE = ['10.200.0.0/24', 'fd00:200::/64'] as const;
export const FABRIC_LENGTH = [24, 64] as const;
export const PORT = { http: 8080, echo: 8081 } as const;
/** The host side of every workload's veth pair has this MAC, so the IPv6 gateway is the same everywhere. */
export const HOST_MAC = 'ee:ee:ee:ee:ee:ee';
export const WORKLOAD_GATEWAYS = ['169.254.1.1', 'fe80::ecee:eeff:feee:eeee'] as const;

const NAME = /^[a-z0-9]{1,12}$/;

/** The plan of a lab; the same options always give the same plan. */
export function planLab(options: LabOptions = {}): LabPlan {
  const name = options.name ?? 'lab';
  if (!NAME.test(name)) throw new Error(`lab name ${JSON.stringify(name)}: 1 to 12 lower case letters and digits`);
  const host = (hostName: string, number: number): Host => ({
    name: hostName,
    netns: netnsName(name, hostName),
    addresses: [`10.99.0.${number}`, `fd00:99::${number}`],
  });
  const nodes = range(options.nodes ?? 3).map(
    (index): NodePlan => ({
      ...host(`node-${index}`, 10 + index),
      index,
      blocks: [`10.65.${index}.0/26`, `fd00:65:0:${index}::/122`],
      defaultRoute: !options.noDefaultRoute?.includes(`node-${index}`),
    }),
  );
  const apps = range(options.workloadsPerNode ?? 2).map(appAt);
  return {
    name,
    fabric: netnsName(name, 'fabric'),
    etcd: host('etcd', 2),
    tor: { ...host('tor', 1), asNumber: TOR_AS, sessions: 'shared', ...options.tor },
    office: { name: 'office', netns: netnsName(name, 'office'), addresses: ['10.200.0.10', 'fd00:200::10'] },
    nodes,
    workloads: nodes.flatMap((node) => apps.map((app, at) => planWorkload(name, node, app, at + 1))),
    agentsUseEtcd: options.etcd ?? true,
    agentArgs: options.agentArgs ?? [],
  };
}

/** The workload at `ordinal` (from 1) of the node's blocks. */
export function planWorkload(lab: string, node: NodePlan, app: string, ordinal: number): WorkloadPlan {
  if (ordinal < 1 || ordinal > 62) throw new Error(`${node.name} has no address left in its block`);
  // The first two of a node, each of its own app, need no number.
  const isFirst = ordinal <= 2 && app === appAt(ordinal);
  const name = isFirst ? `${app}-${node.index}` : `${app}-${node.index}-${ordinal}`;
  const containerId = createHash('sha1').update(`${lab}/${name}`).digest('hex').slice(0, 12);
  return {
    name,
    netns: netnsName(lab, name),
    node: node.name,
    app,
    containerId,
    interfaceName: `cali${containerId.slice(0, 11)}`,
    ordinal,
    addresses: [`10.65.${node.index}.${ordinal}`, `fd00:65:0:${node.index}::${ordinal.toString(16)}`],
  };
}

/** Every namespace of every lab begins like this, and nothing else on the machine does. */
export const NETNS_PREFIX = 'tsnlab-';
const netnsName = (lab: string, host: string): string => `${NETNS_PREFIX}${lab}-${host}`;
export const netnsPrefix = (lab: string): string => `${NETNS_PREFIX}${lab}-`;

const appAt = (ordinal: number): string => (ordinal % 2 ? 'web' : 'client');
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
