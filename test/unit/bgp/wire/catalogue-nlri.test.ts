import { describe, expect, test } from 'vitest';
import { type Addr, bytesToAddr } from '#core';
import type { DecodeContext, NlriBlock } from '../../../../bgp/wire/types.ts';
import {
  AS_PATH,
  attr,
  BASE,
  type Bytes,
  ctx,
  LL6,
  message,
  NEXT_HOP,
  NH6,
  ORIGIN,
  P24,
  P32,
  reach,
  receive,
  u16,
  u32,
  unreach,
  update,
} from './build.ts';

/** reference catalogue 5.4: prefixes, in the body and in MP attributes. */

const MP: Bytes = [...ORIGIN, ...AS_PATH];
const only4: DecodeContext = { ...ctx, families: [4] };
const only6: DecodeContext = { ...ctx, families: [6] };
const addPath: DecodeContext = { ...ctx, addPathReceive: { 4: true, 6: true } };
const enh: DecodeContext = { ...ctx, extendedNextHop: true };

type Row = [id: string, what: string, bytes: Uint8Array, reaction: string, context?: DecodeContext];

const rows: Row[] = [
  ['P1', 'prefix length 33', update(BASE, [33, 1, 2, 3, 4, 5]), 'N 3/10'],
  ['P2', 'withdrawn prefix length 33', update([], [], [33, 1, 2, 3, 4, 5]), 'N 3/10'],
  ['P3', '/24 with two bytes left', update(BASE, [24, 1, 2]), 'N 3/10'],
  ['P3', 'withdrawn /24 with two bytes left', update([], [], [24, 1, 2]), 'N 3/10'],
  ['P5', '224.0.0.0/4', update(BASE, [4, 224, ...P24]), 'IGN'],
  ['P5', '127.0.0.0/8', update(BASE, [8, 127, ...P24]), 'IGN'],
  ['P5', '0.0.0.0/8', update(BASE, [8, 0, ...P24]), 'IGN'],
  [
    'P5',
    '127.0.0.0/8 where the configuration takes it',
    update(BASE, [8, 127]),
    'accept',
    { ...ctx, options: { ...ctx.options, dropMartians: false } },
  ],
  ['P6', '0.0.0.0/0', update(BASE, [0]), 'accept'],
  ['P6', '0.0.0.0/1 and 128.0.0.0/1', update(BASE, [1, 0, 1, 128]), 'accept'],
  ['P9', 'add-path negotiated, identifiers absent', update(BASE, P24), 'N 3/10', addPath],
  ['P13', 'MP_REACH of 4 bytes', update([...attr(0x80, 14, [0, 2, 1, 0]), ...MP]), 'N 3/9'],
  ['P14', 'next hop of 9 bytes', update([...reach(2, NH6.slice(0, 9), P32), ...MP]), 'N 3/9'],
  ['P14', 'next hop of 0 bytes', update([...reach(2, [], P32), ...MP]), 'N 3/9'],
  ['P14', 'next hop of 33 bytes', update([...reach(2, [...NH6, ...LL6, 1], P32), ...MP]), 'N 3/9'],
  [
    'P14',
    'next hop of 64 bytes in 30',
    update([...attr(0x80, 14, [0, 2, 1, 64, ...NH6, ...P32, ...P32]), ...MP]),
    'N 3/9',
  ],
  ['P15', 'reserved byte not 0', update([...reach(2, NH6, P32, 7), ...MP]), 'accept'],
  ['P16', 'second half of the next hop not link-local', update([...reach(2, [...NH6, ...NH6], P32), ...MP]), 'IGN'],
  ['P19', 'IPv4 with an IPv6 next hop, not negotiated', update([...reach(1, NH6, P24), ...MP]), 'N 3/9'],
  ['P19', 'IPv4 with an IPv6 next hop, negotiated', update([...reach(1, NH6, P24), ...MP]), 'accept', enh],
  ['P20', 'IPv6 prefix length 129', update([...reach(2, NH6, [129, ...NH6, 0]), ...MP]), 'N 3/9'],
  ['P20', 'withdrawn IPv6 prefix length 129', update(unreach(2, [129, ...NH6, 0])), 'N 3/9'],
  ['P21', 'MP_UNREACH of 2 bytes', update(attr(0x80, 15, [0, 2])), 'N 3/9'],
  ['P22', 'MP_UNREACH with a truncated prefix', update(unreach(2, [32, 0x20, 1])), 'N 3/9'],
  ['P22', 'MP_REACH with a truncated prefix', update([...reach(2, NH6, [32, 0x20, 1]), ...MP]), 'N 3/9'],
  ['P23', 'MP_REACH of a family that is not negotiated', update([...reach(2, NH6, P32), ...MP]), 'IGN', only4],
  [
    'P23',
    'MP_REACH of a family nobody knows, whatever is in it',
    update([...attr(0x80, 14, [0, 25, 70, 9, 1]), ...MP]),
    'IGN',
  ],
  ['P23', 'MP_UNREACH of a family that is not negotiated', update(unreach(2, P32)), 'IGN', only4],
  ['P23', 'IPv4 in the body where IPv4 is not negotiated', update(BASE, P24), 'IGN', only6],
  ['P24', 'IPv4 in MP_REACH and in the body', update([...reach(1, [10, 0, 0, 9], [8, 30]), ...BASE], P24), 'accept'],
  ['P25', 'MP_REACH with a NEXT_HOP beside it', update([...reach(2, NH6, P32), ...BASE]), 'accept'],
];

describe('prefixes', () => {
  test.each(rows)('%s %s', (_id, _what, bytes, reaction, context = ctx) => {
    expect(receive(bytes, context).reaction).toBe(reaction);
  });
});

/** The prefixes of a block, for people. */
const texts = (block: NlriBlock): string[] =>
  Array.from({ length: block.count }, (_, i) => {
    const words = block.family === 4 ? 1 : 4;
    const bytes = Array.from(block.addr.subarray(i * words, (i + 1) * words), (word) => [...u32(word)]).flat();
    const id = block.pathId ? `#${block.pathId[i]}` : '';
    return `${bytesToAddr(Uint8Array.from(bytes))}/${block.length[i]}${id}`;
  });
const routes = (bytes: Uint8Array, context = ctx) => {
  const { update: value } = receive(bytes, context);
  return {
    withdrawn: value!.withdrawn.flatMap(texts),
    announced: value!.announced.map(({ nlri, attributes }) => [attributes.nextHop, ...texts(nlri)]),
    endOfRib: value!.endOfRib,
  };
};

describe('what comes out', () => {
  test('P4 host bits are cleared', () => {
    expect(routes(update(BASE, [9, 10, 0xff, 20, 10, 1, 0xff, 32, 10, 1, 2, 3]))).toMatchObject({
      announced: [['10.0.0.1', '10.128.0.0/9', '10.1.240.0/20', '10.1.2.3/32']],
    });
    expect(routes(update([...reach(2, NH6, [33, 0x20, 1, 0xd, 0xb8, 0xff, 127, ...NH6]), ...MP]))).toMatchObject({
      announced: [['2001:db8::1', '2001:db8:8000::/33', '2001:db8::/127']],
    });
  });
  test('P5 martians are left out, the rest stays', () => {
    const v4 = [4, 224, 8, 127, 24, 127, 0, 0, 8, 0, 32, 0, 0, 0, 0, ...P24, 0];
    expect(routes(update(BASE, v4)).announced).toEqual([['10.0.0.1', '20.0.0.0/24', '0.0.0.0/0']]);
    const v6 = [
      8,
      0xff,
      10,
      0xfe,
      0x80,
      128,
      ...Array<number>(15).fill(0),
      1,
      128,
      ...Array<number>(16).fill(0),
      ...P32,
      0,
    ];
    expect(routes(update([...reach(2, NH6, v6), ...MP])).announced).toEqual([['2001:db8::1', '2001:db8::/32', '::/0']]);
  });
  test('P7 a prefix in both lists is announced by who applies withdrawals first', () => {
    expect(routes(update(BASE, P24, P24))).toEqual({
      withdrawn: ['20.0.0.0/24'],
      announced: [['10.0.0.1', '20.0.0.0/24']],
      endOfRib: null,
    });
  });
  test('path identifiers come with their prefixes', () => {
    const withId = [...u32(7), ...P24, ...u32(0xffffffff), ...P24];
    expect(routes(update(BASE, withId, [...u32(1), 8, 10]), addPath)).toEqual({
      withdrawn: ['10.0.0.0/8#1'],
      announced: [['10.0.0.1', '20.0.0.0/24#7', '20.0.0.0/24#4294967295']],
      endOfRib: null,
    });
    expect(routes(update([...reach(2, NH6, [...u32(3), ...P32]), ...MP]), addPath).announced).toEqual([
      ['2001:db8::1', '2001:db8::/32#3'],
    ]);
  });
  test('P10 path identifiers that were not negotiated read as default routes', () => {
    const outcome = receive(update(BASE, [...u32(0), ...P24]));
    expect(outcome.update!.announced.flatMap(({ nlri }) => texts(nlri))).toHaveLength(5);
    expect(outcome.fault?.reason).toMatch(/path identifiers that were not negotiated/);
  });
  test('P16 a link-local second half is kept beside the global next hop', () => {
    const { update: value } = receive(update([...reach(2, [...NH6, ...LL6], P32), ...MP]));
    expect(value!.announced[0].attributes).toMatchObject({ nextHop: '2001:db8::1', nextHopLinkLocal: 'fe80::1' });
    const other = receive(update([...reach(2, [...NH6, ...NH6], P32), ...MP])).update;
    expect(other!.announced[0].attributes).toMatchObject({ nextHop: '2001:db8::1', nextHopLinkLocal: null });
  });
  test('P24 P25 body and MP_REACH have each their own next hop', () => {
    expect(routes(update([...reach(2, NH6, P32), ...BASE], P24)).announced).toEqual([
      ['10.0.0.1' as Addr, '20.0.0.0/24'],
      ['2001:db8::1' as Addr, '2001:db8::/32'],
    ]);
  });
  test('the MP attributes may stand anywhere among the others', () => {
    const mp = reach(2, NH6, P32);
    const gone = unreach(2, [16, 0x20, 2]);
    const want = { withdrawn: ['2002::/16'], announced: [['2001:db8::1', '2001:db8::/32']], endOfRib: null };
    for (const block of [
      [mp, gone, ORIGIN, AS_PATH],
      [ORIGIN, gone, AS_PATH, mp],
      [ORIGIN, mp, AS_PATH, gone],
      [gone, ORIGIN, AS_PATH, NEXT_HOP, mp],
    ])
      expect(routes(update(block.flat()))).toEqual(want);
  });
  test('a fault withdraws what stands in the body and in MP_REACH', () => {
    const { update: value } = receive(update([...reach(2, NH6, P32), ...BASE, ...attr(0x80, 4, [])], P24, [8, 10]));
    expect(value!.fault?.disposition).toBe('treat-as-withdraw');
    expect(value!.withdrawn.flatMap(texts)).toEqual(['10.0.0.0/8', '20.0.0.0/24', '2001:db8::/32']);
  });
  test('P28 End-of-RIB is an empty UPDATE, or MP_UNREACH without routes', () => {
    expect(routes(update([]))).toEqual({ withdrawn: [], announced: [], endOfRib: 4 });
    expect(routes(update(unreach(2, [])))).toEqual({ withdrawn: [], announced: [], endOfRib: 6 });
    expect(routes(update(unreach(1, [])))).toEqual({ withdrawn: [], announced: [], endOfRib: 4 });
    expect(routes(update([]), only6).endOfRib).toBeNull();
    expect(routes(update([...unreach(2, []), ...BASE], P24)).endOfRib).toBeNull();
    expect(routes(update(unreach(2, []), [], P24)).endOfRib).toBeNull();
    expect(routes(update(unreach(2, P32))).endOfRib).toBeNull();
  });
  test('P30 nothing of a message that resets the session comes out', () => {
    const outcome = receive(message('UPDATE', [...u16(2), 8, 10, ...u16(BASE.length), ...BASE, ...P24, 33]));
    expect(outcome).toMatchObject({ reaction: 'N 3/10', update: null });
  });
});
