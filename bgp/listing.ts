import { type Addr, covers, FAMILIES, type Family, familyOf } from '#core';
import { asPathItems, communityText, idToAddr } from './attributes.ts';
import type { Neighbours } from './neighbours.ts';
import type { Peer } from './peer.ts';
import type { Resolver } from './resolver.ts';
import type { Rib } from './rib/rib.ts';
import type { Sources } from './rib/source.ts';
import { blockOf, prefixText } from './rib/text.ts';
import type { RouteInfo, RouteQuery } from './types.ts';
import type { PathAttributes } from './wire/types.ts';

export interface ListingContext {
  readonly ribs: Readonly<Record<Family, Rib>>;
  readonly sources: Sources;
  readonly neighbours: Neighbours;
  readonly resolver: Resolver;
}

/** Routes in one answer; more come with `after`. */
const MOST = 10_000;
const ORIGINS = ['IGP', 'EGP', 'INCOMPLETE'] as const;

/** What `bgp routes` says, in the order of the table. */
export function listRoutes(query: RouteQuery, context: ListingContext): RouteInfo[] {
  const found: RouteInfo[] = [];
  const limit = Math.min(query.limit ?? MOST, MOST);
  for (const { rib, id } of prefixesOf(query, context)) {
    found.push(...routesOf(rib, id, query, context));
    if (found.length >= limit) break;
  }
  return found.slice(0, limit);
}

function* prefixesOf(query: RouteQuery, { ribs }: ListingContext): Iterable<{ rib: Rib; id: number }> {
  const { prefix, longer } = query;
  if (prefix && !longer) {
    const rib = ribs[familyOf(prefix)];
    const block = blockOf(prefix);
    const id = rib.prefixes.find(block.addr, 0, block.length[0]);
    if (id !== 0) yield { rib, id };
    return;
  }
  const after = query.after;
  for (const family of FAMILIES) {
    if (prefix && familyOf(prefix) !== family) continue;
    if (after && familyOf(after) > family) continue;
    const rib = ribs[family];
    let id = 1;
    if (after && familyOf(after) === family) {
      const block = blockOf(after);
      id = rib.prefixes.find(block.addr, 0, block.length[0]) + 1;
    }
    for (; id < rib.prefixes.end; id++)
      if (rib.prefixes.isHeld(id) && (!prefix || covers(prefix, prefixText(rib.prefixes, id)))) yield { rib, id };
  }
}

function routesOf(rib: Rib, id: number, query: RouteQuery, context: ListingContext): RouteInfo[] {
  const { paths, prefixes } = rib;
  const rows: number[] = [];
  for (let row = prefixes.head[id]; row !== 0; row = paths.next[row]) rows.push(row);
  const { lost } = rib.explain(id);
  if (query.received) {
    const peer = peerOf(query.received, context);
    return rows
      .filter((row) => peer && paths.source[row] === peer.index)
      .map((row) =>
        describe(rib, id, row, paths.received[row], reasonOf(rib, id, row, lost.get(row), context), context),
      );
  }
  if (query.advertised) {
    const peer = peerOf(query.advertised, context);
    return peer ? advertisedTo(peer, rib, id, rows, query, context) : [];
  }
  rows.sort((a, b) => Number(b === prefixes.best[id]) - Number(a === prefixes.best[id]));
  return rows.map((row) => {
    const attr = paths.attr[row] || paths.received[row];
    return describe(rib, id, row, attr, reasonOf(rib, id, row, lost.get(row), context), context);
  });
}

function peerOf(address: Addr, { neighbours }: ListingContext): Peer | undefined {
  return neighbours.byName(address);
}

/** Why the path is not the best one; null: it is. */
function reasonOf(rib: Rib, id: number, row: number, step: string | undefined, context: ListingContext): string | null {
  if (step === undefined) return null;
  const { paths, attributes } = rib;
  if (step === 'next hop unreachable') return context.resolver.explain(paths.attr[row], paths.source[row]);
  if (step !== 'not accepted') return step;
  const peer = context.neighbours.get(paths.source[row]);
  const value = attributes.valueOf(paths.received[row]);
  return peer?.inbound?.explain(rib.family, id, value) ?? step;
}

function advertisedTo(
  peer: Peer,
  rib: Rib,
  id: number,
  rows: readonly number[],
  query: RouteQuery,
  context: ListingContext,
): RouteInfo[] {
  const channel = peer.outbound?.channels.get(rib.family);
  if (!channel) return [];
  const { out, exporter } = channel.group;
  const wanted = out.addPath > 0 ? rows : rows.filter((row) => row === rib.prefixes.best[id]);
  return wanted.flatMap((row) => {
    const attr = rib.paths.attr[row];
    if (attr === 0) return [];
    const emission = out.emissionFor(id, row, peer.index);
    if (emission !== 0) {
      const info = describe(rib, id, row, attr, null, context, exporter.valueOf(emission, out.emissions) ?? undefined);
      return [{ ...info, pathId: out.addPath > 0 ? row : null }];
    }
    if (!query.prefix) return [];
    const exported = exporter.explain(id, row);
    const own = rib.paths.source[row] === peer.index ? 'it comes from this peer' : null;
    const reason = own ?? ('reason' in exported ? exported.reason : 'not yet sent');
    return [describe(rib, id, row, attr, reason, context)];
  });
}

function describe(
  rib: Rib,
  id: number,
  row: number,
  attr: number,
  reason: string | null,
  { sources, neighbours }: ListingContext,
  shown?: PathAttributes,
): RouteInfo {
  const { paths, prefixes, attributes } = rib;
  const value = shown ?? attributes.valueOf(attr);
  const source = paths.source[row];
  const peer = neighbours.get(source);
  return {
    prefix: prefixText(prefixes, id),
    best: prefixes.best[id] === row,
    source: source === 0 ? 'Local' : (sources.get(source).address ?? ''),
    nextHops: source === 0 && !shown ? [] : [value.nextHop],
    asPath: asPathItems(value.asPath),
    origin: ORIGINS[value.origin],
    localPref: value.localPref,
    med: value.med,
    communities: value.communities.map(communityText),
    largeCommunities: value.largeCommunities.map(communityText),
    originatorId: value.originatorId === null ? null : idToAddr(value.originatorId),
    clusterList: value.clusterList.map(idToAddr),
    stale: peer?.retention.isStale(rib.family, paths.run[row]) ?? false,
    pathId: peer?.negotiated?.addPathReceive[rib.family] ? paths.pathIdOf(row) : null,
    inKernel: null,
    reason,
  };
}
