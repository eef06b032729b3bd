import { community } from './community.ts';
import {
  address,
  anyCase,
  asNumber,
  bool,
  type Check,
  duration,
  int,
  interfacePattern,
  list,
  maybe,
  net,
  object,
  opt,
  resourceName,
  shown,
  text,
  word,
} from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';
import type { AsNumber } from './node.ts';
import { type SecretKeyRef, secretKeyRef } from './secret.ts';

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

/** `default` for the cluster, `node.<name>` for one node. */
export const defaultOrNode: Check = (value) =>
  resourceName(value) ??
  (value === 'default' || /^node\../.test(value)
    ? null
    : `must be 'default' or 'node.' with a node's name; '${shown(value)}' is neither`);

/** What has no meaning for a single node. */
const CLUSTER_ONLY = [
  'nodeToNodeMeshEnabled',
  'asNumber',
  'serviceClusterIPs',
  'serviceExternalIPs',
  'serviceLoadBalancerIPs',
  'nodeMeshPassword',
  'nodeMeshMaxRestartTime',
] as const;

const cidrs = list(object({ cidr: text(net()) }));
const priority = opt(int(1, 2147483646));
const COMMUNITY_NAME = /^[a-zA-Z0-9_.-]{1,253}$/;

function check({ metadata, spec }: { metadata: Metadata; spec: BGPConfigurationSpec }, report: Report): void {
  if (metadata.name !== 'default')
    for (const field of CLUSTER_ONLY)
      if (spec[field] != null) report(`spec.${field}`, `may be set in 'default' only, not for one node`);
  for (const field of ['nodeMeshPassword', 'nodeMeshMaxRestartTime'] as const)
    if (spec.nodeToNodeMeshEnabled === false && spec[field])
      report(`spec.${field}`, 'needs the node-to-node mesh, which is off');
  if (spec.communities?.length && !spec.prefixAdvertisements?.length)
    report('spec.communities', 'has no use without prefixAdvertisements');
  const defined = new Set((spec.communities ?? []).map((c) => c.name));
  for (const [i, { communities }] of (spec.prefixAdvertisements ?? []).entries())
    for (const [j, value] of (communities ?? []).entries())
      if (!defined.has(value) && community(value) !== null)
        report(
          `spec.prefixAdvertisements[${i}].communities[${j}]`,
          `'${shown(value)}' is neither a community nor the name of one in spec.communities`,
        );
}

export const bgpConfiguration: KindInfo<'BGPConfiguration', BGPConfigurationSpec> = {
  kind: 'BGPConfiguration',
  plural: 'bgpconfigurations',
  singular: 'bgpconfiguration',
  shortNames: ['bgpconfig', 'bgpconfigs'],
  namespaced: false,
  name: defaultOrNode,
  spec: object<BGPConfigurationSpec>({
    logSeverityScreen: maybe(anyCase('Trace', 'Debug', 'Info', 'Warning', 'Error', 'Fatal')),
    nodeToNodeMeshEnabled: bool,
    asNumber,
    listenPort: opt(int(1, 65535)),
    bindMode: maybe(word('None', 'NodeIP')),
    serviceClusterIPs: cidrs,
    serviceExternalIPs: cidrs,
    serviceLoadBalancerIPs: cidrs,
    serviceLoadBalancerAggregation: maybe(word('Enabled', 'Disabled')),
    communities: list(
      object({
        name: text((value) => (COMMUNITY_NAME.test(value) ? null : `'${shown(value)}' is not a name`)),
        value: text(community),
      }),
      500,
    ),
    prefixAdvertisements: list(object({ cidr: text(net()), communities: list(text(), 50) }), 500),
    nodeMeshPassword: secretKeyRef,
    nodeMeshMaxRestartTime: maybe(duration),
    ignoredInterfaces: list(
      text((value) => (value === '*' ? `cannot be '*', which would ignore every interface` : interfacePattern(value))),
    ),
    localWorkloadPeeringIPV4: maybe(address(4)),
    localWorkloadPeeringIPV6: maybe(address(6)),
    programClusterRoutes: maybe(word('Enabled', 'Disabled', 'EnabledIPIPOnly', 'EnabledNoEncapOnly')),
    ipv4NormalRoutePriority: priority,
    ipv6NormalRoutePriority: priority,
  }),
  check,
  fill: ({ metadata, spec }) => {
    if (metadata.name !== 'default') return;
    spec.logSeverityScreen ||= 'Info';
    spec.serviceLoadBalancerAggregation ||= 'Enabled';
  },
};
