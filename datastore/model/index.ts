import { type BGPConfiguration, bgpConfiguration } from './bgp-configuration.ts';
import { type BGPFilter, bgpFilter } from './bgp-filter.ts';
import { type BGPPeer, bgpPeer } from './bgp-peer.ts';
import { type BlockAffinity, blockAffinity } from './block-affinity.ts';
import { type CalicoNodeStatus, calicoNodeStatus } from './calico-node-status.ts';
import { type ClusterInformation, clusterInformation } from './cluster-information.ts';
import { type FelixConfiguration, felixConfiguration } from './felix-configuration.ts';
import { type HostEndpoint, hostEndpoint } from './host-endpoint.ts';
import { type IPPool, type IPReservation, ipPool, ipReservation } from './ip-pool.ts';
import { type IPAMConfiguration, ipamConfiguration } from './ipam-configuration.ts';
import type { KindInfo } from './kind.ts';
import { type KubeControllersConfiguration, kubeControllersConfiguration } from './kube-controllers-configuration.ts';
import { type GlobalNetworkSet, globalNetworkSet, type NetworkSet, networkSet } from './network-set.ts';
import { type Node, node } from './node.ts';
import {
  type GlobalNetworkPolicy,
  globalNetworkPolicy,
  type NetworkPolicy,
  networkPolicy,
  type StagedGlobalNetworkPolicy,
  type StagedKubernetesNetworkPolicy,
  type StagedNetworkPolicy,
  stagedGlobalNetworkPolicy,
  stagedKubernetesNetworkPolicy,
  stagedNetworkPolicy,
} from './policy.ts';
import { type Profile, profile } from './profile.ts';
import { type Tier, tier } from './tier.ts';
import { type WorkloadEndpoint, workloadEndpoint } from './workload-endpoint.ts';

export * from './bgp-configuration.ts';
export * from './bgp-filter.ts';
export * from './bgp-peer.ts';
export * from './block-affinity.ts';
export * from './calico-node-status.ts';
export * from './cluster-information.ts';
export * from './felix-configuration.ts';
export * from './host-endpoint.ts';
export * from './ip-pool.ts';
export * from './ipam.ts';
export * from './ipam-configuration.ts';
export type { KindInfo } from './kind.ts';
export * from './kube-controllers-configuration.ts';
export * from './meta.ts';
export * from './network-set.ts';
export * from './node.ts';
export * from './policy.ts';
export * from './profile.ts';
export * from './rule.ts';
export type { SecretKeyRef } from './secret.ts';
export * from './tier.ts';
export * from './workload-endpoint.ts';

/** Every kind of resource, by name. */
export interface Kinds {
  BGPConfiguration: BGPConfiguration;
  BGPFilter: BGPFilter;
  BGPPeer: BGPPeer;
  BlockAffinity: BlockAffinity;
  CalicoNodeStatus: CalicoNodeStatus;
  ClusterInformation: ClusterInformation;
  FelixConfiguration: FelixConfiguration;
  GlobalNetworkPolicy: GlobalNetworkPolicy;
  GlobalNetworkSet: GlobalNetworkSet;
  HostEndpoint: HostEndpoint;
  IPAMConfiguration: IPAMConfiguration;
  IPPool: IPPool;
  IPReservation: IPReservation;
  KubeControllersConfiguration: KubeControllersConfiguration;
  NetworkPolicy: NetworkPolicy;
  NetworkSet: NetworkSet;
  Node: Node;
  Profile: Profile;
  StagedGlobalNetworkPolicy: StagedGlobalNetworkPolicy;
  StagedKubernetesNetworkPolicy: StagedKubernetesNetworkPolicy;
  StagedNetworkPolicy: StagedNetworkPolicy;
  Tier: Tier;
  WorkloadEndpoint: WorkloadEndpoint;
}
export type Kind = keyof Kinds;
export type AnyResource = Kinds[Kind];

/** Everything that is known about each kind. */
export const KINDS: { readonly [K in Kind]: KindInfo<K, Kinds[K]['spec']> } = {
  BGPConfiguration: bgpConfiguration,
  BGPFilter: bgpFilter,
  BGPPeer: bgpPeer,
  BlockAffinity: blockAffinity,
  CalicoNodeStatus: calicoNodeStatus,
  ClusterInformation: clusterInformation,
  FelixConfiguration: felixConfiguration,
  GlobalNetworkPolicy: globalNetworkPolicy,
  GlobalNetworkSet: globalNetworkSet,
  HostEndpoint: hostEndpoint,
  IPAMConfiguration: ipamConfiguration,
  IPPool: ipPool,
  IPReservation: ipReservation,
  KubeControllersConfiguration: kubeControllersConfiguration,
  NetworkPolicy: networkPolicy,
  NetworkSet: networkSet,
  Node: node,
  Profile: profile,
  StagedGlobalNetworkPolicy: stagedGlobalNetworkPolicy,
  StagedKubernetesNetworkPolicy: stagedKubernetesNetworkPolicy,
  StagedNetworkPolicy: stagedNetworkPolicy,
  Tier: tier,
  WorkloadEndpoint: workloadEndpoint,
};

export const KIND_NAMES = Object.keys(KINDS) as readonly Kind[];

/** The kind of a plural as in keys; null for others. */
export const kindOfPlural = (plural: string): Kind | null => BY_PLURAL.get(plural) ?? null;
const BY_PLURAL = new Map(KIND_NAMES.map((kind) => [KINDS[kind].plural, kind]));

/** The kind that a person means by a word: singular, plural or short name, in any letter case. */
export const kindOfWord = (word: string): Kind | null => BY_WORD.get(word.toLowerCase()) ?? null;
const BY_WORD = new Map(
  KIND_NAMES.flatMap((kind) => {
    const { singular, plural, shortNames } = KINDS[kind];
    return [singular, plural, ...shortNames].map((name) => [name, kind] as const);
  }),
);
