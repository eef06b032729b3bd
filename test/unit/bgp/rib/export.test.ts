import { describe, expect, test } from 'vitest';
import { addr, prefix } from '#core';
import { COMMUNITY } from '../../../../bgp/attributes.ts';
import { mayExport, transform } from '../../../../bgp/rib/export.ts';
import { type InboundProfile, importRoute } from '../../../../bgp/rib/import.ts';
import { CompiledPolicy, type RouteFacts } from '../../../../bgp/rib/policy.ts';
import type { Source } from '../../../../bgp/rib/source.ts';
import { blockOf } from '../../../../bgp/rib/text.ts';
import type { RouteRule } from '../../../../bgp/types.ts';
import type { PathAttributes, Role } from '../../../../bgp/wire/types.ts';
import { OPEN, path, profile } from './world.ts';

/** The rules of the protocol on the way out and in, and BGPFilter's on both. */

const LOCAL: Source = {
  index: 0,
  address: null,
  order: '',
  ebgp: false,
  asNumber: 0,
  routerId: 0,
  client: false,
  isDirect: false,
};
const EBGP: Source = { ...LOCAL, index: 1, address: addr('10.0.0.2'), ebgp: true, asNumber: 65001, routerId: 7 };
const IBGP: Source = { ...EBGP, ebgp: false, asNumber: 65000 };
const CLIENT: Source = { ...IBGP, client: true };
const external = profile();
const internal = profile({ ebgp: false });
const sent = (value: PathAttributes, from: Source, to = external): PathAttributes => {
  const result = transform(value, from, to);
  if ('reason' in result) throw new Error(result.reason);
  return result.value;
};

describe('who is told', () => {
  const marked = (...communities: number[]) => path([65001], { communities });
  test.each([
    ['NO_ADVERTISE', COMMUNITY.noAdvertise, false, false],
    ['NO_EXPORT', COMMUNITY.noExport, false, true],
    ['NO_EXPORT_SUBCONFED', COMMUNITY.noExportSubconfed, false, true],
    ['GSHUT', COMMUNITY.gracefulShutdown, true, true],
    ['BLACKHOLE', COMMUNITY.blackhole, true, true],
  ])('%s (RFC 1997, RFC 8326)', (_name, community, toExternal, toInternal) => {
    expect(mayExport(marked(community), EBGP, external) === null).toBe(toExternal);
    expect(mayExport(marked(community), EBGP, internal) === null).toBe(toInternal);
  });
  test('a long-lived stale route goes only to those who know what that is (RFC 9494 §4.3)', () => {
    expect(mayExport(marked(COMMUNITY.llgrStale), EBGP, external)).toContain('long-lived stale');
    expect(mayExport(marked(COMMUNITY.llgrStale), EBGP, profile({ longLived: true }))).toBeNull();
  });
  test('reflection: between internal peers only where one of them is a client (RFC 4456 §6)', () => {
    const client = profile({ ebgp: false, client: true });
    expect(mayExport(path([]), IBGP, internal)).toContain('neither side is a reflector client');
    for (const [from, to] of [
      [CLIENT, internal],
      [IBGP, client],
      [CLIENT, client],
      [EBGP, internal],
      [IBGP, external],
      [LOCAL, internal],
    ] as const)
      expect(mayExport(path([]), from, to)).toBeNull();
  });
  test('a route marked only-to-customer goes to customers and clients of a route server only (RFC 9234 §5)', () => {
    const roles: Role[] = ['provider', 'rs', 'rs-client', 'customer', 'peer'];
    const allowed = roles.filter((role) => mayExport(path([65001], { otc: 7 }), EBGP, profile({ role })) === null);
    // What we are to them: a customer, peer or client of theirs must not pass the route upwards.
    expect(allowed).toEqual(['provider', 'rs']);
  });
});

describe('what they are told', () => {
  const inside = path([65001], { localPref: 200, med: 5, originatorId: 3, clusterList: [4], communities: [9] });
  test('outside: our AS in front, nothing that belongs to the inside, ourselves as next hop', () => {
    expect(sent(inside, EBGP)).toMatchObject({
      asPath: [{ type: 'sequence', asNumbers: [65000, 65001] }],
      localPref: null,
      med: null,
      originatorId: null,
      clusterList: [],
      communities: [9],
      nextHop: '192.0.2.1',
    });
    expect(sent(path([], { med: 7 }), LOCAL).med).toBe(7);
  });
  test('another AS of ours towards one peer (localAs)', () => {
    expect(sent(path([65001]), EBGP, profile({ localAs: 65010 })).asPath).toEqual([
      { type: 'sequence', asNumbers: [65010, 65001] },
    ]);
  });
  test('inside: the path as it is, a preference always, next hop as it came', () => {
    expect(sent(path([65001]), EBGP, internal)).toMatchObject({
      asPath: [{ type: 'sequence', asNumbers: [65001] }],
      localPref: 100,
      nextHop: '198.51.100.1',
    });
  });
  test('reflected: originator and cluster, the first originator stays', () => {
    const to = profile({ ebgp: false, client: true, clusterId: 42 });
    expect(sent(path([]), IBGP, to)).toMatchObject({ originatorId: 7, clusterList: [42] });
    expect(sent(inside, IBGP, to)).toMatchObject({ originatorId: 3, clusterList: [42, 4] });
  });
  test.each([
    ['auto', true, '192.0.2.1'],
    ['auto', false, '198.51.100.1'],
    ['self', true, '192.0.2.1'],
    ['self', false, '192.0.2.1'],
    ['keep', true, '198.51.100.1'],
    ['keep', false, '198.51.100.1'],
  ] as const)('next hop %s, external %s: %s', (nextHop, ebgp, want) => {
    expect(sent(path([65001]), EBGP, profile({ nextHop, ebgp })).nextHop).toBe(want);
    // What starts here always leads here.
    expect(sent(path([]), LOCAL, profile({ nextHop, ebgp })).nextHop).toBe('192.0.2.1');
  });
  test('an IPv4 route has an IPv6 next hop only where the peer understands that (RFC 8950)', () => {
    const six = profile({ self: addr('2001:db8::1') });
    expect(transform(path([65001]), EBGP, six)).toEqual({
      reason: 'an IPv4 route has an IPv6 next hop, which the peer does not understand (RFC 8950)',
    });
    expect(sent(path([65001]), EBGP, profile({ self: addr('2001:db8::1'), extendedNextHop: true })).nextHop).toBe(
      '2001:db8::1',
    );
    expect(transform(path([65001]), EBGP, profile({ family: 6 }))).toMatchObject({ reason: expect.any(String) });
    expect(transform(path([65001]), EBGP, profile({ self: null }))).toMatchObject({ reason: expect.any(String) });
  });
  test('draining: GSHUT outside, the least preference inside (RFC 8326 §4)', () => {
    expect(sent(path([]), LOCAL, profile({ drain: true })).communities).toEqual([COMMUNITY.gracefulShutdown]);
    expect(sent(path([]), LOCAL, profile({ drain: true, ebgp: false })).localPref).toBe(0);
  });
  test('towards customers, peers and clients of ours the route is marked only-to-customer, once (RFC 9234 §5)', () => {
    for (const role of ['provider', 'peer', 'rs'] as const)
      expect(sent(path([65001]), EBGP, profile({ role })).otc).toBe(65000);
    expect(sent(path([65001], { otc: 7 }), EBGP, profile({ role: 'provider' })).otc).toBe(7);
    expect(sent(path([65001]), EBGP, profile({ role: 'customer' })).otc).toBeNull();
  });
});

describe('import', () => {
  const from: InboundProfile = {
    ebgp: true,
    peerAs: 65001,
    ownAs: [65000],
    allowOwnAs: 0,
    routerId: 1,
    clusterId: 1,
    peerRole: null,
  };
  const accepted = (value: PathAttributes, change: Partial<InboundProfile> = {}) => {
    const result = importRoute(value, { ...from, ...change }, new CompiledPolicy(OPEN), facts('10.0.0.0/8'));
    return 'value' in result ? result.value : result.reason;
  };
  test('GSHUT from outside has the least preference (RFC 8326 §4)', () => {
    const value = path([65001], { communities: [COMMUNITY.gracefulShutdown] });
    expect(accepted(value)).toMatchObject({ localPref: 0 });
    expect(accepted(value, { ebgp: false })).toMatchObject({ localPref: null });
  });
  test('what providers, peers and route servers tell is marked only-to-customer (RFC 9234 §5)', () => {
    for (const peerRole of ['provider', 'peer', 'rs'] as const)
      expect(accepted(path([65001]), { peerRole })).toMatchObject({ otc: 65001 });
    expect(accepted(path([65001]), { peerRole: 'customer' })).toMatchObject({ otc: null });
  });
});

/** Facts of a route to that prefix. */
function facts(to: string, change: Partial<RouteFacts> = {}): RouteFacts {
  const block = blockOf(prefix(to));
  return { prefixes: block, prefix: 0, source: 'ebgp', peerType: 'eBGP', interface: null, ...change };
}

describe('rules (BGPFilter)', () => {
  const rule = (match: RouteRule['match'], change: Partial<RouteRule> = {}): RouteRule => ({
    name: 'r',
    match,
    action: 'reject',
    operations: [],
    ...change,
  });
  const matches = (match: RouteRule['match'], to: string, value = path([65001, 7]), change: Partial<RouteFacts> = {}) =>
    !new CompiledPolicy({ rules: [rule(match)], otherwise: 'accept' }).evaluate(value, facts(to, change)).accept;
  const net = (text: string, op: 'Equal' | 'NotEqual' | 'In' | 'NotIn', minLength = 0, maxLength = 32) => ({
    prefix: { net: prefix(text), op, minLength, maxLength },
  });

  test.each([
    ['Equal', '10.0.0.0/8', true],
    ['Equal', '10.1.0.0/16', false],
    ['NotEqual', '10.0.0.0/8', false],
    ['NotEqual', '10.1.0.0/16', true],
    ['In', '10.0.0.0/8', true],
    ['In', '10.1.2.3/32', true],
    ['In', '11.0.0.0/8', false],
    ['In', '0.0.0.0/0', false],
    ['NotIn', '10.1.0.0/16', false],
    ['NotIn', '192.168.0.0/16', true],
  ] as const)('%s 10.0.0.0/8: %s matches: %s', (op, to, want) => expect(matches(net('10.0.0.0/8', op), to)).toBe(want));
  test('lengths', () => {
    expect(matches(net('10.0.0.0/8', 'In', 24, 26), '10.0.0.0/25')).toBe(true);
    expect(matches(net('10.0.0.0/8', 'In', 24, 26), '10.0.0.0/16')).toBe(false);
    expect(matches(net('10.0.0.0/8', 'NotIn', 24, 26), '10.0.0.0/16')).toBe(true);
  });
  test('IPv6, and never across families', () => {
    expect(matches(net('2001:db8::/33', 'In', 0, 128), '2001:db8:7fff::/48')).toBe(true);
    expect(matches(net('2001:db8::/33', 'In', 0, 128), '2001:db8:8000::/48')).toBe(false);
    expect(matches(net('::/0', 'In', 0, 128), '10.0.0.0/8')).toBe(false);
    expect(matches({ family: 6 }, '10.0.0.0/8')).toBe(false);
  });
  test('source, peer, interface, communities, path, priority', () => {
    const to = '10.0.0.0/8';
    expect(matches({ source: 'remote' }, to)).toBe(true);
    expect(matches({ source: 'remote' }, to, path([]), { source: 'local' })).toBe(false);
    expect(matches({ source: 'ibgp' }, to)).toBe(false);
    expect(matches({ peerType: 'iBGP' }, to)).toBe(false);
    expect(matches({ peerType: 'eBGP' }, to)).toBe(true);
    expect(matches({ interface: '*.calico' }, to, path([]), { interface: 'vxlan.calico' })).toBe(true);
    expect(matches({ interface: '*.calico' }, to, path([]), { interface: 'vxlanxcalico' })).toBe(false);
    expect(matches({ interface: 'eth0' }, to)).toBe(false);
    // Fourteen wildcards, read one by one, would keep a test of so many routes from ever ending.
    for (let i = 0; i < 100; i++)
      expect(matches({ interface: '**************x' }, to, path([]), { interface: 'cali12345678901' })).toBe(false);
    expect(matches({ community: '65000:1' }, to, path([1], { communities: [65000 * 65536 + 1] }))).toBe(true);
    expect(matches({ community: '65000:1:2' }, to, path([1], { largeCommunities: [[65000, 1, 2]] }))).toBe(true);
    expect(matches({ community: '65000:1' }, to)).toBe(false);
    expect(matches({ asPathPrefix: [65001] }, to)).toBe(true);
    expect(matches({ asPathPrefix: [65001, 7] }, to)).toBe(true);
    expect(matches({ asPathPrefix: [7] }, to)).toBe(false);
    expect(matches({ priority: 1024 }, to, path([1], { localPref: 2147483647 - 1024 }))).toBe(true);
    expect(matches({ priorityBelow: 1024 }, to, path([1], { localPref: 2147483647 - 512 }))).toBe(true);
    expect(matches({ priorityBelow: 1024 }, to)).toBe(false);
  });
  test('the first that matches decides, its operations and those of `next` before it in order', () => {
    const policy = new CompiledPolicy({
      rules: [
        rule({}, { name: 'mark', action: 'next', operations: [{ op: 'addCommunity', value: '65000:9' }] }),
        rule({ peerType: 'iBGP' }, { name: 'not this' }),
        rule({}, { name: 'take', action: 'accept', operations: [{ op: 'prependAsPath', asNumbers: [1, 2] }] }),
        rule({}, { name: 'never reached' }),
      ],
      otherwise: 'reject',
    });
    const verdict = policy.evaluate(path([]), facts('10.0.0.0/8'));
    expect(verdict).toMatchObject({ accept: true, rule: 'take' });
    expect(verdict.operations.map(({ op }) => op)).toEqual(['addCommunity', 'prependAsPath']);
  });
});
