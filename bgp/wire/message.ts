import { assertNever, err, ok, type Result } from '#core';
import { ERROR, FSM_ERROR, HEADER_LENGTH, malformed } from './codes.ts';
import { typeAt } from './frame.ts';
import { decodeNotification } from './notification.ts';
import { decodeOpen } from './open.ts';
import { decodeRouteRefresh } from './refresh.ts';
import type { Keepalive, Malformed, Message } from './types.ts';
import type { UpdateDecoder } from './update.ts';

const KEEPALIVE: Keepalive = { type: 'KEEPALIVE' };

/**
 * Decodes the message that `nextFrame` found in `bytes[start, end)`. An error is of disposition `close`, `reset` or `ignore`; weaker
 * faults of an UPDATE are part of its value.
 *
 * @param updates the session's decoder, from `negotiate`; null until the peer's OPEN is accepted, when UPDATE and ROUTE-REFRESH
 * cannot be read and are the FSM error of OpenSent (RFC 6608 §4).
 */
export function decodeMessage(
  bytes: Uint8Array,
  start: number,
  end: number,
  updates: UpdateDecoder | null,
): Result<Message, Malformed> {
  const type = typeAt(bytes, start);
  const body = start + HEADER_LENGTH;
  switch (type) {
    case 'OPEN':
      return decodeOpen(bytes.subarray(body, end));
    case 'KEEPALIVE':
      return ok(KEEPALIVE);
    case 'NOTIFICATION':
      return ok(decodeNotification(bytes.subarray(body, end)));
    case 'UPDATE':
      return updates ? updates.decode(bytes, start, end) : tooEarly(type);
    case 'ROUTE-REFRESH':
      return updates
        ? decodeRouteRefresh(bytes.subarray(start, end), bytes.subarray(body, end), updates.ctx)
        : tooEarly(type);
    default:
      return assertNever(type);
  }
}

const tooEarly = (type: string) =>
  err(malformed('reset', ERROR.fsm, FSM_ERROR.inOpenSent, `${type} before the OPEN was answered`));
