import type { Resource } from './meta.ts';

export interface EndpointPort {
  name?: string;
  protocol: 'TCP' | 'UDP' | 'SCTP';
  port: number;
  hostPort?: number;
  hostIP?: string;
}

/** Bit/s, bit, byte and counts as in calico-datastore.md 2.2; absent is unlimited. */
export interface QosControls {
  ingressBandwidth?: number;
  egressBandwidth?: number;
  ingressBurst?: number;
  egressBurst?: number;
  ingressPeakrate?: number;
  egressPeakrate?: number;
  ingressMinburst?: number;
  egressMinburst?: number;
  ingressPacketRate?: number;
  egressPacketRate?: number;
  ingressPacketBurst?: number;
  egressPacketBurst?: number;
  ingressMaxConnections?: number;
  egressMaxConnections?: number;
  dscp?: number | string;
}

export interface WorkloadEndpointSpec {
  orchestrator: string;
  workload?: string;
  pod?: string;
  containerID?: string;
  node: string;
  endpoint: string;
  interfaceName: string;
  mac?: string;
  /** /32 and /128 prefixes; empty: the dataplane treats the endpoint as absent. */
  ipNetworks?: string[];
  ipNATs?: { internalIP: string; externalIP: string }[];
  ipv4Gateway?: string;
  ipv6Gateway?: string;
  profiles?: string[];
  ports?: EndpointPort[];
  serviceAccountName?: string;
  allowSpoofedSourcePrefixes?: string[];
  qosControls?: QosControls;
}
export type WorkloadEndpoint = Resource<'WorkloadEndpoint', WorkloadEndpointSpec>;
