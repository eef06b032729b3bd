import type { IngressFilter, Qdisc, TrafficWrite } from '../types.ts';
import { type Datagram, F, LITTLE, type Message, type MessageWriter } from './message.ts';
import type { IndexOf, NameOf } from './route.ts';
import { decodeBucket, encodeBucket } from './token-bucket.ts';

/** Queueing disciplines and filters (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h). */
export const RTM_QDISC = { NEW: 36, DEL: 37, GET: 38 } as const;
export const RTM_FILTER = { NEW: 44, DEL: 45, GET: 46 } as const;

const TCA = { KIND: 1, OPTIONS: 2 } as const;
const U32 = { CLASSID: 1, SEL: 5, ACT: 7 } as const;
const ACT = { KIND: 1, OPTIONS: 2 } as const;
const MIRRED_PARMS = 2;
const PARENT = { ROOT: 0xffff_ffff, INGRESS: 0xffff_fff1 } as const;
/** The one handle that `ingress` and `clsact` can have, and their filters of what comes in. */
const INGRESS_HANDLE = 0xffff_0000;
const INGRESS_FILTERS = 0xffff_fff2;

/** Our mark in both: `tc qdisc` shows `ca11:` as the handle, `tc filter` shows pref 51729, behind everybody who did not choose. */
const OURS = 0xca11;
const HANDLE = OURS * 0x10000;
/** ETH_P_ALL in network order below our preference. */
const FILTER_INFO = OURS * 0x10000 + (LITTLE ? 0x0300 : 0x0003);
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;

/** tcmsg: family, padding, interface, handle, parent, info. */
const message = (w: MessageWriter, type: number, flags: number, seq: number): MessageWriter =>
  w.begin(type, flags, seq).zero(4);

export function encodeQdiscDump(w: MessageWriter, seq: number): void {
  message(w, RTM_QDISC.GET, F.REQUEST | F.DUMP, seq)
    .zero(16)
    .end();
}
export function encodeFilterDump(w: MessageWriter, index: number, seq: number): void {
  message(w, RTM_FILTER.GET, F.REQUEST | F.DUMP, seq)
    .u32(index)
    .u32(0)
    .u32(INGRESS_FILTERS)
    .u32(0)
    .end();
}

/** The interface that a message about a qdisc or filter is of. */
export const linkOf = (d: Datagram, m: Message): number => d.i32(m.start + 4);

/** Null for what hangs below another qdisc. */
export function decodeQdisc(d: Datagram, m: Message, nameOf: NameOf): Qdisc | null {
  const parent = d.u32(m.start + 12);
  if (parent !== PARENT.ROOT && parent !== PARENT.INGRESS) return null;
  const handle = d.u32(m.start + 8);
  const link = nameOf(linkOf(d, m));
  let kind = '';
  let options: [number, number] | undefined;
  d.attributes(m.start + 20, m.end, (type, at, end) => {
    if (type === TCA.KIND) kind = d.text(at, end);
    else if (type === TCA.OPTIONS) options = [at, end];
  });
  if (parent === PARENT.INGRESS) return { link, kind, at: 'ingress', owner: 'stranger' };
  const owner = handle === 0 ? 'kernel' : handle === HANDLE ? 'us' : 'stranger';
  const bucket = kind === 'tbf' && options ? decodeBucket(d, ...options) : undefined;
  return { link, kind, at: 'root', owner, ...(bucket && { bucket }) };
}

/** One filter of what comes in; null for the frame in which u32 keeps its filters. */
export function decodeFilter(d: Datagram, m: Message, nameOf: NameOf): IngressFilter | null {
  const info = d.u32(m.start + 16);
  let kind = '';
  let options: [number, number] | undefined;
  d.attributes(m.start + 20, m.end, (type, at, end) => {
    if (type === TCA.KIND) kind = d.text(at, end);
    else if (type === TCA.OPTIONS) options = [at, end];
  });
  const isOurs = info >>> 16 === OURS && kind === 'u32';
  const to = kind === 'u32' && options ? redirectOf(d, ...options) : undefined;
  if (kind === 'u32' && to === undefined && !hasSelector(d, options)) return null;
  return { kind, isOurs, ...(to !== undefined && { to: nameOf(to) }) };
}

function hasSelector(d: Datagram, options: [number, number] | undefined): boolean {
  let found = false;
  if (options)
    d.attributes(...options, (type) => {
      found ||= type === U32.SEL;
    });
  return found;
}

/** The index of the interface that the first action sends packets to. */
function redirectOf(d: Datagram, start: number, end: number): number | undefined {
  let to: number | undefined;
  const action = (at: number, stop: number) =>
    d.attributes(at, stop, (type, from, until) => {
      if (type === ACT.OPTIONS)
        d.attributes(from, until, (kind, value, last) => {
          if (kind === MIRRED_PARMS && last - value >= 28) to ??= d.u32(value + 24);
        });
    });
  d.attributes(start, end, (type, at, stop) => {
    if (type === U32.ACT) d.attributes(at, stop, (_, from, until) => action(from, until));
  });
  return to;
}

/** Appends one change; returns the name of an interface that does not exist, and writes nothing. */
export function encodeTraffic(w: MessageWriter, write: TrafficWrite, seq: number, indexOf: IndexOf): string | null {
  const index = indexOf(write.link);
  if (index === 0) return write.link;
  const qdisc = (type: number, flags: number, handle: number, parent: number) =>
    message(w, type, F.REQUEST | flags, seq)
      .u32(index)
      .u32(handle)
      .u32(parent)
      .u32(0);
  switch (write.op) {
    case 'set bucket':
      // Without REPLACE a stranger's qdisc at the root makes this fail.
      qdisc(RTM_QDISC.NEW, F.CREATE | (write.force ? F.REPLACE : 0), HANDLE, PARENT.ROOT).text(TCA.KIND, 'tbf');
      w.nest(TCA.OPTIONS, () => encodeBucket(w, write.bucket)).end();
      return null;
    case 'delete bucket':
      qdisc(RTM_QDISC.DEL, 0, HANDLE, PARENT.ROOT).end();
      return null;
    case 'add ingress':
      qdisc(RTM_QDISC.NEW, F.CREATE | F.EXCL, INGRESS_HANDLE, PARENT.INGRESS)
        .text(TCA.KIND, 'ingress')
        .end();
      return null;
    case 'delete ingress':
      qdisc(RTM_QDISC.DEL, 0, INGRESS_HANDLE, PARENT.INGRESS).end();
      return null;
    case 'redirect': {
      const to = indexOf(write.to);
      return to === 0 ? write.to : encodeRedirect(w, index, to, seq);
    }
    case 'delete redirect':
      message(w, RTM_FILTER.DEL, F.REQUEST, seq).u32(index).u32(0).u32(INGRESS_FILTERS).u32(FILTER_INFO);
      w.text(TCA.KIND, 'u32').end();
      return null;
  }
}

/** A u32 filter that matches everything, of any protocol, and hands it to another interface. */
function encodeRedirect(w: MessageWriter, index: number, to: number, seq: number): null {
  message(w, RTM_FILTER.NEW, F.REQUEST | F.CREATE | F.EXCL, seq)
    .u32(index)
    .u32(0)
    .u32(INGRESS_FILTERS)
    .u32(FILTER_INFO);
  w.text(TCA.KIND, 'u32');
  w.nest(TCA.OPTIONS, () => {
    // tc_u32_sel: terminal, one key; the key of all zeros.
    const selector = Buffer.alloc(32);
    selector[0] = 1;
    selector[2] = 1;
    w.attr(U32.SEL, selector);
    w.nest(U32.ACT, () =>
      w.nest(1, () => {
        w.text(ACT.KIND, 'mirred');
        w.nest(ACT.OPTIONS, () => w.attr(MIRRED_PARMS, mirred(to)));
      }),
    );
  });
  w.end();
  return null;
}

/** struct tc_mirred: index, capabilities, what becomes of the packet here, two counts, what is done, to which interface. */
const mirred = (to: number): Uint8Array =>
  new Uint8Array(Uint32Array.of(0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to).buffer);
