import { describe, expect, test } from 'vitest';
import { encodeAttributes } from '../../../../bgp/wire/attributes-out.ts';
import { fits } from '../../../../bgp/wire/pack.ts';
import type { DecodeContext, PathAttributes } from '../../../../bgp/wire/types.ts';
import {
  AS_PATH,
  AS_PATH_2,
  attr,
  BASE,
  BASE_2,
  BASE_IBGP,
  type Bytes,
  ctx,
  ibgp,
  LOCAL_PREF,
  message,
  NEXT_HOP,
  NH6,
  ORIGIN,
  P24,
  P32,
  reach,
  receive,
  seq,
  seq2,
  twoOctet,
  u16,
  u32,
  update,
} from './build.ts';

/** reference catalogue 5.3: framing and attributes of UPDATE. */

const path = (value: Bytes) => update([...ORIGIN, ...attr(0x40, 2, value), ...NEXT_HOP], P24);
const plus = (...attributes: Bytes[]) => update([...BASE, ...attributes.flat()], P24);
const plusIbgp = (...attributes: Bytes[]) => update([...BASE_IBGP, ...attributes.flat()], P24);
const plus2 = (...attributes: Bytes[]) => update([...BASE_2, ...attributes.flat()], P24);
const hopless = (nextHop: Bytes) => update([...ORIGIN, ...AS_PATH, ...attr(0x40, 3, nextHop)], P24);
/** An attribute block whose declared length differs from its bytes. */
const framed = (attributes: Bytes, declared: number, nlri: Bytes, withdrawnLength = 0) =>
  message('UPDATE', [...u16(withdrawnLength), ...u16(declared), ...attributes, ...nlri]);

const OPT = 0x80;
const OPT_TRANS = 0xc0;
const words = (count: number): Bytes => Array.from({ length: count }, (_, i) => u32(i + 1)).flat();

type Row = [id: string, what: string, bytes: Uint8Array, reaction: string, context?: DecodeContext];

const rows: Row[] = [
  ['U1', 'withdrawn length beyond the message', framed(BASE, BASE.length, P24, 200), 'N 3/1'],
  ['U1', 'withdrawn length leaves no room for the next', framed([], 0, [], 1), 'N 3/1'],
  ['U2', 'attribute length beyond the message', framed(BASE, BASE.length + 5, P24), 'N 3/1'],
  ['U3', 'last attribute overruns the block', update([...BASE, OPT, 4, 9, 0], P24), 'TAW'],
  ['U3', 'MP_REACH overruns the block: no routes to withdraw', update([...BASE, OPT, 14, 99, 0]), 'N 3/9'],
  ['U4', 'one byte left in the block', update([...BASE, 0x40], P24), 'TAW'],
  ['U4', 'two bytes left in the block', update([...BASE, 0x40, 5], P24), 'TAW'],
  ['U4', 'three bytes left with the extended flag', update([...BASE, 0x50, 5, 0], P24), 'TAW'],
  ['U5', 'extended length below 256', update([...ORIGIN, 0x50, 2, 0, 6, ...seq(65001), ...NEXT_HOP], P24), 'accept'],
  ['U6', 'low flag bits set', update([0x4f, 1, 1, 0, ...AS_PATH, ...NEXT_HOP].flat(), P24), 'accept'],
  ['U7', 'optional bit on ORIGIN', update([...attr(0xc0, 1, [0]), ...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U7', 'MED that is transitive', plus(attr(0xc0, 4, u32(1))), 'TAW'],
  ['U7', 'COMMUNITIES that are not transitive', plus(attr(0x80, 8, u32(1))), 'TAW'],
  ['U7', 'AS4_PATH that is not transitive, by RFC 6793', plus2(attr(0x80, 17, seq(65001))), 'AD', twoOctet],
  ['U7', 'MP_REACH that is transitive', update([...attr(0xc0, 14, [0, 2, 1, 16, ...NH6, 0, ...P32]), ...BASE]), 'TAW'],
  ['U8', 'partial bit on ORIGIN', update([...attr(0x60, 1, [0]), ...AS_PATH, ...NEXT_HOP], P24), 'IGN'],
  ['U9', 'unknown attribute that is not optional', plus(attr(0x40, 99, [1, 2])), 'N 3/2'],
  ['U10', 'unknown optional transitive', plus(attr(OPT_TRANS, 99, [1, 2])), 'accept'],
  ['U11', 'unknown optional non-transitive', plus(attr(OPT, 99, [1, 2])), 'accept'],
  ['U12', 'MED twice', plus(attr(OPT, 4, u32(1)), attr(OPT, 4, u32(2))), 'accept'],
  ['U12', 'the second one is malformed', plus(attr(OPT, 4, u32(1)), attr(OPT, 4, [1])), 'accept'],
  ['U13', 'MP_REACH twice', update([...reach(2, NH6, P32), ...BASE, ...reach(2, NH6, P32)]), 'N 3/1'],
  ['U13', 'MP_UNREACH twice', update([...attr(OPT, 15, [0, 2, 1, ...P32]), ...attr(OPT, 15, [0, 2, 1])]), 'N 3/1'],
  ['U14', 'ORIGIN missing', update([...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U15', 'AS_PATH missing', update([...ORIGIN, ...NEXT_HOP], P24), 'TAW'],
  ['U16', 'NEXT_HOP missing', update([...ORIGIN, ...AS_PATH], P24), 'TAW'],
  ['U17', 'LOCAL_PREF missing on an internal session', plus(), 'IGN', ibgp],
  ['U18', 'attributes without routes', update(BASE), 'accept'],
  ['U19', 'faulty attributes without routes', update([...BASE, ...attr(OPT, 4, [1])]), 'N 3/9'],
  ['U19', 'attributes cut short without routes', update([...BASE, 0x40]), 'N 3/1'],
  ['U19', 'a discarded attribute without routes is no such fault', update([...BASE, ...attr(0x40, 6, [1])]), 'AD'],
  ['U20', 'ORIGIN of length 0', update([...attr(0x40, 1, []), ...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U20', 'ORIGIN of length 2', update([...attr(0x40, 1, [0, 0]), ...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U21', 'ORIGIN 3', update([...attr(0x40, 1, [3]), ...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U21', 'ORIGIN 255', update([...attr(0x40, 1, [255]), ...AS_PATH, ...NEXT_HOP], P24), 'TAW'],
  ['U22', 'segment type 0', path([0, 1, ...u32(65001)]), 'TAW'],
  ['U22', 'segment type 5', path([5, 1, ...u32(65001)]), 'TAW'],
  ['U22', 'segment type 255', path([255, 1, ...u32(65001)]), 'TAW'],
  ['U23', 'segment of 255 with two', path([2, 255, ...u32(65001), ...u32(2)]), 'TAW'],
  ['U24', 'segment of 0', path([...seq(65001), 2, 0]), 'TAW'],
  ['U25', 'a byte behind the last segment', path([...seq(65001), 2]), 'TAW'],
  ['U26', 'two-octet numbers on a four-octet session', path(seq2(65001, 65002)), 'TAW'],
  [
    'U26',
    'four-octet numbers on a two-octet session',
    update([...ORIGIN, ...attr(0x40, 2, seq(65001, 7)), ...NEXT_HOP], P24),
    'TAW',
    twoOctet,
  ],
  ['U27', 'AS 0 in the path', path(seq(65001, 0)), 'TAW'],
  ['U28', 'empty path from outside', path([]), 'TAW'],
  ['U29', 'first AS is not the peer', path(seq(65002, 65001)), 'TAW'],
  [
    'U29',
    'the same from a peer of whom it is not asked',
    path(seq(65002)),
    'accept',
    { ...ctx, options: { ...ctx.options, enforceFirstAs: false } },
  ],
  ['U31', 'AS_CONFED_SEQUENCE', path([3, 1, ...u32(65001)]), 'TAW'],
  ['U31', 'AS_CONFED_SET', path([...seq(65001), 4, 1, ...u32(1)]), 'TAW'],
  ['U32', 'AS_SET', path([...seq(65001), 1, 2, ...u32(1), ...u32(2)]), 'TAW'],
  [
    'U32',
    'AS_SET where the configuration takes it',
    path([...seq(65001), 1, 1, ...u32(2)]),
    'accept',
    { ...ctx, options: { ...ctx.options, acceptAsSet: true } },
  ],
  ['U34', 'AS4_PATH from a four-octet peer', plus(attr(OPT_TRANS, 17, seq(65001))), 'AD'],
  ['U34', 'AS4_AGGREGATOR from a four-octet peer', plus(attr(OPT_TRANS, 18, words(2))), 'AD'],
  ['U35', 'malformed AS4_PATH from a two-octet peer', plus2(attr(OPT_TRANS, 17, [2, 9, 1])), 'AD', twoOctet],
  ['U35', 'bad segment type in AS4_PATH', plus2(attr(OPT_TRANS, 17, [7, 1, ...u32(1)])), 'AD', twoOctet],
  ['U39', 'NEXT_HOP of length 3', hopless([1, 2, 3]), 'TAW'],
  ['U39', 'NEXT_HOP of length 5', hopless([1, 2, 3, 4, 5]), 'TAW'],
  ['U39', 'NEXT_HOP of length 0', hopless([]), 'TAW'],
  ['U39', 'NEXT_HOP of length 16', hopless(NH6), 'TAW'],
  ['U44', 'MED of length 3', plus(attr(OPT, 4, [0, 0, 1])), 'TAW'],
  ['U44', 'MED of length 5', plus(attr(OPT, 4, [0, 0, 0, 0, 1])), 'TAW'],
  ['U44', 'MED of length 0', plus(attr(OPT, 4, [])), 'TAW'],
  ['U45', 'LOCAL_PREF from outside', plus(LOCAL_PREF), 'AD'],
  ['U45', 'LOCAL_PREF from outside, broken', plus(attr(0x40, 5, [1])), 'AD'],
  ['U46', 'LOCAL_PREF of length 3 from inside', update([...BASE, ...attr(0x40, 5, [0, 0, 1])], P24), 'TAW', ibgp],
  ['U47', 'ATOMIC_AGGREGATE of length 1', plus(attr(0x40, 6, [1])), 'AD'],
  ['U48', 'AGGREGATOR of length 5', plus(attr(OPT_TRANS, 7, [1, 2, 3, 4, 5])), 'AD'],
  ['U48', 'AGGREGATOR of length 7', plus(attr(OPT_TRANS, 7, [1, 2, 3, 4, 5, 6, 7])), 'AD'],
  ['U48', 'AGGREGATOR of length 9', plus(attr(OPT_TRANS, 7, [...words(2), 1])), 'AD'],
  ['U48', 'AGGREGATOR of length 6 on a four-octet session', plus(attr(OPT_TRANS, 7, [0, 1, 1, 1, 1, 1])), 'AD'],
  ['U49', 'AGGREGATOR with AS 0', plus(attr(OPT_TRANS, 7, [...u32(0), ...u32(1)])), 'AD'],
  ['U50', 'COMMUNITIES of length 0', plus(attr(OPT_TRANS, 8, [])), 'TAW'],
  ['U50', 'COMMUNITIES of length 5', plus(attr(OPT_TRANS, 8, [1, 2, 3, 4, 5])), 'TAW'],
  ['U51', 'EXTENDED COMMUNITIES of length 0', plus(attr(OPT_TRANS, 16, [])), 'TAW'],
  ['U51', 'EXTENDED COMMUNITIES of length 9', plus(attr(OPT_TRANS, 16, [...words(2), 1])), 'TAW'],
  ['U52', 'LARGE COMMUNITIES of length 0', plus(attr(OPT_TRANS, 32, [])), 'TAW'],
  ['U52', 'LARGE COMMUNITIES of length 13', plus(attr(OPT_TRANS, 32, [...words(3), 1])), 'TAW'],
  ['U55', 'ORIGINATOR_ID from outside', plus(attr(OPT, 9, u32(1))), 'AD'],
  ['U56', 'ORIGINATOR_ID of length 3 from inside', plusIbgp(attr(OPT, 9, [1, 2, 3])), 'TAW', ibgp],
  ['U58', 'CLUSTER_LIST from outside', plus(attr(OPT, 10, u32(1))), 'AD'],
  ['U59', 'CLUSTER_LIST of length 5 from inside', plusIbgp(attr(OPT, 10, [1, 2, 3, 4, 5])), 'TAW', ibgp],
  ['U59', 'CLUSTER_LIST of length 0 from inside', plusIbgp(attr(OPT, 10, [])), 'TAW', ibgp],
  ['U61', 'OTC of length 3', plus(attr(OPT_TRANS, 35, [1, 2, 3])), 'TAW'],
  ['U61', 'OTC 0', plus(attr(OPT_TRANS, 35, u32(0))), 'TAW'],
  ['U64', 'AIGP with an unknown TLV', plus(attr(OPT, 26, [2, 0, 4, 1])), 'AD'],
  ['U64', 'AIGP with a TLV of the wrong size', plus(attr(OPT, 26, [1, 0, 10, 0, 0, 0, 0, 0, 0, 1])), 'AD'],
  [
    'U64',
    'AIGP as it should be, on a session that does not use it',
    plus(attr(OPT, 26, [1, 0, 11, 0, 0, 0, 0, 0, 0, 0, 1])),
    'accept',
  ],
  ['U65', 'attribute 255, well-known by its bits', plus(attr(0x40, 255, [1])), 'N 3/2'],
  ['U65', 'attribute 255, optional non-transitive', plus(attr(OPT, 255, [1])), 'accept'],
  ['U65', 'attribute 0, optional transitive', plus(attr(OPT_TRANS, 0, [])), 'accept'],
  ['U66', 'tunnel encapsulation with rubbish inside', plus(attr(OPT_TRANS, 23, [0xff, 0xff, 1])), 'accept'],
  ['U66', 'prefix-SID with rubbish inside', plus(attr(OPT_TRANS, 40, [9])), 'accept'],
  ['U66', 'BGPsec path with rubbish inside', plus(attr(OPT, 33, [0])), 'accept'],
];

describe('UPDATE, framing and attributes', () => {
  test.each(rows)('%s %s', (_id, _what, bytes, reaction, context = ctx) => {
    const outcome = receive(bytes, context);
    expect(outcome.reaction).toBe(reaction);
    if (reaction !== 'TAW') return;
    // Treated as withdrawn: every route of the message is there, and none is announced.
    expect(outcome.update!.announced).toEqual([]);
    expect(outcome.update!.withdrawn.map((block) => block.count)).toEqual([1]);
  });
});

/** The attributes of the one announcement. */
function attributes(bytes: Uint8Array, context = ctx): PathAttributes {
  const { update: value } = receive(bytes, context);
  expect(value?.announced).toHaveLength(1);
  return value!.announced[0].attributes;
}

describe('what a lenient reaction leaves behind', () => {
  test('U9 the NOTIFICATION carries the attribute', () => {
    expect([...receive(plus(attr(0x40, 99, [1, 2]))).fault!.data]).toEqual([0x40, 99, 2, 1, 2]);
  });
  test('U10 U11 an unknown transitive attribute goes on with the partial bit, a non-transitive one does not', () => {
    const value = attributes(plus(attr(OPT_TRANS, 99, [1, 2]), attr(OPT, 98, [3])));
    expect(value.unknown).toEqual([{ code: 99, value: Uint8Array.of(1, 2) }]);
    expect([...encodeAttributes(value, { fourOctetAs: true }, true)].slice(-5)).toEqual([0xe0, 99, 2, 1, 2]);
  });
  test('the partial bit of a known transitive attribute is never cleared', () => {
    const value = attributes(plus(attr(0xe0, 8, u32(7))));
    expect([...encodeAttributes(value, { fourOctetAs: true }, true)].slice(-7)).toEqual([0xe0, 8, 4, 0, 0, 0, 7]);
  });
  test('U12 the first of two counts', () => {
    expect(attributes(plus(attr(OPT, 4, u32(1)), attr(OPT, 4, u32(2)))).med).toBe(1);
  });
  test('U14 to U16 the data name the missing attribute', () => {
    expect([...receive(update([...ORIGIN, ...AS_PATH], P24)).fault!.data]).toEqual([3]);
  });
  test('U33 a path of 1000 is one sequence, and goes out in segments of 255', () => {
    const numbers = [65001, ...Array.from({ length: 999 }, (_, i) => 100000 + i)];
    const segments = [0, 255, 510, 765].flatMap((from) => seq(...numbers.slice(from, from + 255)));
    const value = attributes(path(segments));
    expect(value.asPath).toEqual([{ type: 'sequence', asNumbers: numbers }]);
    const bytes = encodeAttributes(value, { fourOctetAs: true }, true);
    expect(attributes(update([...bytes], P24))).toEqual(value);
  });
  test('U36 an AS4_PATH longer than AS_PATH is not used', () => {
    const value = attributes(plus2(attr(OPT_TRANS, 17, seq(70000, 70001))), twoOctet);
    expect(value.asPath).toEqual([{ type: 'sequence', asNumbers: [65001] }]);
  });
  test('AS_TRANS is filled in from AS4_PATH, the leading part stays', () => {
    const two = [...ORIGIN, ...attr(0x40, 2, seq2(65001, 23456, 23456)), ...NEXT_HOP];
    const value = attributes(update([...two, ...attr(OPT_TRANS, 17, seq(70000, 70001))], P24), twoOctet);
    expect(value.asPath).toEqual([{ type: 'sequence', asNumbers: [65001, 70000, 70001] }]);
  });
  test('U37 confederation segments are left out of AS4_PATH', () => {
    const two = [...ORIGIN, ...attr(0x40, 2, seq2(65001, 23456)), ...NEXT_HOP];
    const four = attr(OPT_TRANS, 17, [3, 1, ...u32(1), ...seq(70000)]);
    expect(attributes(update([...two, ...four], P24), twoOctet).asPath).toEqual([
      { type: 'sequence', asNumbers: [65001, 70000] },
    ]);
  });
  test('U38 an AGGREGATOR that is not AS_TRANS makes both AS4 attributes void', () => {
    const two = [...ORIGIN, ...attr(0x40, 2, seq2(65001, 23456)), ...NEXT_HOP];
    const four = [...attr(OPT_TRANS, 17, seq(70000)), ...attr(OPT_TRANS, 18, [...u32(70000), ...u32(9)])];
    const own = attributes(update([...two, ...attr(OPT_TRANS, 7, [...u16(65009), ...u32(8)]), ...four], P24), twoOctet);
    expect(own.aggregator).toEqual({ asNumber: 65009, identifier: 8 });
    expect(own.asPath[0].asNumbers).toEqual([65001, 23456]);
    const trans = attributes(
      update([...two, ...attr(OPT_TRANS, 7, [...u16(23456), ...u32(8)]), ...four], P24),
      twoOctet,
    );
    expect(trans.aggregator).toEqual({ asNumber: 70000, identifier: 9 });
    expect(trans.asPath[0].asNumbers).toEqual([65001, 70000]);
  });
  test('U45 U47 U55 U58 what is discarded is gone, the route stays', () => {
    const value = attributes(plus(LOCAL_PREF, attr(0x40, 6, [1]), attr(OPT, 9, u32(1)), attr(OPT, 10, u32(1))));
    expect(value).toMatchObject({ localPref: null, atomicAggregate: false, originatorId: null, clusterList: [] });
  });
  test('U53 a community counts once', () => {
    expect(attributes(plus(attr(OPT_TRANS, 8, [...u32(2), ...u32(1), ...u32(2)]))).communities).toEqual([1, 2]);
    const large = [...words(3), ...words(3)];
    expect(attributes(plus(attr(OPT_TRANS, 32, large))).largeCommunities).toEqual([[1, 2, 3]]);
  });
  test('U54 1000 communities are accepted; where they cannot go out, the writer says so beforehand', () => {
    const value = attributes(plus(attr(OPT_TRANS, 8, words(1000))));
    expect(value.communities).toHaveLength(1000);
    const bytes = encodeAttributes(value, { fourOctetAs: true }, true);
    expect(fits({ bytes, nextHop: null }, 4, false, 4096)).toBe(true);
    const more = encodeAttributes(
      { ...value, communities: Array.from({ length: 1020 }, (_, i) => i) },
      { fourOctetAs: true },
      true,
    );
    expect(fits({ bytes: more, nextHop: null }, 4, false, 4096)).toBe(false);
    expect(fits({ bytes: more, nextHop: null }, 4, false, 65535)).toBe(true);
  });
  test('the strongest of several faults decides', () => {
    expect(receive(plus(attr(0x40, 6, [1]), attr(OPT, 4, []), attr(0x40, 99, []))).reaction).toBe('N 3/2');
    expect(receive(plus(attr(0x40, 6, [1]), attr(OPT, 4, []))).reaction).toBe('TAW');
    expect(receive(update([...attr(OPT, 4, []), ...BASE], [33, 1])).reaction).toBe('N 3/10');
  });
  test('a two-octet session reads two-octet AGGREGATOR and path', () => {
    const value = attributes(
      update([...ORIGIN, ...AS_PATH_2, ...NEXT_HOP, ...attr(OPT_TRANS, 7, [...u16(65009), ...u32(8)])], P24),
      twoOctet,
    );
    expect(value).toMatchObject({
      asPath: [{ type: 'sequence', asNumbers: [65001] }],
      aggregator: { asNumber: 65009, identifier: 8 },
    });
  });
});
