import type { Resource } from './meta.ts';

/** A number, or a number as text, plain or dotted (`"1.10"` is 65546); read by `parseAsNumber`. */
export type AsNumber = number | string;

export interface NodeSpec {
  bgp?: {
    /** With the prefix length of the node's subnet. */
    ipv4Address?: string;
    ipv6Address?: string;
    asNumber?: AsNumber;
    ipv4IPIPTunnelAddr?: string;
    routeReflectorClusterID?: string;
  };
  ipv4VXLANTunnelAddr?: string;
  ipv6VXLANTunnelAddr?: string;
  vxlanTunnelMACAddr?: string;
  vxlanTunnelMACAddrV6?: string;
  wireguard?: { interfaceIPv4Address?: string; interfaceIPv6Address?: string };
  orchRefs?: { nodeName?: string; orchestrator: string }[];
  addresses?: { address: string; type?: 'CalicoNodeIP' | 'InternalIP' | 'ExternalIP' }[];
  interfaces?: { name: string; addresses?: string[] }[];
}
export type Node = Resource<'Node', NodeSpec> & { status?: Record<string, unknown> };
