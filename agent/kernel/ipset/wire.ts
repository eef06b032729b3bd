import type { Family } from '#core';
import type { SetType } from '#policy';
import { F, type MessageWriter } from '../netlink/message.ts';

/** Numbers of linux/netfilter/ipset/ip_set.h, and the messages that are made of them. Numbers are in network order, and say so. */

const SUBSYSTEM = 6;
/** Every kernel takes it (IPSET_PROTOCOL_MIN); what came with 7 are indexes of sets, which nobody here asks for. */
const PROTOCOL = 6;
const CMD = { CREATE: 2, DESTROY: 3, SWAP: 6, LIST: 7, SAVE: 8, ADD: 9, DEL: 10, TYPE: 13 } as const;
/** Attributes of a message. */
export const ATTR = {
  PROTOCOL: 1,
  NAME: 2,
  TYPE: 3,
  /** Of a swap. */
  OTHER_NAME: 3,
  REVISION: 4,
  FAMILY: 5,
  FLAGS: 6,
  DATA: 7,
  MEMBERS: 8,
  LINE: 9,
} as const;
/** Attributes of a set, inside DATA. */
export const SET = { HASH_SIZE: 18, MAX_ELEMENTS: 19, ELEMENTS: 24 } as const;
/** Attributes of a member. */
export const MEMBER = { ADDRESS: 1, LENGTH: 3, PORT: 4, PROTOCOL: 7, FLAGS: 8 } as const;
/** Attributes of an address. */
export const ADDRESS = { 4: 1, 6: 2 } as const;
/** IPSET_FLAG_NOMATCH of a member: it says what is not in the set. */
export const NO_MATCH = 4;
const HEADERS_ONLY = 4;
export const NESTED = 0x8000;
export const NET_ORDER = 0x4000;
/** nfgenmsg in front of the attributes. */
export const NFGENMSG = 4;

/** nfgenmsg is written as the program writes it; the kernel reads neither the family nor the rest of it. */
const begin = (w: MessageWriter, command: number, flags: number, seq: number): MessageWriter =>
  w
    .begin((SUBSYSTEM << 8) | command, F.REQUEST | flags, seq)
    .u8(2)
    .zero(3)
    .attr8(ATTR.PROTOCOL, PROTOCOL);

const afOf = (family: Family): number => (family === 4 ? 2 : 10);

/** What a new set is. */
export interface Shape {
  readonly type: SetType;
  readonly family: Family;
  /** Members at most. */
  readonly maxElements: number;
  /** Those that it will have first. */
  readonly members: { readonly size: number };
}

/**
 * The least that the kernel makes (IPSET_MIMINAL_HASHSIZE); 1024 if nobody says otherwise, which it walks for each set whenever sets are listed. It doubles
 * them, and files all members again, when one has more than 12.
 */
const LEAST_BUCKETS = 64;
/** With four in each on average one has; where three are, none will have so many soon. */
const IN_A_BUCKET = 3;
function bucketsFor(members: number): number {
  let buckets = LEAST_BUCKETS;
  while (buckets * IN_A_BUCKET < members) buckets *= 2;
  return buckets;
}

/** Asks what revisions of a type the kernel has. */
export function writeTypeQuery(w: MessageWriter, type: SetType, family: Family, seq: number): void {
  begin(w, CMD.TYPE, 0, seq).text(ATTR.TYPE, type).attr8(ATTR.FAMILY, afOf(family)).end();
}
/** Refused where a set of that name is there. */
export function writeCreate(w: MessageWriter, name: string, shape: Shape, revision: number, seq: number): void {
  begin(w, CMD.CREATE, F.CREATE | F.EXCL, seq)
    .text(ATTR.NAME, name)
    .text(ATTR.TYPE, shape.type)
    .attr8(ATTR.REVISION, revision)
    .attr8(ATTR.FAMILY, afOf(shape.family))
    .nest(ATTR.DATA | NESTED, () =>
      w
        .attrBig32(SET.HASH_SIZE | NET_ORDER, bucketsFor(shape.members.size))
        .attrBig32(SET.MAX_ELEMENTS | NET_ORDER, shape.maxElements),
    )
    .end();
}
export function writeDestroy(w: MessageWriter, name: string, seq: number): void {
  begin(w, CMD.DESTROY, F.EXCL, seq).text(ATTR.NAME, name).end();
}
/** Exchanges the names of two sets of one type, under the rules that use them. */
export function writeSwap(w: MessageWriter, name: string, other: string, seq: number): void {
  begin(w, CMD.SWAP, 0, seq).text(ATTR.NAME, name).text(ATTR.OTHER_NAME, other).end();
}
/** Adds members or takes them away; one that is there already, or gone already, is no failure. The length of the list is 16 bits. */
export function writeChange(w: MessageWriter, op: 'add' | 'del', name: string, members: () => void, seq: number): void {
  begin(w, op === 'add' ? CMD.ADD : CMD.DEL, 0, seq)
    .text(ATTR.NAME, name)
    // The kernel wants a line number with a list, to tell a line that it refuses; without numbers on the members it tells the message.
    .attrBig32(ATTR.LINE | NET_ORDER, 0)
    .nest(ATTR.MEMBERS | NESTED, members)
    .end();
}
/** All sets, without members. */
export function writeList(w: MessageWriter, seq: number): void {
  begin(w, CMD.LIST, F.DUMP, seq)
    .attrBig32(ATTR.FLAGS | NET_ORDER, HEADERS_ONLY)
    .end();
}
/** One set with its members, or all. */
export function writeSave(w: MessageWriter, name: string | undefined, seq: number): void {
  begin(w, CMD.SAVE, F.DUMP, seq);
  if (name !== undefined) w.text(ATTR.NAME, name);
  w.end();
}
