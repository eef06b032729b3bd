import { type Addr, addrBytes, bytesToAddr, type Family, familyOf, type Prefix, prefixAddr, prefixLength } from '#core';
import { kernelMetric, type Lookup, ROUTE_PROTOCOL, type Route, type RouteWrite, type Via } from '../types.ts';
import { type Datagram, F, LITTLE, type Message, type MessageWriter } from './message.ts';

/** linux/rtnetlink.h */
export const RTM = { NEWROUTE: 24, DELROUTE: 25, GETROUTE: 26 } as const;
export const AF = { INET: 2, INET6: 10, BRIDGE: 7 } as const;
export const afOf = (family: Family): number => (family === 4 ? AF.INET : AF.INET6);
export const RT_TABLE_MAIN = 254;

const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, MULTIPATH: 9, TABLE: 15, VIA: 18 } as const;
const RTN = { UNICAST: 1, BLACKHOLE: 6 } as const;
const SCOPE = { UNIVERSE: 0, LINK: 253, NOWHERE: 255 } as const;
const RTNH_F_ONLINK = 4;
/** rtm_flags of a route that the kernel cloned for its own use (a learned PMTU): not a configured route. */
const RTM_F_CLONED = 0x200;

/** Names to interface indexes; 0: there is no such interface. */
export type IndexOf = (name: string) => number;
export type NameOf = (index: number) => string;

type Hop = Extract<Via, { type: 'gateway' }>['hops'][number];

const FLAGS = {
  // EXCL: a stranger's route at the same key makes this one fail instead of being changed.
  add: F.REQUEST | F.CREATE | F.EXCL,
  replace: F.REQUEST | F.CREATE | F.REPLACE,
  delete: F.REQUEST,
} as const;

/**
 * Appends one RTM_NEWROUTE or RTM_DELROUTE of protocol 80. A delete carries the protocol too, so the kernel finds no match
 * in somebody else's route of the same prefix (I4). Returns the name of an interface that does not exist, and writes nothing.
 */
export function encodeRoute(w: MessageWriter, write: RouteWrite, seq: number, indexOf: IndexOf): string | null {
  const { route, op } = write;
  const remove = op === 'delete';
  if (!remove) {
    const missing = missingLink(route.via, indexOf);
    if (missing !== null) return missing;
  }
  const family = familyOf(route.to);
  const blackhole = route.via.type === 'blackhole';
  w.begin(remove ? RTM.DELROUTE : RTM.NEWROUTE, FLAGS[op], seq);
  w.u8(afOf(family)).u8(prefixLength(route.to)).u8(0).u8(0);
  w.u8(route.table < 256 ? route.table : 0).u8(ROUTE_PROTOCOL);
  w.u8(remove ? SCOPE.NOWHERE : route.via.type === 'link' && family === 4 ? SCOPE.LINK : SCOPE.UNIVERSE);
  w.u8(remove ? 0 : blackhole ? RTN.BLACKHOLE : RTN.UNICAST).u32(0);
  w.attr(RTA.DST, addrBytes(prefixAddr(route.to)));
  w.attr32(RTA.PRIORITY, kernelMetric(route));
  if (route.table >= 256) w.attr32(RTA.TABLE, route.table);
  if (!remove) {
    if (route.source) w.attr(RTA.PREFSRC, addrBytes(route.source));
    encodeVia(w, route.via, family, indexOf);
  }
  w.end();
  return null;
}

function missingLink(via: Via, indexOf: IndexOf): string | null {
  if (via.type === 'link') return indexOf(via.link) ? null : via.link;
  if (via.type === 'gateway')
    for (const hop of via.hops) if (hop.link !== undefined && !indexOf(hop.link)) return hop.link;
  return null;
}

function encodeVia(w: MessageWriter, via: Via, family: Family, indexOf: IndexOf): void {
  if (via.type === 'blackhole') return;
  if (via.type === 'link') {
    w.attr32(RTA.OIF, indexOf(via.link));
    return;
  }
  if (via.hops.length === 1) {
    const [hop] = via.hops;
    encodeGateway(w, hop.gateway, family);
    if (hop.link !== undefined) w.attr32(RTA.OIF, indexOf(hop.link));
    if (hop.onlink) w.setRouteFlags(RTNH_F_ONLINK);
    return;
  }
  w.nest(RTA.MULTIPATH, () => {
    for (const hop of via.hops)
      w.sized(() => {
        w.u8(hop.onlink ? RTNH_F_ONLINK : 0).u8(0);
        w.u32(hop.link === undefined ? 0 : indexOf(hop.link));
        encodeGateway(w, hop.gateway, family);
      });
  });
}

/** RTA_GATEWAY, or RTA_VIA where an IPv4 route leads to an IPv6 next hop (RFC 8950). */
function encodeGateway(w: MessageWriter, gateway: Addr, family: Family): void {
  const bytes = addrBytes(gateway);
  if (familyOf(gateway) === family) {
    w.attr(RTA.GATEWAY, bytes);
    return;
  }
  const via = Buffer.alloc(2 + bytes.length);
  if (LITTLE) via.writeUInt16LE(afOf(familyOf(gateway)));
  else via.writeUInt16BE(afOf(familyOf(gateway)));
  via.set(bytes, 2);
  w.attr(RTA.VIA, via);
}

/** `ip route get`: asks the kernel which route (and which of the tables' entries, with its protocol) the address takes. */
export function encodeRouteGet(w: MessageWriter, to: Addr, seq: number): void {
  const family = familyOf(to);
  w.begin(RTM.GETROUTE, F.REQUEST, seq);
  w.u8(afOf(family))
    .u8(family === 4 ? 32 : 128)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u8(0)
    .u32(0);
  w.attr(RTA.DST, addrBytes(to)).end();
}

/** A request for all routes of protocol 80 of the family; strict checking makes the kernel filter. */
export const encodeRouteDump = (w: MessageWriter, family: Family, seq: number): void =>
  encodeDump(w, family, { table: 0, protocol: ROUTE_PROTOCOL }, seq);
/** A request for all routes of the main table. */
export const encodeTableDump = (w: MessageWriter, family: Family, seq: number): void =>
  encodeDump(w, family, { table: RT_TABLE_MAIN, protocol: 0 }, seq);

function encodeDump(
  w: MessageWriter,
  family: Family,
  { table, protocol }: { table: number; protocol: number },
  seq: number,
): void {
  w.begin(RTM.GETROUTE, F.REQUEST | F.DUMP, seq);
  w.u8(afOf(family)).u8(0).u8(0).u8(0).u8(table).u8(protocol).u8(0).u8(0).u32(0).end();
}

/** Read off the message alone: of a great many routes most are ours. */
export const isOurs = (d: Datagram, m: Message): boolean => d.bytes[m.start + 5] === ROUTE_PROTOCOL;

/** Of what was decoded, a route of the main table that is not ours. */
export const foreignRoute = (found: ReturnType<typeof decodeRoute>): Route | null =>
  found && !found.ours && found.route.table === RT_TABLE_MAIN ? found.route : null;

/**
 * What one route message says; `ours`: it has protocol 80. Null for cloned routes. A kind that tsnet never makes (unreachable,
 * local, …) comes out as a route to a link without a name, which equals nothing desired.
 */
export function decodeRoute(
  d: Datagram,
  m: Message,
  nameOf: NameOf,
): { route: Route; family: Family; ours: boolean } | null {
  const at = m.start;
  const family: Family = d.bytes[at] === AF.INET ? 4 : 6;
  const type = d.bytes[at + 7];
  const flags = d.u32(at + 8);
  if (flags & RTM_F_CLONED) return null;
  const length = d.bytes[at + 1];
  let to: Addr = family === 4 ? ('0.0.0.0' as Addr) : ('::' as Addr);
  let table = d.bytes[at + 4];
  let metric = 0;
  let oif = 0;
  let gateway: Addr | undefined;
  let source: Addr | undefined;
  let hops: Hop[] = [];
  d.attributes(at + 12, m.end, (kind, start, end) => {
    if (kind === RTA.DST) to = bytesToAddr(d.bytes.subarray(start, end));
    else if (kind === RTA.PRIORITY) metric = d.u32(start);
    else if (kind === RTA.OIF) oif = d.u32(start);
    else if (kind === RTA.GATEWAY) gateway = bytesToAddr(d.bytes.subarray(start, end));
    else if (kind === RTA.VIA) gateway = bytesToAddr(d.bytes.subarray(start + 2, end));
    else if (kind === RTA.PREFSRC) source = bytesToAddr(d.bytes.subarray(start, end));
    else if (kind === RTA.TABLE) table = d.u32(start);
    else if (kind === RTA.MULTIPATH) hops = decodeHops(d, start, end, nameOf);
  });
  const ours = d.bytes[at + 5] === ROUTE_PROTOCOL;
  const via = viaOf(type, gateway, oif, flags, hops, nameOf);
  return { route: { to: `${to}/${length}` as Prefix, metric, via, table, ...(source && { source }) }, family, ours };
}

/** The answer to `encodeRouteGet`; null where the way ends in a blackhole or at this machine itself. */
export function decodeLookup(d: Datagram, m: Message, nameOf: NameOf): Lookup | null {
  const at = m.start;
  if (d.bytes[at + 7] !== RTN.UNICAST) return null;
  let oif = 0;
  let gateway: Addr | undefined;
  let source: Addr | undefined;
  d.attributes(at + 12, m.end, (kind, start, end) => {
    if (kind === RTA.OIF) oif = d.u32(start);
    else if (kind === RTA.GATEWAY) gateway = bytesToAddr(d.bytes.subarray(start, end));
    else if (kind === RTA.VIA) gateway = bytesToAddr(d.bytes.subarray(start + 2, end));
    else if (kind === RTA.PREFSRC) source = bytesToAddr(d.bytes.subarray(start, end));
  });
  return { link: nameOf(oif), ...(gateway && { gateway }), ...(source && { source }) };
}

function viaOf(type: number, gateway: Addr | undefined, oif: number, flags: number, hops: Hop[], nameOf: NameOf): Via {
  if (type === RTN.BLACKHOLE) return { type: 'blackhole' };
  if (type !== RTN.UNICAST) return { type: 'link', link: '' };
  if (hops.length > 0) return { type: 'gateway', hops };
  if (gateway) return { type: 'gateway', hops: [hopOf(gateway, oif, flags, nameOf)] };
  return { type: 'link', link: nameOf(oif) };
}

function hopOf(gateway: Addr, oif: number, flags: number, nameOf: NameOf): Hop {
  return { gateway, link: nameOf(oif), ...(flags & RTNH_F_ONLINK && { onlink: true }) };
}

function decodeHops(d: Datagram, start: number, end: number, nameOf: NameOf): Hop[] {
  const hops: Hop[] = [];
  let at = start;
  while (at + 8 <= end) {
    const size = d.u16(at);
    if (size < 8 || at + size > end) break;
    let gateway: Addr | undefined;
    d.attributes(at + 8, at + size, (kind, from, to) => {
      if (kind === RTA.GATEWAY) gateway = bytesToAddr(d.bytes.subarray(from, to));
      else if (kind === RTA.VIA) gateway = bytesToAddr(d.bytes.subarray(from + 2, to));
    });
    if (gateway) hops.push(hopOf(gateway, d.u32(at + 4), d.bytes[at + 2], nameOf));
    at += (size + 3) & ~3;
  }
  return hops;
}
