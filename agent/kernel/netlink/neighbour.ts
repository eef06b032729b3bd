import { type Addr, addrBytes, bytesToAddr, type Family, familyOf } from '#core';
import { type FdbEntry, type Neighbour, ROUTE_PROTOCOL } from '../types.ts';
import { macBytes, macText } from './link.ts';
import { type Datagram, F, type Message, type MessageWriter } from './message.ts';
import { AF, afOf, type NameOf } from './route.ts';

/** Neighbour tables and the forwarding table of VXLAN devices (linux/neighbour.h). */
export const RTM_NEIGH = { NEW: 28, DEL: 29, GET: 30 } as const;

const NDA = { DST: 1, LLADDR: 2, PROTOCOL: 12 } as const;
export const NUD = { FAILED: 0x20, NOARP: 0x40, PERMANENT: 0x80 } as const;
const NTF = { SELF: 0x02, PROXY: 0x08 } as const;

/** @param proxy the proxy table, which the kernel keeps apart */
export function encodeNeighbourDump(w: MessageWriter, family: Family, proxy: boolean, seq: number): void {
  w.begin(RTM_NEIGH.GET, F.REQUEST | F.DUMP, seq);
  w.u8(afOf(family))
    .zero(3)
    .u32(0)
    .u16(0)
    .u8(proxy ? NTF.PROXY : 0)
    .u8(0)
    .end();
}

/** Only entries that carry our protocol, permanent or proxy; what the kernel learned by itself is null. */
export function decodeNeighbour(d: Datagram, m: Message, nameOf: NameOf): Neighbour | null {
  const at = m.start;
  const state = d.u16(at + 8);
  const proxy = (d.bytes[at + 10] & NTF.PROXY) !== 0;
  if (!proxy && !(state & NUD.PERMANENT)) return null;
  let address: Addr | undefined;
  let mac: string | undefined;
  let protocol = 0;
  d.attributes(at + 12, m.end, (type, from, end) => {
    if (type === NDA.DST) address = bytesToAddr(d.bytes.subarray(from, end));
    else if (type === NDA.LLADDR) mac = macText(d.bytes.subarray(from, end));
    else if (type === NDA.PROTOCOL) protocol = d.bytes[from];
  });
  if (!address || protocol !== ROUTE_PROTOCOL || (!proxy && mac === undefined)) return null;
  return { link: nameOf(d.u32(at + 4)), address, ...(!proxy && { mac }) };
}

export function encodeNeighbour(
  w: MessageWriter,
  op: 'set' | 'delete',
  neighbour: Neighbour,
  index: number,
  seq: number,
): void {
  const { address, mac } = neighbour;
  if (op === 'set') w.begin(RTM_NEIGH.NEW, F.REQUEST | F.CREATE | F.REPLACE, seq);
  else w.begin(RTM_NEIGH.DEL, F.REQUEST, seq);
  w.u8(afOf(familyOf(address)))
    .zero(3)
    .u32(index)
    .u16(mac ? NUD.PERMANENT : 0)
    .u8(mac ? 0 : NTF.PROXY)
    .u8(0);
  w.attr(NDA.DST, addrBytes(address));
  if (mac && op === 'set') w.attr(NDA.LLADDR, macBytes(mac));
  if (op === 'set') w.attr8(NDA.PROTOCOL, ROUTE_PROTOCOL);
  w.end();
}

export function encodeFdbDump(w: MessageWriter, seq: number): void {
  w.begin(RTM_NEIGH.GET, F.REQUEST | F.DUMP, seq);
  w.u8(AF.BRIDGE).zero(11).end();
}

export function decodeFdb(d: Datagram, m: Message, nameOf: NameOf): FdbEntry | null {
  const at = m.start;
  if (d.bytes[at] !== AF.BRIDGE || !(d.u16(at + 8) & NUD.PERMANENT)) return null;
  let destination: Addr | undefined;
  let mac: string | undefined;
  d.attributes(at + 12, m.end, (type, from, end) => {
    if (type === NDA.DST) destination = bytesToAddr(d.bytes.subarray(from, end));
    else if (type === NDA.LLADDR) mac = macText(d.bytes.subarray(from, end));
  });
  return destination && mac ? { link: nameOf(d.u32(at + 4)), mac, destination } : null;
}

export function encodeFdb(w: MessageWriter, op: 'set' | 'delete', entry: FdbEntry, index: number, seq: number): void {
  if (op === 'set') w.begin(RTM_NEIGH.NEW, F.REQUEST | F.CREATE | F.REPLACE, seq);
  else w.begin(RTM_NEIGH.DEL, F.REQUEST, seq);
  w.u8(AF.BRIDGE)
    .zero(3)
    .u32(index)
    .u16(NUD.NOARP | NUD.PERMANENT)
    .u8(NTF.SELF)
    .u8(0);
  w.attr(NDA.LLADDR, macBytes(entry.mac)).attr(NDA.DST, addrBytes(entry.destination)).end();
}
