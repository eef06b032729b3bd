import { address, asNumber, cidr, list, mac, maybe, net, object, opt, text, word } from './fields.ts';
import type { KindInfo } from './kind.ts';
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

type Bgp = NonNullable<NodeSpec['bgp']>;
type NodeAddress = NonNullable<NodeSpec['addresses']>[number];

const bgp = object<Bgp>({
  ipv4Address: maybe(cidr(4)),
  ipv6Address: maybe(cidr(6)),
  asNumber,
  ipv4IPIPTunnelAddr: maybe(address(4)),
  routeReflectorClusterID: maybe(address(4)),
});

export const node: KindInfo<'Node', NodeSpec> = {
  kind: 'Node',
  plural: 'nodes',
  singular: 'node',
  shortNames: ['no', 'nos'],
  namespaced: false,
  spec: object<NodeSpec>({
    bgp: opt(bgp),
    ipv4VXLANTunnelAddr: maybe(address(4)),
    ipv6VXLANTunnelAddr: maybe(address(6)),
    vxlanTunnelMACAddr: maybe(mac),
    vxlanTunnelMACAddrV6: maybe(mac),
    wireguard: opt(object({ interfaceIPv4Address: maybe(address(4)), interfaceIPv6Address: maybe(address(6)) })),
    orchRefs: list(object({ nodeName: maybe(), orchestrator: text() })),
    // Nodes converted from Kubernetes carry host bits here.
    addresses: list(
      object<NodeAddress>({
        address: text(cidr(), net()),
        type: maybe(word('CalicoNodeIP', 'InternalIP', 'ExternalIP')),
      }),
    ),
    interfaces: list(object({ name: text(), addresses: list(text(cidr())) })),
  }),
  check: ({ spec }, report) => {
    const { bgp } = spec;
    if (bgp && !Object.values(bgp).some((value) => value != null && value !== ''))
      report('spec.bgp', 'is empty; leave it out for a node without BGP');
  },
};
