import { assertNever, type Family } from '#core';
import type { Action, Chain, ChainRule, Hook, Match } from '../types.ts';
import type { ClusterFacts, RenderConfig } from './config.ts';
import {
  ACCEPT,
  ALLOW_CHAIN,
  cleared,
  ctstate,
  DROP,
  from,
  goto_,
  jump,
  marked,
  PASS_CHAIN,
  PROTOCOL,
  protocol,
  RETURN,
  rule,
  setMark,
  to,
  unmarked,
  verdictBits,
} from './phrases.ts';

export const FROM_WORKLOAD = 'cali-from-wl-dispatch';
export const TO_WORKLOAD = 'cali-to-wl-dispatch';
export const WORKLOAD_TO_HOST = 'cali-wl-to-host';
export const CLOSED_FROM = 'cali-from-wl-closed';
export const CLOSED_TO = 'cali-to-wl-closed';
export const RATE_FROM = 'cali-from-wl-rate';
export const RATE_TO = 'cali-to-wl-rate';
export const FROM_HOST_ENDPOINT = 'cali-from-host-endpoint';
export const TO_HOST_ENDPOINT = 'cali-to-host-endpoint';
export const FROM_HOST_FORWARD = 'cali-from-hep-forward';
export const TO_HOST_FORWARD = 'cali-to-hep-forward';
export const INVALID_FORWARDED = 'cali-invalid';
export const SERVICE_LOOP = 'cali-cidr-block';

/** What is there to police, so that chains which could do nothing are not in the packets' way. */
export interface FilterNeeds {
  readonly closed: boolean;
  readonly rateFrom: boolean;
  readonly rateTo: boolean;
  readonly hostEndpoints: boolean;
  readonly hostForward: boolean;
  /** Packets may come here that raw or mangle policy accepted already; they carry its mark. */
  readonly preAccepted: boolean;
  readonly untracked: boolean;
  readonly serviceLoop: boolean;
}

export const VXLAN_HOSTS = 'all-vxlan-net';

export const allowVerdict = (config: RenderConfig): Action => (config.filterAllowAction === 'Accept' ? ACCEPT : RETURN);

/**
 * What stands directly in the kernel's FORWARD chain, before the jump to ours. A flow has a conntrack entry that saw a reply only because
 * its first packets passed the chains of both endpoints, so its packets are accepted here and walk nothing: the cost of a packet does not
 * depend on the number of endpoints. Closed endpoints and packet rates come before, because they concern packets and not flows; an
 * interface without an endpoint has no route, and the reverse path check in the raw table drops what comes from it.
 */
export function forwardFirst(config: RenderConfig, needs: FilterNeeds): ChainRule[] {
  const each = (make: (iface: string) => ChainRule[]) => config.interfacePrefixes.flatMap((p) => make(`${p}+`));
  return [
    ...each((iface) => [
      ...(needs.closed ? [rule([from(iface)], jump(CLOSED_FROM)), rule([to(iface)], jump(CLOSED_TO))] : []),
      ...(needs.rateFrom ? [rule([from(iface)], jump(RATE_FROM))] : []),
      ...(needs.rateTo ? [rule([to(iface)], jump(RATE_TO))] : []),
    ]),
    ...establishedFirst(config, needs),
    rule([], jump('cali-FORWARD')),
  ];
}

/**
 * In a table of our own, what is accepted leaves our chains and nobody else's, so no interface need be looked at: with nftables that is half of what
 * the rule costs. In the chain that iptables shares with strangers only packets of workloads are ours to accept.
 */
function establishedFirst(config: RenderConfig, needs: FilterNeeds): ChainRule[] {
  if (config.filterAllowAction !== 'Accept') return [];
  if (config.dispatch === 'map' && !needs.hostForward && !needs.serviceLoop) return [rule([ESTABLISHED], ACCEPT)];
  return config.interfacePrefixes.flatMap((p) => [
    rule([from(`${p}+`), ESTABLISHED], ACCEPT),
    rule([to(`${p}+`), ESTABLISHED], ACCEPT),
  ]);
}

const ESTABLISHED = ctstate('RELATED', 'ESTABLISHED');

/** One look at conntrack for both ways; only what is invalid is looked at again. */
export function invalidChain({ interfacePrefixes }: RenderConfig): Chain {
  const drops = interfacePrefixes.flatMap((p) => [rule([from(`${p}+`)], DROP), rule([to(`${p}+`)], DROP)]);
  const udplite = rule([protocol(PROTOCOL.udplite)], RETURN, 'conntrack of recent kernels does not know UDP-Lite');
  return { name: INVALID_FORWARDED, closed: drops, rules: [udplite, ...drops] };
}

export function forwardChain(config: RenderConfig, needs: FilterNeeds): Chain {
  const each = (make: (iface: string) => ChainRule[]) => config.interfacePrefixes.flatMap((p) => make(`${p}+`));
  return {
    name: 'cali-FORWARD',
    closed: each((iface) => [rule([from(iface)], DROP), rule([to(iface)], DROP)]),
    rules: [
      ...(config.filterAllowAction === 'Return'
        ? each((iface) => [rule([from(iface), ESTABLISHED], RETURN), rule([to(iface), ESTABLISHED], RETURN)])
        : []),
      ...(config.dropInvalid ? [rule([ctstate('INVALID')], jump(INVALID_FORWARDED))] : []),
      // A packet that untracked or preDNAT policy accepted keeps its mark; every other one starts without verdict.
      cleared(needs.preAccepted ? config.marks.pass : verdictBits(config.marks)),
      ...(needs.hostForward
        ? [rule(needs.preAccepted ? [unmarked(config.marks.accept)] : [], jump(FROM_HOST_FORWARD))]
        : []),
      ...each((iface) => [rule([from(iface)], jump(FROM_WORKLOAD)), rule([to(iface)], jump(TO_WORKLOAD))]),
      ...(needs.hostForward ? [rule([], jump(TO_HOST_FORWARD))] : []),
      ...(needs.serviceLoop ? [rule([], jump(SERVICE_LOOP))] : []),
    ],
  };
}

/** What stands in both dispatches before the branching: no verdict yet. */
export const clearVerdict = (config: RenderConfig): ChainRule => cleared(verdictBits(config.marks));

/** What a workload may never send, whatever its policy says. */
export function tunnelDrops(config: RenderConfig): ChainRule[] {
  const drops: ChainRule[] = [];
  if (!config.allowVxlanFromWorkloads)
    drops.push(
      rule(
        [protocol(PROTOCOL.udp), { m: 'dports', ports: [[config.vxlanPort, config.vxlanPort]] }],
        DROP,
        'VXLAN packets from workloads',
      ),
    );
  if (!config.allowIpipFromWorkloads) drops.push(rule([protocol(PROTOCOL.ipip)], DROP, 'IPIP packets from workloads'));
  return drops;
}

export function inputChain(config: RenderConfig, needs: FilterNeeds): Chain {
  return {
    name: 'cali-INPUT',
    closed: config.interfacePrefixes.map((p) => rule([from(`${p}+`)], DROP)),
    rules: [
      ...(config.vxlan ? vxlanInput(config) : []),
      ...config.interfacePrefixes.map((p) => rule([from(`${p}+`)], goto_(WORKLOAD_TO_HOST))),
      ...(needs.preAccepted ? [rule([marked(config.marks.accept)], allowVerdict(config))] : []),
      ...(needs.hostEndpoints
        ? [
            cleared(verdictBits(config.marks)),
            rule([], jump(FROM_HOST_ENDPOINT)),
            rule([marked(config.marks.accept)], allowVerdict(config), 'host endpoint policy accepted the packet'),
          ]
        : []),
    ],
  };
}

const overlay = ({ vxlanPort }: RenderConfig): Match[] => [
  protocol(PROTOCOL.udp),
  { m: 'dports', ports: [[vxlanPort, vxlanPort]] },
];

function vxlanInput(config: RenderConfig): ChainRule[] {
  const local: Match = { m: 'addrtype', side: 'dst', type: 'LOCAL' };
  return [
    rule([...overlay(config), { m: 'src-set', set: VXLAN_HOSTS }, local], ACCEPT, 'VXLAN packets from known hosts'),
    rule([...overlay(config), local], DROP, 'VXLAN packets from others'),
  ];
}

/** Policy of the host's interface is not about what its workloads send through it; theirs has let that pass. */
function vxlanOutput(config: RenderConfig): ChainRule {
  const match: Match[] = [
    { m: 'addrtype', side: 'src', type: 'LOCAL' },
    { m: 'dst-set', set: VXLAN_HOSTS },
  ];
  return rule([...overlay(config), ...match], allowVerdict(config), 'VXLAN packets to known hosts');
}

export function outputChain(config: RenderConfig, needs: FilterNeeds): Chain {
  return {
    name: 'cali-OUTPUT',
    closed: [],
    rules: [
      ...(needs.untracked ? [rule([marked(config.marks.accept)], allowVerdict(config))] : []),
      ...config.interfacePrefixes.map((p) => rule([to(`${p}+`)], RETURN)),
      ...(needs.hostEndpoints
        ? [
            ...(config.vxlan ? [vxlanOutput(config)] : []),
            cleared(verdictBits(config.marks)),
            // The outgoing interface of a packet that was DNATed here is known only after: mangle POSTROUTING takes it.
            // Said this way round because nftables matches neither `dnat` nor its opposite on a packet without conntrack entry.
            rule([{ m: 'dnatted' }], RETURN),
            rule([], jump(TO_HOST_ENDPOINT)),
            rule([marked(config.marks.accept)], allowVerdict(config), 'host endpoint policy accepted the packet'),
          ]
        : []),
    ],
  };
}

/** Multicast listener query, report, done; router solicitation; neighbour solicitation and advertisement. */
const ICMPV6_ESSENTIALS = [130, 131, 132, 133, 135, 136];

export function workloadToHostChain(config: RenderConfig, needs: FilterNeeds, family: Family): Chain {
  const essentials =
    family === 6 ? ICMPV6_ESSENTIALS.map((type) => rule([protocol(PROTOCOL.icmpv6), { m: 'icmp', type }], ACCEPT)) : [];
  return {
    name: WORKLOAD_TO_HOST,
    rules: [
      ...(needs.closed ? [rule([], jump(CLOSED_FROM))] : []),
      ...(needs.rateFrom ? [rule([], jump(RATE_FROM))] : []),
      ...essentials,
      rule([ESTABLISHED], allowVerdict(config)),
      ...(config.dropInvalid ? [rule([protocol(PROTOCOL.udplite, true), ctstate('INVALID')], DROP)] : []),
      rule([], jump(FROM_WORKLOAD)),
      ...toHost(config),
    ],
  };
}

function toHost(config: RenderConfig): ChainRule[] {
  const comment = 'defaultEndpointToHostAction';
  switch (config.endpointToHostAction) {
    case 'Accept':
      return [rule([], ACCEPT, comment)];
    case 'Drop':
      return [rule([], DROP, comment)];
    case 'Reject':
      return [rule([], { do: 'reject', with: 'icmp-port-unreachable' }, comment)];
    case 'Return':
      return [];
    default:
      return assertNever(config.endpointToHostAction);
  }
}

/** Packets to a service that no rule of the service proxy took: sent on, they would circle between this node and its router. */
export function serviceLoopChain(config: RenderConfig, facts: ClusterFacts, family: Family): Chain | null {
  if (config.serviceLoopPrevention === 'Disabled') return null;
  const nets = facts.serviceCidrs.filter((net) => net.includes(':') === (family === 6));
  if (nets.length === 0) return null;
  const action: Action =
    config.serviceLoopPrevention === 'Drop' ? DROP : { do: 'reject', with: 'icmp-port-unreachable' };
  return { name: SERVICE_LOOP, closed: [], rules: nets.map((net) => rule([{ m: 'dst', net }], action)) };
}

export const verdictChains = (config: RenderConfig): Chain[] => [
  { name: ALLOW_CHAIN, rules: [rule([], setMark(config.marks.accept))] },
  { name: PASS_CHAIN, rules: [rule([], setMark(config.marks.pass))] },
];

export function filterHooks(config: RenderConfig, needs: FilterNeeds): Hook[] {
  const { accept } = config.marks;
  const last = [
    ...(config.filterAllowAction === 'Accept' ? [rule([marked(accept)], ACCEPT, 'policy allowed the packet')] : []),
    // Tells mangle POSTROUTING that the packet was forwarded.
    ...(needs.hostEndpoints ? [rule([], setMark(accept))] : []),
  ];
  return [
    hook(config, 'INPUT', [rule([], jump('cali-INPUT'))]),
    hook(config, 'FORWARD', forwardFirst(config, needs), last),
    ...(needs.hostEndpoints || needs.untracked ? [hook(config, 'OUTPUT', [rule([], jump('cali-OUTPUT'))])] : []),
  ];
}

const hook = (
  config: RenderConfig,
  chain: string,
  first: readonly ChainRule[],
  last: readonly ChainRule[] = [],
): Hook =>
  config.chainInsertMode === 'insert'
    ? { table: 'filter', chain, insert: first, append: last }
    : { table: 'filter', chain, insert: [], append: [...first, ...last] };
