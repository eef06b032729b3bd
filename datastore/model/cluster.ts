import type { Resource } from './meta.ts';

export type ClusterInformation = Resource<
  'ClusterInformation',
  { clusterGUID?: string; clusterType?: string; calicoVersion?: string; datastoreReady?: boolean; variant?: string }
>;
export type KubeControllersConfiguration = Resource<'KubeControllersConfiguration', Record<string, unknown>>;
export type CalicoNodeStatus = Resource<
  'CalicoNodeStatus',
  { node?: string; classes?: ('Agent' | 'BGP' | 'Routes')[]; updatePeriodSeconds?: number }
> & { status?: Record<string, unknown> };
export type IPAMConfiguration = Resource<
  'IPAMConfiguration',
  { strictAffinity?: boolean; autoAllocateBlocks?: boolean; maxBlocksPerHost?: number }
>;
/** The resource mirror; IPAM in etcd uses its own keys (`IpamAffinity`), not this. */
export type BlockAffinity = Resource<
  'BlockAffinity',
  { state?: string; node?: string; type?: string; cidr?: string; deleted?: string }
>;
