import { describe, expect, test } from 'vitest';
import { type Addr, addr, FakeClock, silentLog } from '#core';
import { Bfd, type OpenBfdSocket } from '../../../../bgp/bfd/endpoint.ts';
import { type BfdState, decodeBfd, encodeBfd } from '../../../../bgp/bfd/packet.ts';
import { type BfdSession, bfdPacket, newBfdSession, receiveBfd } from '../../../../bgp/bfd/session.ts';

const SETTINGS = { interval: 300, multiplier: 3 };
const session = (state: BfdState): BfdSession => ({ ...newBfdSession(SETTINGS, 7), state });

describe('RFC 5880 §6.8.6: our state, the state that the peer says, our next state', () => {
  const table: [BfdState, BfdState, BfdState][] = [
    ['Down', 'Down', 'Init'],
    ['Down', 'Init', 'Up'],
    ['Down', 'Up', 'Down'],
    ['Down', 'AdminDown', 'Down'],
    ['Init', 'Down', 'Init'],
    ['Init', 'Init', 'Up'],
    ['Init', 'Up', 'Up'],
    ['Init', 'AdminDown', 'Down'],
    ['Up', 'Down', 'Down'],
    ['Up', 'Init', 'Up'],
    ['Up', 'Up', 'Up'],
    ['Up', 'AdminDown', 'Down'],
    ['AdminDown', 'Down', 'AdminDown'],
    ['AdminDown', 'Up', 'AdminDown'],
  ];
  test.each(table)('%s, %s: %s', (own, remote, next) => {
    const packet = { ...bfdPacket(session(remote), false), mine: 9, yours: 7 };
    expect(receiveBfd(session(own), packet).session.state).toBe(next);
  });
});

describe('packets that are dropped', () => {
  const good = encodeBfd({ ...bfdPacket(session('Up'), false), yours: 7 });
  const with_ = (at: number, value: number) => good.map((byte, i) => (i === at ? value : byte));
  test('a good one is read back', () =>
    expect(decodeBfd(good)).toMatchObject({ ok: true, value: { state: 'Up', yours: 7 } }));
  test.each([
    ['version', with_(0, 0)],
    ['length', with_(3, 25)],
    ['length', with_(3, 10)],
    ['multiplier', with_(2, 0)],
    ['authentication', with_(1, good[1] | 0x04)],
    ['multipoint', with_(1, good[1] | 0x01)],
    ['bytes', good.subarray(0, 23)],
    ['discriminator', good.map((byte, i) => (i >= 4 && i < 8 ? 0 : byte))],
    ['discriminator', good.map((byte, i) => (i >= 8 && i < 12 ? 0 : byte))],
  ])('%s', (why, bytes) => {
    const result = decodeBfd(bytes);
    expect(!result.ok && result.error).toContain(why);
  });
});

test('two ends come up, and silence of 3 × 300 ms takes the session down within a second', () => {
  const clock = new FakeClock();
  const sockets = new Map<Addr, (bytes: Uint8Array, from: Addr) => void>();
  let cut = false;
  const open: OpenBfdSocket = (_port, local, _multihop, onPacket) => {
    sockets.set(local, onPacket);
    return { send: (bytes, to) => !cut && sockets.get(to)?.(bytes, local), close: () => sockets.delete(local) };
  };
  const [one, two] = [addr('10.0.0.1'), addr('10.0.0.2')];
  let downAt = 0;
  const a = new Bfd(clock, silentLog, open, 1).watch(
    { ...SETTINGS, peer: two, local: one, multihop: false },
    { onDown: () => (downAt = clock.now()), onState: () => {} },
  );
  const b = new Bfd(clock, silentLog, open, 2).watch(
    { ...SETTINGS, peer: one, local: two, multihop: false },
    { onDown: () => {}, onState: () => {} },
  );
  for (let i = 0; i < 50; i++) clock.advance(100);
  expect([a?.state, b?.state]).toEqual(['Up', 'Up']);
  const since = clock.now();
  cut = true;
  for (let i = 0; i < 30; i++) clock.advance(100);
  expect(a?.state).toBe('Down');
  expect(downAt - since).toBeLessThanOrEqual(1000);
  a?.close();
  b?.close();
  clock.advance(5000);
  expect(clock.pending).toBe(0);
});

test('a peer that comes to want packets sooner, or again, does not wait for the one that was due by the longer interval', () => {
  const clock = new FakeClock();
  let receive: (bytes: Uint8Array, from: Addr) => void = () => {};
  const sent: number[] = [];
  const open: OpenBfdSocket = (_port, _local, _multihop, onPacket) => {
    receive = onPacket;
    return { send: () => sent.push(clock.now()), close: () => {} };
  };
  const peer = addr('10.0.0.2');
  const target = { ...SETTINGS, peer, local: addr('10.0.0.1'), multihop: false };
  const handle = new Bfd(clock, silentLog, open, 6).watch(target, { onDown: () => {}, onState: () => {} });
  const hear = (state: BfdState, requiredMinRx: number) =>
    receive(encodeBfd({ ...bfdPacket(session(state), false), mine: 9, yours: 7, requiredMinRx }), peer);
  hear('Init', 1_000_000);
  expect(handle?.state).toBe('Up');
  const heardWithin = (time: number) => {
    const since = clock.now();
    clock.advance(time);
    return sent.some((at) => at > since);
  };
  hear('Up', 1_000_000);
  hear('Up', 300_000);
  expect(heardWithin(300)).toBe(true);
  hear('Up', 0);
  clock.advance(300);
  expect(heardWithin(300)).toBe(false);
  hear('Up', 300_000);
  expect(heardWithin(300)).toBe(true);
  handle?.close();
});
