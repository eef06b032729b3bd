import type { Family } from '#core';
import type { ResolvedHost, ResolvedWorkload } from '../resolved.ts';
import type { Chain, Hook } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { FROM_HOST_ENDPOINT, TO_HOST_ENDPOINT } from './filter-table.ts';
import { ALL_HOSTS, ALL_POOLS } from './nat-table.ts';
import { ACCEPT, cleared, ctstate, jump, marked, RETURN, rule, verdictBits } from './phrases.ts';

export const EGRESS_DSCP = 'cali-egress-dscp';

/** Code points by the names that endpoints may say (RFC 2474, 2597, 3246, 5865, 8622); undefined for what is none. */
function codePoint(said: number | string): number | undefined {
  const name = String(said).toUpperCase();
  const [, first, second] = /^(?:CS(?=.$)|AF(?=..$))([0-7])([1-3])?$/.exec(name) ?? [];
  if (first !== undefined) return Number(first) * 8 + Number(second ?? 0) * 2;
  const known: Record<string, number> = { DF: 0, LE: 1, VA: 44, EF: 46 };
  const value = known[name] ?? Number(name);
  return Number.isInteger(value) && value >= 0 && value < 64 ? value : undefined;
}

/** Says the code point of what a host endpoint sends; workloads have a field for theirs. */
const DSCP_ANNOTATION = 'qos.projectcalico.org/dscp';

/** Addresses whose packets get a code point, each with it, sorted; workloads before hosts, then the smallest id, wins one that two have. */
export function codePoints(
  workloads: Iterable<ResolvedWorkload>,
  hosts: Iterable<ResolvedHost>,
  family: Family,
): [string, number][] {
  const found = new Map<string, number>();
  const give = (addresses: readonly string[] = [], said: number | string | undefined) => {
    const value = said === undefined || said === '' ? undefined : codePoint(said);
    if (value === undefined) return;
    for (const address of addresses)
      if (address.includes(':') === (family === 6) && !found.has(address)) found.set(address, value);
  };
  const coded = [...workloads].filter(({ endpoint }) => endpoint.spec.qosControls?.dscp !== undefined);
  for (const { endpoint } of sorted(coded)) give(endpoint.spec.ipNetworks, endpoint.spec.qosControls?.dscp);
  for (const { endpoint } of sorted(hosts))
    give(endpoint.spec.expectedIPs, endpoint.metadata.annotations?.[DSCP_ANNOTATION]);
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1));
}
const sorted = <T extends { readonly id: string }>(endpoints: Iterable<T>): T[] =>
  [...endpoints].sort((a, b) => (a.id < b.id ? -1 : 1));

export const dscpChain = (points: readonly [string, number][]): Chain => ({
  name: EGRESS_DSCP,
  closed: [],
  rules: points.map(([net, value]) => rule([{ m: 'src', net }], { do: 'dscp', value })),
});

export interface MangleNeeds {
  readonly hosts: boolean;
  /** Packets of some workloads get a code point when they leave the cluster. */
  readonly dscp: boolean;
}

/** Policy before DNAT, and policy of what the host itself sent and DNATed, whose interface is known only after. */
export function mangleChains(config: RenderConfig, needs: MangleNeeds): Chain[] {
  const { marks } = config;
  const accept = config.mangleAllowAction === 'Accept' ? ACCEPT : RETURN;
  const leavesCluster = [ALL_POOLS, ALL_HOSTS].map((set) => ({ m: 'dst-set', set, negate: true }) as const);
  const prerouting: Chain = {
    name: 'cali-PREROUTING',
    closed: [],
    rules: [
      rule([ctstate('RELATED', 'ESTABLISHED')], accept),
      rule([marked(marks.accept)], accept, 'untracked policy accepted the packet'),
      ...config.interfacePrefixes.map((prefix) => rule([{ m: 'in', iface: `${prefix}+` }], RETURN)),
      rule([], jump(FROM_HOST_ENDPOINT)),
      rule([marked(marks.accept)], accept, 'preDNAT policy accepted the packet'),
    ],
  };
  const hosts = [
    rule([marked(marks.accept)], RETURN, 'forwarded packet'),
    cleared(verdictBits(marks)),
    rule([{ m: 'dnatted' }], jump(TO_HOST_ENDPOINT)),
    rule([marked(marks.accept)], RETURN, 'host endpoint policy accepted the packet'),
  ];
  return [
    ...(needs.hosts ? [prerouting] : []),
    {
      name: 'cali-POSTROUTING',
      closed: [],
      rules: [
        ...(needs.dscp ? [rule(leavesCluster, jump(EGRESS_DSCP), 'leaves the cluster')] : []),
        ...(needs.hosts ? hosts : []),
      ],
    },
  ];
}

export const mangleHooks = (needs: MangleNeeds): Hook[] =>
  [...(needs.hosts ? ['PREROUTING'] : []), ...(needs.hosts || needs.dscp ? ['POSTROUTING'] : [])].map((chain) => ({
    table: 'mangle',
    chain,
    insert: [rule([], jump(`cali-${chain}`))],
    append: [],
  }));
