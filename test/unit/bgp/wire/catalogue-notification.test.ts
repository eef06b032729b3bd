import { describe, expect, test } from 'vitest';
import { notificationName } from '../../../../bgp/wire/codes.ts';
import {
  encodeHardReset,
  encodeNotification,
  notificationOf,
  shutdownCommunication,
} from '../../../../bgp/wire/notification.ts';
import { encodeRouteRefresh } from '../../../../bgp/wire/refresh.ts';
import type { Notification } from '../../../../bgp/wire/types.ts';
import { type Bytes, ctx, header, message, receive } from './build.ts';

/** reference catalogue 5.5: NOTIFICATION and ROUTE-REFRESH. */

const notification = (bytes: Uint8Array): Notification => {
  const { message: value, reaction } = receive(bytes);
  expect(reaction).toBe('accept');
  return value as Notification;
};
const text = (data: Bytes, subcode = 2) => notification(message('NOTIFICATION', [6, subcode, ...data])).text;
const utf8 = (value: string) => [...new TextEncoder().encode(value)];

describe('NOTIFICATION', () => {
  test('N1 an unknown code and subcode is read like any other', () => {
    expect(notification(message('NOTIFICATION', [99, 98, 1, 2]))).toEqual({
      type: 'NOTIFICATION',
      code: 99,
      subcode: 98,
      data: Uint8Array.of(1, 2),
      text: null,
    });
    expect(notificationName(99, 98)).toBe('99/98 unknown');
    expect(notificationName(6, 2)).toBe('6/2 cease: administrative shutdown');
    expect(notificationName(4, 0)).toBe('4/0 hold timer expired');
  });
  test('N2 a shutdown communication, whole, broken or hostile, is fit for a terminal', () => {
    expect(text([5, ...utf8('maint')])).toBe('maint');
    expect(text([5, ...utf8('maint')], 4)).toBe('maint');
    expect(text([0])).toBeNull();
    expect(text([])).toBeNull();
    expect(text([200, ...utf8('short')])).toBe('short');
    expect(text([4, 0xc3, 0x28, 0x41, 0x1b])).toBe('\\xc3(A\\x1b');
    expect(text([8, ...utf8('a\u001b[2J\u202e')])).toBe('a\\u001b[2J\\u202e');
    expect(text([5, ...utf8('maint')], 3)).toBeNull();
  });
  test('N3 a hard reset shows the text of the NOTIFICATION inside', () => {
    const value = notification(encodeHardReset(6, 2, shutdownCommunication('drained')));
    expect(value).toMatchObject({ code: 6, subcode: 9, text: 'drained' });
    expect([...value.data.subarray(0, 2)]).toEqual([6, 2]);
    expect(notification(message('NOTIFICATION', [6, 9])).text).toBeNull();
  });
  test('N6 a NOTIFICATION of 4096 bytes is read', () => {
    expect(notification(message('NOTIFICATION', [1, 2, ...Array<number>(4075).fill(7)])).data).toHaveLength(4075);
  });
  test('a text is cut at a character to fit 255 bytes, data to fit a message', () => {
    expect(shutdownCommunication('drained')).toEqual(Uint8Array.of(7, ...utf8('drained')));
    const long = shutdownCommunication('é'.repeat(200));
    expect([long.length, long[0]]).toEqual([255, 254]);
    expect(text([...long])).toBe('é'.repeat(127));
    expect(encodeNotification(1, 2, new Uint8Array(5000))).toHaveLength(4096);
  });
  test('a fault says what to send', () => {
    expect(notificationOf(receive(header(20, 4)).fault!)).toEqual(message('NOTIFICATION', [1, 2, 0, 20]));
  });
});

describe('ROUTE-REFRESH', () => {
  const body = (...bytes: number[]) => message('ROUTE-REFRESH', bytes);
  test.each([
    ['R1', 'a family that is not negotiated', body(0, 2, 0, 1), 'IGN', { ...ctx, families: [4] as const }],
    ['R1', 'a family nobody knows', body(0, 25, 0, 70), 'IGN', ctx],
    ['R2', 'a route filter', body(0, 1, 0, 1, 1, 64, 0, 0), 'IGN', ctx],
    ['R3', 'begin with a body of 5 bytes', body(0, 1, 1, 1, 0), 'N 7/1', ctx],
    ['R3', 'end with a body of 8 bytes', body(0, 1, 2, 1, 0, 0, 0, 0), 'N 7/1', ctx],
    ['R4', 'subtype 3', body(0, 1, 3, 1), 'IGN', ctx],
    ['R4', 'subtype 255 with a longer body', body(0, 1, 255, 1, 0), 'IGN', ctx],
    ['R5', 'begin without enhanced refresh', body(0, 1, 1, 1), 'IGN', { ...ctx, enhancedRouteRefresh: false }],
    ['R5', 'the same, malformed', body(0, 1, 1, 1, 9), 'IGN', { ...ctx, enhancedRouteRefresh: false }],
  ])('%s %s', (_id, _what, bytes, reaction, context) => {
    const { reaction: got, fault } = receive(bytes, context);
    expect(got).toBe(reaction);
    if (reaction === 'N 7/1') expect(fault!.data).toEqual(bytes);
  });
  test.each(['request', 'begin', 'end'] as const)('%s for both families', (subtype) => {
    for (const family of [4, 6] as const)
      expect(receive(encodeRouteRefresh(family, subtype)).message).toEqual({ type: 'ROUTE-REFRESH', family, subtype });
  });
});

describe('before the OPEN', () => {
  test('UPDATE and ROUTE-REFRESH are the FSM error of OpenSent', () => {
    expect(receive(message('UPDATE', [0, 0, 0, 0]), null).reaction).toBe('N 5/1');
    expect(receive(message('ROUTE-REFRESH', [0, 1, 0, 1]), null).reaction).toBe('N 5/1');
    expect(receive(message('KEEPALIVE', []), null).reaction).toBe('accept');
  });
});
