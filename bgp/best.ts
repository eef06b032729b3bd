import type { Resolver } from './resolver.ts';
import { priorityOf } from './rib/policy.ts';
import type { Rib } from './rib/rib.ts';
import type { Sources } from './rib/source.ts';
import { prefixText } from './rib/text.ts';
import type { BestBatch, BestChange, NextHop } from './types.ts';

/** Next hops in one route: what the kernel takes and switches spread over. */
const MOST_NEXT_HOPS = 64;

/** What the owner is told of a prefix: the equal-cost next hops, or that nobody has it any more. */
export const bestChange = (rib: Rib, id: number, sources: Sources, resolver: Resolver): BestChange => ({
  prefix: prefixText(rib.prefixes, id),
  best: bestOf(rib, id, sources, resolver),
});

/** The same of many prefixes. Nearly all have one path, and paths of one set and source are answered by one object. */
export function bestBatch(rib: Rib, ids: readonly number[], sources: Sources, resolver: Resolver): BestBatch {
  const { prefixes, paths, family } = rib;
  const { words } = prefixes;
  const addr = new Uint32Array(ids.length * words);
  const length = new Uint8Array(ids.length);
  const answers = new Map<number, BestChange['best']>();
  const best = ids.map((id, i) => {
    for (let word = 0; word < words; word++) addr[i * words + word] = prefixes.addr[id * words + word];
    length[i] = prefixes.length[id];
    const row = prefixes.best[id];
    if (row === 0) return null;
    if (paths.next[prefixes.head[id]] !== 0) return bestOf(rib, id, sources, resolver);
    const key = paths.attr[row] * 0x10000 + paths.source[row];
    let answer = answers.get(key);
    if (answer === undefined) {
      answer = bestOf(rib, id, sources, resolver);
      answers.set(key, answer);
    }
    return answer;
  });
  return { family, count: ids.length, addr, length, best };
}

function bestOf(rib: Rib, id: number, sources: Sources, resolver: Resolver): BestChange['best'] {
  const { paths, attributes, prefixes } = rib;
  const best = prefixes.best[id];
  // What this speaker originates is in the kernel already, by whoever asked for it.
  if (best === 0 || paths.source[best] === 0) return null;
  const equal = paths.next[prefixes.head[id]] === 0 ? [best] : rib.equalPaths(id);
  const nextHops = new Map<string, NextHop>();
  for (const row of [best, ...equal])
    for (const gateway of resolver.gatewaysOf(paths.attr[row], paths.source[row]))
      if (nextHops.size < MOST_NEXT_HOPS) nextHops.set(`${gateway.address} ${gateway.interface ?? ''}`, gateway);
  const source = sources.get(paths.source[best]);
  const priority = priorityOf(attributes.localPref[paths.attr[best]]);
  const sorted = [...nextHops].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, gateway]) => gateway);
  return { nextHops: sorted, priority, source: source.address!, ebgp: source.ebgp };
}
