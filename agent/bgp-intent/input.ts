import type { Addr, Family, Prefix } from '#core';
import type { BGPConfiguration, BGPFilter, BGPPeer, IPPool, IpamAffinity, Node, WorkloadEndpoint } from '#datastore';

/** Which rules apply towards peers outside the cluster (INTERFACES.md, `--bgp-profile`). */
export type BgpProfile = 'calico' | 'strict';

/** Everything that decides what this node's speaker does; all of it current, none of it remembered. */
export interface IntentInput {
  /** This node's name. */
  readonly node: string;
  readonly profile: BgpProfile;
  /** `--router-id`: an address, the word `hash`, or undefined for the IPv4 address. */
  readonly routerId: string | undefined;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly configurations: ReadonlyMap<string, BGPConfiguration>;
  readonly peers: ReadonlyMap<string, BGPPeer>;
  readonly filters: ReadonlyMap<string, BGPFilter>;
  readonly pools: ReadonlyMap<string, IPPool>;
  readonly affinities: ReadonlyMap<string, IpamAffinity>;
  /** Local workload endpoints, for peers chosen by `localWorkloadSelector`. */
  readonly localEndpoints: ReadonlyMap<string, WorkloadEndpoint>;
  /** Host routes of local workloads that are part of the desired state, with their metric. */
  readonly localAddresses: ReadonlyMap<Prefix, number>;
  /** The key of a secret, or undefined when it is not there. */
  readonly secret: (name: string, key: string) => string | undefined;
}

/** A node as a BGP neighbour sees it. */
export interface NodeFacts {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Without the prefix length. */
  readonly addresses: Partial<Record<Family, Addr>>;
  /** The node's own AS number, if it has one. */
  readonly asNumber: number | undefined;
  readonly listenPort: number;
  readonly clusterId: Addr | undefined;
  /** Runs one session for both families with nodes that do so too. */
  readonly multiprotocol: boolean;
}

/** Something wanted that cannot be: which resource, and why; the rest of the intent stands (invariant I6). */
export interface IntentProblem {
  readonly resource: string;
  readonly message: string;
}

/** Annotation on a Node resource that tsnet agents set: this node carries IPv4 and IPv6 in one session. */
export const MULTIPROTOCOL_ANNOTATION = 'tsnet.io/bgp-multiprotocol';

/** Without any setting (reference/bgp.md 7.1, 7.6). */
export const DEFAULT_AS = 64512;
export const DEFAULT_PORT = 179;
export const NORMAL_PRIORITY = 1024;
