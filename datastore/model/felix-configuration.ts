import * as z from 'zod';
import { messageOf } from '#core';
import {
  address,
  anyCase,
  bool,
  type Check,
  duration,
  int,
  list,
  matching,
  maybe,
  maybeSelector,
  net,
  object,
  opt,
  shown,
  text,
} from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

/** The fields that tsnet acts on; others are kept as they are (calico-datastore.md 2.14). Durations are Go duration strings. */
export interface FelixConfigurationSpec {
  nodeSelector?: string;
  interfacePrefix?: string;
  interfaceExclude?: string;
  defaultEndpointToHostAction?: string;
  iptablesBackend?: string;
  nftablesMode?: string;
  chainInsertMode?: string;
  iptablesFilterAllowAction?: string;
  iptablesMangleAllowAction?: string;
  iptablesFilterDenyAction?: string;
  iptablesMarkMask?: number;
  iptablesRefreshInterval?: string;
  ipsetsRefreshInterval?: string;
  routeRefreshInterval?: string;
  interfaceRefreshInterval?: string;
  maxIpsetSize?: number;
  failsafeInboundHostPorts?: { protocol?: string; port: number; net?: string }[];
  failsafeOutboundHostPorts?: { protocol?: string; port: number; net?: string }[];
  disableConntrackInvalidCheck?: boolean;
  workloadSourceSpoofing?: string;
  serviceLoopPrevention?: string;
  ipipEnabled?: boolean;
  vxlanEnabled?: boolean;
  vxlanMTU?: number;
  vxlanMTUV6?: number;
  vxlanPort?: number;
  vxlanVNI?: number;
  allowVXLANPacketsFromWorkloads?: boolean;
  allowIPIPPacketsFromWorkloads?: boolean;
  mtuIfacePattern?: string;
  natPortRange?: string | number;
  natOutgoingAddress?: string;
  natOutgoingExclusions?: string;
  iptablesNATOutgoingInterfaceFilter?: string;
  deviceRouteSourceAddress?: string;
  deviceRouteSourceAddressIPv6?: string;
  removeExternalRoutes?: boolean;
  ipForwarding?: string;
  ipv6Support?: boolean;
  floatingIPs?: string;
  logSeverityScreen?: string;
  logPrefix?: string;
  logActionRateLimit?: string;
  logActionRateLimitBurst?: number;
  externalNodesList?: string[];
  [other: string]: unknown;
}
export type FelixConfiguration = Resource<'FelixConfiguration', FelixConfigurationSpec>;

const yesOrNo = anyCase('Enabled', 'Disabled');
const mtu = opt(int(0, 65535));
const severity = maybe(anyCase('Trace', 'Debug', 'Info', 'Warning', 'Error', 'Fatal'));

const failsafe = list(
  object<{ protocol?: string; port: number; net?: string }>({
    protocol: maybe(anyCase('tcp', 'udp')),
    port: int(0, 65535),
    net: maybe(net()),
  }),
);

/** `lo:hi`, or one port; a number is one port too, and 0 is none. */
const portRange = opt(z.union([int(0, 65535), text(isPortRange)]));
function isPortRange(value: string): string | null {
  const [low, high = low] = /^\d{1,5}(:\d{1,5})?$/.test(value) ? value.split(':').map(Number) : [];
  if (low !== undefined && low <= high && high <= 65535) return null;
  return `must be a port or a range such as 32768:65535; '${shown(value)}' is not`;
}

/** One character less than an interface's name, because a rule adds the wildcard. */
const prefixes: Check = matching(
  /^[a-zA-Z0-9_-]{1,14}(,[a-zA-Z0-9_-]{1,14})*$/,
  'comma-separated interface prefixes of at most 14 of [a-zA-Z0-9_-]',
);
const outInterface: Check = matching(
  /^(?=.{1,15}$)[a-zA-Z0-9_.-]+\+?$/,
  'an interface name, or its beginning with a + after it',
);
const rate: Check = matching(/^[1-9][0-9]{0,3}\/(second|minute|hour|day)$/, 'a rate such as 10/second, at most 9999');

function isExpression(value: string): string | null {
  try {
    return new RegExp(value) && null;
  } catch (error) {
    return `must be a regular expression; '${shown(value)}' is not: ${messageOf(error)}`;
  }
}

/** The fields that have a rule; the others (about eighty, most of the eBPF dataplane) pass unseen. */
const shape = {
  nodeSelector: maybeSelector,
  interfacePrefix: maybe(prefixes),
  interfaceExclude: maybe(),
  defaultEndpointToHostAction: maybe(anyCase('Drop', 'Return', 'Accept')),
  iptablesBackend: maybe(anyCase('Auto', 'Legacy', 'NFT')),
  nftablesMode: maybe(anyCase('Enabled', 'Disabled', 'Auto')),
  chainInsertMode: maybe(anyCase('insert', 'append')),
  iptablesFilterAllowAction: maybe(anyCase('Accept', 'Return')),
  iptablesMangleAllowAction: maybe(anyCase('Accept', 'Return')),
  iptablesFilterDenyAction: maybe(anyCase('Drop', 'Reject')),
  iptablesMarkMask: opt(int(0, 0xffffffff)),
  iptablesRefreshInterval: maybe(duration),
  ipsetsRefreshInterval: maybe(duration),
  routeRefreshInterval: maybe(duration),
  interfaceRefreshInterval: maybe(duration),
  reportingInterval: maybe(duration),
  reportingTTL: maybe(duration),
  endpointReportingDelay: maybe(duration),
  maxIpsetSize: opt(int(1, 0xffffffff)),
  failsafeInboundHostPorts: failsafe,
  failsafeOutboundHostPorts: failsafe,
  disableConntrackInvalidCheck: bool,
  workloadSourceSpoofing: maybe(anyCase('Disabled', 'Any')),
  serviceLoopPrevention: maybe(anyCase('Drop', 'Reject', 'Disabled')),
  ipipEnabled: bool,
  vxlanEnabled: bool,
  ipipMTU: mtu,
  vxlanMTU: mtu,
  vxlanMTUV6: mtu,
  vxlanPort: opt(int(1, 65535)),
  vxlanVNI: opt(int(0, 0xffffff)),
  allowVXLANPacketsFromWorkloads: bool,
  allowIPIPPacketsFromWorkloads: bool,
  mtuIfacePattern: maybe(isExpression),
  natPortRange: portRange,
  natOutgoingAddress: maybe(address(4)),
  natOutgoingExclusions: maybe(anyCase('IPPoolsOnly', 'IPPoolsAndHostIPs')),
  iptablesNATOutgoingInterfaceFilter: maybe(outInterface),
  deviceRouteSourceAddress: maybe(address(4)),
  deviceRouteSourceAddressIPv6: maybe(address(6)),
  deviceRouteProtocol: opt(int(0, 255)),
  removeExternalRoutes: bool,
  routeSource: maybe(anyCase('CalicoIPAM', 'WorkloadIPs')),
  programClusterRoutes: maybe(anyCase('Enabled', 'Disabled', 'EnabledIPIPOnly', 'EnabledNoEncapOnly')),
  routeTableRanges: list(object({ min: int(1, 0xffffffff), max: int(1, 0xffffffff) })),
  ipForwarding: maybe(yesOrNo),
  ipv6Support: bool,
  floatingIPs: maybe(yesOrNo),
  healthEnabled: bool,
  healthHost: maybe(),
  healthPort: opt(int(0, 65535)),
  prometheusMetricsEnabled: bool,
  prometheusMetricsHost: maybe(),
  prometheusMetricsPort: opt(int(0, 65535)),
  endpointReportingEnabled: bool,
  endpointStatusPathPrefix: maybe(),
  policySyncPathPrefix: maybe(),
  logSeverityScreen: severity,
  logSeverityFile: severity,
  logSeveritySys: severity,
  logPrefix: maybe(),
  logActionRateLimit: maybe(rate),
  logActionRateLimitBurst: opt(int(0, 9999)),
  wireguardEnabled: bool,
  wireguardListeningPort: opt(int(0, 65535)),
  wireguardMTU: mtu,
  bpfEnabled: bool,
  openstackRegion: maybe(matching(/^[a-z0-9]([-a-z0-9]{0,44}[a-z0-9])?$/, 'a DNS label of at most 46 characters')),
  externalNodesList: list(text(net(4))),
  usageReportingEnabled: bool,
};

export const felixConfiguration: KindInfo<'FelixConfiguration', FelixConfigurationSpec> = {
  kind: 'FelixConfiguration',
  plural: 'felixconfigurations',
  singular: 'felixconfiguration',
  shortNames: ['felixconfig', 'felixconfigs'],
  namespaced: false,
  spec: z.looseObject(shape) as unknown as z.ZodType<FelixConfigurationSpec>,
  fieldByField: true,
  check: ({ metadata, spec }, report) => {
    const named = metadata.name === 'default' || metadata.name.startsWith('node.');
    if (named && spec.nodeSelector)
      report('spec.nodeSelector', `is not for '${metadata.name}', which has its nodes by name`);
    if (!named && !spec.nodeSelector)
      report('metadata.name', `must be 'default' or 'node.' with a node's name, or the spec must have a nodeSelector`);
    if (spec.routeTableRange && spec.routeTableRanges)
      report('spec.routeTableRange', 'and routeTableRanges cannot both be set');
  },
  fill: ({ spec }) => {
    spec.floatingIPs ||= 'Disabled';
    spec.bpfConnectTimeLoadBalancing ||= 'TCP';
    spec.bpfHostNetworkedNATWithoutCTLB ||= 'Enabled';
    spec.nftablesMode ||= 'Auto';
  },
};
