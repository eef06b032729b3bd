import { FAMILIES, type Family } from '#core';
import type { ResolvedHost, ResolvedWorkload } from '../resolved.ts';
import type { ClusterFacts, RenderConfig } from './config.ts';

/** Families that neither pools nor endpoints of this node have an address of, nor a prefix to send from. */
export function idleFamilies(
  pools: ClusterFacts['pools'],
  workloads: Iterable<ResolvedWorkload>,
  hosts: Iterable<ResolvedHost>,
): ReadonlySet<Family> {
  const idle = new Set(FAMILIES);
  const use = (addresses: readonly string[]) => {
    for (const address of addresses) idle.delete(address.includes(':') ? 6 : 4);
  };
  use(pools.map(({ cidr }) => cidr));
  for (const { endpoint } of hosts) {
    // Without addresses it stands for whatever its interface has.
    const { expectedIPs = [] } = endpoint.spec;
    use(expectedIPs.length > 0 ? expectedIPs : ['0.0.0.0', '::']);
  }
  for (const { endpoint } of workloads) {
    if (idle.size === 0) break;
    use(endpoint.spec.ipNetworks ?? []);
    use(endpoint.spec.allowSpoofedSourcePrefixes ?? []);
  }
  return idle;
}

/**
 * Families in which nothing of a workload passes whatever policy says, so that no chain of a workload need stand. In an idle family no source is routed
 * to a workload but link-local ones, which are not forwarded; no route leads to it; and what it sends to its host ends in `defaultEndpointToHostAction`
 * even where policy allows it. What passes without policy (neighbour discovery, answers to the host) is decided before the dispatch to workloads. A
 * stranger's route to a workload that has no address of the family is not served: nothing passes there either, until an endpoint or a pool says one.
 */
export const closedFamilies = (idle: ReadonlySet<Family>, config: RenderConfig): ReadonlySet<Family> =>
  config.endpointToHostAction === 'Drop' ? idle : NONE;
const NONE: ReadonlySet<Family> = new Set();
