import { Parser } from 'binary-parser';
import { copyOf } from '#core';
import { CEASE, ERROR, HEADER_LENGTH, MAX_MESSAGE } from './codes.ts';
import { parseExact } from './exact.ts';
import { frame } from './frame.ts';
import { escapeText } from './text.ts';
import type { Malformed, Notification } from './types.ts';

/** NOTIFICATION (RFC 4271 §4.5) with the shutdown communication of RFC 9003 and the hard reset of RFC 8538. */

const head = new Parser().endianness('big').uint8('code').uint8('subcode');

/** The body of a frame, which `nextFrame` has found to be at least two bytes. Whatever it says, it is never answered (RFC 4271 §6.4). */
export function decodeNotification(body: Uint8Array): Notification {
  const { code, subcode } = parseExact<{ code: number; subcode: number }>(head, body.subarray(0, 2), 2)!;
  const data = copyOf(body, 2);
  return { type: 'NOTIFICATION', code, subcode, data, text: communication(code, subcode, data) };
}

/** RFC 9003 §2: a length byte and UTF-8. Anything else of the peer's is shown escaped rather than dropped. */
function communication(code: number, subcode: number, data: Uint8Array): string | null {
  if (code !== ERROR.cease || data.length === 0) return null;
  // RFC 8538 §3.1: a hard reset carries the NOTIFICATION that it replaces.
  if (subcode === CEASE.hardReset) return data.length < 2 ? null : communication(data[0], data[1], data.subarray(2));
  if (subcode !== CEASE.adminShutdown && subcode !== CEASE.adminReset) return null;
  const whole = data[0] <= data.length - 1;
  return data[0] === 0 ? null : escapeText(whole ? data.subarray(1, 1 + data[0]) : data.subarray(1));
}

/** A NOTIFICATION; data beyond what a message holds is cut. */
export function encodeNotification(code: number, subcode: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const kept = data.subarray(0, MAX_MESSAGE - HEADER_LENGTH - 2);
  const body = new Uint8Array(2 + kept.length);
  body[0] = code;
  body[1] = subcode;
  body.set(kept, 2);
  return frame('NOTIFICATION', body);
}

/** What a fault of the `reset` kind makes us send. */
export const notificationOf = (fault: Malformed): Uint8Array =>
  encodeNotification(fault.code, fault.subcode, fault.data);

/** The data field of Cease 2 and 4: the text in UTF-8, cut at a character so that it fits 255 bytes (RFC 9003 §2). */
export function shutdownCommunication(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  let length = Math.min(bytes.length, 255);
  if (length < bytes.length) while (length > 0 && (bytes[length] & 0xc0) === 0x80) length--;
  const data = new Uint8Array(1 + length);
  data[0] = length;
  data.set(bytes.subarray(0, length), 1);
  return data;
}

/** RFC 8538 §3.1: Cease/Hard Reset around the NOTIFICATION that would have been sent. */
export function encodeHardReset(code: number, subcode: number, data: Uint8Array = new Uint8Array(0)): Uint8Array {
  const inner = new Uint8Array(2 + data.length);
  inner[0] = code;
  inner[1] = subcode;
  inner.set(data, 2);
  return encodeNotification(ERROR.cease, CEASE.hardReset, inner);
}
