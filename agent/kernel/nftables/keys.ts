import {
  addrBytes,
  addrToBigInt,
  bigIntToAddr,
  bitsOf,
  bytesToAddr,
  type Family,
  OperationalError,
  parseAddr,
  parseCidr,
} from '#core';
import type { SetType } from '#policy';
import { PROTOCOL_NAMES, PROTOCOLS } from '../set-protocols.ts';
import type { Element, SetShape } from './elements.ts';
import type { KernelElement } from './read.ts';
import { concatenated, DATATYPE, SET_FLAG } from './wire.ts';

/** Members of sets as policy writes them, and as the kernel keeps them. */

const PORT = /^([0-9a-fA-F.:]{2,45}),(tcp|udp|sctp|udplite|[0-9]{1,3}):([0-9]{1,5})$/;
const RANGE = /^([0-9a-fA-F.:]{2,45})-([0-9a-fA-F.:]{2,45})$/;

const lengthOf = (family: Family): number => bitsOf(family) / 8;

export function shapeOf(type: SetType, family: Family): SetShape {
  const address = DATATYPE.ADDRESS[family];
  if (type === 'hash:ip,port') {
    const keyType = concatenated([address, DATATYPE.PROTOCOL, DATATYPE.SERVICE]);
    return { flags: 0, keyType, keyLength: lengthOf(family) + 8 };
  }
  return { flags: type === 'hash:net' ? SET_FLAG.INTERVAL : 0, keyType: address, keyLength: lengthOf(family) };
}
export const typeOf = ({ flags, keyType }: Pick<SetShape, 'flags' | 'keyType'>): SetType =>
  keyType > 63 ? 'hash:ip,port' : flags & SET_FLAG.INTERVAL ? 'hash:net' : 'hash:ip';

/** What stands for the members in the kernel. Throws VALIDATION for one that is none. */
export function elementsOf(members: readonly string[], type: SetType, family: Family): Element[] {
  if (type === 'hash:ip,port') return members.map((member) => ({ key: portKey(member, family) }));
  if (type === 'hash:ip') return members.map((member) => ({ key: addressKey(member, member, family) }));
  return members.flatMap((member) => intervalOf(member, family));
}

function refuse(member: string): never {
  throw new OperationalError('VALIDATION', `${JSON.stringify(member.slice(0, 60))} cannot stand in a set`);
}
function addressKey(address: string, member: string, family: Family): Uint8Array {
  const parsed = parseAddr(address);
  const bytes = parsed.ok ? addrBytes(parsed.value) : refuse(member);
  return bytes.length === lengthOf(family) ? bytes : refuse(member);
}

/** Address, protocol and port, each in words of 4 bytes. */
function portKey(member: string, family: Family): Uint8Array {
  const [, address = '', protocol = '', port = ''] = PORT.exec(member) ?? refuse(member);
  const number = PROTOCOLS[protocol] ?? Number(protocol);
  if (number > 255 || Number(port) > 0xffff) refuse(member);
  const tail = Uint8Array.of(number, 0, 0, 0, Number(port) >> 8, Number(port) & 0xff, 0, 0);
  return Buffer.concat([addressKey(address, member, family), tail]);
}

/** Where it begins, and the first address after it; what reaches the last address has no end. */
function intervalOf(member: string, family: Family): Element[] {
  const [first, last] = endsOf(member, family);
  const after = plusOne(last);
  return after ? [{ key: first }, { key: after, isEnd: true }] : [{ key: first }];
}

/** In arrays of their own. */
function endsOf(member: string, family: Family): readonly [first: Uint8Array, last: Uint8Array] {
  const range = member.includes('-') && RANGE.exec(member);
  if (range) return [addressKey(range[1], member, family), addressKey(range[2], member, family)];
  const parsed = parseCidr(member);
  if (!parsed.ok) return refuse(member);
  const { addr, length } = parsed.value;
  const first = addrBytes(addr);
  if (first.length !== lengthOf(family)) refuse(member);
  const last = first.slice();
  // By hand, not by `map`: there may be a million.
  for (let i = length >> 3; i < first.length; i++) {
    const host = 0xff >> Math.max(0, length - 8 * i);
    first[i] &= ~host;
    last[i] |= host;
  }
  return [first, last];
}

function plusOne(bytes: Uint8Array): Uint8Array | undefined {
  const next = bytes.slice();
  for (let i = next.length - 1; i >= 0; i--) if (++next[i] & 0xff) return next;
  return undefined;
}

/** Takes elements one by one and says in the end what members they are. */
export class MemberReader {
  readonly #type: SetType;
  readonly #family: Family;
  readonly #members = new Set<string>();
  readonly #starts: bigint[] = [];
  readonly #ends: bigint[] = [];

  constructor(type: SetType, family: Family) {
    this.#type = type;
    this.#family = family;
  }
  add({ key, isEnd }: KernelElement): void {
    if (this.#type === 'hash:net') (isEnd ? this.#ends : this.#starts).push(addrToBigInt(bytesToAddr(key)));
    else this.#members.add(this.#type === 'hash:ip' ? bytesToAddr(key) : portMember(key, this.#family));
  }
  get members(): Set<string> {
    this.#starts.sort(byValue);
    const starts = this.#starts;
    // What ends before anything begins: nft marks so where nothing is.
    const ends = this.#ends.sort(byValue).filter((end) => starts.length > 0 && end > starts[0]);
    const all = 1n << BigInt(bitsOf(this.#family));
    for (const [i, start] of starts.entries()) this.#members.add(this.#net(start, ends[i] ?? all));
    return this.#members;
  }

  /** A prefix if the interval is one; otherwise as nft prints it. */
  #net(start: bigint, end: bigint): string {
    const first = bigIntToAddr(start, this.#family);
    const size = end - start;
    if (size === 1n) return first;
    const isPrefix = (size & (size - 1n)) === 0n && start % size === 0n;
    if (isPrefix) return `${first}/${bitsOf(this.#family) - size.toString(2).length + 1}`;
    return `${first}-${bigIntToAddr(end - 1n, this.#family)}`;
  }
}
const byValue = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0);

function portMember(key: Uint8Array, family: Family): string {
  const at = lengthOf(family);
  const protocol = PROTOCOL_NAMES.get(key[at]) ?? String(key[at]);
  return `${bytesToAddr(key.slice(0, at))},${protocol}:${(key[at + 4] << 8) | key[at + 5]}`;
}
