import { beforeEach, describe, expect, test } from 'vitest';
import { addr, prefix } from '#core';
import type { PeerConfig } from '../../../bgp/types.ts';
import { unicast } from '../../../bgp/wire/codes.ts';
import { frame } from '../../../bgp/wire/frame.ts';
import { encodeOpen, type OpenFields } from '../../../bgp/wire/open.ts';
import { encodeRouteRefresh } from '../../../bgp/wire/refresh.ts';
import type { Capability } from '../../../bgp/wire/types.ts';
import { Network, Node, peerConfig, Script } from './network.ts';
import { attr, type Bytes, NEXT_HOP, ORIGIN, P24, reach, seq, u32, unreach, update } from './wire/build.ts';

/** reference catalogue 5.3 to 5.5, where the bytes are well and the table or the session decides: what a scripted peer says, and what becomes of it. */

const KEEPALIVE = frame('KEEPALIVE', new Uint8Array(0));
const AS = 65001;

let net: Network;
let here: Node;
let peer: Script;
beforeEach(() => {
  net = new Network();
  here = new Node(net, '10.0.0.1', 65000);
  peer = new Script(net, '10.0.0.2');
});

const MP4: Capability = { name: 'multiprotocol', ...unicast(4) };
const MP6: Capability = { name: 'multiprotocol', ...unicast(6) };
const FOUR: Capability = { name: 'four-octet-as', asNumber: AS };

/** An Established session with the script. */
async function up(change: Partial<PeerConfig> = {}, capabilities: Capability[] = [MP4, MP6, FOUR], asNumber = AS) {
  here.setPeers([peerConfig('10.0.0.2', asNumber, { families: [4, 6], ...change })]);
  await here.start();
  net.pass(1);
  const fields: OpenFields = { asNumber, holdTime: 90, identifier: 0x0a000002, capabilities };
  peer.send(encodeOpen(fields), KEEPALIVE);
  net.pass(0.5);
  expect(here.state('10.0.0.2')).toBe('Established');
  peer.take();
}
const path = (...asNumbers: number[]): Bytes => attr(0x40, 2, seq(...asNumbers));
const from = (nextHop: Bytes, ...more: Bytes[]): Bytes => [
  ...ORIGIN,
  ...path(AS),
  ...attr(0x40, 3, nextHop),
  ...more.flat(),
];
const BASE: Bytes = [...ORIGIN, ...path(AS), ...NEXT_HOP];
const say = (...messages: Uint8Array[]) => {
  peer.send(...messages);
  net.pass(0.25);
};
/** What `bgp routes --received --why` says of the one route. */
const why = (to = '20.0.0.0/24') => here.speaker.routes({ received: addr('10.0.0.2'), prefix: prefix(to) })[0]?.reason;
const isUp = () => here.speaker.peers()[0].flaps === 0 && here.state('10.0.0.2') === 'Established';

describe('routes that stay out of the decision, while the session goes on', () => {
  test('U30 our AS in the path, unless so many times are allowed', async () => {
    await up();
    const looped = update([...ORIGIN, ...path(AS, 65000, 7), ...NEXT_HOP], P24);
    say(looped);
    expect([here.learned(), why(), isUp()]).toEqual([[], 'our AS 65000 is in the AS_PATH', true]);
    here.setPeers(here.peers.map((config) => ({ ...config, allowOwnAs: 1 })));
    net.pass(0.5);
    expect([here.learned(), why(), isUp()]).toEqual([['20.0.0.0/24'], null, true]);
    say(update([...ORIGIN, ...path(AS, 65000, 65000), ...NEXT_HOP], P24));
    expect(here.learned()).toEqual([]);
  });
  test('U33 a path of more than 255', async () => {
    await up();
    const long = [AS, ...Array.from({ length: 254 }, (_, i) => 100 + i)];
    say(update([...ORIGIN, ...path(...long), ...NEXT_HOP], P24));
    expect(here.learned()).toEqual(['20.0.0.0/24']);
    say(update([...ORIGIN, ...attr(0x40, 2, [...seq(...long), ...seq(7)]), ...NEXT_HOP], P24));
    expect([here.learned(), why(), isUp()]).toEqual([[], 'AS_PATH is longer than 255', true]);
  });
  test.each([
    ['0.0.0.0', [0, 0, 0, 0]],
    ['127.0.0.1', [127, 0, 0, 1]],
    ['224.0.0.5', [224, 0, 0, 5]],
    ['240.0.0.1', [240, 0, 0, 1]],
    ['255.255.255.255', [255, 255, 255, 255]],
  ])('U40 next hop %s', async (text, bytes) => {
    await up();
    say(update(from(bytes), P24));
    expect([here.learned(), why(), isUp()]).toEqual([[], `next hop ${text} is no host's address`, true]);
  });
  const six = (...bytes: number[]): Bytes => [...bytes, ...Array<number>(16 - bytes.length).fill(0)];
  test.each([
    ['::', six()],
    ['::1', [...six().slice(0, 15), 1]],
    ['ff02::1', [...six(0xff, 2).slice(0, 15), 1]],
    ['::ffff:10.0.0.1', [...six().slice(0, 10), 0xff, 0xff, 10, 0, 0, 1]],
  ])('P18 IPv6 next hop %s', async (_text, bytes) => {
    await up();
    say(update([...reach(2, bytes, [32, 0x20, 1, 0xd, 0xb8]), ...ORIGIN, ...path(AS)]));
    expect(here.learned()).toEqual([]);
    expect(why('2001:db8::/32')).toMatch(/^next hop .* is no host's address$/);
    expect(isUp()).toBe(true);
  });
  test('U57 U60 our own identifier as originator, our cluster in the list', async () => {
    await up({}, [MP4, { name: 'four-octet-as', asNumber: 65000 }], 65000);
    const inside = [...ORIGIN, ...attr(0x40, 2, []), ...NEXT_HOP, ...attr(0x40, 5, u32(100))];
    say(update([...inside, ...attr(0x80, 9, [10, 0, 0, 1])], P24));
    expect([here.learned(), why()]).toEqual([[], 'ORIGINATOR_ID is our own identifier']);
    say(update([...inside, ...attr(0x80, 9, [10, 0, 0, 9]), ...attr(0x80, 10, [10, 0, 0, 7, 10, 0, 0, 1])], P24));
    expect([here.learned(), why(), isUp()]).toEqual([[], 'our cluster is in the CLUSTER_LIST', true]);
  });
  const otc = (as: number) => attr(0xc0, 35, u32(as));
  test('U62 a route that is marked for customers only comes from one', async () => {
    await up({ role: 'provider' }, [MP4, FOUR, { name: 'role', role: 3 }]);
    say(update([...BASE, ...otc(7)], P24));
    expect([here.learned(), why(), isUp()]).toEqual([[], 'only-to-customer route from a customer: a leak', true]);
  });
  test('U63 a peer may mark its own routes, not those of others', async () => {
    await up({ role: 'peer' }, [MP4, FOUR, { name: 'role', role: 4 }]);
    say(update([...BASE, ...otc(AS)], P24));
    expect(here.learned()).toEqual(['20.0.0.0/24']);
    say(update([...BASE, ...otc(7)], P24));
    expect([here.learned(), why()]).toEqual([[], 'only-to-customer mark of AS 7 from a peer: a leak']);
    expect(isUp()).toBe(true);
  });
});

describe('prefixes in the table', () => {
  const received = () => here.speaker.peers()[0].prefixes.ipv4?.received;
  test('P7 in both lists of one UPDATE: announced; P8 twice in one list: once', async () => {
    await up();
    say(update(BASE, P24), update(BASE, [...P24, ...P24], P24));
    expect([here.learned(), received()]).toEqual([['20.0.0.0/24'], 1]);
    say(update([], [], P24));
    expect([here.learned(), received()]).toEqual([[], 0]);
  });
  const addPath: Capability = { name: 'add-path', families: [{ ...unicast(4), receive: true, send: true }] };
  const both = { addPath: { receive: true, send: true } };
  test('P12 withdrawal of an identifier, or a prefix, that is not there', async () => {
    await up(both, [MP4, FOUR, addPath]);
    say(update(BASE, [...u32(1), ...P24]), update([], [], [...u32(2), ...P24]), update([], [], [...u32(1), 8, 9]));
    expect([here.learned(), received(), isUp()]).toEqual([['20.0.0.0/24'], 1, true]);
    say(update([], [], [...u32(1), ...P24]));
    expect([here.learned(), received()]).toEqual([[], 0]);
  });
  test('P11 of more paths than the limit a prefix the best eight are told, and none resets anything', async () => {
    const sink = new Node(net, '10.0.0.3', 65003);
    here.setPeers([peerConfig('10.0.0.2', AS, both), peerConfig('10.0.0.3', 65003, { ...both, passive: true })]);
    sink.setPeers([peerConfig('10.0.0.1', 65000, both)]);
    for (const node of [here, sink]) await node.start();
    net.pass(1);
    peer.send(encodeOpen({ asNumber: AS, holdTime: 90, identifier: 2, capabilities: [MP4, FOUR, addPath] }), KEEPALIVE);
    net.pass(5);
    const med = (value: number) => attr(0x80, 4, u32(value));
    say(...Array.from({ length: 12 }, (_, i) => update([...BASE, ...med(100 - i)], [...u32(i + 1), ...P24])));
    net.pass(1);
    expect(here.speaker.peers()[0]).toMatchObject({ flaps: 0, prefixes: { ipv4: { received: 12 } } });
    expect(sink.received(here)).toBe(8);
    const told = here.speaker.routes({ advertised: addr('10.0.0.3'), prefix: prefix('20.0.0.0/24') });
    expect(told.filter((route) => route.reason === null)).toHaveLength(8);
  });
  test('P11 of more paths of one prefix than are kept, the rest is counted and ignored, and nothing is reset', async () => {
    await up(both, [MP4, FOUR, addPath]);
    say(...Array.from({ length: 300 }, (_, i) => update(BASE, [...u32(i + 1), ...P24, ...u32(i + 1), 8, 9])));
    expect(here.speaker.peers()[0]).toMatchObject({ flaps: 0, prefixes: { ipv4: { received: 512 } } });
    expect(here.speaker.peers()[0].faults).toEqual({ withdrawn: 0, noted: 0, refused: 88 });
    // What is kept can still change and go, and makes room.
    say(update([], [], [...u32(7), ...P24]), update(BASE, [...u32(300), ...P24]), update(BASE, [...u32(1), ...P24]));
    expect(here.speaker.peers()[0]).toMatchObject({ prefixes: { ipv4: { received: 512 } }, faults: { refused: 88 } });
  });
  test('P26 at three quarters a warning, beyond the limit N 6/1 with AFI, SAFI and limit', async () => {
    await up({ maxPrefixes: 4 });
    say(update(BASE, [8, 21, 8, 22, 8, 23, 8, 24]));
    expect(here.speaker.peers()[0]).toMatchObject({
      state: 'Established',
      prefixes: { ipv4: { received: 4, limit: 4 } },
    });
    say(update(BASE, [8, 25]));
    const last = peer.messages.at(-1);
    expect([...(last ?? []).slice(19)]).toEqual([6, 1, 0, 1, 1, 0, 0, 0, 4]);
    expect(here.learned()).toEqual([]);
    expect(here.speaker.peers()[0].reason).toContain('5 IPv4 prefixes received, at most 4 wanted');
  });
  test('P26 paths count, not prefixes: identifiers of one prefix are held to the limit, too', async () => {
    await up({ ...both, maxPrefixes: 4 }, [MP4, FOUR, addPath]);
    const paths = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, i) => update(BASE, [...u32(from + i), ...P24]));
    say(...paths(1, 4), ...paths(1, 4));
    expect([received(), isUp()]).toEqual([4, true]);
    say(...paths(5, 5));
    expect([...(peer.messages.at(-1) ?? []).slice(19)]).toEqual([6, 1, 0, 1, 1, 0, 0, 0, 4]);
    expect(here.learned()).toEqual([]);
  });
  test('P27 ten thousand changes of one prefix between two turns reach peers and owner as one', async () => {
    const sink = new Script(net, '10.0.0.3');
    let told = 0;
    const before = here.best.set.bind(here.best);
    here.best.set = (...args) => {
      told++;
      return before(...args);
    };
    await up();
    here.setPeers([...here.peers, peerConfig('10.0.0.3', 65003)]);
    net.pass(1);
    const open: OpenFields = { asNumber: 65003, holdTime: 90, identifier: 3, capabilities: [MP4] };
    sink.send(encodeOpen({ ...open, capabilities: [MP4, { ...FOUR, asNumber: 65003 } as Capability] }), KEEPALIVE);
    net.pass(1);
    sink.take();
    const flap = [update(BASE, P24), update([], [], P24)].flatMap((m) => [...m]);
    const burst = Uint8Array.from(Array.from({ length: 5000 }, () => flap).flat());
    for (let at = 0; at < burst.length; at += 60_000) peer.send(burst.subarray(at, at + 60_000));
    say(update(BASE, P24));
    expect(here.learned()).toEqual(['20.0.0.0/24']);
    expect(sink.take().filter((name) => name === 'UPDATE').length).toBeLessThan(20);
    expect(told).toBeLessThan(20);
    say(...Array.from({ length: 10 }, () => update(BASE, P24)), update([], [], P24));
    expect(here.learned()).toEqual([]);
  });
  test('P29 End-of-RIB twice, and routes after it', async () => {
    await up();
    const end = [update([]), update(unreach(2, []))];
    say(...end, update(BASE, P24), ...end, update(BASE, [8, 21]));
    expect([here.learned(), isUp()]).toEqual([['20.0.0.0/24', '21.0.0.0/8'], true]);
  });
});

describe('refresh with borders (RFC 7313)', () => {
  const BOTH: Capability[] = [MP4, FOUR, { name: 'route-refresh' }, { name: 'enhanced-route-refresh' }];
  const begin = encodeRouteRefresh(4, 'begin');
  const end = encodeRouteRefresh(4, 'end');
  test('R6 an end without a begin changes nothing', async () => {
    await up({}, BOTH);
    say(update(BASE, P24), end);
    expect([here.learned(), isUp()]).toEqual([['20.0.0.0/24'], true]);
  });
  test('what is not told again between the borders goes, and not before the end', async () => {
    await up({}, BOTH);
    say(update(BASE, [...P24, 8, 21]), begin, update(BASE, P24));
    expect(here.learned()).toEqual(['20.0.0.0/24', '21.0.0.0/8']);
    say(end);
    expect([here.learned(), isUp()]).toEqual([['20.0.0.0/24'], true]);
  });
  test('R7 of two begins the second counts, and the end sweeps once', async () => {
    await up({}, BOTH);
    say(update(BASE, [...P24, 8, 21]), begin, update(BASE, [8, 21]), begin, update(BASE, P24), end);
    expect(here.learned()).toEqual(['20.0.0.0/24']);
    say(end, update(BASE, [8, 21]));
    expect([here.learned(), isUp()]).toEqual([['20.0.0.0/24', '21.0.0.0/8'], true]);
  });
  test('R8 a session that is lost between the borders leaves no mark for the next one', async () => {
    await up({}, BOTH);
    say(update(BASE, P24), begin);
    peer.close();
    net.pass(10);
    peer.send(encodeOpen({ asNumber: AS, holdTime: 90, identifier: 2, capabilities: BOTH }), KEEPALIVE);
    say(update(BASE, P24), update([]));
    net.pass(1);
    expect(here.state('10.0.0.2')).toBe('Established');
    expect(here.speaker.routes({}).map(({ prefix: to, stale }) => [to, stale])).toEqual([['20.0.0.0/24', false]]);
  });
  test('R9 a hundred requests: one that runs and one that waits', async () => {
    await up({}, BOTH);
    here.originate('10.1.0.0/16');
    net.pass(1);
    peer.take();
    const request = encodeRouteRefresh(4, 'request');
    const burst = Uint8Array.from(Array.from({ length: 100 }, () => [...request]).flat());
    say(burst);
    net.pass(1);
    const answers = peer.take();
    expect(answers.filter((name) => name === 'UPDATE')).toHaveLength(2);
    expect(answers.filter((name) => name === 'ROUTE-REFRESH')).toHaveLength(4);
  });
});
