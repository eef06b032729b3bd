import { beforeEach, describe, expect, test } from 'vitest';
import { addr, type Log, silentLog } from '#core';
import { PrefixLimit } from '../../../bgp/limits.ts';
import { Network, Node, peerConfig } from './network.ts';

/** Limits on prefixes, in and out: the warning, the end of the session, and how it comes back (catalogue P26). */

describe('one limit', () => {
  test('warns once at three quarters, again after it was below, and says when it is exceeded', () => {
    const lines: unknown[] = [];
    const limit = new PrefixLimit(
      { ...silentLog, warn: (fields: unknown) => lines.push(fields) } as unknown as Log,
      'p',
      'received',
    );
    const counts = [74, 75, 80, 100, 74, 75];
    expect(counts.map((count) => limit.exceeded(4, count, 100))).toEqual(counts.map(() => null));
    expect(lines).toEqual([
      { peer: 'p', family: 'IPv4', count: 75, limit: 100 },
      { peer: 'p', family: 'IPv4', count: 75, limit: 100 },
    ]);
    expect(limit.exceeded(4, 101, 100)).toBe('101 IPv4 prefixes received, at most 100 wanted');
    expect(limit.exceeded(6, 76, 100)).toBeNull();
    expect(lines).toHaveLength(3);
    expect(limit.exceeded(4, 1e6, undefined)).toBeNull();
  });
});

describe('a session', () => {
  let net: Network;
  let a: Node;
  let b: Node;
  beforeEach(async () => {
    net = new Network();
    a = new Node(net, '10.0.0.1', 65001);
    b = new Node(net, '10.0.0.2', 65002);
    b.setPeers([peerConfig('10.0.0.1', 65001)]);
  });
  const limited = async (change: object) => {
    a.setPeers([peerConfig('10.0.0.2', 65002, change)]);
    for (const node of [a, b]) await node.start();
    net.pass(2);
  };
  const prefixes = (count: number) => Array.from({ length: count }, (_, i) => `10.${i + 1}.0.0/16`);

  test('beyond the limit in stays down for minutes, not seconds: the peer would say the same again', async () => {
    await limited({ maxPrefixes: 3 });
    b.originate(...prefixes(4));
    expect(a.state(b)).toBe('Idle');
    expect(a.learned()).toEqual([]);
    net.pass(200);
    expect(a.state(b)).toBe('Idle');
    b.originate(...prefixes(2));
    net.pass(130);
    expect(a.state(b)).toBe('Established');
    expect(a.learned()).toHaveLength(2);
    expect(a.speaker.peers()[0].flaps).toBe(1);
  });
  test('a raised limit takes effect at once, up or down, and brings the session back', async () => {
    await limited({ maxPrefixes: 3 });
    b.originate(...prefixes(4));
    expect(a.state(b)).toBe('Idle');
    a.setPeers([peerConfig('10.0.0.2', 65002, { maxPrefixes: 10 })]);
    net.pass(15);
    expect(a.learned()).toHaveLength(4);
    expect(a.speaker.peers()[0].prefixes.ipv4).toMatchObject({ received: 4, limit: 10 });
    a.setPeers([peerConfig('10.0.0.2', 65002, { maxPrefixes: 2 })]);
    net.pass(1);
    expect(a.state(b)).toBe('Idle');
  });
  test('the limit out is a fuse: the peer gets a Cease for lack of resources', async () => {
    await limited({ maxPrefixesOut: 3 });
    a.originate(...prefixes(3));
    expect(b.learned()).toHaveLength(3);
    a.originate(...prefixes(4));
    expect(a.state(b)).toBe('Idle');
    expect(b.learned()).toEqual([]);
    expect(a.speaker.peers()[0].reason).toContain('4 IPv4 prefixes advertised, at most 3 wanted');
    expect(b.speaker.peers().find(({ address }) => address === addr('10.0.0.1'))?.lastError).toContain('6/8');
    a.originate(...prefixes(2));
    a.setPeers([peerConfig('10.0.0.2', 65002, { maxPrefixesOut: 5 })]);
    net.pass(40);
    expect(b.learned()).toHaveLength(2);
  });
  test('names and filters for people change without a word to the peer', async () => {
    await limited({});
    a.setPeers([peerConfig('10.0.0.2', 65002, { resource: 'BGPPeer(tor)', filterNames: ['f'], type: 'GlobalPeer' })]);
    net.pass(1);
    expect(a.speaker.peers()[0]).toMatchObject({
      resource: 'BGPPeer(tor)',
      filters: ['f'],
      type: 'GlobalPeer',
      flaps: 0,
    });
  });
});
