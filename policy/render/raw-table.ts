import type { Family } from '#core';
import type { ResolvedWorkload } from '../resolved.ts';
import type { Chain, ChainRule, Hook } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { ACCEPT, cleared, DROP, from, jump, marked, PROTOCOL, protocol, RETURN, rule, verdictBits } from './phrases.ts';

export const RPF_SKIP = 'cali-rpf-skip';

/**
 * Strict reverse path: a workload sends only from addresses that are routed to it. This also closes an interface that belongs to
 * no endpoint, established flows included, because nothing is routed there. It stands in the kernel's chain itself: every packet of
 * a workload comes here, and a jump would be most of the cost.
 */
const reversePath = (config: RenderConfig, needs: RawNeeds): ChainRule[] =>
  config.interfacePrefixes.map((prefix) =>
    rule(
      [from(`${prefix}+`), { m: 'rpf-failed' }],
      needs.rpfSkip ? jump(RPF_SKIP) : DROP,
      'the source is not routed to this interface',
    ),
  );

export interface RawNeeds {
  readonly rpfSkip: boolean;
  readonly untracked: boolean;
}

/** Untracked policy of host endpoints; packets of workloads do not come here. */
export function rawPrerouting(config: RenderConfig): Chain {
  const { marks } = config;
  const overlay = [protocol(PROTOCOL.udp), { m: 'dports', ports: [[config.vxlanPort, config.vxlanPort]] } as const];
  return {
    name: 'cali-PREROUTING',
    closed: [],
    rules: [
      cleared(verdictBits(marks)),
      ...(config.vxlan ? [rule(overlay, { do: 'notrack' })] : []),
      ...config.interfacePrefixes.map((prefix) => rule([from(`${prefix}+`)], RETURN)),
      rule([], jump('cali-from-host-endpoint')),
      ...untracked(config),
    ],
  };
}

/** What untracked policy accepts gets no conntrack entry, and its mark tells the later tables. */
const untracked = ({ marks }: RenderConfig) => [
  rule([marked(marks.accept)], { do: 'notrack' }, 'untracked policy accepted the packet'),
  rule([marked(marks.accept)], ACCEPT),
];

/** Sources that an endpoint may use although they are not routed to it; everything else that comes here is dropped. */
export function rpfSkipChain(workloads: Iterable<ResolvedWorkload>, family: Family): Chain | null {
  const rules: ChainRule[] = [];
  const sorted = [...workloads].sort((a, b) =>
    a.endpoint.spec.interfaceName < b.endpoint.spec.interfaceName ? -1 : 1,
  );
  for (const { endpoint, id } of sorted)
    for (const net of endpoint.spec.allowSpoofedSourcePrefixes ?? [])
      if (net.includes(':') === (family === 6))
        rules.push(
          rule([from(endpoint.spec.interfaceName), { m: 'src', net }], RETURN, `WorkloadEndpoint ${id} may spoof`),
        );
  if (rules.length === 0) return null;
  return { name: RPF_SKIP, rules: [...rules, rule([], DROP, 'source address is not routed to this interface')] };
}

export const rawOutput = (config: RenderConfig): Chain => ({
  name: 'cali-OUTPUT',
  closed: [],
  rules: [cleared(verdictBits(config.marks)), rule([], jump('cali-to-host-endpoint')), ...untracked(config)],
});

export function rawHooks(config: RenderConfig, needs: RawNeeds): Hook[] {
  const prerouting = needs.untracked ? [rule([], jump('cali-PREROUTING'))] : [];
  return [
    { table: 'raw', chain: 'PREROUTING', insert: [...reversePath(config, needs), ...prerouting], append: [] },
    ...(needs.untracked
      ? [{ table: 'raw', chain: 'OUTPUT', insert: [rule([], jump('cali-OUTPUT'))], append: [] } as const]
      : []),
  ];
}
