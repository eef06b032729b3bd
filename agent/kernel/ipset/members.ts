import { addrBytes, bitsOf, bytesToAddr, type Family, familyOf, fourOf, OperationalError, parseAddr } from '#core';
import type { Datagram, MessageWriter } from '../netlink/message.ts';
import { PROTOCOL_NAMES, PROTOCOLS } from '../set-protocols.ts';
import { ADDRESS, ATTR, MEMBER, NESTED, NET_ORDER, NO_MATCH } from './wire.ts';

/**
 * Members as policy writes them (`10.0.0.1`, `10.0.0.0/8`, `fd00::1,tcp:80`), and as the kernel has them. Written and read by hand,
 * attribute by attribute: there may be a million.
 */

const LENGTH = /^[1-9][0-9]{0,2}$/;
const PORT = /^(tcp|udp|sctp|udplite|[0-9]{1,3}):([0-9]{1,5})$/;
/** Stands behind a member that a stranger has added as an exception. It can be read, and be taken away. */
const EXCEPTION = ' nomatch';
/** Bytes that a member has at most: an IPv6 address with protocol and port. */
export const MEMBER_MOST = 44;

/** Throws VALIDATION for a text that is no member of a set of the family. */
export function writeMember(w: MessageWriter, text: string, family: Family): void {
  const comma = text.indexOf(',');
  const slash = comma < 0 ? text.indexOf('/') : -1;
  const address = comma < 0 && slash < 0 ? text : text.slice(0, comma < 0 ? slash : comma);
  const bytes = bitsOf(family) / 8;
  const more = comma < 0 ? (slash < 0 ? 0 : 8) : 16;
  w.u16(12 + bytes + more).u16(ATTR.DATA | NESTED);
  w.u16(8 + bytes).u16(MEMBER.ADDRESS | NESTED);
  if (family === 4) w.attrBig32(ADDRESS[4] | NET_ORDER, fourOf(address) >= 0 ? fourOf(address) : refuse(text));
  else w.attr(ADDRESS[6] | NET_ORDER, sixOf(address) ?? refuse(text));
  if (slash >= 0) w.attr8(MEMBER.LENGTH, lengthOf(text, slash, family));
  if (comma < 0) return;
  const [, protocol = '', port = ''] = PORT.exec(text.slice(comma + 1)) ?? refuse(text);
  const number = PROTOCOLS[protocol] ?? Number(protocol);
  if (number > 255 || Number(port) > 0xffff) refuse(text);
  w.attrBig16(MEMBER.PORT | NET_ORDER, Number(port)).attr8(MEMBER.PROTOCOL, number);
}
/** The same for one to take away, which may be one that only a stranger writes. */
export function writeFormerMember(w: MessageWriter, text: string, family: Family): void {
  writeMember(w, text.endsWith(EXCEPTION) ? text.slice(0, -EXCEPTION.length) : text, family);
}

function sixOf(address: string): Uint8Array | undefined {
  const parsed = parseAddr(address);
  return parsed.ok && familyOf(parsed.value) === 6 ? addrBytes(parsed.value) : undefined;
}
function lengthOf(text: string, slash: number, family: Family): number {
  const digits = text.slice(slash + 1);
  return LENGTH.test(digits) && Number(digits) <= bitsOf(family) ? Number(digits) : refuse(text);
}
function refuse(text: string): never {
  throw new OperationalError('VALIDATION', `${JSON.stringify(text.slice(0, 60))} cannot stand in a set`);
}

/** Reads members one after another. */
export class MemberReader {
  #d!: Datagram;
  #address = '';
  #bits = 0;
  #length = 0;
  #port = -1;
  #protocol = 0;
  #flags = 0;

  /** The member whose attributes lie between the offsets. */
  read(d: Datagram, start: number, end: number): string {
    this.#d = d;
    this.#address = '';
    this.#length = this.#bits = 0;
    this.#port = -1;
    this.#flags = 0;
    d.attributes(start, end, this.#attribute);
    const port = this.#port < 0 ? '' : `,${PROTOCOL_NAMES.get(this.#protocol) ?? this.#protocol}:${this.#port}`;
    const length = this.#length === 0 || this.#length === this.#bits ? '' : `/${this.#length}`;
    return `${this.#address}${length}${port}${this.#flags & NO_MATCH ? EXCEPTION : ''}`;
  }

  readonly #attribute = (type: number, at: number, end: number): void => {
    const { bytes, view } = this.#d;
    if (type === MEMBER.ADDRESS) this.#d.attributes(at, end, this.#addressOf);
    else if (type === MEMBER.LENGTH) this.#length = bytes[at];
    else if (type === MEMBER.PORT) this.#port = view.getUint16(at);
    else if (type === MEMBER.PROTOCOL) this.#protocol = bytes[at];
    else if (type === MEMBER.FLAGS) this.#flags = view.getUint32(at);
  };
  readonly #addressOf = (_: number, at: number, end: number): void => {
    const { bytes } = this.#d;
    this.#bits = 8 * (end - at);
    // A view of the bytes would cost as much again.
    if (end - at === 4) this.#address = `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
    else if (end - at === 16) this.#address = bytesToAddr(bytes.subarray(at, end));
  };
}
