import { describe, expect, test } from 'vitest';
import { nextFrame } from '../../../../bgp/wire/frame.ts';
import { encodeOpen } from '../../../../bgp/wire/open.ts';
import { BASE, type Bytes, ctx, header, message, P24, receive, u16, update } from './build.ts';

/** reference catalogue 5.1: what a header may be, and the reaction to what it may not. */

const extended = { ...ctx, maxMessage: 65535 };
const marker = (at: number): Uint8Array => {
  const bytes = header(19, 4);
  bytes[at] = 0xfe;
  return bytes;
};
const ofLength = (length: number, type: number): Uint8Array => {
  const bytes = new Uint8Array(Math.max(19, length));
  bytes.set(header(length, type));
  return bytes;
};
/** An UPDATE of exactly so many bytes: /24 prefixes, four bytes each. */
const bigUpdate = (length: number): Uint8Array => {
  const rest = length - 23 - BASE.length;
  const padding: Bytes = rest % 4 === 0 ? [] : [[0], [8, 20], [16, 20, 0]][(rest % 4) - 1];
  return update(BASE, [...padding, ...Array.from({ length: Math.floor(rest / 4) }, () => P24).flat()]);
};

describe('headers', () => {
  test.each(Array.from({ length: 16 }, (_, i) => i))('H1 marker byte %i is not 0xff: N 1/1', (at) => {
    expect(receive(marker(at)).reaction).toBe('N 1/1');
  });
  test.each([0, 1, 18])('H2 length %i: N 1/2 with the length', (length) => {
    const { reaction, fault } = receive(header(length, 4));
    expect(reaction).toBe('N 1/2');
    expect([...fault!.data]).toEqual(u16(length));
  });

  const rows: [id: string, what: string, bytes: Uint8Array, reaction: string, data?: Bytes, context?: typeof ctx][] = [
    ['H3', 'UPDATE of 4097 bytes without extended messages', bigUpdate(4097), 'N 1/2', u16(4097)],
    ['H4', 'UPDATE of 5000 bytes with extended messages', bigUpdate(5000), 'accept', undefined, extended],
    ['H5', 'OPEN of 4097 bytes, capability or not', ofLength(4097, 1), 'N 1/2', u16(4097), extended],
    ['H5', 'KEEPALIVE of 4097 bytes, capability or not', ofLength(4097, 4), 'N 1/2', u16(4097), extended],
    ['H6', 'OPEN of 28 bytes', ofLength(28, 1), 'N 1/2', u16(28)],
    ['H7', 'UPDATE of 22 bytes', ofLength(22, 2), 'N 1/2', u16(22)],
    ['H8', 'KEEPALIVE of 20 bytes', ofLength(20, 4), 'N 1/2', u16(20)],
    ['H9', 'NOTIFICATION of 20 bytes is not answered', ofLength(20, 3), 'close'],
    ['H10', 'type 0', header(19, 0), 'N 1/3', [0]],
    ['H10', 'type 6', header(19, 6), 'N 1/3', [6]],
    ['H11', 'type 128, which we never announce', header(19, 128), 'N 1/3', [128]],
    ['H10', 'type 255', header(19, 255), 'N 1/3', [255]],
    [
      'H12',
      'ROUTE-REFRESH without the capability',
      message('ROUTE-REFRESH', [0, 1, 0, 1]),
      'IGN',
      undefined,
      { ...ctx, routeRefresh: false },
    ],
  ];
  test.each(rows)('%s %s', (_id, _what, bytes, reaction, data, context) => {
    const outcome = receive(bytes, context ?? ctx);
    expect(outcome.reaction).toBe(reaction);
    if (data) expect([...outcome.fault!.data]).toEqual(data);
  });

  test('H13 half a message is no fault: the codec waits for more', () => {
    const whole = update(BASE, P24);
    for (let end = 0; end < whole.length; end++) expect(nextFrame(whole, 0, end, 4096)).toBe(0);
    expect(nextFrame(whole, 0, whole.length, 4096)).toBe(whole.length);
  });

  test('H14 H15 messages are found however the stream was cut', () => {
    const open = encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 1, capabilities: [] });
    const parts = [open, message('KEEPALIVE', []), ...Array.from({ length: 200 }, () => update(BASE, P24))];
    const stream = Uint8Array.from(parts.flatMap((part) => [...part]));
    const found: number[] = [];
    let at = 0;
    for (let end = 0; end <= stream.length; end++) {
      const length = nextFrame(stream, at, end, 4096) as number;
      if (length > 0) found.push(length);
      at += length;
    }
    expect(found).toEqual(parts.map((part) => part.length));
  });

  test.each([
    ['TLS hello', [0x16, 3, 1, 2, 0, 1]],
    ['HTTP', [...new TextEncoder().encode('GET / ')]],
  ])('H16 %s is refused with its first bytes', (_what, bytes) => {
    const fault = nextFrame(Uint8Array.from(bytes), 0, 1, 4096);
    expect(fault).toMatchObject({ disposition: 'reset', code: 1, subcode: 1 });
  });
});
