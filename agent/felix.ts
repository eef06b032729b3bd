import { FAMILIES, type Family, type Milliseconds, parseAddr, parseCidr, parsePrefix } from '#core';
import { type FelixConfigurationSpec, type Node, parseDuration } from '#datastore';
import { allocateMarks, type ClusterFacts, DEFAULT_RENDER_CONFIG, flowSettings, type RenderConfig } from '#policy';
import type { Cluster } from './cluster.ts';
import type { EndpointSettings } from './endpoints.ts';
import type { AgentConfig } from './settings.ts';

/** A field of FelixConfiguration that cannot be honoured as it stands; its default is used, and the field is named. */
export interface FelixProblem {
  readonly field: string;
  readonly message: string;
}

/** Periods of the backstop resyncs; 0 switches one off. */
export interface Intervals {
  readonly rules: Milliseconds;
  readonly sets: Milliseconds;
  readonly routes: Milliseconds;
  readonly interfaces: Milliseconds;
}

/** Picks the word that the field means, whatever its letter case. */
function word<T extends string>(value: string | undefined, words: readonly T[], fallback: T): T {
  return words.find((w) => w.toLowerCase() === value?.toLowerCase()) ?? fallback;
}

const hasFloatingIps = (spec: FelixConfigurationSpec): boolean =>
  word(spec.floatingIPs, ['Enabled', 'Disabled'], 'Disabled') === 'Enabled';

const maySpoof = (spec: FelixConfigurationSpec): boolean =>
  word(spec.workloadSourceSpoofing, ['Disabled', 'Any'], 'Disabled') === 'Any';

/** What the chains depend on. */
export function renderConfig(
  spec: FelixConfigurationSpec,
  config: Pick<AgentConfig, 'interfacePrefix' | 'logGroup' | 'given'>,
  options: { vxlan: boolean; dispatch: RenderConfig['dispatch'] },
): { config: RenderConfig; problems: FelixProblem[] } {
  const problems: FelixProblem[] = [];
  const base = DEFAULT_RENDER_CONFIG;
  const marks = allocateMarks(spec.iptablesMarkMask ?? 0xffff0000);
  if (!marks.ok) problems.push({ field: 'iptablesMarkMask', message: marks.error });
  if (spec.ipv6Support === false)
    problems.push({
      field: 'ipv6Support',
      message: 'IPv6 policy stays programmed, since without it IPv6 would be open',
    });
  const rendered: RenderConfig = {
    ...base,
    ...flowSettings(spec),
    dispatch: options.dispatch,
    interfacePrefixes: interfacePrefixes(spec, config),
    marks: marks.ok ? marks.value : base.marks,
    chainInsertMode: word(spec.chainInsertMode, ['insert', 'append'], 'insert'),
    filterAllowAction: word(spec.iptablesFilterAllowAction, ['Accept', 'Return'], 'Accept'),
    mangleAllowAction: word(spec.iptablesMangleAllowAction, ['Accept', 'Return'], 'Accept'),
    filterDenyAction: word(spec.iptablesFilterDenyAction, ['Drop', 'Reject'], 'Drop'),
    dropInvalid: spec.disableConntrackInvalidCheck !== true,
    workloadSourceSpoofing: maySpoof(spec) ? 'Any' : 'Disabled',
    vxlan: spec.vxlanEnabled ?? options.vxlan,
    vxlanPort: spec.vxlanPort ?? base.vxlanPort,
    allowVxlanFromWorkloads: spec.allowVXLANPacketsFromWorkloads === true,
    allowIpipFromWorkloads: spec.allowIPIPPacketsFromWorkloads === true,
    nat: nat(spec, problems),
    floatingIps: hasFloatingIps(spec),
    serviceLoopPrevention: word(spec.serviceLoopPrevention, ['Drop', 'Reject', 'Disabled'], 'Drop'),
    log: log(spec, config.logGroup),
  };
  return { config: rendered, problems };
}

/** The variant of iptables that the cluster asks for; undefined: a flag has said it, or nobody. */
export function iptablesVariant(
  spec: FelixConfigurationSpec,
  config: Pick<AgentConfig, 'given'>,
): 'nft' | 'legacy' | undefined {
  if (config.given.has('iptablesBackend')) return undefined;
  const wanted = word(spec.iptablesBackend, ['auto', 'nft', 'legacy'], 'auto');
  return wanted === 'auto' ? undefined : wanted;
}

function interfacePrefixes(
  spec: FelixConfigurationSpec,
  config: Pick<AgentConfig, 'interfacePrefix' | 'given'>,
): string[] {
  if (config.given.has('interfacePrefix') || !spec.interfacePrefix) return config.interfacePrefix;
  return spec.interfacePrefix.split(',');
}

function nat(spec: FelixConfigurationSpec, problems: FelixProblem[]): RenderConfig['nat'] {
  // 0 is none, as Calico writes it.
  const range = /^(?!0$)(\d+)(?::(\d+))?$/.exec(String(spec.natPortRange ?? ''));
  const address = spec.natOutgoingAddress ? parseAddr(spec.natOutgoingAddress) : undefined;
  if (address && !address.ok) problems.push({ field: 'natOutgoingAddress', message: address.error });
  return {
    ...(address?.ok && { outgoingAddress: address.value }),
    ...(range && { portRange: [Number(range[1]), Number(range[2] ?? range[1])] as const }),
    excludeHosts:
      word(spec.natOutgoingExclusions, ['IPPoolsOnly', 'IPPoolsAndHostIPs'], 'IPPoolsOnly') === 'IPPoolsAndHostIPs',
    ...(spec.iptablesNATOutgoingInterfaceFilter && { outInterface: spec.iptablesNATOutgoingInterfaceFilter }),
    randomFully: true,
  };
}

const PER_SECOND = { second: 1, minute: 1 / 60, hour: 1 / 3600, day: 1 / 86400 } as const;

/** `10/second`; without a rate a Log rule logs every packet, as Calico's. */
function log(spec: FelixConfigurationSpec, group: number | undefined): RenderConfig['log'] {
  const rate = /^(\d+)\/(second|minute|hour|day)$/.exec(spec.logActionRateLimit ?? '');
  const perSecond = rate ? Number(rate[1]) * PER_SECOND[rate[2] as keyof typeof PER_SECOND] : undefined;
  return {
    prefix: spec.logPrefix ?? DEFAULT_RENDER_CONFIG.log.prefix,
    ...(group !== undefined && { group }),
    ...(perSecond !== undefined && { rate: { perSecond, burst: burst(perSecond, spec.logActionRateLimitBurst) } }),
  };
}

/** The kernel (xt_limit) refuses a burst of none, and counts wrong, or refuses, more than a day's worth. */
const burst = (perSecond: number, wanted: number | undefined): number =>
  Math.min(wanted || 5, Math.round(perSecond * 86_400));

/** Reading everything back more often would leave no time for anything else. */
const SHORTEST: Milliseconds = 1000;

export function intervals(spec: FelixConfigurationSpec): Intervals {
  const read = (text: string | undefined, fallback: Milliseconds) => {
    const parsed = text === undefined ? undefined : parseDuration(text);
    return parsed?.ok ? (parsed.value > 0 ? Math.max(parsed.value, SHORTEST) : parsed.value) : fallback;
  };
  return {
    rules: read(spec.iptablesRefreshInterval, 180_000),
    sets: read(spec.ipsetsRefreshInterval, 90_000),
    routes: read(spec.routeRefreshInterval, 90_000),
    interfaces: read(spec.interfaceRefreshInterval, 90_000),
  };
}

/** What concerns the node as a whole, and neither chains nor endpoints. */
export interface NodeWide {
  /** False: whether the node forwards is the administrator's business. */
  readonly forwarding: boolean;
  /** Members of a set at most. */
  readonly maxSetSize: number;
}

export const nodeWide = (spec: FelixConfigurationSpec): NodeWide => ({
  forwarding: word(spec.ipForwarding, ['Enabled', 'Disabled'], 'Enabled') === 'Enabled',
  maxSetSize: spec.maxIpsetSize ?? 1_048_576,
});

/** What the routes of workloads depend on. */
export function endpointSettings(
  spec: FelixConfigurationSpec,
  options: Omit<EndpointSettings, 'source' | 'floatingIps' | 'spoofing'>,
): EndpointSettings {
  const texts: Record<Family, string | undefined> = {
    4: spec.deviceRouteSourceAddress,
    6: spec.deviceRouteSourceAddressIPv6,
  };
  const source: EndpointSettings['source'] = {};
  for (const family of FAMILIES) {
    const parsed = texts[family] ? parseAddr(texts[family]) : undefined;
    if (parsed?.ok) source[family] = parsed.value;
  }
  return { ...options, source, floatingIps: hasFloatingIps(spec), spoofing: maySpoof(spec) };
}

/** Pools, hosts and service ranges, for NAT, overlay and service-loop chains. */
export function clusterFacts(cluster: Cluster, spec: FelixConfigurationSpec): ClusterFacts {
  const pools = [...cluster.pools.values()].flatMap(({ spec }) => {
    const net = parsePrefix(spec.cidr);
    // A disabled one gives out no more addresses; those that it gave stay in use.
    return net.ok ? [{ cidr: net.value as string, natOutgoing: spec.natOutgoing === true }] : [];
  });
  const hosts = [...cluster.nodes.values()].flatMap(nodeAddresses);
  const external = (spec.externalNodesList ?? []).flatMap((text) => {
    const net = parsePrefix(text);
    return net.ok ? [net.value as string] : [];
  });
  const bgp = cluster.bgpConfigurations.get('default')?.spec;
  const ranges = [
    ...(bgp?.serviceClusterIPs ?? []),
    ...(bgp?.serviceExternalIPs ?? []),
    ...(bgp?.serviceLoadBalancerIPs ?? []),
  ];
  return {
    pools,
    hosts: [...new Set(hosts)].sort(),
    vxlanHosts: [...new Set([...hosts, ...external])].sort(),
    serviceCidrs: ranges.flatMap(({ cidr }) => {
      const net = parsePrefix(cidr);
      return net.ok ? [net.value as string] : [];
    }),
  };
}

function nodeAddresses(node: Node): string[] {
  const texts = [
    node.spec.bgp?.ipv4Address,
    node.spec.bgp?.ipv6Address,
    ...(node.spec.addresses ?? []).map((a) => a.address),
  ];
  return texts.flatMap((text) => {
    const parsed = text ? parseCidr(text) : undefined;
    return parsed?.ok ? [parsed.value.addr] : [];
  });
}
