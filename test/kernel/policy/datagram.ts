import { familyOf } from '#core';
import type { Packet } from '#policy';

/** Packets as bytes, right in every checksum that conntrack looks at, each with a number by which it is known where it arrives. */

const MAGIC = Buffer.from('tsnprobe');

export interface DatagramOptions {
  /** Differentiated services code point; 0 unless said. */
  readonly dscp?: number;
  /** Bytes after the number, for what counts bytes. */
  readonly padding?: number;
}

/** The whole IP packet. TCP is a SYN, SCTP an INIT: the first packet of a flow. */
export function datagram(packet: Packet, number: number, { dscp = 0, padding = 0 }: DatagramOptions = {}): Buffer {
  const payload = transport(packet, Buffer.concat([MAGIC, u32(number), Buffer.alloc(padding)]));
  return familyOf(packet.source) === 4 ? ipv4(packet, dscp, payload) : ipv6(packet, dscp, payload);
}

export interface Arrival {
  readonly number: number;
  /** Undefined where the kernel hands over no IPv6 header. */
  readonly source?: string;
  readonly dscp?: number;
  /** The first two bytes after the IP header, whatever they are in this protocol. */
  readonly sourcePort?: number;
}

/** What arrived, if it is one of ours. @param at where the IP header begins; undefined: it is not there. */
export function readArrival(bytes: Buffer, at: number | undefined): Arrival | undefined {
  const found = bytes.indexOf(MAGIC);
  if (found < 0 || found + 12 > bytes.length) return undefined;
  const number = bytes.readUInt32BE(found + MAGIC.length);
  if (at === undefined) return { number };
  if (bytes[at] >> 4 === 4)
    return {
      ...{ number, source: bytes.subarray(at + 12, at + 16).join('.'), dscp: bytes[at + 1] >> 2 },
      sourcePort: bytes.readUInt16BE(at + 20),
    };
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + 8 + 2 * i).toString(16));
  const dscp = (bytes.readUInt16BE(at) >> 6) & 0x3f;
  return { number, source: groups.join(':'), dscp, sourcePort: bytes.readUInt16BE(at + 40) };
}

const u16 = (...values: number[]): Buffer => Buffer.from(values.flatMap((v) => [(v >> 8) & 255, v & 255]));
const u32 = (value: number): Buffer => u16(value >>> 16, value & 0xffff);

function transport(packet: Packet, payload: Buffer): Buffer {
  const { protocol, sourcePort = 0, destinationPort = 0, icmpType = 0, icmpCode = 0 } = packet;
  const ports = u16(sourcePort, destinationPort);
  switch (protocol) {
    case 6: {
      const rest = [u32(1), u32(0), Buffer.from([0x50, 0x02]), u16(65535, 0, 0)];
      return summed(packet, Buffer.concat([ports, ...rest, payload]), 16);
    }
    case 17:
      return summed(packet, Buffer.concat([ports, u16(8 + payload.length, 0), payload]), 6);
    case 136:
      return summed(packet, Buffer.concat([ports, u16(0, 0), payload]), 6);
    case 1:
    case 58:
      return summed(packet, Buffer.concat([Buffer.from([icmpType, icmpCode]), u16(0, 77, 1), payload]), 2);
    case 132:
      return init(ports, payload);
    default:
      return Buffer.concat([u32(0), payload]);
  }
}

/** SCTP INIT (RFC 9260, 3.3.2), the number in a parameter that receivers skip. */
function init(ports: Buffer, payload: Buffer): Buffer {
  const parameter = Buffer.concat([
    u16(0x8008, 4 + payload.length),
    payload,
    Buffer.alloc((4 - (payload.length % 4)) % 4),
  ]);
  const chunk = Buffer.concat([Buffer.from([1, 0]), u16(20 + parameter.length), u32(7), u32(65535), u16(1, 1), u32(1)]);
  const whole = Buffer.concat([ports, u32(0), u32(0), chunk, parameter]);
  whole.writeUInt32LE(crc32c(whole), 8);
  return whole;
}

function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Writes the Internet checksum at the offset; over the pseudo-header too, but for ICMP of IPv4. */
function summed(packet: Packet, segment: Buffer, offset: number): Buffer {
  const pseudo = packet.protocol === 1 ? [] : [pseudoHeader(packet, segment.length)];
  segment.writeUInt16BE(internetSum(Buffer.concat([...pseudo, segment])) || 0xffff, offset);
  return segment;
}

const pseudoHeader = ({ source, destination, protocol }: Packet, length: number): Buffer =>
  Buffer.concat([addressBytes(source), addressBytes(destination), u32(length), u16(0, protocol)]);

function internetSum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipv4({ source, destination, protocol }: Packet, dscp: number, payload: Buffer): Buffer {
  const length = 20 + payload.length;
  const fixed = Buffer.from([0x45, dscp << 2, length >> 8, length & 255, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
  const header = Buffer.concat([fixed, addressBytes(source), addressBytes(destination)]);
  header.writeUInt16BE(internetSum(header), 10);
  return Buffer.concat([header, payload]);
}

function ipv6({ source, destination, protocol }: Packet, dscp: number, payload: Buffer): Buffer {
  const first = ((6 << 28) | (dscp << 22)) >>> 0;
  const fixed = Buffer.concat([u32(first), u16(payload.length), Buffer.from([protocol, 64])]);
  return Buffer.concat([fixed, addressBytes(source), addressBytes(destination), payload]);
}

export function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head, tail] = address.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  const groups = tail === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill('0'), ...tail];
  return u16(...groups.map((group) => Number.parseInt(group, 16)));
}
