import type { Resource } from './meta.ts';

export interface HostEndpointSpec {
  node: string;
  /** `*`: every host interface without an endpoint of its own. */
  interfaceName?: string;
  expectedIPs?: string[];
  profiles?: string[];
  ports?: { name: string; protocol: 'TCP' | 'UDP' | 'SCTP'; port: number }[];
}
export type HostEndpoint = Resource<'HostEndpoint', HostEndpointSpec>;
