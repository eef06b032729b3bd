import type { Family } from '#core';
import { type Datagram, F, type Message, type MessageWriter } from '../netlink/message.ts';

/** Numbers of linux/netfilter/nf_tables.h and nfnetlink.h. Values of attributes are in network order unless they are a packet's or register's bytes. */

const SUBSYSTEM = 10;
const BATCH = { BEGIN: 16, END: 17 } as const;
/** nft_msg_types */
export const MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  GETRULE: 7,
  DELRULE: 8,
  NEWSET: 9,
  GETSET: 10,
  DELSET: 11,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
} as const;
export const TABLE = { NAME: 1 } as const;
export const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
export const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
export const RULE = { TABLE: 1, CHAIN: 2, HANDLE: 3, EXPRESSIONS: 4, USERDATA: 7 } as const;
export const SET = {
  TABLE: 1,
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LENGTH: 5,
  DATA_TYPE: 6,
  DATA_LENGTH: 7,
  DESCRIPTION: 9,
  ID: 10,
  USERDATA: 13,
  COUNT: 20,
} as const;
/** nft_set_flags */
export const SET_FLAG = { ANONYMOUS: 1, CONSTANT: 2, INTERVAL: 4, MAP: 8 } as const;
export const ELEMENTS = { TABLE: 1, SET: 2, LIST: 3, SET_ID: 4 } as const;
export const ELEMENT = { KEY: 1, DATA: 2, FLAGS: 3 } as const;
/** NFT_SET_ELEM_INTERVAL_END */
export const INTERVAL_END = 1;
export const DATA = { VALUE: 1, VERDICT: 2 } as const;
export const VERDICT = { CODE: 1, CHAIN: 2 } as const;
export const LIST_ELEMENT = 1;

/** What `nft` calls the types of keys, so that it prints a set of ours as one of its own (nft's enum datatypes; a concatenation shifts by 6 bits). */
export const DATATYPE = {
  ADDRESS: { 4: 7, 6: 8 },
  PROTOCOL: 12,
  SERVICE: 13,
  INTERFACE: 41,
  VERDICT: 0xffff_ff00,
} as const;
export const concatenated = (types: readonly number[]): number => types.reduce((all, type) => (all << 6) | type, 0);

/** An attribute: a number is 32 bits and a bigint 64 bits wide, both in network order; text ends with a zero byte; a list is nested. */
export type Attr = readonly [type: number, value: number | bigint | string | Uint8Array | readonly Attr[]];

const NESTED = 0x8000;

export function writeAttrs(w: MessageWriter, attrs: readonly Attr[]): void {
  for (const [type, value] of attrs)
    if (typeof value === 'number') w.attrBig32(type, value);
    else if (typeof value === 'string') w.text(type, value);
    else if (typeof value === 'bigint') w.attrBig64(type, value);
    else if (value instanceof Uint8Array) w.attr(type, value);
    else w.nest(type | NESTED, () => writeAttrs(w, value as readonly Attr[]));
}

/** A value in a register, or a verdict. */
export const dataOf = (bytes: Uint8Array): readonly Attr[] => [[DATA.VALUE, bytes]];

const afOf = (family: Family): number => (family === 4 ? 2 : 10);
/** nfgenmsg: family, version, resource id in network order. */
const header = (w: MessageWriter, type: number, flags: number, seq: number, family: number, resource: number) =>
  w.begin(type, flags, seq).u8(family).u8(0).u8(0).u8(resource);

/** One message of a transaction, or a question. */
export function writeMessage(
  w: MessageWriter,
  type: number,
  flags: number,
  family: Family,
  seq: number,
  attrs: (w: MessageWriter) => void,
): void {
  header(w, (SUBSYSTEM << 8) | type, F.REQUEST | flags, seq, afOf(family), 0);
  attrs(w);
  w.end();
}
export const writeBegin = (w: MessageWriter, seq: number): void =>
  void header(w, BATCH.BEGIN, F.REQUEST, seq, 0, SUBSYSTEM).end();
export const writeEnd = (w: MessageWriter, seq: number): void =>
  void header(w, BATCH.END, F.REQUEST, seq, 0, SUBSYSTEM).end();

/** nfgenmsg in front of the attributes of an answer. */
export const NFGENMSG = 4;

/** The attributes of an answer by type: where their values lie. */
export function attrsOf(d: Datagram, start: number, end: number): Map<number, readonly [at: number, end: number]> {
  const found = new Map<number, readonly [number, number]>();
  d.attributes(start, end, (type, at, stop) => found.set(type, [at, stop]));
  return found;
}
export const answerAttrs = (d: Datagram, m: Message) => attrsOf(d, m.start + NFGENMSG, m.end);
