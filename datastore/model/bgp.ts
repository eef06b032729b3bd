import type { Resource } from './meta.ts';
import type { AsNumber } from './node.ts';

export interface SecretKeyRef {
  secretKeyRef: { name: string; key: string; optional?: boolean };
}

export interface BGPConfigurationSpec {
  logSeverityScreen?: string;
  nodeToNodeMeshEnabled?: boolean;
  asNumber?: AsNumber;
  listenPort?: number;
  bindMode?: 'None' | 'NodeIP';
  serviceClusterIPs?: { cidr: string }[];
  serviceExternalIPs?: { cidr: string }[];
  serviceLoadBalancerIPs?: { cidr: string }[];
  serviceLoadBalancerAggregation?: 'Enabled' | 'Disabled';
  communities?: { name: string; value: string }[];
  prefixAdvertisements?: { cidr: string; communities?: string[] }[];
  nodeMeshPassword?: SecretKeyRef;
  nodeMeshMaxRestartTime?: string;
  ignoredInterfaces?: string[];
  localWorkloadPeeringIPV4?: string;
  localWorkloadPeeringIPV6?: string;
  programClusterRoutes?: 'Enabled' | 'Disabled' | 'EnabledIPIPOnly' | 'EnabledNoEncapOnly';
  ipv4NormalRoutePriority?: number;
  ipv6NormalRoutePriority?: number;
}
export type BGPConfiguration = Resource<'BGPConfiguration', BGPConfigurationSpec>;

export interface BGPPeerSpec {
  node?: string;
  nodeSelector?: string;
  peerIP?: string;
  asNumber?: AsNumber;
  peerSelector?: string;
  localWorkloadSelector?: string;
  localASNumber?: AsNumber;
  keepOriginalNextHop?: boolean;
  nextHopMode?: 'Auto' | 'Self' | 'Keep';
  password?: SecretKeyRef;
  sourceAddress?: 'UseNodeIP' | 'None';
  maxRestartTime?: string;
  keepaliveTime?: string;
  numAllowedLocalASNumbers?: number;
  ttlSecurity?: number;
  reachableBy?: string;
  filters?: string[];
  reversePeering?: 'Auto' | 'Manual';
}
export type BGPPeer = Resource<'BGPPeer', BGPPeerSpec>;

export interface BGPFilterRule {
  cidr?: string;
  matchOperator?: 'Equal' | 'NotEqual' | 'In' | 'NotIn';
  prefixLength?: { min?: number; max?: number };
  source?: 'RemotePeers';
  interface?: string;
  peerType?: 'eBGP' | 'iBGP';
  communities?: { values: string[] };
  asPathPrefix?: AsNumber[];
  priority?: number;
  action: 'Accept' | 'Reject';
  operations?: (
    | { addCommunity: { value: string } }
    | { prependASPath: { prefix: AsNumber[] } }
    | { setPriority: { value: number } }
  )[];
}
export interface BGPFilterSpec {
  exportV4?: BGPFilterRule[];
  importV4?: BGPFilterRule[];
  exportV6?: BGPFilterRule[];
  importV6?: BGPFilterRule[];
}
export type BGPFilter = Resource<'BGPFilter', BGPFilterSpec>;
