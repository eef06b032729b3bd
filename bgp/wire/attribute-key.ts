import { type Addr, Bug, bytesToAddr, FAMILIES } from '#core';
import { decodeAttributes, type Need } from './attributes-in.ts';
import type { DecodeContext, PathAttributes } from './types.ts';

/** Nothing of a session: what was once accepted is read as it is. */
const CONTEXT: DecodeContext = {
  ebgp: false,
  peerAs: 0,
  fourOctetAs: true,
  families: FAMILIES,
  addPathReceive: { 4: false, 6: false },
  extendedNextHop: true,
  maxMessage: 65535,
  routeRefresh: false,
  enhancedRouteRefresh: false,
  options: { enforceFirstAs: false, acceptAsSet: true, dropMartians: false },
};

/** The value whose `attributeKey` is `bytes[start, end)`. */
export function attributesOfKey(bytes: Uint8Array, start: number, end: number): PathAttributes {
  const hop = start + 1;
  const size = bytes[start];
  const { attributes } = decodeAttributes(bytes, hop + size, end, nextHopOf(bytes, hop, size), CONTEXT);
  if (attributes === null) throw new Bug('an attribute key does not decode');
  return attributes;
}

/** As `nextHopBytes` writes them. */
function nextHopOf(bytes: Uint8Array, at: number, size: number): Exclude<Need, string> {
  const address = (from: number, to: number): Addr => bytesToAddr(bytes.subarray(at + from, at + to));
  return size === 32
    ? { nextHop: address(0, 16), linkLocal: address(16, 32) }
    : { nextHop: address(0, size), linkLocal: null };
}
