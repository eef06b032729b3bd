import { Bug, copyInto, type Family } from '#core';
import { ATTRIBUTE, FLAG } from './attribute.ts';
import { afiOf, HEADER_LENGTH } from './codes.ts';
import { writeHeader } from './frame.ts';
import { type Cursor, type NlriColumns, writeNlri } from './nlri.ts';

/** Routes to UPDATE messages, as many as fit each, straight into a large buffer that goes to the socket as it is. */

/** An encoded attribute set as a session sends it: what `encodeAttributes` gave, kept for as long as it is of use. */
export interface EncodedAttributes {
  /** With NEXT_HOP when `nextHop` is null, else without. */
  readonly bytes: Uint8Array;
  /** Next hop for MP_REACH_NLRI, 4, 16 or 32 bytes; null: IPv4 routes in the body, with NEXT_HOP. */
  readonly nextHop: Uint8Array | null;
}

/** Which prefixes of the columns to write: `ids[first, last)`, or `first` to `last` themselves; path identifiers run beside. */
export interface Selection {
  readonly from: NlriColumns;
  readonly ids: Uint32Array | null;
  /** Null where add-path is not negotiated for sending the family. */
  readonly pathIds: Uint32Array | null;
}

const FIXED = HEADER_LENGTH + 4;
const MP_FLAGS = FLAG.optional | FLAG.extendedLength;

/** Bytes beside the prefixes in a message that announces: header, lengths, attributes, and the head of MP_REACH_NLRI. */
const overhead = ({ bytes, nextHop }: EncodedAttributes): number =>
  FIXED + bytes.length + (nextHop === null ? 0 : 4 + 5 + nextHop.length);

/**
 * Whether at least one prefix of any length fits a message beside the attributes. Where it does not, the route must be withdrawn:
 * a truncated attribute list would say something else (catalogue U54).
 */
export const fits = (attributes: EncodedAttributes, family: Family, addPath: boolean, maxMessage: number): boolean =>
  overhead(attributes) + (addPath ? 5 : 1) + (family === 4 ? 4 : 16) <= maxMessage;

/** Writes UPDATE messages one behind the other from `at` on. */
export class UpdateWriter implements Cursor {
  readonly out: Uint8Array;
  readonly #maxMessage: number;
  /** The end of the messages that are written. */
  at = 0;

  /** @param out room for at least one message of `maxMessage` bytes. */
  constructor(out: Uint8Array, maxMessage: number) {
    this.out = out;
    this.#maxMessage = maxMessage;
  }

  /** Whether another message of full size has room. */
  get hasRoom(): boolean {
    return this.out.length - this.at >= this.#maxMessage;
  }

  /**
   * Announces prefixes with one attribute set, which must fit (see `fits`). Returns the first index that is not written, `last` when all
   * are; before that, the buffer is full and wants to be sent.
   */
  announce(attributes: EncodedAttributes, selection: Selection, first: number, last: number): number {
    if (!fits(attributes, selection.from.family, selection.pathIds !== null, this.#maxMessage))
      throw new Bug(`attributes of ${attributes.bytes.length} bytes leave no room for a prefix`);
    const body = attributes.nextHop === null;
    let index = first;
    while (index < last && this.hasRoom)
      index = body
        ? this.#announceInBody(attributes.bytes, selection, index, last)
        : this.#announceMp(attributes.bytes, attributes.nextHop, selection, index, last);
    return index;
  }

  /** Withdraws prefixes; returns as `announce` does. */
  withdraw(selection: Selection, first: number, last: number): number {
    let index = first;
    while (index < last && this.hasRoom)
      index =
        selection.from.family === 4
          ? this.#withdrawInBody(selection, index, last)
          : this.#withdrawMp(selection, index, last);
    return index;
  }

  /** End-of-RIB (RFC 4724 §2). Asks for `hasRoom`. */
  endOfRib(family: Family): void {
    const start = this.at;
    const at = start + HEADER_LENGTH;
    if (family === 4) {
      this.out.fill(0, at, at + 4);
      this.#close(start, at + 4);
      return;
    }
    // The short length: receivers look for just these bytes.
    const endOfRib = [0, 0, 0, 6, FLAG.optional, ATTRIBUTE.MP_UNREACH_NLRI, 3, 0, afiOf(family), 1];
    this.out.set(endOfRib, at);
    this.#close(start, at + endOfRib.length);
  }

  #announceInBody(attributes: Uint8Array, selection: Selection, first: number, last: number): number {
    const start = this.at;
    const at = start + HEADER_LENGTH;
    this.#u16(at, 0);
    this.#u16(at + 2, attributes.length);
    copyInto(this.out, at + 4, attributes);
    this.at = at + 4 + attributes.length;
    const next = this.#nlri(start + this.#maxMessage, selection, first, last);
    this.#close(start, this.at);
    return next;
  }

  /** RFC 7606 §5.1: MP_REACH_NLRI stands first. */
  #announceMp(attributes: Uint8Array, nextHop: Uint8Array, selection: Selection, first: number, last: number): number {
    const start = this.at;
    const at = start + HEADER_LENGTH;
    const mp = at + 4;
    this.out[mp + 7] = nextHop.length;
    copyInto(this.out, mp + 8, nextHop);
    this.out[mp + 8 + nextHop.length] = 0;
    this.at = mp + 9 + nextHop.length;
    const next = this.#nlri(start + this.#maxMessage - attributes.length, selection, first, last);
    this.#mpHead(mp, ATTRIBUTE.MP_REACH_NLRI, this.at - mp - 4, selection.from.family);
    copyInto(this.out, this.at, attributes);
    this.at += attributes.length;
    this.#u16(at, 0);
    this.#u16(at + 2, this.at - mp);
    this.#close(start, this.at);
    return next;
  }

  #withdrawInBody(selection: Selection, first: number, last: number): number {
    const start = this.at;
    const at = start + HEADER_LENGTH;
    this.at = at + 2;
    const next = this.#nlri(start + this.#maxMessage - 2, selection, first, last);
    this.#u16(at, this.at - at - 2);
    this.#u16(this.at, 0);
    this.#close(start, this.at + 2);
    return next;
  }

  #withdrawMp(selection: Selection, first: number, last: number): number {
    const start = this.at;
    const at = start + HEADER_LENGTH;
    const mp = at + 4;
    this.at = mp + 7;
    const next = this.#nlri(start + this.#maxMessage, selection, first, last);
    this.#mpHead(mp, ATTRIBUTE.MP_UNREACH_NLRI, this.at - mp - 4, selection.from.family);
    this.#u16(at, 0);
    this.#u16(at + 2, this.at - mp);
    this.#close(start, this.at);
    return next;
  }

  #nlri(limit: number, { from, ids, pathIds }: Selection, first: number, last: number): number {
    return writeNlri(this.out, this, limit, from, ids, pathIds, first, last);
  }

  /** Flags, code, length, AFI and SAFI of an MP attribute; the extended length, because it is known only afterwards. */
  #mpHead(at: number, code: number, length: number, family: Family): void {
    this.out[at] = MP_FLAGS;
    this.out[at + 1] = code;
    this.#u16(at + 2, length);
    this.#u16(at + 4, afiOf(family));
    this.out[at + 6] = 1;
  }

  #close(start: number, end: number): void {
    writeHeader(this.out, start, end - start, 'UPDATE');
    this.at = end;
  }

  #u16(at: number, value: number): void {
    this.out[at] = value >> 8;
    this.out[at + 1] = value & 0xff;
  }
}

/**
 * Overwrites the next hop of every UPDATE in `bytes[start, end)`, messages of ours as `UpdateWriter` wrote them: peers that get the same
 * routes with different next hops share one encoding. Next hops of another length than `nextHop` stay.
 */
export function patchNextHops(bytes: Uint8Array, start: number, end: number, nextHop: Uint8Array): void {
  for (let at = start; at < end; at += (bytes[at + 16] << 8) | bytes[at + 17]) {
    const withdrawn = at + HEADER_LENGTH;
    const lengthAt = withdrawn + 2 + ((bytes[withdrawn] << 8) | bytes[withdrawn + 1]);
    const last = lengthAt + 2 + ((bytes[lengthAt] << 8) | bytes[lengthAt + 1]);
    const value = findNextHop(bytes, lengthAt + 2, last, nextHop.length);
    if (value >= 0) bytes.set(nextHop, value);
  }
}

/** Offset of the next hop of `size` bytes in an attribute block, or -1. */
function findNextHop(bytes: Uint8Array, start: number, end: number, size: number): number {
  for (let at = start; at < end; ) {
    const wide = (bytes[at] & FLAG.extendedLength) !== 0;
    const from = at + (wide ? 4 : 3);
    const length = wide ? (bytes[at + 2] << 8) | bytes[at + 3] : bytes[at + 2];
    if (bytes[at + 1] === ATTRIBUTE.NEXT_HOP && length === size) return from;
    if (bytes[at + 1] === ATTRIBUTE.MP_REACH_NLRI && bytes[from + 3] === size) return from + 4;
    at = from + length;
  }
  return -1;
}
