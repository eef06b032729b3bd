import { OperationalError } from '#core';
import type { Span } from '../store.ts';

/** The wire format of Protocol Buffers, as far as etcd's requests and answers need it: varints and length-delimited fields. */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const more = rest > 0x7fn;
    bytes.push(Number(rest & 0x7fn) | (more ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

/** A message from its fields. */
export const message = (...fields: readonly Buffer[]): Buffer => Buffer.concat(fields);

/** A number, also an enum or bool; 0 is the default and takes no room. */
export const number = (field: number, value: bigint | number): Buffer =>
  BigInt(value) === 0n
    ? Buffer.alloc(0)
    : Buffer.concat([varint(BigInt(field << 3) | BigInt(VARINT)), varint(BigInt(value))]);

/** Bytes, a text or a message within. */
export function bytes(field: number, value: Buffer | string): Buffer {
  const content = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([varint(BigInt(field << 3) | BigInt(BYTES)), varint(BigInt(content.length)), content]);
}

/**
 * A message that is read, field by field, where it lies: `while (fields.next())` look at `field` and take what it holds as what it should be. What is not
 * taken costs nothing. Fixed-width fields are passed over, as etcd's answers have none that matter.
 */
export class Fields {
  /** The number of the field in the protocol. */
  field = 0;
  readonly #buffer: Buffer;
  readonly #end: number;
  #at: number;
  /** Where the contents of this field begin and end. */
  #from = 0;
  #to = 0;

  constructor(buffer: Buffer, from = 0, to = buffer.length) {
    this.#buffer = buffer;
    this.#at = from;
    this.#end = to;
  }

  /** Goes to the next field; false at the end of the message. @throws OperationalError PROTOCOL when the bytes are no message */
  next(): boolean {
    for (;;) {
      if (this.#at >= this.#end) return false;
      const tag = this.#varint();
      this.field = Math.floor(tag / 8);
      switch (tag % 8) {
        case VARINT:
          this.#pass();
          return true;
        case BYTES:
          this.#take(this.#varint());
          return true;
        case FIXED64:
          this.#take(8);
          break;
        case FIXED32:
          this.#take(4);
          break;
        default:
          throw malformed();
      }
    }
  }

  /** The number that the field holds, 64 bits without sign. */
  get number(): bigint {
    // Seven bytes hold 49 bits, which need no arithmetic of larger numbers.
    if (this.#to - this.#from <= 7) {
      this.#at = this.#from;
      return BigInt(this.#varint());
    }
    let value = 0n;
    for (let at = this.#from, shift = 0n; at < this.#to; at++, shift += 7n)
      value |= BigInt(this.#buffer[at] & 0x7f) << shift;
    return BigInt.asUintN(64, value);
  }
  get bool(): boolean {
    return this.number !== 0n;
  }
  get text(): string {
    return this.#buffer.toString('utf8', this.#from, this.#to);
  }
  get bytes(): Buffer {
    return this.#buffer.subarray(this.#from, this.#to);
  }
  /** Where in `buffer` the contents of the field are. */
  get span(): Span {
    return { buffer: this.#buffer, from: this.#from, to: this.#to };
  }
  /** A message within. */
  get inner(): Fields {
    return new Fields(this.#buffer, this.#from, this.#to);
  }

  /** A number on the way to something else: a tag or a length, which no message has room to make large. */
  #varint(): number {
    let value = 0;
    for (let factor = 1; factor < 2 ** 70; factor *= 128) {
      if (this.#at >= this.#end) throw malformed();
      const byte = this.#buffer[this.#at++];
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
    throw malformed();
  }

  #pass(): void {
    this.#from = this.#at;
    this.#varint();
    this.#to = this.#at;
  }

  #take(length: number): void {
    this.#from = this.#at;
    this.#to = this.#at + length;
    if (this.#to > this.#end) throw malformed();
    this.#at = this.#to;
  }
}

const malformed = () => new OperationalError('PROTOCOL', 'etcd sent an answer that is no message');
