import { type Addr, addrBytes, bytesToAddr, err, ok, type Result } from '#core';
import { sortLargeCommunities } from './wire/attribute.ts';
import type { AsSegment, LargeCommunity, PathAttributes, RouterId } from './wire/types.ts';

/**
 * What is done to path attributes on the way in and out, each as a function from one value to another; values are never changed.
 * The result of every function is in the form that the codec gives: communities sorted, neighbouring sequences joined.
 */

/** RFC 1997, RFC 8326, RFC 9494 and RFC 7999: communities that every speaker knows. */
export const COMMUNITY = {
  gracefulShutdown: 0xffff0000,
  llgrStale: 0xffff0006,
  noLlgr: 0xffff0007,
  blackhole: 0xffff029a,
  noExport: 0xffffff01,
  noAdvertise: 0xffffff02,
  noExportSubconfed: 0xffffff03,
} as const;

const NONE: readonly never[] = [];

/** A route that starts here: no path yet, and nothing optional. */
export const originate = (nextHop: Addr, fields: Partial<PathAttributes> = {}): PathAttributes => ({
  origin: 0,
  asPath: NONE,
  nextHop,
  nextHopLinkLocal: null,
  med: null,
  localPref: null,
  atomicAggregate: false,
  aggregator: null,
  communities: NONE,
  originatorId: null,
  clusterList: NONE,
  extendedCommunities: null,
  largeCommunities: NONE,
  otc: null,
  unknown: NONE,
  partial: NONE,
  ...fields,
});

// ---- AS_PATH ------------------------------------------------------------------------------------------------------------------

/** Puts AS numbers in front, the first of them first (RFC 4271 §5.1.2 b). */
export function prependAs(attributes: PathAttributes, asNumbers: readonly number[]): PathAttributes {
  if (asNumbers.length === 0) return attributes;
  const [head, ...rest] = attributes.asPath;
  const asPath: AsSegment[] =
    head?.type === 'sequence'
      ? [{ type: 'sequence', asNumbers: [...asNumbers, ...head.asNumbers] }, ...rest]
      : [{ type: 'sequence', asNumbers }, ...attributes.asPath];
  return { ...attributes, asPath };
}

/** How often the AS stands in the path, in sets too: the loop check of RFC 4271 §9.1.2 and its exception `allowOwnAs`. */
export function countAs(path: readonly AsSegment[], asNumber: number): number {
  let count = 0;
  for (const segment of path) for (const as of segment.asNumbers) if (as === asNumber) count++;
  return count;
}

/** The AS that the route came from, for comparing MED (RFC 4271 §9.1.2.2 c); null for a path that is empty or starts with a set. */
export function neighbourAs(path: readonly AsSegment[]): number | null {
  const first = path[0];
  return first?.type === 'sequence' ? first.asNumbers[0] : null;
}

/** The AS that originated the route; null for an empty path or one that ends in a set. */
export function originAs(path: readonly AsSegment[]): number | null {
  const last = path.at(-1);
  return last?.type === 'sequence' ? last.asNumbers[last.asNumbers.length - 1] : null;
}

/** The path as `bgp routes` prints it: numbers, and sets as objects. */
export const asPathItems = (path: readonly AsSegment[]): (number | { set: number[] })[] =>
  path.flatMap((s): (number | { set: number[] })[] =>
    s.type === 'set' ? [{ set: [...s.asNumbers] }] : [...s.asNumbers],
  );

// ---- towards a peer -----------------------------------------------------------------------------------------------------------

/**
 * What may leave the AS: LOCAL_PREF and the attributes of route reflection stay inside (RFC 4271 §5.1.5, RFC 4456 §8), and a MED that came
 * from a neighbour is not passed on (§5.1.4).
 */
export const forExternalPeer = (attributes: PathAttributes): PathAttributes => ({
  ...attributes,
  localPref: null,
  med: null,
  originatorId: null,
  clusterList: NONE,
});

/** RFC 4456 §8: who brought the route into the AS, and that it has passed this cluster. */
export const reflected = (attributes: PathAttributes, originatorId: RouterId, clusterId: RouterId): PathAttributes => ({
  ...attributes,
  originatorId: attributes.originatorId ?? originatorId,
  clusterList: [clusterId, ...attributes.clusterList],
});

export const withNextHop = (
  attributes: PathAttributes,
  nextHop: Addr,
  linkLocal: Addr | null = null,
): PathAttributes => ({
  ...attributes,
  nextHop,
  nextHopLinkLocal: linkLocal,
});

export const withLocalPref = (attributes: PathAttributes, localPref: number | null): PathAttributes =>
  attributes.localPref === localPref ? attributes : { ...attributes, localPref };

/** RFC 9234 §5: marks a route that may go to customers only; an existing mark stays. */
export const withOtc = (attributes: PathAttributes, asNumber: number): PathAttributes =>
  attributes.otc === null ? { ...attributes, otc: asNumber } : attributes;

// ---- communities --------------------------------------------------------------------------------------------------------------

/** A standard community as its number, or a large one as its three parts. */
export type Community = number | LargeCommunity;

/** Reads `65000:1` or `65000:1:2`. */
export function parseCommunity(text: string): Result<Community, string> {
  const parts = text.split(':').map((part) => (/^(0|[1-9][0-9]{0,9})$/.test(part) ? Number(part) : Number.NaN));
  const most = parts.length === 2 ? 0xffff : 0xffffffff;
  if (parts.length < 2 || parts.length > 3 || !parts.every((part) => part <= most))
    return err(`'${text}' is not a community: want AS:VALUE (16 bits each) or AS:VALUE:VALUE (32 bits each)`);
  return ok(parts.length === 2 ? parts[0] * 0x10000 + parts[1] : [parts[0], parts[1], parts[2]]);
}

export const communityText = (community: Community): string =>
  typeof community === 'number' ? `${community >>> 16}:${community & 0xffff}` : community.join(':');

export const hasCommunity = (attributes: PathAttributes, community: Community): boolean =>
  typeof community === 'number'
    ? attributes.communities.includes(community)
    : attributes.largeCommunities.some((c) => c[0] === community[0] && c[1] === community[1] && c[2] === community[2]);

export function addCommunity(attributes: PathAttributes, community: Community): PathAttributes {
  if (hasCommunity(attributes, community)) return attributes;
  if (typeof community === 'number')
    return { ...attributes, communities: [...attributes.communities, community].sort((a, b) => a - b) };
  return { ...attributes, largeCommunities: sortLargeCommunities([...attributes.largeCommunities, community]) };
}

export function removeCommunity(attributes: PathAttributes, community: number): PathAttributes {
  if (!attributes.communities.includes(community)) return attributes;
  return { ...attributes, communities: attributes.communities.filter((c) => c !== community) };
}

// ---- identifiers --------------------------------------------------------------------------------------------------------------

/** A 32-bit identifier as the dotted quad that people write. */
export const idToAddr = (id: RouterId): Addr =>
  bytesToAddr(Uint8Array.of(id >>> 24, (id >>> 16) & 0xff, (id >>> 8) & 0xff, id & 0xff));

/** The identifier that an IPv4 address spells. */
export function addrToId(address: Addr): RouterId {
  const [a, b, c, d] = addrBytes(address);
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}
