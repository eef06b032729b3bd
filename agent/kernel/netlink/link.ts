import { type Addr, addrBytes, bytesToAddr, familyOf } from '#core';
import type { InterfaceAddress, Link, VxlanDevice } from '../types.ts';
import { type Datagram, F, type Message, type MessageWriter } from './message.ts';
import { AF, afOf } from './route.ts';

/** Links and their addresses (linux/if_link.h, linux/if_addr.h). */
export const RTM_LINK = { NEW: 16, DEL: 17, GET: 18 } as const;
export const RTM_ADDR = { NEW: 20, DEL: 21, GET: 22 } as const;

const IFLA = { ADDRESS: 1, IFNAME: 3, MTU: 4, OPERSTATE: 16, LINKINFO: 18, EXT_MASK: 29 } as const;
const INFO = { KIND: 1, DATA: 2 } as const;
const VXLAN = { ID: 1, LINK: 3, LOCAL: 4, LEARNING: 7, PORT: 15, LOCAL_SIX: 17 } as const;
const IFF_UP = 1;
const OPERSTATE = { UNKNOWN: 0, UP: 6 } as const;
const RTEXT_FILTER_SKIP_STATS = 8;
const SCOPES: Record<number, InterfaceAddress['scope']> = { 0: 'global', 200: 'site', 253: 'link', 254: 'host' };

export const macText = (bytes: Uint8Array): string =>
  Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
export const macBytes = (text: string): Uint8Array =>
  Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));

export function encodeLinkDump(w: MessageWriter, seq: number): void {
  w.begin(RTM_LINK.GET, F.REQUEST | F.DUMP, seq).zero(16);
  w.attr32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS).end();
}

/** Null for messages about a link's membership in a bridge: they carry another family and say nothing about the link itself. */
export function decodeLink(d: Datagram, m: Message): { link: Link; vxlan: VxlanDevice | null } | null {
  if (d.bytes[m.start] !== 0) return null;
  const adminUp = (d.u32(m.start + 8) & IFF_UP) !== 0;
  let name = '';
  let mac = '';
  let mtu = 0;
  let operstate: number = OPERSTATE.UNKNOWN;
  let info = { kind: '', data: [0, 0] as [number, number] };
  d.attributes(m.start + 16, m.end, (type, at, end) => {
    if (type === IFLA.IFNAME) name = d.text(at, end);
    else if (type === IFLA.ADDRESS) mac = macText(d.bytes.subarray(at, end));
    else if (type === IFLA.MTU) mtu = d.u32(at);
    else if (type === IFLA.OPERSTATE) operstate = d.bytes[at];
    else if (type === IFLA.LINKINFO) info = decodeInfo(d, at, end);
  });
  const up = adminUp && (operstate === OPERSTATE.UP || operstate === OPERSTATE.UNKNOWN);
  const link: Link = { index: d.u32(m.start + 4), name, adminUp, up, mac, mtu, linkKind: info.kind };
  return { link, vxlan: info.kind === 'vxlan' ? decodeVxlan(d, info.data, link) : null };
}

function decodeInfo(d: Datagram, start: number, end: number): { kind: string; data: [number, number] } {
  let kind = '';
  let data: [number, number] = [0, 0];
  d.attributes(start, end, (type, at, stop) => {
    if (type === INFO.KIND) kind = d.text(at, stop);
    else if (type === INFO.DATA) data = [at, stop];
  });
  return { kind, data };
}

function decodeVxlan(d: Datagram, [start, end]: [number, number], link: Link): VxlanDevice {
  let vni = 0;
  let port = 0;
  let local = '0.0.0.0' as Addr;
  let parentIndex = 0;
  d.attributes(start, end, (type, at, stop) => {
    if (type === VXLAN.ID) vni = d.u32(at);
    else if (type === VXLAN.PORT) port = (d.bytes[at] << 8) | d.bytes[at + 1];
    else if (type === VXLAN.LOCAL || type === VXLAN.LOCAL_SIX) local = bytesToAddr(d.bytes.subarray(at, stop));
    else if (type === VXLAN.LINK) parentIndex = d.u32(at);
  });
  const { name, mac, mtu } = link;
  return { name, vni, port, mac, mtu, local, ...(parentIndex > 0 && { parent: `#${parentIndex}` }) };
}

export function encodeVxlan(w: MessageWriter, device: VxlanDevice, parentIndex: number, seq: number): void {
  w.begin(RTM_LINK.NEW, F.REQUEST | F.CREATE | F.EXCL, seq);
  w.u8(0).zero(3).u32(0).u32(IFF_UP).u32(IFF_UP);
  w.text(IFLA.IFNAME, device.name).attr(IFLA.ADDRESS, macBytes(device.mac)).attr32(IFLA.MTU, device.mtu);
  w.nest(IFLA.LINKINFO, () => {
    w.text(INFO.KIND, 'vxlan');
    w.nest(INFO.DATA, () => {
      w.attr32(VXLAN.ID, device.vni).attrBig16(VXLAN.PORT, device.port).attr8(VXLAN.LEARNING, 0);
      w.attr(familyOf(device.local) === 4 ? VXLAN.LOCAL : VXLAN.LOCAL_SIX, addrBytes(device.local));
      if (parentIndex > 0) w.attr32(VXLAN.LINK, parentIndex);
    });
  });
  w.end();
}

export function encodeIfb(w: MessageWriter, name: string, mtu: number, seq: number): void {
  w.begin(RTM_LINK.NEW, F.REQUEST | F.CREATE | F.EXCL, seq);
  w.u8(0).zero(3).u32(0).u32(IFF_UP).u32(IFF_UP).text(IFLA.IFNAME, name).attr32(IFLA.MTU, mtu);
  w.nest(IFLA.LINKINFO, () => w.text(INFO.KIND, 'ifb')).end();
}

export function encodeLinkChange(
  w: MessageWriter,
  index: number,
  change: { up?: boolean; mtu?: number; mac?: string },
  seq: number,
): void {
  w.begin(RTM_LINK.NEW, F.REQUEST, seq).u8(0).zero(3).u32(index);
  w.u32(change.up ? IFF_UP : 0).u32(change.up === undefined ? 0 : IFF_UP);
  if (change.mtu !== undefined) w.attr32(IFLA.MTU, change.mtu);
  if (change.mac !== undefined) w.attr(IFLA.ADDRESS, macBytes(change.mac));
  w.end();
}

export function encodeLinkDelete(w: MessageWriter, index: number, seq: number): void {
  w.begin(RTM_LINK.DEL, F.REQUEST, seq).u8(0).zero(3).u32(index).u32(0).u32(0).end();
}

const IFA = { ADDRESS: 1, LOCAL: 2 } as const;

export function encodeAddressDump(w: MessageWriter, seq: number): void {
  w.begin(RTM_ADDR.GET, F.REQUEST | F.DUMP, seq)
    .zero(8)
    .end();
}

export function decodeAddress(d: Datagram, m: Message): InterfaceAddress | null {
  const at = m.start;
  if (d.bytes[at] !== AF.INET && d.bytes[at] !== AF.INET6) return null;
  let address: Addr | undefined;
  let local: Addr | undefined;
  d.attributes(at + 8, m.end, (type, from, end) => {
    if (type === IFA.ADDRESS) address = bytesToAddr(d.bytes.subarray(from, end));
    else if (type === IFA.LOCAL) local = bytesToAddr(d.bytes.subarray(from, end));
  });
  // On a point-to-point link IFA_ADDRESS is the other end; ours is IFA_LOCAL.
  const own = local ?? address;
  if (!own) return null;
  return { index: d.u32(at + 4), address: own, length: d.bytes[at + 1], scope: SCOPES[d.bytes[at + 3]] ?? 'global' };
}

/** `nodad`: an IPv6 address of a tunnel is usable at once. */
const IFA_F_NODAD = 2;

export function encodeAddress(
  w: MessageWriter,
  op: 'add' | 'delete',
  index: number,
  address: Addr,
  length: number,
  seq: number,
): void {
  if (op === 'add') w.begin(RTM_ADDR.NEW, F.REQUEST | F.CREATE | F.REPLACE, seq);
  else w.begin(RTM_ADDR.DEL, F.REQUEST, seq);
  const family = familyOf(address);
  w.u8(afOf(family))
    .u8(length)
    .u8(family === 6 ? IFA_F_NODAD : 0)
    .u8(0)
    .u32(index);
  const bytes = addrBytes(address);
  w.attr(IFA.LOCAL, bytes).attr(IFA.ADDRESS, bytes).end();
}
