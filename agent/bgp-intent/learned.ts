import { covers, FAMILIES, type Prefix, parsePrefix } from '#core';
import type { IPPool } from '#datastore';
import type { IntentInput } from './input.ts';
import { serviceRanges } from './route-policy.ts';

/** Which learned routes stay out of the kernel, and why. */
export interface LearnedVerdict {
  /** Equal for verdicts that judge alike, so that what was learned before is judged again only when it matters. */
  readonly key: string;
  /** null to accept, or the reason to leave the route out. */
  of(prefix: Prefix): string | null;
}

/**
 * Whether a route learned by BGP goes to the kernel (reference/bgp.md 7.7): not the service ranges, which the service proxy owns; not what lies
 * in a VXLAN pool, whose routes the overlay makes; everything else.
 */
export function learnedVerdict(input: Pick<IntentInput, 'configurations' | 'pools'>): LearnedVerdict {
  const services = FAMILIES.flatMap((family) => serviceRanges(input, family));
  const overlay = [...input.pools].flatMap(([name, pool]: [string, IPPool]) => {
    const net = parsePrefix(pool.spec.cidr);
    return net.ok && pool.spec.vxlanMode && pool.spec.vxlanMode !== 'Never' ? [{ name, net: net.value }] : [];
  });
  const of = (prefix: Prefix): string | null => {
    const service = services.find((range) => covers(range, prefix));
    if (service) return `inside service range ${service}, which the service proxy owns`;
    const pool = overlay.find(({ net }) => covers(net, prefix));
    return pool ? `inside VXLAN pool ${pool.name}, whose routes the overlay makes` : null;
  };
  return { key: JSON.stringify([services, overlay]), of };
}
