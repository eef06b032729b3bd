import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Addr, addr } from '#core';
import { tcpTransport } from '../../../bgp/transport/tcp.ts';
import type { AcceptRule, ConnectOptions, Listener, TcpConnection } from '../../../bgp/transport/types.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** reference catalogue 5.6, where the kernel answers: what is dropped before the speaker hears of it, by the kernel's own counters. */

const HERE = { 4: addr('10.0.0.1'), 6: addr('fd00::1') };
const THERE = { 4: addr('10.0.0.2'), 6: addr('fd00::2') };

let ns: Namespace;
let port = 1790;
const listeners: Listener[] = [];
beforeAll(() => {
  ns = enterNamespace('transport');
  ns.sh(`ip addr add 10.0.0.1/32 dev lo; ip addr add 10.0.0.2/32 dev lo
    ip addr add fd00::1/128 dev lo nodad; ip addr add fd00::2/128 dev lo nodad`);
});
beforeEach(() => {
  port++;
});
afterAll(() => {
  for (const listener of listeners) listener.close();
  ns.leave();
});

/** A counter of TcpExt (/proc/net/netstat). */
function counter(name: string): number {
  const [names, values] = readFileSync('/proc/thread-self/net/netstat', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '));
  return Number(values[names.indexOf(name)]);
}
function listen(address: Addr, rule: Omit<AcceptRule, 'from'>, from: Addr): TcpConnection[] {
  const accepted: TcpConnection[] = [];
  const listener = tcpTransport.listen(address, port, (tcp) => accepted.push(tcp));
  listeners.push(listener);
  expect([...listener.setRules([{ from, ...rule }])]).toEqual([]);
  return accepted;
}
function dial(options: Omit<ConnectOptions, 'port'>) {
  const results: (TcpConnection | string)[] = [];
  const cancel = tcpTransport.connect({ ...options, port }, (result) => results.push(result));
  return { results, cancel };
}

test.each([4, 6] as const)('F18 IPv%i: a segment with the wrong key, or none, is dropped', async (family) => {
  const to = { address: HERE[family], localAddress: THERE[family] };
  const accepted = listen(HERE[family], { password: 'right' }, THERE[family]);
  for (const [wrong, name] of [
    [{ password: 'wrong' }, 'TCPMD5Failure'],
    [{}, 'TCPMD5NotFound'],
  ] as const) {
    const before = counter(name);
    const { results, cancel } = dial({ ...to, ...wrong });
    await until(`${name} to count`, () => counter(name) > before);
    cancel();
    expect([results, accepted]).toEqual([[], []]);
  }
  const { results } = dial({ ...to, password: 'right' });
  await until('the right key to connect', () => results.length > 0 && accepted.length > 0);
  expect(typeof results[0]).toBe('object');
});

test.each([4, 6] as const)('F17 IPv%i: what comes from further away than GTSM allows is dropped', async (family) => {
  const to = { address: HERE[family], localAddress: THERE[family] };
  const accepted = listen(HERE[family], { ttlSecurity: 1 }, THERE[family]);
  const read: number[] = [];
  const say = async (ends: readonly (TcpConnection | string)[], what: string) => {
    await until(`${what} to connect`, () => ends.length > 0 && accepted.length > 0);
    accepted.at(-1)?.open({ onData: (_, start, end) => read.push(end - start), onDrain: () => {}, onClose: () => {} });
    (ends[0] as TcpConnection).write(Uint8Array.of(1, 2, 3));
  };
  // The key to a peer is its address, so the limit stands on its connection, from the first byte on.
  const before = counter('TCPMinTTLDrop');
  const far = dial(to);
  await say(far.results, 'the one from far');
  await until('the drop to count', () => counter('TCPMinTTLDrop') > before);
  expect(read).toEqual([]);
  accepted.length = 0;
  await say(dial({ ...to, ttlSecurity: 1 }).results, 'the neighbour');
  await until('the neighbour to be heard', () => read.length > 0);
  expect(read).toEqual([3]);
});
