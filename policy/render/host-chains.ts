import { type Family, parseAddr } from '#core';
import type { ResolvedHost, TierPolicies } from '../resolved.ts';
import type { Chain, ChainRule, Table } from '../types.ts';
import type { Failsafe, HostInterface, RenderConfig } from './config.ts';
import { type EndpointPolicy, renderProfiles, renderTiers, type Tiers } from './endpoint-chains.ts';
import { allowVerdict } from './filter-table.ts';
import type { PolicyGroup } from './groups.ts';
import { chainName } from './names.ts';
import { ACCEPT, cleared, ctstate, DROP, jump, PROTOCOL, protocol, rule, setMark, verdictBits } from './phrases.ts';
import { type Direction, denyAction } from './policy-chains.ts';

export const FAILSAFE_IN = 'cali-failsafe-in';
export const FAILSAFE_OUT = 'cali-failsafe-out';
/** Stands for every interface without an endpoint of its own; longer than any interface name can be. */
export const ANY_INTERFACE = 'any-interface-at-all';

/** Which of a host endpoint's lists a chain holds, and so which table it stands in. */
export type HostList = 'normal' | 'forward' | 'preDnat' | 'untracked';

export function hostChain(iface: string, direction: Direction, list: HostList): string {
  const prefix = direction === 'ingress' ? 'cali-fh' : 'cali-th';
  return chainName(list === 'forward' ? `${prefix}fw-` : `${prefix}-`, iface);
}

/**
 * The endpoint of each host interface. One that names the interface goes before one that has an address of it, that before `*`; among
 * equals the smallest name. Workload interfaces have none.
 */
export function hostEndpoints(
  hosts: Iterable<ResolvedHost>,
  interfaces: readonly HostInterface[],
  isWorkload: (iface: string) => boolean,
): { byInterface: Map<string, ResolvedHost>; any: ResolvedHost | undefined } {
  const sorted = [...hosts].sort((a, b) => (a.id < b.id ? -1 : 1));
  const byInterface = new Map<string, ResolvedHost>();
  for (const host of sorted) {
    const name = host.endpoint.spec.interfaceName;
    if (name && name !== '*' && !byInterface.has(name) && !isWorkload(name)) byInterface.set(name, host);
  }
  const named = new Set(byInterface.keys());
  for (const host of sorted) {
    if (host.endpoint.spec.interfaceName) continue;
    const wanted = new Set((host.endpoint.spec.expectedIPs ?? []).map(canonical));
    for (const { name, addresses } of interfaces)
      if (!named.has(name) && !byInterface.has(name) && !isWorkload(name) && addresses.some((a) => wanted.has(a)))
        byInterface.set(name, host);
  }
  return { byInterface, any: sorted.find((h) => h.endpoint.spec.interfaceName === '*') };
}

/** As an interface tells its own addresses. */
function canonical(address: string): string {
  const parsed = parseAddr(address);
  return parsed.ok ? parsed.value : address;
}

/** One chain of a host endpoint. In filter and mangle it holds a tracked packet; in raw nothing is tracked yet. */
export function renderHost(
  host: ResolvedHost,
  iface: string,
  direction: Direction,
  list: HostList,
  table: Table,
  config: RenderConfig,
  policy: EndpointPolicy,
): { chain: Chain; groups: readonly PolicyGroup[] } {
  const deny = denyAction(config, table);
  const tiers = renderTiers(host[list], direction, {
    marks: config.marks,
    groups: policy.groups,
    defaults: list === 'normal' || list === 'forward',
  });
  return {
    groups: tiers.groups,
    chain: {
      name: hostChain(iface, direction, list),
      owner: `HostEndpoint/${host.id}`,
      rules: [
        ...(list === 'normal' || list === 'forward' ? tracked(config) : []),
        ...(list === 'forward' ? [] : [rule([], jump(direction === 'ingress' ? FAILSAFE_IN : FAILSAFE_OUT))]),
        cleared(verdictBits(config.marks)),
        ...body(host, list, direction, tiers, config, policy, deny),
      ],
    },
  };
}

function body(
  host: ResolvedHost,
  list: HostList,
  direction: Direction,
  tiers: Tiers,
  config: RenderConfig,
  policy: EndpointPolicy,
  deny: ChainRule['action'],
): readonly ChainRule[] {
  if (list === 'forward' && (host.forward as readonly TierPolicies[]).length === 0)
    return [rule([], setMark(config.marks.accept), 'no policy applies to forwarded traffic')];
  if (list !== 'normal') return tiers.rules;
  return [
    ...tiers.rules,
    ...renderProfiles(host.profiles, direction, config.marks, policy.profileExists),
    rule([], deny, `HostEndpoint ${host.id}: no policy and no profile allowed it`),
  ];
}

const tracked = (config: RenderConfig): ChainRule[] => [
  rule([ctstate('RELATED', 'ESTABLISHED')], allowVerdict(config)),
  ...(config.dropInvalid ? [rule([protocol(PROTOCOL.udplite, true), ctstate('INVALID')], DROP)] : []),
];

/** Router solicitation and advertisement, neighbour solicitation and advertisement. */
const DISCOVERY = [133, 134, 135, 136];

/** Ports that stay open whatever policy says; in the raw table the answers of the opposite list too, because nothing is tracked there. */
export function failsafeChain(config: RenderConfig, direction: Direction, table: Table, family: Family): Chain {
  const inbound = direction === 'ingress';
  const [own, opposite] = inbound
    ? [config.failsafeInbound, config.failsafeOutbound]
    : [config.failsafeOutbound, config.failsafeInbound];
  // The net is the other side's: source of what comes in, destination of what goes out.
  const net = (f: Failsafe) => (f.net ? [{ m: inbound ? 'src' : 'dst', net: f.net } as const] : []);
  const here = (f: Failsafe) => !f.net || f.net.includes(':') === (family === 6);
  const ports = (m: 'sports' | 'dports') => (f: Failsafe) =>
    rule([protocol(f.protocol), { m, ports: [[f.port, f.port]] }, ...net(f)], ACCEPT);
  return {
    name: inbound ? FAILSAFE_IN : FAILSAFE_OUT,
    rules: [
      // Without neighbour and router discovery no port of an IPv6 host could be reached.
      ...(family === 6 ? DISCOVERY.map((type) => rule([protocol(PROTOCOL.icmpv6), { m: 'icmp', type }], ACCEPT)) : []),
      ...own.filter(here).map(ports('dports')),
      ...(table === 'raw' ? opposite.filter(here).map(ports('sports')) : []),
    ],
  };
}
