import { type Addr, bytesToAddr, FAMILIES, type Family, familyOf } from '#core';
import { type Datagram, F, type Message, type MessageWriter } from './message.ts';
import { Requester } from './request.ts';
import { afOf } from './route.ts';

/** ctnetlink (linux/netfilter/nfnetlink_conntrack.h): subsystem 1 in the high byte of the type. */
const CT = { GET: 0x101, DELETE: 0x102 } as const;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, ID: 12, ZONE: 18 } as const;
const CTA_TUPLE_IP = 1;
/** CTA_IP_V4_SRC to CTA_IP_V6_DST. */
const IP = { FIRST: 1, LAST: 4 } as const;
const NESTED = 0x8000;

interface Flow {
  readonly family: Family;
  readonly original: Uint8Array;
  readonly id: Uint8Array;
  readonly zone: Uint8Array | undefined;
}

/**
 * Deletes every tracked flow whose source or destination, in either direction, is one of the addresses: after an address has
 * moved, its flows must be judged again. One pass over the table serves all addresses of the call.
 */
export async function forgetFlows(addresses: ReadonlySet<Addr>): Promise<number> {
  if (addresses.size === 0) return 0;
  const requests = new Requester(12);
  try {
    const flows: Flow[] = [];
    const families = new Set([...addresses].map(familyOf));
    for (const family of FAMILIES.filter((f) => families.has(f)))
      flows.push(
        ...(await requests.dump(
          (w, seq) => encodeHeader(w, CT.GET, F.REQUEST | F.DUMP, family, seq).end(),
          (d, m) => flowOf(d, m, family, addresses),
          [],
          // The table is one for all namespaces, and walked to its first flow of this one: tens of milliseconds.
          true,
        )),
      );
    const failures = await requests.write(
      flows.map((flow, i) => ({
        key: () => String(i),
        // ENOENT: it ended by itself meanwhile.
        fine: ['ENOENT'],
        encode: (w, seq) => encodeDelete(w, flow, seq),
      })),
    );
    return flows.length - failures.length;
  } finally {
    requests.close();
  }
}

/** nfgenmsg: family, version, resource id. */
function encodeHeader(w: MessageWriter, type: number, flags: number, family: Family, seq: number): MessageWriter {
  return w.begin(type, flags, seq).u8(afOf(family)).u8(0).u16(0);
}

function encodeDelete(w: MessageWriter, flow: Flow, seq: number): null {
  encodeHeader(w, CT.DELETE, F.REQUEST, flow.family, seq).attr(CTA.TUPLE_ORIG | NESTED, flow.original);
  if (flow.zone) w.attr(CTA.ZONE, flow.zone);
  w.attr(CTA.ID, flow.id).end();
  return null;
}

function flowOf(d: Datagram, m: Message, family: Family, addresses: ReadonlySet<Addr>): Flow | null {
  let original: Uint8Array | undefined;
  let id: Uint8Array | undefined;
  let zone: Uint8Array | undefined;
  let touched = false;
  d.attributes(m.start + 4, m.end, (type, at, end) => {
    if (type === CTA.TUPLE_ORIG) original = d.bytes.slice(at, end);
    else if (type === CTA.ID) id = d.bytes.slice(at, end);
    else if (type === CTA.ZONE) zone = d.bytes.slice(at, end);
    if (type === CTA.TUPLE_ORIG || type === CTA.TUPLE_REPLY) touched ||= tupleTouches(d, at, end, addresses);
  });
  return touched && original && id ? { family, original, id, zone } : null;
}

function tupleTouches(d: Datagram, start: number, end: number, addresses: ReadonlySet<Addr>): boolean {
  let found = false;
  d.attributes(start, end, (type, at, stop) => {
    if (type !== CTA_TUPLE_IP) return;
    d.attributes(at, stop, (kind, from, to) => {
      if (kind >= IP.FIRST && kind <= IP.LAST) found ||= addresses.has(bytesToAddr(d.bytes.subarray(from, to)));
    });
  });
  return found;
}
