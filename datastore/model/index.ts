import type { BGPConfiguration, BGPFilter, BGPPeer } from './bgp.ts';
import type {
  BlockAffinity,
  CalicoNodeStatus,
  ClusterInformation,
  IPAMConfiguration,
  KubeControllersConfiguration,
} from './cluster.ts';
import type { FelixConfiguration } from './felix-configuration.ts';
import type { HostEndpoint } from './host-endpoint.ts';
import type { IPPool, IPReservation } from './ip-pool.ts';
import type { GlobalNetworkSet, NetworkSet } from './network-set.ts';
import type { Node } from './node.ts';
import type {
  GlobalNetworkPolicy,
  NetworkPolicy,
  StagedGlobalNetworkPolicy,
  StagedKubernetesNetworkPolicy,
  StagedNetworkPolicy,
} from './policy.ts';
import type { Profile } from './profile.ts';
import type { Tier } from './tier.ts';
import type { WorkloadEndpoint } from './workload-endpoint.ts';

export * from './bgp.ts';
export * from './cluster.ts';
export * from './felix-configuration.ts';
export * from './host-endpoint.ts';
export * from './ip-pool.ts';
export * from './ipam.ts';
export * from './meta.ts';
export * from './network-set.ts';
export * from './node.ts';
export * from './policy.ts';
export * from './profile.ts';
export * from './rule.ts';
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
