import { OperationalError } from '#core';

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

/** One field of a message that was read; fixed-width ones are skipped, as etcd's answers have none that matter. */
export interface Field {
  readonly field: number;
  readonly number: bigint;
  readonly bytes: Buffer;
}

const NOTHING = Buffer.alloc(0);

/** @throws OperationalError PROTOCOL when the bytes are no message */
export function* fieldsOf(buffer: Buffer): IterableIterator<Field> {
  const cursor = { at: 0 };
  while (cursor.at < buffer.length) {
    const tag = readVarint(buffer, cursor);
    const field = Number(tag >> 3n);
    switch (Number(tag & 7n)) {
      case VARINT:
        yield { field, number: readVarint(buffer, cursor), bytes: NOTHING };
        break;
      case BYTES:
        yield { field, number: 0n, bytes: take(buffer, cursor, Number(readVarint(buffer, cursor))) };
        break;
      case FIXED64:
        take(buffer, cursor, 8);
        break;
      case FIXED32:
        take(buffer, cursor, 4);
        break;
      default:
        throw malformed();
    }
  }
}

function readVarint(buffer: Buffer, cursor: { at: number }): bigint {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (cursor.at >= buffer.length) throw malformed();
    const byte = buffer[cursor.at++];
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return BigInt.asUintN(64, value);
  }
  throw malformed();
}

function take(buffer: Buffer, cursor: { at: number }, length: number): Buffer {
  const end = cursor.at + length;
  if (end > buffer.length) throw malformed();
  const part = buffer.subarray(cursor.at, end);
  cursor.at = end;
  return part;
}

const malformed = () => new OperationalError('PROTOCOL', 'etcd sent an answer that is no message');
