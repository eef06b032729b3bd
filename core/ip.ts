import { BlockList, isIPv6 } from 'node:net';
import { err, ok, type Result } from './result.ts';

/**
 * Addresses and prefixes are canonical strings with a brand: two equal values are the same map key, print the same in logs
 * and diff the same in golden files. Only the parsing constructors here make them, so holding one proves that it is well formed.
 */
export type Addr = string & { readonly __brand: 'Addr' };
/** An address with a length, host bits clear: `10.0.0.0/26`, `2001:db8::/64`. */
export type Prefix = string & { readonly __brand: 'Prefix' };
/** IP version; the family of a value is data, never a second code path. */
export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** Number of bits of an address of the family: 32 or 128. */
export const bitsOf = (family: Family): number => (family === 4 ? 32 : 128);

export const familyOf = (value: Addr | Prefix): Family => (value.includes(':') ? 6 : 4);

/** Reads an address in any accepted spelling; IPv6 zones and IPv4 with leading zeros are refused. */
export function parseAddr(text: string): Result<Addr, string> {
  if (fourOf(text) >= 0) return ok(text as Addr);
  if (isIPv6(text) && !text.includes('%')) return ok(bytesToAddr(parseSix(text)));
  return err(`'${text}' is not an IP address`);
}

/** Reads a prefix whose host bits are clear; a bare address is a host prefix. */
export function parsePrefix(text: string): Result<Prefix, string> {
  const loose = parseCidr(text);
  if (!loose.ok) return loose;
  const { addr, length } = loose.value;
  if (length === bitsOf(familyOf(addr))) return ok(hostPrefix(addr));
  const masked = prefixOf(addr, length);
  if (prefixAddr(masked) !== addr) return err(`'${text}' has host bits set; the network is ${masked}`);
  return ok(masked);
}

/** Reads `address/length` keeping the host bits, as in a Node's `10.0.0.11/24`; a bare address gets the full length. */
export function parseCidr(text: string): Result<{ addr: Addr; length: number }, string> {
  const slash = text.indexOf('/');
  const addr = parseAddr(slash < 0 ? text : text.slice(0, slash));
  if (!addr.ok) return err(`'${text}' is not an IP address or CIDR`);
  const bits = bitsOf(familyOf(addr.value));
  if (slash < 0) return ok({ addr: addr.value, length: bits });
  const digits = text.slice(slash + 1);
  const length = Number(digits);
  if (!/^(0|[1-9][0-9]{0,2})$/.test(digits) || length > bits)
    return err(`'${text}' has a prefix length outside 0 to ${bits}`);
  return ok({ addr: addr.value, length });
}

/** For constants and values already validated; throws on bad text. */
export function addr(text: string): Addr {
  const parsed = parseAddr(text);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return parsed.value;
}

/** For constants and values already validated; throws on bad text or set host bits. */
export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return parsed.value;
}

/** The network of the given length that holds the address: host bits are cleared. */
export function prefixOf(address: Addr, length: number): Prefix {
  if (length === bitsOf(familyOf(address))) return hostPrefix(address);
  const bytes = addrBytes(address);
  maskBytes(bytes, length);
  return `${bytesToAddr(bytes)}/${length}` as Prefix;
}

/** The /32 or /128 of an address. */
export const hostPrefix = (address: Addr): Prefix => `${address}/${bitsOf(familyOf(address))}` as Prefix;

export const prefixAddr = (p: Prefix): Addr => p.slice(0, p.indexOf('/')) as Addr;
export const prefixLength = (p: Prefix): number => Number(p.slice(p.indexOf('/') + 1));
export const isHostPrefix = (p: Prefix): boolean => prefixLength(p) === bitsOf(familyOf(p));

/** Whether `outer` covers `inner` (equal counts); values of different families never do. */
export function covers(outer: Prefix, inner: Prefix | Addr): boolean {
  if (familyOf(outer) !== familyOf(inner)) return false;
  const length = prefixLength(outer);
  const isPrefix = inner.includes('/');
  if (isPrefix && prefixLength(inner as Prefix) < length) return false;
  return prefixOf(isPrefix ? prefixAddr(inner as Prefix) : (inner as Addr), length) === outer;
}

export const overlaps = (a: Prefix, b: Prefix): boolean => covers(a, b) || covers(b, a);

/** The address `offset` after `base`; throws RangeError past the end of the family. */
export function addrPlus(base: Addr, offset: bigint | number): Addr {
  const family = familyOf(base);
  const value = addrToBigInt(base) + BigInt(offset);
  if (value < 0n || value >> BigInt(bitsOf(family)) !== 0n)
    throw new RangeError(`${base} + ${offset} leaves the family`);
  return bigIntToAddr(value, family);
}

/** How many addresses `address` lies after `base`, which must be of the same family. */
export const addrMinus = (address: Addr, base: Addr): bigint => addrToBigInt(address) - addrToBigInt(base);

export function addrToBigInt(address: Addr): bigint {
  let value = 0n;
  for (const byte of addrBytes(address)) value = (value << 8n) | BigInt(byte);
  return value;
}

export function bigIntToAddr(value: bigint, family: Family): Addr {
  const bytes = new Uint8Array(bitsOf(family) / 8);
  for (let i = bytes.length - 1, rest = value; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return bytesToAddr(bytes);
}

/** Network byte order, 4 or 16 bytes; the array is fresh and may be changed. */
export function addrBytes(address: Addr): Uint8Array {
  return address.includes(':') ? parseSix(address) : parseFour(address);
}

/** RFC 5952 text of 4 or 16 bytes; an IPv4-mapped IPv6 address stays IPv6, in hexadecimal groups. */
export function bytesToAddr(bytes: Uint8Array): Addr {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Addr;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((bytes[i] << 8) | bytes[i + 1]);
  const { start, length } = longestZeroRun(groups);
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((g) => g.toString(16))
      .join(':');
  if (length < 2) return hex(0, 8) as Addr;
  return `${hex(0, start)}::${hex(start + length, 8)}` as Addr;
}

/** Byte-wise order, IPv4 before IPv6; prefixes of one address order by length, shortest first. */
export function compareIp(a: Addr | Prefix, b: Addr | Prefix): number {
  const fa = familyOf(a);
  const fb = familyOf(b);
  if (fa !== fb) return fa - fb;
  const [pa, pb] = [splitLength(a), splitLength(b)];
  const [ba, bb] = [addrBytes(pa.addr), addrBytes(pb.addr)];
  for (let i = 0; i < ba.length; i++) if (ba[i] !== bb[i]) return ba[i] - bb[i];
  return pa.length - pb.length;
}

/** Link-local, loopback, multicast, unspecified: addresses that can never be a workload's or a next hop beyond the link. */
export function isSpecial(address: Addr): boolean {
  return special.check(address, familyOf(address) === 4 ? 'ipv4' : 'ipv6');
}

const special = new BlockList();
for (const [net, length] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['224.0.0.0', 3],
] as const)
  special.addSubnet(net, length, 'ipv4');
for (const [net, length] of [
  ['::', 128],
  ['::1', 128],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  special.addSubnet(net, length, 'ipv6');

function splitLength(value: Addr | Prefix): { addr: Addr; length: number } {
  const slash = value.indexOf('/');
  return slash < 0
    ? { addr: value as Addr, length: 129 }
    : { addr: value.slice(0, slash) as Addr, length: Number(value.slice(slash + 1)) };
}

function maskBytes(bytes: Uint8Array, length: number): void {
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, length - i * 8));
    bytes[i] &= (0xff << (8 - keep)) & 0xff;
  }
}

/**
 * An IPv4 address as a number; -1: the text is none. Four numbers of 0 to 255 without leading zeros, read digit by digit: a large cluster has a
 * million addresses.
 */
export function fourOf(text: string): number {
  let value = 0;
  let dots = 0;
  let digits = 0;
  let octet = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      if (digits === 0) return -1;
      dots++;
      value = value * 256 + octet;
      digits = 0;
      octet = 0;
      continue;
    }
    const isLeadingZero = digits > 0 && octet === 0;
    octet = octet * 10 + code - 0x30;
    digits++;
    if (code < 0x30 || code > 0x39 || isLeadingZero || octet > 255) return -1;
  }
  return dots === 3 && digits > 0 ? value * 256 + octet : -1;
}

function parseFour(text: string): Uint8Array {
  const value = fourOf(text);
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function parseSix(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const [head, tail] = text.split('::') as [string, string | undefined];
  const put = (groups: string[], at: number) => {
    let i = at;
    for (const group of groups) {
      if (group.includes('.')) for (const octet of group.split('.')) bytes[i++] = Number(octet);
      else {
        const value = Number.parseInt(group, 16);
        bytes[i++] = value >> 8;
        bytes[i++] = value & 0xff;
      }
    }
  };
  const groupsOf = (part: string | undefined) => (part ? part.split(':') : []);
  const widthOf = (groups: string[]) => groups.reduce((sum, g) => sum + (g.includes('.') ? 4 : 2), 0);
  put(groupsOf(head), 0);
  const rest = groupsOf(tail);
  put(rest, 16 - widthOf(rest));
  return bytes;
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < groups.length; i++) {
    let length = 0;
    while (i + length < groups.length && groups[i + length] === 0) length++;
    if (length > best.length) best = { start: i, length };
    i += length;
  }
  return best;
}
