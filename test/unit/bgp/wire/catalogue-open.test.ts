import { describe, expect, test } from 'vitest';
import { unicast } from '../../../../bgp/wire/codes.ts';
import { type Expectation, negotiate } from '../../../../bgp/wire/negotiate.ts';
import { encodeOpen, type OpenFields } from '../../../../bgp/wire/open.ts';
import type { Capability, Negotiated, Open } from '../../../../bgp/wire/types.ts';
import { type Bytes, message, receive, u16, u32 } from './build.ts';

/** reference catalogue 5.2: OPEN and capabilities. What the bytes decide by themselves, then what the configuration decides. */

const cap = (code: number, value: Bytes): Bytes => [code, value.length, ...value];
const param = (value: Bytes, type = 2): Bytes => [type, value.length, ...value];
const raw = (
  parameters: Bytes,
  { version = 4, as = 65001, hold = 90, id = 0x0a000001, length = parameters.length } = {},
) => message('OPEN', [version, ...u16(as), ...u16(hold), ...u32(id), length, ...parameters]);
const wide = (parameters: Bytes, total = parameters.length) =>
  raw([255, ...u16(total), ...parameters], { length: 255 });
const wideParam = (value: Bytes): Bytes => [2, ...u16(value.length), ...value];

const MP4: Capability = { name: 'multiprotocol', ...unicast(4) };
const MP6: Capability = { name: 'multiprotocol', ...unicast(6) };
const open = (bytes: Uint8Array): Open => {
  const { message: value } = receive(bytes, null);
  expect(value?.type).toBe('OPEN');
  return value as Open;
};
const names = (bytes: Uint8Array) => open(bytes).capabilities.map((c) => c.name);

describe('OPEN by itself', () => {
  const rows: [id: string, what: string, bytes: Uint8Array, reaction: string, data?: Bytes][] = [
    ['O1', 'version 3', raw([], { version: 3 }), 'N 2/1', [0, 4]],
    ['O1', 'version 5', raw([], { version: 5 }), 'N 2/1', [0, 4]],
    ['O3', 'AS 0', raw([], { as: 0 }), 'N 2/2'],
    ['O5', 'capability 65 says AS 0', raw(param(cap(65, u32(0)))), 'N 2/2'],
    ['O7', 'identifier 0.0.0.0', raw([], { id: 0 }), 'N 2/3'],
    ['O10', 'identifier 224.0.0.1', raw([], { id: 0xe0000001 }), 'accept'],
    ['O11', 'hold time 1', raw([], { hold: 1 }), 'N 2/6'],
    ['O11', 'hold time 2', raw([], { hold: 2 }), 'N 2/6'],
    ['O13', 'hold time 0', raw([], { hold: 0 }), 'accept'],
    ['O14', 'parameter length beyond the message', raw([2, 2, 2, 0], { length: 9 }), 'N 2/0'],
    ['O15', 'parameter length short of the bytes', raw([2, 2, 2, 0], { length: 2 }), 'N 2/0'],
    ['O16', 'unknown parameter 77', raw(param([1, 2], 77)), 'N 2/4'],
    ['O17', 'deprecated parameter 1', raw(param([1, 2], 1)), 'N 2/4'],
    ['O18', 'parameter body overruns the block', raw([2, 9, 2, 0]), 'N 2/0'],
    ['O18', 'parameter without a length', raw([2]), 'N 2/0'],
    ['O19', 'capability overruns its parameter', raw(param([2, 4, 0])), 'N 2/0'],
    ['O19', 'capability without a length', raw(param([2])), 'N 2/0'],
    ['O20', 'route refresh with length 0', raw(param(cap(2, []))), 'accept'],
    ['O21', 'extended form, total too large', wide(wideParam(cap(2, [])), 60), 'N 2/0'],
    ['O21', 'extended form, total too small', wide(wideParam(cap(2, [])), 2), 'N 2/0'],
    ['O21', 'extended form without its length', raw([255, 0], { length: 255 }), 'N 2/0'],
    ['O22', 'extended form of a short block', wide(wideParam(cap(2, []))), 'accept'],
    ['O25', 'multiprotocol of length 3', raw(param(cap(1, [0, 1, 0]))), 'IGN'],
    ['O25', 'multiprotocol of length 5', raw(param(cap(1, [0, 1, 0, 1, 0]))), 'IGN'],
    ['O26', 'multiprotocol for AFI 25 SAFI 70', raw(param(cap(1, [0, 25, 0, 70]))), 'accept'],
    ['O27', 'graceful restart of length 1', raw(param(cap(64, [0]))), 'IGN'],
    ['O27', 'graceful restart with half a tuple', raw(param(cap(64, [0, 120, 0, 1]))), 'IGN'],
    ['O30', 'capability 65 of length 2', raw(param(cap(65, [1, 2]))), 'N 2/0'],
    ['O32', 'add-path of length 5', raw(param(cap(69, [0, 1, 1, 3, 0]))), 'IGN'],
    ['O34', 'role of length 0', raw(param(cap(9, []))), 'IGN'],
    ['O34', 'role of length 2', raw(param(cap(9, [1, 1]))), 'IGN'],
    ['O39', 'no parameters at all', raw([]), 'accept'],
    ['O42', 'host name that is not UTF-8', raw(param(cap(73, [2, 0xc3, 0x28, 0]))), 'IGN'],
    ['O42', 'host name that steers the terminal', raw(param(cap(73, [2, 0x1b, 0x5b, 0]))), 'IGN'],
    ['O42', 'host name longer than the capability', raw(param(cap(73, [9, 0x61, 0]))), 'IGN'],
    ['O42', 'software version with bytes behind it', raw(param(cap(75, [1, 0x61, 0x62]))), 'IGN'],
  ];
  test.each(rows)('%s %s', (_id, _what, bytes, reaction, data) => {
    const outcome = receive(bytes, null);
    expect(outcome.reaction).toBe(reaction);
    if (data) expect([...outcome.fault!.data]).toEqual(data);
  });

  test('O23 capabilities in one parameter or one each mean the same', () => {
    const one = open(raw(param([...cap(2, []), ...cap(65, u32(70000)), ...cap(1, [0, 2, 0, 1])])));
    const each = open(raw([...param(cap(2, [])), ...param(cap(65, u32(70000))), ...param(cap(1, [0, 2, 0, 1]))]));
    expect(each).toEqual(one);
    expect(one.asNumber).toBe(70000);
  });
  test('O24 the same capability twice counts once', () => {
    expect(names(raw(param([...cap(2, []), ...cap(2, [])])))).toEqual(['route-refresh']);
  });
  test('O28 of two graceful restart capabilities the last stands', () => {
    const { capabilities } = open(raw(param([...cap(64, [0, 10]), ...cap(2, []), ...cap(64, [0, 20])])));
    expect(capabilities).toEqual([
      { name: 'route-refresh' },
      { name: 'graceful-restart', restarting: false, notification: false, restartTime: 20, families: [] },
    ]);
  });
  test('O31 an add-path tuple with a mode of 0 or 4 is left out', () => {
    const tuples = [...[0, 1, 1, 0], ...[0, 1, 1, 4], ...[0, 2, 1, 3]];
    expect(open(raw(param(cap(69, tuples)))).capabilities).toEqual([
      { name: 'add-path', families: [{ afi: 2, safi: 1, receive: true, send: true }] },
    ]);
  });
  test('O33 an extended next hop for IPv6 routes is left out', () => {
    const tuples = [...[0, 2, 0, 1, 0, 1], ...[0, 1, 0, 1, 0, 2]];
    expect(open(raw(param(cap(5, tuples)))).capabilities).toEqual([
      { name: 'extended-next-hop', tuples: [{ afi: 1, safi: 1, nextHopAfi: 2 }] },
    ]);
  });
  test('O43 4000 bytes of unknown capabilities are kept, each once', () => {
    const many = Array.from({ length: 1000 }, (_, i) => cap(200, u16(i % 500))).flat();
    const value = open(wide(wideParam(many)));
    expect(value.capabilities).toHaveLength(500);
    expect(open(encodeOpen(value)).capabilities).toEqual(value.capabilities);
  });
});

describe('OPEN against the configuration', () => {
  const FOUR = (asNumber: number): Capability => ({ name: 'four-octet-as', asNumber });
  const ours = (...capabilities: Capability[]): OpenFields => ({
    asNumber: 65000,
    holdTime: 90,
    identifier: 1,
    capabilities,
  });
  const expected: Expectation = { asNumbers: [65001], localAs: 65000 };
  const agree = (
    theirs: Partial<OpenFields>,
    mine: OpenFields = ours(MP4, FOUR(65000)),
    want: Partial<Expectation> = {},
  ): string | Negotiated => {
    const sent = {
      asNumber: 65001,
      holdTime: 90,
      identifier: 2,
      capabilities: [MP4, FOUR(theirs.asNumber ?? 65001)],
      ...theirs,
    };
    const result = negotiate(mine, open(encodeOpen(sent)), { ...expected, ...want });
    return result.ok ? result.value : `N ${result.error.code}/${result.error.subcode}`;
  };
  const role = (n: number): Capability => ({ name: 'role', role: n });

  test('O2 another AS than the configured one: N 2/2', () => {
    expect(agree({ asNumber: 65002 })).toBe('N 2/2');
  });
  test('O4 AS_TRANS without capability 65 is not the four-octet AS that is configured: N 2/2', () => {
    const theirs = open(raw([], { as: 23456 }));
    const result = negotiate(ours(MP4), theirs, { ...expected, asNumbers: [4200000001] });
    expect(result).toMatchObject({ ok: false, error: { code: 2, subcode: 2 } });
  });
  test('O6 capability 65 is trusted over the two-octet field', () => {
    const theirs = open(raw(param(cap(65, u32(70000))), { as: 65001 }));
    expect(theirs.asNumber).toBe(70000);
    expect(theirs.myAs).toBe(65001);
    expect(negotiate(ours(MP4), theirs, { ...expected, asNumbers: [70000] }).ok).toBe(true);
  });
  test('O8 O9 our own identifier is refused from inside the AS, accepted from outside', () => {
    expect(
      agree({ asNumber: 65000, identifier: 1, capabilities: [FOUR(65000)] }, undefined, { asNumbers: [65000] }),
    ).toBe('N 2/3');
    expect(agree({ identifier: 1 })).toMatchObject({ ebgp: true, peerId: 1 });
  });
  test('O12 a hold time below the configured minimum: N 2/6; 0 is not below it', () => {
    expect(agree({ holdTime: 9 }, undefined, { minHoldTime: 10 })).toBe('N 2/6');
    expect(agree({ holdTime: 0 }, undefined, { minHoldTime: 10 })).toMatchObject({ holdTime: 0 });
    expect(agree({ holdTime: 30 })).toMatchObject({ holdTime: 30 });
  });
  test('O29 families outside MP are left out of graceful restart', () => {
    const gr = (...families: (4 | 6)[]): Capability => ({
      name: 'graceful-restart',
      restarting: true,
      notification: true,
      restartTime: 120,
      families: families.map((family) => ({ ...unicast(family), forwarding: true })),
    });
    expect(agree({ capabilities: [MP4, FOUR(65001), gr(4, 6)] }, ours(MP4, gr(4)))).toMatchObject({
      gracefulRestart: {
        restarting: true,
        notification: true,
        restartTime: 120,
        families: { 4: { forwarding: true } },
      },
    });
    expect(agree({ capabilities: [MP4, FOUR(65001), gr(4, 6)] }, ours(MP4, gr(4)))).not.toHaveProperty(
      'gracefulRestart.families.6',
    );
    expect(agree({ capabilities: [MP4, FOUR(65001), gr(4)] })).toMatchObject({ gracefulRestart: null });
  });
  test.each([
    ['provider', 'provider', 0, 0, 'N 2/11'],
    ['provider', 'customer', 0, 3, 'customer'],
    ['rs', 'rs-client', 1, 2, 'rs-client'],
    ['rs-client', 'rs', 2, 1, 'rs'],
    ['peer', 'peer', 4, 4, 'peer'],
    ['peer', 'customer', 4, 3, 'N 2/11'],
    ['peer', 'nobody', 4, 9, 'N 2/11'],
  ])('O35 we are %s, the peer is %s', (_a, _b, mine, theirs, want) => {
    const got = agree({ capabilities: [MP4, FOUR(65001), role(theirs)] }, ours(MP4, role(mine)));
    expect(typeof got === 'string' ? got : got.peerRole).toBe(want);
  });
  test('a route server does not put its AS in front, so that is not asked of it', () => {
    const got = agree({ capabilities: [MP4, FOUR(65001), role(1)] }, ours(MP4, role(2)));
    expect(got).toMatchObject({ options: { enforceFirstAs: false } });
  });
  test('O36 two roles: N 2/11', () => {
    expect(agree({ capabilities: [MP4, FOUR(65001), role(3), role(4)] }, ours(MP4, role(0)))).toBe('N 2/11');
  });
  test('O37 no role in strict mode: N 2/11, else no role', () => {
    expect(agree({}, ours(MP4, role(0)), { strictRole: true })).toBe('N 2/11');
    expect(agree({}, ours(MP4, role(0)))).toMatchObject({ peerRole: null });
  });
  test('O38 roles inside the AS are ignored', () => {
    const theirs = { asNumber: 65000, capabilities: [MP4, FOUR(65000), role(0)] };
    expect(agree(theirs, ours(MP4, role(0)), { asNumbers: [65000] })).toMatchObject({ ebgp: false, peerRole: null });
  });
  test('O39 without capabilities: IPv4 unicast and two-octet AS numbers', () => {
    expect(agree({ capabilities: [] }, ours(MP4, MP6, FOUR(65000)))).toMatchObject({
      families: [4],
      fourOctetAs: false,
      routeRefresh: false,
      maxMessage: 4096,
      addPathReceive: { 4: false, 6: false },
    });
  });
  test('O40 no family in common: N 2/7 with what we wanted', () => {
    const theirs = open(encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 2, capabilities: [MP6] }));
    const result = negotiate(ours(MP4), theirs, expected);
    expect(result).toMatchObject({ ok: false, error: { code: 2, subcode: 7, data: Uint8Array.of(1, 4, 0, 1, 0, 1) } });
  });
  test('O41 a required capability is missing: N 2/7 with it', () => {
    const theirs = open(encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 2, capabilities: [MP4] }));
    const required: Capability[] = [MP4, MP6, { name: 'route-refresh' }];
    const result = negotiate(ours(MP4), theirs, { ...expected, required });
    expect(result).toMatchObject({
      ok: false,
      error: { code: 2, subcode: 7, data: Uint8Array.of(1, 4, 0, 2, 0, 1, 2, 0) },
    });
  });

  test('what both announced holds, in both directions', () => {
    const addPath = (receive: boolean, send: boolean): Capability => ({
      name: 'add-path',
      families: [{ ...unicast(4), receive, send }],
    });
    const both: Capability[] = [
      MP4,
      MP6,
      { name: 'route-refresh' },
      { name: 'enhanced-route-refresh' },
      { name: 'extended-message' },
      { name: 'extended-next-hop', tuples: [{ ...unicast(4), nextHopAfi: 2 }] },
    ];
    const got = agree(
      { capabilities: [...both, FOUR(65001), addPath(true, false)] },
      ours(...both, FOUR(65000), addPath(true, true)),
    );
    expect(got).toMatchObject({
      families: [4, 6],
      fourOctetAs: true,
      routeRefresh: true,
      enhancedRouteRefresh: true,
      maxMessage: 65535,
      extendedNextHop: true,
      addPathReceive: { 4: false, 6: false },
      addPathSend: { 4: true, 6: false },
    });
  });
  test('long-lived stale times count only beside graceful restart', () => {
    const gr: Capability = {
      name: 'graceful-restart',
      restarting: false,
      notification: false,
      restartTime: 1,
      families: [],
    };
    const llgr = (family: 4 | 6): Capability => ({
      name: 'long-lived-graceful-restart',
      families: [{ ...unicast(family), forwarding: true, staleTime: 86400 }],
    });
    expect(agree({ capabilities: [MP4, FOUR(65001), gr, llgr(4)] }, ours(MP4, gr, llgr(4)))).toMatchObject({
      longLived: { 4: { forwarding: true, staleTime: 86400 } },
    });
    expect(agree({ capabilities: [MP4, FOUR(65001), llgr(4)] }, ours(MP4, gr, llgr(4)))).toMatchObject({
      longLived: null,
    });
  });
});
