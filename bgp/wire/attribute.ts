import { type Addr, addrBytes, bytesToAddr, copyOf, type Writer } from '#core';
import { needsAs4Path, readAsPath, sortedUnique, writeAsPath } from './as-path.ts';
import { AS_TRANS, ERROR, malformed, UPDATE_ERROR } from './codes.ts';
import type {
  AsSegment,
  DecodeContext,
  LargeCommunity,
  Malformed,
  Origin,
  PathAttributes,
  UnknownAttribute,
} from './types.ts';

/**
 * The path attributes, one row each: name, flag bits, how it is read, how it is written, and what malformed means (RFC 7606 §7). A new attribute is
 * a new row and a field of `PathAttributes`. MP_REACH_NLRI and MP_UNREACH_NLRI are not here: they are not properties of a route but a place
 * for routes, and `update.ts` takes them apart.
 */

export const FLAG = { optional: 0x80, transitive: 0x40, partial: 0x20, extendedLength: 0x10 } as const;
export const ATTRIBUTE = {
  ORIGIN: 1,
  AS_PATH: 2,
  NEXT_HOP: 3,
  MULTI_EXIT_DISC: 4,
  LOCAL_PREF: 5,
  ATOMIC_AGGREGATE: 6,
  AGGREGATOR: 7,
  COMMUNITIES: 8,
  ORIGINATOR_ID: 9,
  CLUSTER_LIST: 10,
  MP_REACH_NLRI: 14,
  MP_UNREACH_NLRI: 15,
  EXTENDED_COMMUNITIES: 16,
  AS4_PATH: 17,
  AS4_AGGREGATOR: 18,
  AIGP: 26,
  LARGE_COMMUNITIES: 32,
  ONLY_TO_CUSTOMER: 35,
} as const;

/** `PathAttributes` in the making, with what only the wire knows. */
export type Draft = { -readonly [K in keyof PathAttributes]: PathAttributes[K] | null } & {
  as4Path: readonly AsSegment[] | null;
  as4Aggregator: PathAttributes['aggregator'];
  unknown: UnknownAttribute[];
  partial: number[];
};

/** How the session carries attributes. */
export interface Flavour {
  readonly fourOctetAs: boolean;
}

export interface AttrSpec {
  readonly name: string;
  /** The optional and transitive bits that it must have. */
  readonly flags: number;
  /** What a wrong value, or wrong flag bits (RFC 7606 §3c), mean. */
  readonly malformed: 'treat-as-withdraw' | 'attribute-discard';
  /** Reads `bytes[start, end)`; a text says why the value is malformed, a `Malformed` is a reaction other than `malformed` above. */
  decode(bytes: Uint8Array, start: number, end: number, into: Draft, ctx: DecodeContext): string | Malformed | null;
  /** Writes the value; absent where nothing is ever sent. */
  encode?(from: PathAttributes, w: Writer, flavour: Flavour): void;
  /** Whether the value has the attribute. */
  present?(from: PathAttributes, flavour: Flavour): boolean;
}

const { optional, transitive } = FLAG;
const WELL_KNOWN = transitive;
const WITHDRAW = 'treat-as-withdraw';
const DISCARD = 'attribute-discard';

const u32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

const wrongLength = (length: number) => `length ${length}`;
const discard = (name: string, reason: string) =>
  malformed(DISCARD, ERROR.update, UPDATE_ERROR.optionalAttribute, `${name}: ${reason}`);

/** A 32-bit value; `what` of an external peer is discarded whatever its length (RFC 7606 §7.5, §7.9, §7.10). */
const internalOnly = (name: string, ctx: DecodeContext) => (ctx.ebgp ? discard(name, 'from an external peer') : null);

export const ATTRIBUTES: Readonly<Record<number, AttrSpec>> = {
  [ATTRIBUTE.ORIGIN]: {
    name: 'ORIGIN',
    flags: WELL_KNOWN,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (end - start !== 1) return wrongLength(end - start);
      if (bytes[start] > 2) return `value ${bytes[start]}`;
      into.origin = bytes[start] as Origin;
      return null;
    },
    encode: (from, w) => void w.u8(from.origin),
    present: () => true,
  },
  [ATTRIBUTE.AS_PATH]: {
    name: 'AS_PATH',
    flags: WELL_KNOWN,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into, ctx) => {
      const path = readAsPath(bytes, start, end, ctx.fourOctetAs ? 4 : 2, 'refuse');
      if (typeof path === 'string') return path;
      into.asPath = path;
      return null;
    },
    encode: (from, w, { fourOctetAs }) => writeAsPath(w, from.asPath, fourOctetAs ? 4 : 2),
    present: () => true,
  },
  [ATTRIBUTE.NEXT_HOP]: {
    name: 'NEXT_HOP',
    flags: WELL_KNOWN,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (end - start !== 4) return wrongLength(end - start);
      into.nextHop = hopOf(bytes, start);
      return null;
    },
    encode: (from, w) => void w.put(nextHopBytes(from)),
    present: () => true,
  },
  [ATTRIBUTE.MULTI_EXIT_DISC]: {
    name: 'MULTI_EXIT_DISC',
    flags: optional,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (end - start !== 4) return wrongLength(end - start);
      into.med = u32(bytes, start);
      return null;
    },
    encode: (from, w) => void w.u32(from.med!),
    present: (from) => from.med !== null,
  },
  [ATTRIBUTE.LOCAL_PREF]: {
    name: 'LOCAL_PREF',
    flags: WELL_KNOWN,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into, ctx) => {
      if (ctx.ebgp) return internalOnly('LOCAL_PREF', ctx);
      if (end - start !== 4) return wrongLength(end - start);
      into.localPref = u32(bytes, start);
      return null;
    },
    encode: (from, w) => void w.u32(from.localPref!),
    present: (from) => from.localPref !== null,
  },
  [ATTRIBUTE.ATOMIC_AGGREGATE]: {
    name: 'ATOMIC_AGGREGATE',
    flags: WELL_KNOWN,
    malformed: DISCARD,
    decode: (_bytes, start, end, into) => {
      if (end !== start) return wrongLength(end - start);
      into.atomicAggregate = true;
      return null;
    },
    encode: () => {},
    present: (from) => from.atomicAggregate,
  },
  [ATTRIBUTE.AGGREGATOR]: {
    name: 'AGGREGATOR',
    flags: optional | transitive,
    malformed: DISCARD,
    decode: (bytes, start, end, into, ctx) => {
      const width = ctx.fourOctetAs ? 4 : 2;
      if (end - start !== width + 4) return wrongLength(end - start);
      const asNumber = width === 4 ? u32(bytes, start) : (bytes[start] << 8) | bytes[start + 1];
      if (asNumber === 0) return 'AS 0';
      into.aggregator = { asNumber, identifier: u32(bytes, start + width) };
      return null;
    },
    encode: ({ aggregator }, w, { fourOctetAs }) => {
      const { asNumber, identifier } = aggregator!;
      if (fourOctetAs) w.u32(asNumber);
      else w.u16(asNumber > 0xffff ? AS_TRANS : asNumber);
      w.u32(identifier);
    },
    present: (from) => from.aggregator !== null,
  },
  [ATTRIBUTE.COMMUNITIES]: {
    name: 'COMMUNITIES',
    flags: optional | transitive,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      const list = words(bytes, start, end);
      if (!list) return wrongLength(end - start);
      into.communities = sortedUnique(list);
      return null;
    },
    encode: (from, w) => putWords(w, from.communities),
    present: (from) => from.communities.length > 0,
  },
  [ATTRIBUTE.ORIGINATOR_ID]: {
    name: 'ORIGINATOR_ID',
    flags: optional,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into, ctx) => {
      if (ctx.ebgp) return internalOnly('ORIGINATOR_ID', ctx);
      if (end - start !== 4) return wrongLength(end - start);
      into.originatorId = u32(bytes, start);
      return null;
    },
    encode: (from, w) => void w.u32(from.originatorId!),
    present: (from) => from.originatorId !== null,
  },
  [ATTRIBUTE.CLUSTER_LIST]: {
    name: 'CLUSTER_LIST',
    flags: optional,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into, ctx) => {
      if (ctx.ebgp) return internalOnly('CLUSTER_LIST', ctx);
      const list = words(bytes, start, end);
      if (!list) return wrongLength(end - start);
      into.clusterList = list;
      return null;
    },
    encode: (from, w) => putWords(w, from.clusterList),
    present: (from) => from.clusterList.length > 0,
  },
  [ATTRIBUTE.EXTENDED_COMMUNITIES]: {
    name: 'EXTENDED COMMUNITIES',
    flags: optional | transitive,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (start === end || (end - start) % 8 !== 0) return wrongLength(end - start);
      into.extendedCommunities = copyOf(bytes, start, end);
      return null;
    },
    encode: (from, w) => void w.put(from.extendedCommunities!),
    present: (from) => from.extendedCommunities !== null,
  },
  [ATTRIBUTE.AS4_PATH]: {
    name: 'AS4_PATH',
    flags: optional | transitive,
    malformed: DISCARD,
    decode: (bytes, start, end, into, ctx) => {
      // RFC 6793 §4.1: a speaker that knows four-octet numbers does not send it.
      if (ctx.fourOctetAs) return 'from a four-octet speaker';
      const path = readAsPath(bytes, start, end, 4, 'strip');
      if (typeof path === 'string') return path;
      into.as4Path = path;
      return null;
    },
    encode: (from, w) => writeAsPath(w, from.asPath, 4),
    present: (from, { fourOctetAs }) => !fourOctetAs && needsAs4Path(from.asPath),
  },
  [ATTRIBUTE.AS4_AGGREGATOR]: {
    name: 'AS4_AGGREGATOR',
    flags: optional | transitive,
    malformed: DISCARD,
    decode: (bytes, start, end, into, ctx) => {
      if (ctx.fourOctetAs) return 'from a four-octet speaker';
      if (end - start !== 8) return wrongLength(end - start);
      if (u32(bytes, start) === 0) return 'AS 0';
      into.as4Aggregator = { asNumber: u32(bytes, start), identifier: u32(bytes, start + 4) };
      return null;
    },
    encode: ({ aggregator }, w) => void w.u32(aggregator!.asNumber).u32(aggregator!.identifier),
    present: (from, { fourOctetAs }) => !fourOctetAs && from.aggregator !== null && from.aggregator.asNumber > 0xffff,
  },
  [ATTRIBUTE.AIGP]: {
    name: 'AIGP',
    flags: optional,
    malformed: DISCARD,
    // RFC 7311 §3.3: no session of ours is an AIGP session, so a good one is left out in silence, as an unknown non-transitive one is.
    decode: (bytes, start, end) => (isTlvList(bytes, start, end) ? null : 'malformed TLV'),
  },
  [ATTRIBUTE.LARGE_COMMUNITIES]: {
    name: 'LARGE COMMUNITIES',
    flags: optional | transitive,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (start === end || (end - start) % 12 !== 0) return wrongLength(end - start);
      const list: LargeCommunity[] = [];
      for (let at = start; at < end; at += 12) list.push([u32(bytes, at), u32(bytes, at + 4), u32(bytes, at + 8)]);
      into.largeCommunities = sortLargeCommunities(list);
      return null;
    },
    encode: (from, w) => {
      for (const [global, one, two] of from.largeCommunities) w.u32(global).u32(one).u32(two);
    },
    present: (from) => from.largeCommunities.length > 0,
  },
  [ATTRIBUTE.ONLY_TO_CUSTOMER]: {
    name: 'ONLY_TO_CUSTOMER',
    flags: optional | transitive,
    malformed: WITHDRAW,
    decode: (bytes, start, end, into) => {
      if (end - start !== 4) return wrongLength(end - start);
      if (u32(bytes, start) === 0) return 'AS 0';
      into.otc = u32(bytes, start);
      return null;
    },
    encode: (from, w) => void w.u32(from.otc!),
    present: (from) => from.otc !== null,
  },
};

/** One or more 32-bit values, or undefined when the length says otherwise. */
function words(bytes: Uint8Array, start: number, end: number): number[] | undefined {
  if (start === end || (end - start) % 4 !== 0) return undefined;
  const list: number[] = [];
  for (let at = start; at < end; at += 4) list.push(u32(bytes, at));
  return list;
}

function putWords(w: Writer, list: readonly number[]): void {
  for (const value of list) w.u32(value);
}

/** RFC 7311 §3: type, length that counts itself and the type, value; the AIGP TLV (type 1) is 11 bytes long. */
function isTlvList(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (end - at >= 3) {
    const length = (bytes[at + 1] << 8) | bytes[at + 2];
    if (length < 3 || length > end - at || bytes[at] !== 1 || length !== 11) return false;
    at += length;
  }
  return at === end && end > start;
}

const compareLarge = (a: LargeCommunity, b: LargeCommunity): number => a[0] - b[0] || a[1] - b[1] || a[2] - b[2];

/** Sorted, each once (RFC 8092 §5). */
export function sortLargeCommunities(list: readonly LargeCommunity[]): readonly LargeCommunity[] {
  if (list.length < 2) return list;
  const sorted = list.slice().sort(compareLarge);
  return sorted.filter((value, i) => i === 0 || compareLarge(value, sorted[i - 1]) !== 0);
}

let lastWord = 0;
let lastHop = '0.0.0.0' as Addr;
/** The IPv4 address at `at`. A feed repeats its next hop, so the last text is kept. */
function hopOf(bytes: Uint8Array, at: number): Addr {
  const word = u32(bytes, at);
  if (word !== lastWord) {
    lastHop = bytesToAddr(bytes.subarray(at, at + 4));
    lastWord = word;
  }
  return lastHop;
}

const last = { nextHop: '', linkLocal: null as Addr | null, bytes: new Uint8Array(0) as Uint8Array };
/**
 * 4 or 16 bytes, or 32 when a link-local address goes with the global one (RFC 2545 §3). Not to be changed: whoever asks for the same next hop again
 * gets the same bytes.
 */
export function nextHopBytes({ nextHop, nextHopLinkLocal }: PathAttributes): Uint8Array {
  if (nextHop === last.nextHop && nextHopLinkLocal === last.linkLocal) return last.bytes;
  const global = addrBytes(nextHop);
  last.nextHop = nextHop;
  last.linkLocal = nextHopLinkLocal;
  last.bytes = nextHopLinkLocal === null ? global : Uint8Array.of(...global, ...addrBytes(nextHopLinkLocal));
  return last.bytes;
}
