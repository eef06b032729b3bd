import { endianness } from 'node:os';

/** Netlink speaks the machine's own byte order; addresses inside attributes stay in network order. */
export const LITTLE = endianness() === 'LE';

export const HEADER = 16;

/** nlmsg_flags (linux/netlink.h). */
export const F = {
  REQUEST: 0x1,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** On an NLMSG_ERROR: the request was not echoed whole. */
  CAPPED: 0x100,
  /** On an NLMSG_ERROR: attributes with the kernel's explanation follow. */
  ACK_TLVS: 0x200,
} as const;

/** Control messages (linux/netlink.h). */
export const NLMSG = { ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

const align4 = (n: number): number => (n + 3) & ~3;

/** Netlink messages written one after another into one buffer, so that a batch is one send. */
export class MessageWriter {
  length = 0;
  #bytes: Buffer;
  #start = 0;
  #view: DataView;

  constructor(capacity: number) {
    this.#bytes = Buffer.alloc(capacity);
    this.#view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset, capacity);
  }
  get bytes(): Buffer {
    return this.#bytes;
  }
  /** Where the message begun last starts. */
  get start(): number {
    return this.#start;
  }
  /** Makes sure that this many more bytes fit. */
  reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = Buffer.alloc(Math.max(2 * this.#bytes.length, this.length + count));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer, larger.byteOffset, larger.length);
  }
  reset(): void {
    this.length = 0;
  }
  begin(type: number, flags: number, seq: number): this {
    this.#start = this.length;
    return this.u32(0).u16(type).u16(flags).u32(seq).u32(0);
  }
  /** Writes the message's length into its header. */
  end(): this {
    this.#view.setUint32(this.#start, this.length - this.#start, LITTLE);
    return this;
  }
  /** Adds flags to a message written before, found by where it starts. */
  addFlags(start: number, flags: number): this {
    this.#view.setUint16(start + 6, this.#view.getUint16(start + 6, LITTLE) | flags, LITTLE);
    return this;
  }
  /** Overwrites a word that was written before. */
  patch32(at: number, value: number): this {
    this.#view.setUint32(at, value, LITTLE);
    return this;
  }
  /** Sets rtm_flags of the route message being written: the last word of its rtmsg. */
  setRouteFlags(flags: number): this {
    this.#view.setUint32(this.#start + HEADER + 8, flags, LITTLE);
    return this;
  }
  u8(value: number): this {
    this.#bytes[this.length++] = value;
    return this;
  }
  u16(value: number): this {
    this.#view.setUint16(this.length, value, LITTLE);
    this.length += 2;
    return this;
  }
  u32(value: number): this {
    this.#view.setUint32(this.length, value, LITTLE);
    this.length += 4;
    return this;
  }
  zero(count: number): this {
    this.#bytes.fill(0, this.length, this.length + count);
    this.length += count;
    return this;
  }
  raw(bytes: Uint8Array): this {
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
    const pad = align4(this.length) - this.length;
    return pad ? this.zero(pad) : this;
  }
  attr(type: number, bytes: Uint8Array): this {
    return this.u16(bytes.length + 4)
      .u16(type)
      .raw(bytes);
  }
  attr8(type: number, value: number): this {
    return this.u16(5).u16(type).u8(value).zero(3);
  }
  /** A number in network order, as ports of tunnels are. */
  attrBig16(type: number, value: number): this {
    return this.u16(6)
      .u16(type)
      .u8(value >> 8)
      .u8(value & 0xff)
      .zero(2);
  }
  attr32(type: number, value: number): this {
    return this.u16(8).u16(type).u32(value);
  }
  /** A number in network order, as everything in nf_tables is. */
  attrBig32(type: number, value: number): this {
    this.u16(8).u16(type);
    this.#view.setUint32(this.length, value);
    this.length += 4;
    return this;
  }
  attrBig64(type: number, value: bigint): this {
    this.u16(12).u16(type);
    this.#view.setBigUint64(this.length, value);
    this.length += 8;
    return this;
  }
  text(type: number, value: string): this {
    return this.attr(type, Buffer.from(`${value}\0`));
  }
  nest(type: number, inside: () => void): this {
    const at = this.length;
    this.u16(0).u16(type);
    inside();
    this.#view.setUint16(at, this.length - at, LITTLE);
    return this;
  }
  /** A struct whose first u16 is its own length: one hop of RTA_MULTIPATH. */
  sized(inside: () => void): this {
    const at = this.length;
    this.u16(0);
    inside();
    this.#view.setUint16(at, this.length - at, LITTLE);
    return this;
  }
}

/** One received message: its header, and where its payload lies in the buffer that was read. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  /** Port id of the socket whose request caused it; 0: the kernel itself. */
  readonly port: number;
  readonly start: number;
  readonly end: number;
}

/** Bytes of one datagram with typed access in machine order. */
export class Datagram {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly length: number;
  constructor(bytes: Uint8Array, length: number) {
    this.bytes = bytes;
    this.length = length;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, length);
  }
  u16(at: number): number {
    return this.view.getUint16(at, LITTLE);
  }
  u32(at: number): number {
    return this.view.getUint32(at, LITTLE);
  }
  i32(at: number): number {
    return this.view.getInt32(at, LITTLE);
  }
  /** Text up to the first zero byte. */
  text(at: number, end: number): string {
    let stop = at;
    while (stop < end && this.bytes[stop] !== 0) stop++;
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset + at, stop - at).toString('utf8');
  }

  /** The messages in order; a damaged length ends the walk. */
  *messages(): IterableIterator<Message> {
    let at = 0;
    while (at + HEADER <= this.length) {
      const size = this.u32(at);
      if (size < HEADER || at + size > this.length) return;
      yield {
        type: this.u16(at + 4),
        flags: this.u16(at + 6),
        seq: this.u32(at + 8),
        port: this.u32(at + 12),
        start: at + HEADER,
        end: at + size,
      };
      at += align4(size);
    }
  }

  /** Calls back for each attribute between the offsets, with its type (nesting flags removed) and value range. */
  attributes(start: number, end: number, each: (type: number, at: number, end: number) => void): void {
    let at = start;
    while (at + 4 <= end) {
      const size = this.u16(at);
      if (size < 4 || at + size > end) return;
      each(this.u16(at + 2) & 0x3fff, at + 4, at + size);
      at += align4(size);
    }
  }
}

/** What the kernel answered to one request: 0 is success, else a positive errno with the kernel's own words if it gave any. */
export interface Answer {
  readonly seq: number;
  readonly errno: number;
  readonly message: string;
}

/** Decodes an NLMSG_ERROR, with NETLINK_EXT_ACK's NLMSGERR_ATTR_MSG (type 1). */
export function decodeAnswer(datagram: Datagram, m: Message): Answer {
  const errno = -datagram.i32(m.start);
  let message = '';
  if (m.flags & F.ACK_TLVS) {
    const echoed = m.flags & F.CAPPED ? HEADER : datagram.u32(m.start + 4);
    datagram.attributes(m.start + 4 + align4(echoed), m.end, (type, at, end) => {
      if (type === 1) message = datagram.text(at, end);
    });
  }
  return { seq: m.seq, errno, message };
}
