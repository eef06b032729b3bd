import type { Addr } from '#core';
import { COMMUNITY, countAs, hasCommunity, withLocalPref, withOtc } from '../attributes.ts';
import type { PathAttributes, Role, RouterId } from '../wire/types.ts';
import { applyOperations, type CompiledPolicy, type RouteFacts } from './policy.ts';

/** What import depends on beside the route. */
export interface InboundProfile {
  readonly ebgp: boolean;
  readonly peerAs: number;
  /** Our AS numbers: the real one and the one shown to the peer. */
  readonly ownAs: readonly number[];
  readonly allowOwnAs: number;
  readonly routerId: RouterId;
  readonly clusterId: RouterId;
  /** The role of the peer (RFC 9234), when both know it. */
  readonly peerRole: Role | null;
}

/** What stands after import, or why nothing does: such a route stays out of the decision, which is no error (RFC 4271 §9.1.2). */
export type Imported = { readonly value: PathAttributes } | { readonly reason: string };

/** Longest AS_PATH that is taken (catalogue U33). */
const MAX_PATH = 255;

/** The checks of the protocol: loops, next hop, leaks. */
export function mayImport(value: PathAttributes, from: InboundProfile): string | null {
  for (const own of from.ownAs)
    if (countAs(value.asPath, own) > from.allowOwnAs) return `our AS ${own} is in the AS_PATH`;
  if (value.originatorId === from.routerId) return 'ORIGINATOR_ID is our own identifier';
  if (value.clusterList.includes(from.clusterId)) return 'our cluster is in the CLUSTER_LIST';
  if (value.asPath.reduce((sum, segment) => sum + segment.asNumbers.length, 0) > MAX_PATH)
    return `AS_PATH is longer than ${MAX_PATH}`;
  return nextHopFault(value.nextHop) ?? leak(value, from);
}

/** Whether it can be reached, and is not ourselves, is looked at all the time (bgp/resolver.ts). */
const nextHopFault = (nextHop: Addr): string | null =>
  isHost(nextHop) ? null : `next hop ${nextHop} is no host's address`;

/** Neither unspecified, loopback, multicast or reserved, nor an IPv4 address in disguise (catalogue U40, P18). */
function isHost(address: Addr): boolean {
  if (address.includes(':')) return !/^(::1?$|::ffff:|ff)/.test(address);
  const first = Number.parseInt(address, 10);
  return first !== 0 && first !== 127 && first < 224;
}

/** RFC 9234 §5. */
function leak({ otc }: PathAttributes, { peerRole, peerAs }: InboundProfile): string | null {
  if (otc === null || peerRole === null) return null;
  if (peerRole === 'customer' || peerRole === 'rs-client') return 'only-to-customer route from a customer: a leak';
  if (peerRole === 'peer' && otc !== peerAs) return `only-to-customer mark of AS ${otc} from a peer: a leak`;
  return null;
}

/** The whole import of one route. */
export function importRoute(
  value: PathAttributes,
  from: InboundProfile,
  policy: CompiledPolicy,
  facts: RouteFacts,
): Imported {
  const barred = mayImport(value, from);
  if (barred !== null) return { reason: barred };
  const verdict = policy.evaluate(value, facts);
  if (!verdict.accept) return { reason: verdict.rule ?? 'no rule of the import policy accepts it' };
  return { value: applyOperations(settle(value, from), verdict.operations) };
}

/** What every accepted route gets: the mark of its direction, and the least preference when its sender drains. */
function settle(value: PathAttributes, { peerRole, peerAs, ebgp }: InboundProfile): PathAttributes {
  let out = value;
  if (peerRole === 'provider' || peerRole === 'peer' || peerRole === 'rs') out = withOtc(out, peerAs);
  // RFC 8326 §4.
  if (ebgp && hasCommunity(value, COMMUNITY.gracefulShutdown)) out = withLocalPref(out, 0);
  return out;
}
