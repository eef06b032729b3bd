import type { BestChange } from '#bgp';
import type { Prefix } from '#core';
import type { Route } from './kernel/types.ts';

/** RT_TABLE_MAIN. */
export const MAIN_TABLE = 254;

/** What BGP learned, as a route of the kernel: several next hops are one multipath route. */
export function learnedRoute(to: Prefix, best: NonNullable<BestChange['best']>): Route {
  const hops = best.nextHops.map((hop) => ({
    gateway: hop.address,
    ...(hop.interface && { link: hop.interface }),
    ...(hop.onlink && { onlink: true }),
  }));
  return { to, metric: best.priority, via: { type: 'gateway', hops }, table: MAIN_TABLE };
}
