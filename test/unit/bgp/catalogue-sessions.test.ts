import { beforeEach, describe, expect, test } from 'vitest';
import { addr, type Log, prefix, silentLog } from '#core';
import { newSession, step } from '../../../bgp/fsm/step.ts';
import type { Action, SessionConfig } from '../../../bgp/fsm/types.ts';
import { Neighbours } from '../../../bgp/neighbours.ts';
import type { PeerContext } from '../../../bgp/peer.ts';
import { Sources } from '../../../bgp/rib/source.ts';
import type { PeerConfig } from '../../../bgp/types.ts';
import { unicast } from '../../../bgp/wire/codes.ts';
import { frame } from '../../../bgp/wire/frame.ts';
import { encodeHardReset, encodeNotification, shutdownCommunication } from '../../../bgp/wire/notification.ts';
import { encodeOpen } from '../../../bgp/wire/open.ts';
import type { Capability } from '../../../bgp/wire/types.ts';
import { Network, Node, peerConfig, Script } from './network.ts';
import { BASE, P24, update } from './wire/build.ts';

/** reference catalogue 5.5 and 5.6, where time, TCP and restarts decide: a scripted peer against a whole speaker. */

const KEEPALIVE = frame('KEEPALIVE', new Uint8Array(0));
const P21 = [8, 21];

let net: Network;
let here: Node;
let peer: Script;
beforeEach(() => {
  net = new Network();
  here = new Node(net, '10.0.0.1', 65000);
  peer = new Script(net, '10.0.0.2');
});

const MP4: Capability = { name: 'multiprotocol', ...unicast(4) };
const FOUR: Capability = { name: 'four-octet-as', asNumber: 65001 };
const restart = (change: { restarting?: boolean; notification?: boolean; forwarding?: boolean } = {}): Capability => ({
  name: 'graceful-restart',
  restarting: change.restarting ?? false,
  notification: change.notification ?? true,
  restartTime: 120,
  families: [{ ...unicast(4), forwarding: change.forwarding ?? true }],
});
const open = (...more: Capability[]) =>
  encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 0x0a000002, capabilities: [MP4, FOUR, ...more] });
const GR: Partial<PeerConfig> = { gracefulRestart: { restartTime: 120 } };

async function begin(change: Partial<PeerConfig> = {}): Promise<void> {
  here.setPeers([peerConfig('10.0.0.2', 65001, change)]);
  await here.start();
  net.pass(1);
}
/** OPEN and KEEPALIVE of the script on the connection that is there. */
function establish(...more: Capability[]): void {
  peer.send(open(...more), KEEPALIVE);
  net.pass(0.5);
  expect(state()).toBe('Established');
}
const state = () => here.state('10.0.0.2');
const routes = () => here.speaker.routes({}).map(({ prefix: to, stale }) => (stale ? `${to} stale` : to));

describe('notifications and graceful restart (RFC 8538)', () => {
  test('N3 a hard reset drops the routes at once', async () => {
    await begin(GR);
    establish(restart());
    peer.send(update(BASE, P24), encodeHardReset(6, 2, shutdownCommunication('gone')));
    net.pass(0.5);
    expect(routes()).toEqual([]);
  });
  test.each([
    ['hold timer expired', encodeNotification(4, 0, new Uint8Array(0))],
    ['administrative shutdown', encodeNotification(6, 2, new Uint8Array(0))],
    ['a malformed UPDATE', encodeNotification(3, 1, new Uint8Array(0))],
  ])('N4 after %s they stay as stale', async (_what, notification) => {
    await begin(GR);
    establish(restart());
    peer.send(update(BASE, P24), notification);
    net.pass(0.5);
    expect(routes()).toEqual(['20.0.0.0/24 stale']);
  });
  test('N4 not where the peer did not announce the N bit', async () => {
    await begin(GR);
    establish(restart({ notification: false }));
    peer.send(update(BASE, P24), encodeNotification(4, 0, new Uint8Array(0)));
    net.pass(0.5);
    expect(routes()).toEqual([]);
  });
});

describe('bytes that come late, or not at all', () => {
  test('H13 the stream ends within a message: no NOTIFICATION, and TCP is the reason', async () => {
    await begin();
    establish();
    net.isCut = true;
    peer.take();
    peer.send(update(BASE, P24).subarray(0, 30));
    peer.close();
    expect(peer.take()).toEqual([]);
    expect(here.speaker.peers()[0]).toMatchObject({ state: 'Active', lastError: 'TCP: closed by the peer' });
    expect(routes()).toEqual([]);
  });
  test('H14 one byte now and then is put together, and is no sign of life until it is whole', async () => {
    await begin();
    establish();
    net.isCut = true;
    const bytes = update(BASE, P24);
    for (const byte of bytes.subarray(0, bytes.length - 1)) {
      peer.send(Uint8Array.of(byte));
      net.pass(1);
    }
    expect(bytes.length).toBeLessThan(90);
    peer.send(bytes.subarray(-1));
    expect(routes()).toEqual(['20.0.0.0/24']);
    net.pass(80);
    expect(state()).toBe('Established');
    for (let i = 0; i < 4; i++) {
      peer.send(Uint8Array.of(0xff));
      net.pass(3);
    }
    expect(state()).not.toBe('Established');
    expect(peer.take().at(-1)).toBe('NOTIFICATION 4/0');
  });
});

describe('connections', () => {
  test('F5 from an address that is not configured: closed, with a line now and then', () => {
    const lines: unknown[] = [];
    const log = { ...silentLog, warn: (fields: unknown) => lines.push(fields) } as unknown as Log;
    const neighbours = new Neighbours({ log, clock: net.clock } as unknown as PeerContext, new Sources());
    let closed = 0;
    const connect = () =>
      neighbours.accept({ remoteAddress: addr('203.0.113.9'), close: () => closed++ } as unknown as Parameters<
        Neighbours['accept']
      >[0]);
    for (let i = 0; i < 1000; i++) connect();
    net.clock.advance(60_000);
    connect();
    expect(closed).toBe(1001);
    expect(lines).toEqual([
      { from: '203.0.113.9', count: 1 },
      { from: '203.0.113.9', count: 1000 },
    ]);
  });
  test('F5 nothing is sent to it', async () => {
    await begin();
    const stranger = new Script(net, '10.0.0.77');
    stranger.connect('10.0.0.1');
    net.pass(1);
    expect([stranger.take(), stranger.closed]).toEqual([[], 'closed by the peer']);
  });
  test('F12 no OPEN within 30 s: N 4/0', async () => {
    await begin();
    expect(peer.take()).toEqual(['OPEN']);
    net.isCut = true;
    net.pass(28);
    expect(peer.take()).toEqual([]);
    net.pass(3);
    expect(peer.messages.map((m) => [...m.subarray(18, 21)])).toEqual([[3, 4, 0]]);
  });
  test('F14 a peer that takes nothing for eight minutes is given up, although it goes on talking (RFC 9687)', async () => {
    await begin();
    establish();
    here.originate('10.1.0.0/16');
    net.ends[0].far.stuck = true;
    here.originate('10.2.0.0/16');
    for (let i = 0; i < 46; i++) {
      net.pass(10);
      peer.send(KEEPALIVE);
      expect(state()).toBe('Established');
    }
    net.pass(30);
    expect(here.speaker.peers()[0]).toMatchObject({
      flaps: 1,
      lastError: 'the peer took nothing for longer than the send hold time',
    });
  });
  test('F15 a speaker that was held up reads before it gives a peer up', async () => {
    await begin();
    establish();
    peer.queue(KEEPALIVE);
    net.clock.advance(95_000);
    net.settle();
    expect(state()).toBe('Established');
    net.clock.advance(95_000);
    net.settle();
    expect(state()).not.toBe('Established');
    expect(here.speaker.peers()[0].lastError).toContain('nothing heard within the hold time');
  });
  test('F16 the wall clock jumps by a day, and back', async () => {
    await begin();
    establish();
    for (const jump of [86_400_000, -2 * 86_400_000, 86_400_000]) {
      net.clock.shiftDate(jump);
      for (let i = 0; i < 3; i++) {
        net.pass(20);
        peer.send(KEEPALIVE);
      }
    }
    expect(here.speaker.peers()[0]).toMatchObject({ state: 'Established', flaps: 0 });
    expect(peer.take().filter((name) => name === 'KEEPALIVE').length).toBeGreaterThanOrEqual(6);
  });
  test('F18 without an answer the status says that TCP-MD5 is configured', async () => {
    net.isCut = true;
    await begin({ password: 'secret' });
    expect(here.speaker.peers()[0].reason).toContain('no TCP answer, TCP-MD5 is configured');
  });
});

describe('restarts of the peer (RFC 4724 §4.2)', () => {
  const lose = () => {
    peer.close();
    net.pass(10);
  };
  test('F20 a second one while routes are stale: those go, what it has told since is stale now', async () => {
    await begin(GR);
    establish(restart());
    peer.send(update(BASE, [...P24, ...P21]));
    lose();
    expect(routes()).toEqual(['20.0.0.0/24 stale', '21.0.0.0/8 stale']);
    establish(restart({ restarting: true }));
    peer.send(update(BASE, P24));
    net.pass(0.5);
    expect(routes()).toEqual(['20.0.0.0/24', '21.0.0.0/8 stale']);
    lose();
    expect(routes()).toEqual(['20.0.0.0/24 stale']);
  });
  test('F22 it comes back without the capability: everything stale goes', async () => {
    await begin(GR);
    establish(restart());
    peer.send(update(BASE, [...P24, ...P21]));
    lose();
    expect(routes()).toHaveLength(2);
    establish();
    expect(routes()).toEqual([]);
  });
  test('F23 its End-of-RIB never comes: its stale routes go after six minutes, those of others stay', async () => {
    const other = new Script(net, '10.0.0.3');
    here.setPeers([peerConfig('10.0.0.2', 65001, GR), peerConfig('10.0.0.3', 65001, GR)]);
    await here.start();
    net.pass(1);
    for (const script of [peer, other]) script.send(open(restart()), KEEPALIVE);
    net.pass(0.5);
    peer.send(update(BASE, [...P24, ...P21]));
    other.send(update(BASE, [8, 22]));
    lose();
    establish(restart({ restarting: true }));
    peer.send(update(BASE, P24));
    for (let i = 0; i < 12; i++) {
      net.pass(29);
      expect(routes()).toContain('21.0.0.0/8 stale');
      for (const script of [peer, other]) script.send(KEEPALIVE);
    }
    net.pass(15);
    expect(routes()).toEqual(['20.0.0.0/24', '22.0.0.0/8']);
  });
  test('F24 the Restart bit in the first session ever: accepted, and told everything without waiting', async () => {
    await begin(GR);
    here.originate('10.1.0.0/16');
    establish(restart({ restarting: true }));
    expect(peer.take()).toEqual(['OPEN', 'KEEPALIVE', 'UPDATE', 'UPDATE']);
    expect(here.restartsComplete).toBe(0);
  });
});

describe('restarts of ours (RFC 4724 §4.1)', () => {
  async function restarted(...more: Capability[]): Promise<void> {
    here = new Node(net, '10.0.0.1', 65000, { restarting: true });
    await begin(GR);
    here.originate('10.1.0.0/16');
    establish(...more);
  }
  const told = () => peer.take().filter((name) => name === 'UPDATE').length;
  test('F23 a peer whose End-of-RIB never comes holds nothing up beyond the restart time', async () => {
    await restarted(restart());
    for (let i = 0; i < 5; i++) {
      net.pass(20);
      peer.send(KEEPALIVE);
    }
    expect([here.restartsComplete, told()]).toEqual([0, 0]);
    net.pass(25);
    expect(here.restartsComplete).toBe(1);
    expect(told()).toBe(2);
  });
  test('the owner hears of the end after all that the peers have told, also when routes and End-of-RIB come in one breath', async () => {
    await restarted(restart());
    peer.send(update(BASE, P24), update([]));
    net.pass(0.5);
    expect(here.restartsComplete).toBe(1);
    expect(here.knownAtRestart).toEqual(['20.0.0.0/24']);
  });
  test('F25 a peer that restarts as well is not waited for', async () => {
    await restarted(restart({ restarting: true }));
    expect([here.restartsComplete, told()]).toEqual([1, 2]);
  });
  test('nor is one that knows no graceful restart', async () => {
    await restarted();
    expect([here.restartsComplete, told()]).toEqual([1, 2]);
  });
});

describe('changes', () => {
  test('F27 another password: N 6/6, a new connection with the new key, and with graceful restart the routes stay', async () => {
    await begin({ ...GR, password: 'old' });
    establish(restart());
    peer.send(update(BASE, P24));
    here.originate('10.1.0.0/16');
    peer.take();
    here.setPeers([peerConfig('10.0.0.2', 65001, { ...GR, password: 'new' })]);
    net.settle();
    expect(peer.take()).toEqual(['NOTIFICATION 6/6']);
    expect(routes()).toContain('20.0.0.0/24 stale');
    expect(here.best.has(prefix('20.0.0.0/24'))).toBe(true);
    const before = peer.connections;
    net.pass(2);
    expect(peer.connections).toBe(before + 1);
    expect(net.dialled.at(-1)).toMatchObject({ address: '10.0.0.2', password: 'new' });
    expect(net.rules.get('10.0.0.1')).toEqual([{ from: '10.0.0.2', password: 'new' }]);
    establish(restart());
    peer.send(update(BASE, P24), update([]));
    net.pass(0.5);
    expect(routes()).toContain('20.0.0.0/24');
    expect(here.speaker.peers()[0].flaps).toBe(1);
  });
  test('F27 without graceful restart the routes go', async () => {
    await begin({ password: 'old' });
    establish();
    peer.send(update(BASE, P24));
    here.setPeers([peerConfig('10.0.0.2', 65001, { password: 'new' })]);
    net.pass(1);
    expect(routes()).toEqual([]);
  });
});

const PLAIN: SessionConfig = {
  passive: false,
  open: { asNumber: 65000, holdTime: 90, identifier: 1, capabilities: [] },
  expected: { asNumbers: [65001], localAs: 65000 },
  connectRetry: 5000,
  keepalive: null,
};

describe('F28 a great many at once', () => {
  test('two hundred peers that connect in the same moment are all served', async () => {
    const scripts = Array.from({ length: 200 }, (_, i) => new Script(net, `10.0.1.${i + 1}`));
    here.setPeers(scripts.map((script) => peerConfig(script.address, 65001, { passive: true })));
    await here.start();
    for (const script of scripts) script.connect('10.0.0.1');
    for (const script of scripts) script.send(open(), KEEPALIVE);
    net.pass(1);
    expect(here.speaker.peers().filter((status) => status.state === 'Established')).toHaveLength(200);
  });
  test('a thousand that lose their peer in one moment do not try again in step, nor hold in step after an error', () => {
    const delayOf = (actions: readonly Action[], timer: string): number[] =>
      actions.flatMap((action) => (action.type === 'timer' && action.timer === timer ? [action.delay ?? 0] : []));
    const retries: number[] = [];
    const holds: number[] = [];
    for (let seed = 1; seed <= 1000; seed++) {
      let { session } = step(newSession(PLAIN, Math.imul(seed, 0x01000193)), { type: 'ManualStart' }, 0);
      session = step(session, { type: 'ConnectRetryTimer_Expires' }, 0).session;
      const failed = step(session, { type: 'TcpConnectionFails', id: 1, error: 'ECONNREFUSED' }, 0);
      retries.push(...delayOf(failed.actions, 'connectRetry'));
      session = step(session, { type: 'Tcp_CR_Acked', id: 1 }, 0).session;
      holds.push(...delayOf(step(session, { type: 'HoldTimer_Expires', id: 1 }, 0).actions, 'idleHold'));
    }
    for (const [delays, most] of [
      [retries, 5000],
      [holds, 1000],
    ] as const) {
      expect(delays).toHaveLength(1000);
      // Spread over a quarter of the time: in no twentieth of that more than three times its share.
      const buckets = new Map<number, number>();
      for (const delay of delays) {
        const bucket = Math.floor(((delay - most * 0.75) / (most * 0.25)) * 20);
        buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
      }
      expect(Math.max(...buckets.values())).toBeLessThan(150);
    }
  });
});
