import type { Family } from '#core';
import type { ResolvedWorkload } from '../resolved.ts';
import type { Action, Chain, ChainRule, Hook, Match } from '../types.ts';
import { type RenderConfig, VXLAN_DEVICES } from './config.ts';
import { jump, PROTOCOL, protocol, RETURN, rule, to } from './phrases.ts';

export const NAT_OUTGOING = 'cali-nat-outgoing';
export const FIP_DNAT = 'cali-fip-dnat';
export const FIP_SNAT = 'cali-fip-snat';
export const ALL_POOLS = 'all-ipam-pools';
export const MASQUERADED_POOLS = 'masq-ipam-pools';
export const ALL_HOSTS = 'all-hosts-net';

/** Packets from a pool with natOutgoing to an address outside all pools leave with the address of the host. */
export function natOutgoingChain(config: RenderConfig, family: Family): Chain {
  const { nat } = config;
  const match: Match[] = [
    { m: 'src-set', set: MASQUERADED_POOLS },
    { m: 'dst-set', set: ALL_POOLS, negate: true },
    ...(nat.excludeHosts ? [{ m: 'dst-set', set: ALL_HOSTS, negate: true } as const] : []),
    ...(nat.outInterface ? [to(nat.outInterface)] : []),
  ];
  const action = (ports?: RenderConfig['nat']['portRange']): Action => {
    if (nat.outgoingAddress && family === 4)
      return { do: 'snat', to: nat.outgoingAddress, ...(ports && { ports }), randomFully: nat.randomFully };
    return { do: 'masquerade', ...(ports && { ports }), randomFully: nat.randomFully };
  };
  const rules: ChainRule[] = [];
  // A port range needs a protocol that has ports; what is left of those protocols must not fall through to the general rule.
  if (nat.portRange)
    for (const number of [PROTOCOL.tcp, PROTOCOL.udp])
      rules.push(rule([protocol(number), ...match], action(nat.portRange)), rule([protocol(number), ...match], RETURN));
  return { name: NAT_OUTGOING, closed: [], rules: [...rules, rule(match, action())] };
}

/** External addresses of floating IPs, each with the address inside, sorted; the smallest endpoint id wins one that two claim. */
export function floatingIps(workloads: Iterable<ResolvedWorkload>, family: Family): [string, string][] {
  const found = new Map<string, string>();
  for (const { endpoint } of [...workloads].sort((a, b) => (a.id < b.id ? -1 : 1)))
    for (const { externalIP, internalIP } of endpoint.spec.ipNATs ?? [])
      if (externalIP.includes(':') === (family === 6) && !found.has(externalIP)) found.set(externalIP, internalIP);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function floatingIpChains(addresses: readonly [string, string][]): Chain[] {
  return [
    {
      name: FIP_DNAT,
      closed: [],
      rules: addresses.map(([external, internal]) => rule([{ m: 'dst', net: external }], { do: 'dnat', to: internal })),
    },
    {
      // Hairpin: a workload that speaks to its own floating IP must see the answer come from there.
      name: FIP_SNAT,
      closed: [],
      rules: addresses.map(([external, internal]) =>
        rule(
          [
            { m: 'src', net: internal },
            { m: 'dst', net: internal },
          ],
          { do: 'snat', to: external },
        ),
      ),
    },
  ];
}

/**
 * What the host sends through the tunnel with an address of another interface, as when a service proxy has translated the destination after the
 * source was chosen: the answer would come back outside the tunnel, and fail the reverse path check of one side or the other.
 */
const throughTunnel = (family: Family): ChainRule =>
  rule(
    [
      to(VXLAN_DEVICES[family]),
      { m: 'addrtype', side: 'src', type: 'LOCAL', limitIface: 'out', negate: true },
      { m: 'addrtype', side: 'src', type: 'LOCAL' },
    ],
    { do: 'masquerade', randomFully: true },
    "the host's own packets have the address of the tunnel",
  );

export interface NatNeeds {
  readonly outgoing: boolean;
  readonly floating: boolean;
  readonly vxlan: boolean;
}

export function natChains(needs: NatNeeds, family: Family): Chain[] {
  const dnat = needs.floating ? [rule([], jump(FIP_DNAT))] : [];
  return [
    { name: 'cali-PREROUTING', rules: dnat, closed: [] },
    { name: 'cali-OUTPUT', rules: dnat, closed: [] },
    {
      name: 'cali-POSTROUTING',
      closed: [],
      rules: [
        ...(needs.floating ? [rule([], jump(FIP_SNAT))] : []),
        ...(needs.outgoing ? [rule([], jump(NAT_OUTGOING))] : []),
        ...(needs.vxlan ? [throughTunnel(family)] : []),
      ],
    },
  ];
}

export function natHooks(needs: NatNeeds): Hook[] {
  const hook = (chain: string): Hook => ({
    table: 'nat',
    chain,
    insert: [rule([], jump(`cali-${chain}`))],
    append: [],
  });
  return [
    ...(needs.floating ? [hook('PREROUTING'), hook('OUTPUT')] : []),
    ...(needs.floating || needs.outgoing || needs.vxlan ? [hook('POSTROUTING')] : []),
  ];
}
