import { frame, nextFrame } from '../../../../bgp/wire/frame.ts';
import { decodeMessage } from '../../../../bgp/wire/message.ts';
import type { DecodeContext, Malformed, Message, MessageType, Update } from '../../../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../../../bgp/wire/update.ts';

/** Messages put together byte by byte, so that they can be wrong in any way, and what the codec makes of them. */

export type Bytes = readonly number[];

export const ctx: DecodeContext = {
  ebgp: true,
  peerAs: 65001,
  fourOctetAs: true,
  families: [4, 6],
  addPathReceive: { 4: false, 6: false },
  extendedNextHop: false,
  maxMessage: 4096,
  routeRefresh: true,
  enhancedRouteRefresh: true,
  options: { enforceFirstAs: true, acceptAsSet: false, dropMartians: true },
};
export const ibgp: DecodeContext = { ...ctx, ebgp: false };
export const twoOctet: DecodeContext = { ...ctx, fourOctetAs: false };

export const u16 = (value: number): Bytes => [value >> 8, value & 0xff];
export const u32 = (value: number): Bytes => [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];

export const message = (type: MessageType, body: Bytes): Uint8Array => frame(type, Uint8Array.from(body));

/** A header that says what it is told to, and no body. */
export const header = (length: number, type: number): Uint8Array =>
  Uint8Array.from([...Array<number>(16).fill(0xff), ...u16(length), type]);

/** One attribute; extended length where the value needs it. */
export const attr = (flags: number, code: number, value: Bytes): Bytes =>
  value.length > 255 ? [flags | 0x10, code, ...u16(value.length), ...value] : [flags, code, value.length, ...value];

export const seq = (...asNumbers: number[]): Bytes => [2, asNumbers.length, ...asNumbers.flatMap(u32)];
export const seq2 = (...asNumbers: number[]): Bytes => [2, asNumbers.length, ...asNumbers.flatMap(u16)];

export const ORIGIN = attr(0x40, 1, [0]);
export const AS_PATH = attr(0x40, 2, seq(65001));
export const AS_PATH_2 = attr(0x40, 2, seq2(65001));
export const NEXT_HOP = attr(0x40, 3, [10, 0, 0, 1]);
export const LOCAL_PREF = attr(0x40, 5, u32(100));
export const BASE: Bytes = [...ORIGIN, ...AS_PATH, ...NEXT_HOP];
export const BASE_2: Bytes = [...ORIGIN, ...AS_PATH_2, ...NEXT_HOP];
export const BASE_IBGP: Bytes = [...BASE, ...LOCAL_PREF];

/** 20.0.0.0/24 */
export const P24: Bytes = [24, 20, 0, 0];
/** 2001:db8::/32 */
export const P32: Bytes = [32, 0x20, 1, 0xd, 0xb8];
export const NH6: Bytes = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
export const LL6: Bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

export const reach = (afi: number, nextHop: Bytes, nlri: Bytes, reserved = 0): Bytes =>
  attr(0x80, 14, [...u16(afi), 1, nextHop.length, ...nextHop, reserved, ...nlri]);
export const unreach = (afi: number, nlri: Bytes): Bytes => attr(0x80, 15, [...u16(afi), 1, ...nlri]);

export const update = (attributes: Bytes, nlri: Bytes = [], withdrawn: Bytes = []): Uint8Array =>
  message('UPDATE', [...u16(withdrawn.length), ...withdrawn, ...u16(attributes.length), ...attributes, ...nlri]);

/** What came of some bytes: the catalogue's reaction code, and the values behind it. */
export interface Outcome {
  readonly reaction: string;
  readonly fault: Malformed | null;
  readonly message: Message | null;
  readonly update: Update | null;
}

const REACTION: Readonly<Record<string, string>> = {
  'treat-as-withdraw': 'TAW',
  'attribute-discard': 'AD',
  ignore: 'IGN',
  close: 'close',
};

/** Frames and decodes one message, as a session would. */
export function receive(bytes: Uint8Array, context: DecodeContext | null = ctx): Outcome {
  const length = nextFrame(bytes, 0, bytes.length, context?.maxMessage ?? 4096);
  if (typeof length !== 'number') return outcome(length, null);
  if (length === 0) return { reaction: 'more', fault: null, message: null, update: null };
  const decoded = decodeMessage(bytes, 0, length, context && new UpdateDecoder(context));
  if (!decoded.ok) return outcome(decoded.error, null);
  const { value } = decoded;
  const notes = value.type === 'UPDATE' || value.type === 'OPEN' ? value.notes : [];
  const discarded = notes.find((note) => note.disposition === 'attribute-discard');
  return outcome((value.type === 'UPDATE' ? value.fault : null) ?? discarded ?? notes[0] ?? null, value);
}

function outcome(fault: Malformed | null, value: Message | null): Outcome {
  const reaction = !fault
    ? 'accept'
    : fault.disposition === 'reset'
      ? `N ${fault.code}/${fault.subcode}`
      : REACTION[fault.disposition];
  return { reaction, fault, message: value, update: value?.type === 'UPDATE' ? value : null };
}
