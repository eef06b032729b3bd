import { FAMILIES, type Family } from '#core';
import type { ResolvedHost, ResolvedWorkload } from '../resolved.ts';
import type { ClusterFacts } from './config.ts';

/** Families that neither pools nor endpoints of this node have an address of. */
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
  }
  return idle;
}
