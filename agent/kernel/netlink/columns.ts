import type { Prefix } from '#core';
import type { Route, RouteColumns, RouteWrite } from '../types.ts';
import { HEADER, MessageWriter } from './message.ts';
import type { Writes } from './request.ts';
import { encodeRoute, type IndexOf } from './route.ts';

/** Offsets in a route message: nlmsg_seq, rtm_dst_len, and the value of RTA_DST, which `encodeRoute` writes first. */
const SEQ = 8;
const DST_LENGTH = HEADER + 1;
const DST = HEADER + 12 + 4;

/** A message with everything but number and destination, or the interface that it would need. */
type Template = Buffer | string;

/** Each change as a copy of the message of its kind, with its own destination. */
export function columnWrites(columns: RouteColumns, indexOf: IndexOf): Writes {
  const { family, count, addr, length, op, like } = columns;
  const words = family === 4 ? 1 : 4;
  const any = (family === 4 ? '0.0.0.0/0' : '::/0') as Prefix;
  const templates = new Map<Route, Map<RouteWrite['op'], Template>>();
  const templateOf = (route: Route, kind: RouteWrite['op']): Template => {
    const kinds = templates.get(route) ?? new Map<RouteWrite['op'], Template>();
    templates.set(route, kinds);
    const template = kinds.get(kind) ?? encode({ op: kind, route: { ...route, to: any } }, indexOf);
    kinds.set(kind, template);
    return template;
  };
  return {
    count,
    fine: (index) => (op[index] === 'delete' ? GONE : undefined),
    encode: (index, w, seq) => {
      const template = templateOf(like[index], op[index]);
      if (typeof template === 'string') return template;
      const start = w.length;
      w.raw(template).patch32(start + SEQ, seq);
      w.bytes[start + DST_LENGTH] = length[index];
      for (let word = 0; word < words; word++)
        w.bytes.writeUInt32BE(addr[index * words + word], start + DST + word * 4);
      return null;
    },
  };
}
const GONE = ['ESRCH'];

function encode(write: RouteWrite, indexOf: IndexOf): Template {
  const w = new MessageWriter(8 << 10);
  return encodeRoute(w, write, 0, indexOf) ?? Buffer.from(w.bytes.subarray(0, w.length));
}
