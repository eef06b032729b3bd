import type { Family } from '#core';
import type { ResolvedWorkload } from '../resolved.ts';
import type { Chain, ChainRule, Hook } from '../types.ts';
import type { RenderConfig } from './config.ts';
import {
  ACCEPT,
  clearMark,
  DROP,
  from,
  jump,
  marked,
  PROTOCOL,
  protocol,
  RETURN,
  rule,
  verdictBits,
} from './phrases.ts';

export const RPF_SKIP = 'cali-rpf-skip';

/**
 * Strict reverse path: a workload sends only from addresses that are routed to it. This also closes an interface that belongs to
 * no endpoint, established flows included, because nothing is routed there.
 */
export function rawPrerouting(
  config: RenderConfig,
  needs: { readonly rpfSkip: boolean; readonly untracked: boolean },
): Chain {
  const { marks } = config;
  const rules: ChainRule[] = [];
  if (needs.untracked) {
    rules.push(rule([], clearMark(verdictBits(marks))));
    if (config.vxlan)
      rules.push(
        rule([protocol(PROTOCOL.udp), { m: 'dports', ports: [[config.vxlanPort, config.vxlanPort]] }], {
          do: 'notrack',
        }),
      );
  }
  for (const prefix of config.interfacePrefixes) {
    const iface = from(`${prefix}+`);
    rules.push(
      needs.rpfSkip
        ? rule([iface, { m: 'rpf-failed' }], jump(RPF_SKIP))
        : rule([iface, { m: 'rpf-failed' }], DROP, 'source address is not routed to this interface'),
    );
    if (needs.untracked) rules.push(rule([iface], RETURN));
  }
  if (needs.untracked)
    rules.push(
      rule([], jump('cali-from-host-endpoint')),
      rule([marked(marks.accept)], ACCEPT, 'untracked policy accepted the packet'),
    );
  const closed = config.interfacePrefixes.map((prefix) => rule([from(`${prefix}+`)], DROP));
  return { name: 'cali-PREROUTING', rules, closed };
}

/** Sources that an endpoint may use although they are not routed to it; everything else that comes here is dropped. */
export function rpfSkipChain(workloads: Iterable<ResolvedWorkload>, family: Family): Chain | null {
  const rules: ChainRule[] = [];
  for (const { endpoint, id } of workloads)
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
  rules: [
    rule([], clearMark(verdictBits(config.marks))),
    rule([], jump('cali-to-host-endpoint')),
    rule([marked(config.marks.accept)], ACCEPT, 'untracked policy accepted the packet'),
  ],
});

export function rawHooks(needs: { readonly untracked: boolean }): Hook[] {
  const hook = (chain: string, ours: string): Hook => ({
    table: 'raw',
    chain,
    insert: [rule([], jump(ours))],
    append: [],
  });
  return [hook('PREROUTING', 'cali-PREROUTING'), ...(needs.untracked ? [hook('OUTPUT', 'cali-OUTPUT')] : [])];
}
