import { assertNever } from '#core';
import { notificationName } from '../wire/codes.ts';
import type { DownReason } from './types.ts';

/** One line for a person. */
export function reasonText(reason: DownReason): string {
  switch (reason.why) {
    case 'stopped':
      return 'stopped here';
    case 'reconfigured':
      return 'the settings of the connection have changed';
    case 'tcp':
      return `TCP: ${reason.error}`;
    case 'hold timer':
      return 'nothing heard within the hold time';
    case 'send hold timer':
      return 'the peer took nothing for longer than the send hold time';
    case 'sent':
      return `sent ${notificationName(reason.code, reason.subcode)} (${reason.detail})`;
    case 'received': {
      const { code, subcode, text } = reason.notification;
      return `received ${notificationName(code, subcode)}${text === null ? '' : ` ("${text}")`}`;
    }
    case 'replaced':
      return 'the peer opened a new connection';
    default:
      return assertNever(reason);
  }
}
