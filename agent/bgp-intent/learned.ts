import { covers, FAMILIES, type Prefix, parsePrefix } from '#core';
import type { IPPool } from '#datastore';
import type { IntentInput } from './input.ts';
import { serviceRanges } from './route-policy.ts';

/**
 * Whether a route learned by BGP goes to the kernel (reference/bgp.md 7.7): not the service ranges, which the service proxy owns; not what lies
 * in a VXLAN pool, whose routes the overlay makes; everything else.
 * @returns null to accept, or the reason to leave it out.
 */
export function learnedVerdict(
  input: Pick<IntentInput, 'configurations' | 'pools'>,
): (prefix: Prefix) => string | null {
  const services = FAMILIES.flatMap((family) => serviceRanges(input, family));
  const overlay = [...input.pools].flatMap(([name, pool]: [string, IPPool]) => {
    const net = parsePrefix(pool.spec.cidr);
    return net.ok && pool.spec.vxlanMode && pool.spec.vxlanMode !== 'Never' ? [{ name, net: net.value }] : [];
  });
  return (prefix) => {
    const service = services.find((range) => covers(range, prefix));
    if (service) return `inside service range ${service}, which the service proxy owns`;
    const pool = overlay.find(({ net }) => covers(net, prefix));
    return pool ? `inside VXLAN pool ${pool.name}, whose routes the overlay makes` : null;
  };
}
