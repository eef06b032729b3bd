/** What a field of FelixConfiguration does in tsnet; all take effect at once, without a restart, unless they say otherwise. docs/CONFIG.md is generated from here. */
export interface FelixField {
  readonly default: string;
  /** What changes in the kernel when the field does. */
  readonly effect: string;
}

/** Fields that tsnet acts on. A field that is not here is kept in the resource and has no effect. */
export const FELIX_FIELDS: Readonly<Record<string, FelixField>> = {
  interfacePrefix: {
    default: '`cali`',
    effect: 'which interfaces are workloads: dispatch chains; `--interface-prefix` beats it',
  },
  defaultEndpointToHostAction: {
    default: '`Drop`',
    effect: 'last rule of `cali-wl-to-host`: traffic of workloads to their own node after egress policy',
  },
  iptablesBackend: {
    default: '`Auto`: what the machine uses',
    effect:
      'which iptables rules are written by, by an agent that begins again in its process as after a restart; `--iptables-backend` beats it',
  },
  nftablesMode: {
    default: '`Auto`, which is iptables',
    effect:
      '`Enabled`: rules and sets are written to tables `tsnet` of nftables, by an agent that begins again in its process as after a restart',
  },
  chainInsertMode: { default: '`insert`', effect: 'where our jumps stand in the kernel’s chains: first or last' },
  iptablesFilterAllowAction: {
    default: '`Accept`',
    effect: 'what an allowed packet does in table filter: end, or return to other rules',
  },
  iptablesMangleAllowAction: { default: '`Accept`', effect: 'the same in table mangle' },
  iptablesFilterDenyAction: { default: '`Drop`', effect: 'how a packet is denied: silently or with an answer' },
  iptablesMarkMask: { default: '`0xffff0000`', effect: 'which bits of the packet mark the chains use; at least 5' },
  disableConntrackInvalidCheck: {
    default: '`false`',
    effect: 'the rules that drop packets which conntrack calls INVALID',
  },
  workloadSourceSpoofing: {
    default: '`Disabled`',
    effect: '`Any`: allowSpoofedSourcePrefixes of endpoints are exempt from the source check',
  },
  serviceLoopPrevention: { default: '`Drop`', effect: 'rules for service addresses that no service proxy has taken' },
  allowVXLANPacketsFromWorkloads: { default: '`false`', effect: 'the rule that drops VXLAN from workloads' },
  allowIPIPPacketsFromWorkloads: { default: '`false`', effect: 'the rule that drops IPIP from workloads' },
  vxlanEnabled: {
    default: 'if a pool uses VXLAN',
    effect: 'the VXLAN devices, their routes, and the rules that admit VXLAN from known nodes',
  },
  vxlanPort: { default: '`4789`', effect: 'UDP port of the VXLAN devices and rules' },
  vxlanVNI: { default: '`4096`', effect: 'network identifier of the VXLAN devices' },
  vxlanMTU: { default: 'from the host’s interface', effect: 'MTU of `vxlan.calico`' },
  vxlanMTUV6: { default: 'from the host’s interface', effect: 'MTU of `vxlan-v6.calico`' },
  externalNodesList: {
    default: 'none',
    effect: 'networks outside the cluster from which VXLAN packets are admitted too',
  },
  mtuIfacePattern: {
    default: 'physical interfaces',
    effect: 'which interfaces the workloads’ MTU (`/var/lib/calico/mtu`) is taken from',
  },
  failsafeInboundHostPorts: {
    default: 'SSH, DHCP, BGP, etcd, Kubernetes',
    effect: 'ports of host endpoints that stay reachable whatever policy says',
  },
  failsafeOutboundHostPorts: {
    default: 'DNS, DHCP, BGP, etcd, Kubernetes',
    effect: 'the same for what the host sends',
  },
  floatingIPs: {
    default: '`Disabled`',
    effect: 'rules for the `ipNATs` of endpoints, and routes to their external addresses',
  },
  natOutgoingAddress: { default: 'masquerade', effect: 'source address of NAT for pools with natOutgoing' },
  natPortRange: { default: 'the kernel’s', effect: 'source ports of that NAT' },
  natOutgoingExclusions: { default: '`IPPoolsOnly`', effect: 'whether traffic to cluster hosts is also left alone' },
  iptablesNATOutgoingInterfaceFilter: {
    default: 'all',
    effect: 'only traffic that leaves by these interfaces is translated',
  },
  deviceRouteSourceAddress: { default: 'the kernel’s choice', effect: 'source hint of IPv4 routes to workloads' },
  deviceRouteSourceAddressIPv6: { default: 'the kernel’s choice', effect: 'source hint of IPv6 routes to workloads' },
  logPrefix: {
    default: '`calico-packet`',
    effect: 'prefix of Log rules; %t tier, %k kind, %n name, %p namespace/name',
  },
  logActionRateLimit: { default: 'none', effect: 'how many packets a Log rule logs, such as `10/second`' },
  logActionRateLimitBurst: { default: '`5`', effect: 'how many it logs before the limit counts' },
  ipForwarding: {
    default: '`Enabled`',
    effect: 'whether the agent switches forwarding of the node on; off, it is left as it is',
  },
  maxIpsetSize: {
    default: '`1048576`',
    effect: 'members of a set at most; a larger one is an error that names its selector',
  },
  iptablesRefreshInterval: {
    default: '`180s`',
    effect: 'how often rules are read back, at least a second apart; changes by others are also noticed by events',
  },
  ipsetsRefreshInterval: { default: '`90s`', effect: 'how often sets are read back' },
  routeRefreshInterval: { default: '`90s`', effect: 'how often routes are read back' },
  interfaceRefreshInterval: { default: '`90s`', effect: 'how often interfaces and their settings are read back' },
};
