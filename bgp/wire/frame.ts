import { assertNever, copyOf } from '#core';
import { ERROR, HEADER_ERROR, HEADER_LENGTH, MAX_MESSAGE, MESSAGE_CODE, malformed } from './codes.ts';
import type { Malformed, MessageType } from './types.ts';

/**
 * The header by hand: it is read once for every message of a feed, and binary-parser takes longer over it than the whole rest of a small
 * UPDATE (test/bench/wire.bench.ts). Everything after it that is not an UPDATE goes through parsers on slices of checked length.
 */

/**
 * Finds the next message in `bytes[start, end)`, without copying. Returns its length in bytes, 0 when more must be read first, or the fault
 * of its header (RFC 4271 §6.1). Costs the same however the bytes were cut on the way; a wrong marker is found with its first byte.
 *
 * @param maxMessage what was negotiated: 4096, or 65535 (RFC 8654). OPEN and KEEPALIVE never exceed 4096.
 */
export function nextFrame(bytes: Uint8Array, start: number, end: number, maxMessage: number): number | Malformed {
  const marker = Math.min(end, start + 16);
  let ones = 0xff;
  for (let i = start; i < marker; i++) ones &= bytes[i];
  if (ones !== 0xff) return malformed('reset', ERROR.header, HEADER_ERROR.notSynchronised, 'marker is not all ones');
  if (end - start < HEADER_LENGTH) return 0;
  const length = lengthAt(bytes, start);
  const type = TYPES[bytes[start + 18]];
  if (length < HEADER_LENGTH) return badLength(bytes, start, length);
  if (!type)
    return malformed(
      'reset',
      ERROR.header,
      HEADER_ERROR.badType,
      `message type ${bytes[start + 18]}`,
      copyOf(bytes, start + 18, start + 19),
    );
  const fault = checkLength(type, length, maxMessage);
  if (fault === 'close')
    return malformed('close', ERROR.header, HEADER_ERROR.badLength, `NOTIFICATION of ${length} bytes`);
  if (fault === 'reset') return badLength(bytes, start, length);
  return end - start < length ? 0 : length;
}

/** The length in bytes of a whole message at `start`, its header included. */
export const lengthAt = (bytes: Uint8Array, start: number): number => (bytes[start + 16] << 8) | bytes[start + 17];

/** The type of a whole message at `start`. */
export const typeAt = (bytes: Uint8Array, start: number): MessageType => TYPES[bytes[start + 18]];

const TYPES: readonly MessageType[] = [];
for (const [type, code] of Object.entries(MESSAGE_CODE)) (TYPES as MessageType[])[code] = type as MessageType;

function checkLength(type: MessageType, length: number, maxMessage: number): 'ok' | 'reset' | 'close' {
  switch (type) {
    case 'OPEN':
      return length < 29 || length > MAX_MESSAGE ? 'reset' : 'ok';
    case 'UPDATE':
      return length < 23 || length > maxMessage ? 'reset' : 'ok';
    case 'NOTIFICATION':
      // RFC 4271 §6.4: a NOTIFICATION is never answered, not even a broken one.
      return length < 21 || length > maxMessage ? 'close' : 'ok';
    case 'KEEPALIVE':
      return length !== HEADER_LENGTH ? 'reset' : 'ok';
    case 'ROUTE-REFRESH':
      return length < 23 || length > maxMessage ? 'reset' : 'ok';
    default:
      return assertNever(type);
  }
}

const badLength = (bytes: Uint8Array, start: number, length: number): Malformed =>
  malformed(
    'reset',
    ERROR.header,
    HEADER_ERROR.badLength,
    `message length ${length}`,
    copyOf(bytes, start + 16, start + 18),
  );

/** Writes marker, length and type; returns where the body begins. */
export function writeHeader(out: Uint8Array, at: number, length: number, type: MessageType): number {
  out.fill(0xff, at, at + 16);
  out[at + 16] = length >> 8;
  out[at + 17] = length & 0xff;
  out[at + 18] = MESSAGE_CODE[type];
  return at + HEADER_LENGTH;
}

/** A whole message around a body. */
export function frame(type: MessageType, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_LENGTH + body.length);
  writeHeader(out, 0, out.length, type);
  out.set(body, HEADER_LENGTH);
  return out;
}
