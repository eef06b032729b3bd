import type { Prefix } from '#core';
import { priorityOf } from './rib/policy.ts';
import type { Rib } from './rib/rib.ts';
import type { Sources } from './rib/source.ts';
import { prefixText } from './rib/text.ts';
import type { BestChange, NextHop } from './types.ts';

/** Next hops in one route: what the kernel takes and switches spread over. */
const MOST_NEXT_HOPS = 64;

/** What the owner is told of a prefix: the equal-cost next hops, or that nobody has it any more. */
export function bestChange(rib: Rib, id: number, sources: Sources): BestChange {
  const prefix: Prefix = prefixText(rib.prefixes, id);
  const { paths, attributes, prefixes } = rib;
  const best = prefixes.best[id];
  // What this speaker originates is in the kernel already, by whoever asked for it.
  if (best === 0 || paths.source[best] === 0) return { prefix, best: null };
  const equal = paths.next[prefixes.head[id]] === 0 ? [best] : rib.equalPaths(id);
  const nextHops = new Map<string, NextHop>();
  for (const row of [best, ...equal]) {
    const { nextHop } = attributes.valueOf(paths.attr[row]);
    if (nextHops.size < MOST_NEXT_HOPS) nextHops.set(nextHop, { address: nextHop });
  }
  const source = sources.get(paths.source[best]);
  const priority = priorityOf(attributes.localPref[paths.attr[best]]);
  const sorted = [...nextHops.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
  return { prefix, best: { nextHops: sorted, priority, source: source.address!, ebgp: source.ebgp } };
}
