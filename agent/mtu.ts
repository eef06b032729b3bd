import { type Family, familyOf, parsePrefix } from '#core';
import type { FelixConfigurationSpec, IPPool } from '#datastore';
import type { Link } from './kernel/types.ts';

/** Outer Ethernet, IP, UDP and VXLAN headers (RFC 7348 section 5). */
export const VXLAN_OVERHEAD: Record<Family, number> = { 4: 50, 6: 70 };

const DEFAULT_PATTERN = '^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)';
/** Taken when no interface matches: the smallest that is common among clouds. */
const DEFAULT_HOST_MTU = 1460;

/** The smallest MTU among the interfaces that are up and match FelixConfiguration `mtuIfacePattern`; a wrong pattern counts as the default. */
export function hostMtu(links: Iterable<Link>, pattern: string | undefined): number {
  let expression = new RegExp(DEFAULT_PATTERN);
  try {
    if (pattern) expression = new RegExp(pattern);
  } catch {
    // The validation of FelixConfiguration reports it.
  }
  let smallest = Number.POSITIVE_INFINITY;
  for (const link of links) if (link.up && expression.test(link.name)) smallest = Math.min(smallest, link.mtu);
  return Number.isFinite(smallest) ? smallest : DEFAULT_HOST_MTU;
}

/** The MTU for workloads: what fits through every encapsulation that a pool asks for. Written to /var/lib/calico/mtu for the CNI plugin. */
export function workloadMtu(
  host: number,
  pools: ReadonlyMap<string, IPPool>,
  felix: Pick<FelixConfigurationSpec, 'vxlanEnabled' | 'vxlanMTU' | 'vxlanMTUV6'>,
): number {
  let smallest = host;
  for (const { spec } of pools.values()) {
    const cidr = parsePrefix(spec.cidr);
    if (!cidr.ok || !spec.vxlanMode || spec.vxlanMode === 'Never' || felix.vxlanEnabled === false) continue;
    smallest = Math.min(smallest, vxlanMtu(host, familyOf(cidr.value), felix));
  }
  return smallest;
}

/** The MTU of the VXLAN device of a family: as configured, else what the host's leaves. */
export const vxlanMtu = (
  host: number,
  family: Family,
  felix: Pick<FelixConfigurationSpec, 'vxlanMTU' | 'vxlanMTUV6'>,
): number => (family === 4 ? felix.vxlanMTU : felix.vxlanMTUV6) || host - VXLAN_OVERHEAD[family];
