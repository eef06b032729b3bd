import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { addr, type Prefix, prefix } from '#core';
import type { ConnectedNetwork, PeerConfig, ResolvingRoute } from '../../../bgp/types.ts';
import { Network, Node, peerConfig } from './network.ts';

/**
 * One speaker under test (10.0.0.1, AS 65001) on 10.0.0.0/24, and neighbours that say what they like. A reflector on the same network keeps next hops as they are, so a
 * neighbour behind it stands for any next hop.
 */

let net: Network;
let here: Node;
beforeEach(() => {
  net = new Network();
  here = new Node(net, '10.0.0.1', 65001);
});

const ETH0: ConnectedNetwork = { prefix: prefix('10.0.0.0/24'), interface: 'eth0', local: addr('10.0.0.1') };
const ETH1: ConnectedNetwork = { prefix: prefix('10.1.0.0/24'), interface: 'eth1', local: addr('10.1.0.1') };
const via = (address: string, link = 'eth0'): ResolvingRoute => ({
  hops: [{ address: addr(address), interface: link }],
});

/** Sessions of the speaker with each; `internal` ones keep their own addresses as next hops, so that any address can be a next hop. */
async function start(addresses: readonly string[], change: Partial<PeerConfig> = {}, asOf = (_: number) => 65001) {
  const others = addresses.map((address, i) => new Node(net, address, asOf(i)));
  here.setPeers(others.map((other) => peerConfig(other.address, other.asNumber, change)));
  for (const other of others) other.setPeers([peerConfig('10.0.0.1', 65001)]);
  for (const node of [here, ...others]) await node.start();
  net.pass(8);
  return others;
}
const ways = (to: string) => here.best.get(prefix(to))?.nextHops;
const why = (to: string): string | null | undefined => here.speaker.routes({ prefix: prefix(to) })[0]?.reason;
const note = (changes: Record<string, ResolvingRoute | null>) => {
  here.speaker.noteRoutes(new Map(Object.entries(changes) as [Prefix, ResolvingRoute | null][]));
  net.settle();
};
const connect = (...all: ConnectedNetwork[]) => {
  here.speaker.setConnected(all);
  net.settle();
};

describe('a next hop is reached', () => {
  test('before anything is known of networks: as it is', async () => {
    const [far] = await start(['192.0.2.2']);
    far.originate('10.9.0.0/16');
    expect(ways('10.9.0.0/16')).toEqual([{ address: '192.0.2.2' }]);
  });
  test('on a connected network, and not without; it comes back with the network', async () => {
    const [near] = await start(['10.0.0.2']);
    near.originate('10.9.0.0/16', '10.8.0.0/16');
    connect(ETH0);
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.2' }]);
    connect(ETH1);
    expect(here.learned()).toEqual([]);
    expect(why('10.9.0.0/16')).toBe('next hop 10.0.0.2 is unreachable: no route leads there');
    connect(ETH0, ETH1);
    expect(here.learned()).toEqual(['10.8.0.0/16', '10.9.0.0/16']);
    expect(why('10.9.0.0/16')).toBeNull();
  });
  test('by a route of the machine: its gateway is where packets go, and follows it', async () => {
    connect(ETH0);
    const [far] = await start(['192.0.2.2']);
    far.originate('10.9.0.0/16');
    expect(here.learned()).toEqual([]);
    note({ '192.0.2.0/24': via('10.0.0.254') });
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.254', interface: 'eth0' }]);
    note({ '192.0.2.2/32': { hops: [via('10.0.0.253').hops[0], via('10.0.0.252').hops[0]] } });
    expect(ways('10.9.0.0/16')?.map((hop) => hop.address)).toEqual(['10.0.0.252', '10.0.0.253']);
    note({ '192.0.2.2/32': { hops: [] } });
    expect(why('10.9.0.0/16')).toBe('next hop 192.0.2.2 is unreachable: packets for 192.0.2.2/32 are dropped here');
    note({ '192.0.2.2/32': { hops: [{ interface: 'cali1' }] } });
    expect(ways('10.9.0.0/16')).toEqual([{ address: '192.0.2.2', interface: 'cali1' }]);
    note({ '192.0.2.2/32': null, '192.0.2.0/24': null });
    expect(here.learned()).toEqual([]);
  });
  test('by the default route of the machine, as between nodes of different networks', async () => {
    connect(ETH0);
    note({ '0.0.0.0/0': { hops: [{ address: addr('172.31.1.1'), interface: 'eth0', onlink: true }] } });
    const [far] = await start(['192.0.2.2']);
    far.originate('10.9.0.0/16');
    expect(ways('10.9.0.0/16')).toEqual([{ address: '172.31.1.1', interface: 'eth0', onlink: true }]);
  });
  test('U41: not when it is our own address, whenever it became that', async () => {
    connect(ETH0);
    note({ '0.0.0.0/0': via('10.0.0.254') });
    const [far] = await start(['192.0.2.2']);
    far.originate('10.9.0.0/16');
    expect(here.learned()).toEqual(['10.9.0.0/16']);
    connect(ETH0, { prefix: prefix('192.0.2.2/32'), interface: 'lo', local: addr('192.0.2.2') });
    expect(why('10.9.0.0/16')).toBe('next hop 192.0.2.2 is unreachable: it is our own address');
    connect(ETH0);
    expect(here.learned()).toEqual(['10.9.0.0/16']);
  });
});

describe('by routes of BGP', () => {
  test('whose own next hop is connected; a longer one of the machine counts for more', async () => {
    connect(ETH0);
    const [near, far] = await start(['10.0.0.2', '192.0.2.2']);
    far.originate('10.9.0.0/16');
    expect(here.learned()).toEqual([]);
    near.originate('192.0.2.0/24');
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.2' }]);
    note({ '192.0.2.0/28': via('10.0.0.254') });
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.254', interface: 'eth0' }]);
    near.originate('192.0.2.2/32');
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.2' }]);
    near.originate();
    note({ '192.0.2.0/28': null });
    expect(here.learned()).toEqual([]);
  });
  test('never by a default route of BGP', async () => {
    connect(ETH0);
    const [near, far] = await start(['10.0.0.2', '192.0.2.2']);
    near.originate('0.0.0.0/0');
    far.originate('10.9.0.0/16');
    expect(here.learned()).toEqual(['0.0.0.0/0']);
    expect(why('10.9.0.0/16')).toBe('next hop 192.0.2.2 is unreachable: no route leads there');
  });
  test('U43: not by the route itself', async () => {
    connect(ETH0);
    const [far] = await start(['192.0.2.2']);
    far.originate('192.0.0.0/16');
    expect(here.learned()).toEqual([]);
    expect(why('192.0.0.0/16')).toBe(
      'next hop 192.0.2.2 is unreachable: only 192.0.0.0/16 leads there, a route of BGP that has no ground itself',
    );
    // With a default route of the machine there is ground under both the next hop and the route that covers it.
    note({ '0.0.0.0/0': via('10.0.0.254') });
    expect(ways('192.0.0.0/16')).toEqual([{ address: '10.0.0.254', interface: 'eth0' }]);
  });
  test('U43: nor by two that lead to each other, in any order of arrival, and the better path does not flap', async () => {
    connect(ETH0);
    const [near, one, two] = await start(['10.0.0.2', '192.0.2.1', '198.51.100.1']);
    one.originate('198.51.100.0/24');
    two.originate('192.0.2.0/24');
    expect(here.learned()).toEqual([]);
    // The path of `one` for its own network would be preferred for its longer reach, if it could be resolved by it.
    near.originate('192.0.2.0/24');
    expect(here.learned()).toEqual(['192.0.2.0/24', '198.51.100.0/24']);
    expect(ways('198.51.100.0/24')).toEqual([{ address: '10.0.0.2' }]);
    expect(ways('192.0.2.0/24')).toEqual([{ address: '10.0.0.2' }]);
    near.originate();
    expect(here.learned()).toEqual([]);
  });
});

describe('a peer that is to be one hop away (ttlSecurity 1)', () => {
  test('U42: names next hops on shared networks only, unless it may be further away', async () => {
    connect(ETH0);
    note({ '0.0.0.0/0': via('10.0.0.254') });
    const others = await start(['10.0.0.2', '192.0.2.2'], { ttlSecurity: 1 }, (i) => 65002 + i);
    for (const [i, other] of others.entries()) other.originate(`10.${i}.0.0/16`);
    expect(here.learned()).toEqual(['10.0.0.0/16']);
    expect(why('10.1.0.0/16')).toBe(
      'next hop 192.0.2.2 is on no network that we share with the peer, which is to be one hop away',
    );
    here.setPeers(here.peers.map((peer) => ({ ...peer, ttlSecurity: 2 })));
    net.pass(10);
    expect(here.learned()).toEqual(['10.0.0.0/16', '10.1.0.0/16']);
  });
});

test('P17: a link-local next hop is on the link of the peer that names it, or nowhere', async () => {
  connect(ETH1);
  const [other] = await start(['10.0.0.2'], { families: [4, 6] }, () => 65002);
  other.setPeers([peerConfig('10.0.0.1', 65001, { families: [4, 6], nextHopSelf: { 6: addr('fe80::2') } })]);
  net.pass(8);
  other.originate('2001:db8::/32');
  expect(why('2001:db8::/32')).toBe('next hop fe80::2 is link-local, and the peer is on no link of ours');
  connect(ETH0);
  expect(ways('2001:db8::/32')).toEqual([{ address: 'fe80::2', interface: 'eth0' }]);
  connect(ETH1);
  expect(ways('2001:db8::/32')).toBeUndefined();
});

describe('the decision', () => {
  test('of two equal paths the one whose next hop is connected is nearer (RFC 4271 §9.1.2.2 e)', async () => {
    connect(ETH0);
    note({ '0.0.0.0/0': via('10.0.0.254') });
    const [far, near] = await start(['192.0.2.2', '10.0.0.2']);
    for (const node of [far, near]) node.originate('10.9.0.0/16');
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.2' }]);
    const routes = here.speaker.routes({ prefix: prefix('10.9.0.0/16') });
    expect(routes.map((route) => [route.source, route.reason])).toEqual([
      ['10.0.0.2', null],
      ['192.0.2.2', 'interior cost'],
    ]);
  });
  test('a route whose next hop is gone gives way to the next best, here and towards other peers', async () => {
    connect(ETH0, ETH1);
    const [first, second, sink] = await start(['10.1.0.2', '10.0.0.2', '10.0.0.3'], {}, (i) =>
      i === 2 ? 65003 : 65001,
    );
    for (const node of [first, second]) node.originate('10.9.0.0/16');
    second.speaker.setLocalRoutes([{ prefix: prefix('10.9.0.0/16'), priority: 2000, reason: 'network' }]);
    net.settle();
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.1.0.2' }]);
    connect(ETH0);
    expect(ways('10.9.0.0/16')).toEqual([{ address: '10.0.0.2' }]);
    expect(sink.learned()).toEqual(['10.9.0.0/16']);
    second.originate();
    expect(sink.learned()).toEqual([]);
    connect(ETH0, ETH1);
    expect(sink.learned()).toEqual(['10.9.0.0/16']);
  });
});

describe('the order of events', () => {
  /** What may be there in the end: routes of BGP by neighbour, connected networks, routes of the machine. */
  const FACTS = [
    ...['10.0.0.2', '192.0.2.1', '198.51.100.1'].flatMap((from) =>
      ['192.0.2.0/24', '192.0.2.1/32', '198.51.100.0/24', '10.9.0.0/16'].map((to) => ({ from, to })),
    ),
    { network: ETH0 },
    { network: ETH1 },
    { to: '0.0.0.0/0', route: via('10.0.0.254') },
    { to: '198.51.100.0/25', route: via('10.1.0.254', 'eth1') },
    { to: '192.0.2.0/28', route: { hops: [] } },
  ] as const;

  /** The end of a history in which facts come and, all but the wanted ones, go again. */
  async function endOf(history: readonly number[], wanted: ReadonlySet<number>): Promise<unknown> {
    net = new Network();
    here = new Node(net, '10.0.0.1', 65001);
    const names = ['10.0.0.2', '192.0.2.1', '198.51.100.1'];
    const others = await start(names);
    const there = new Set<number>();
    const step = (change: () => void) => {
      change();
      const facts = [...there].sort().map((i) => FACTS[i]);
      connect(...facts.flatMap((fact) => ('network' in fact ? [fact.network] : [])));
      for (const fact of FACTS) if ('route' in fact) note({ [fact.to]: facts.includes(fact) ? fact.route : null });
      for (const [i, name] of names.entries())
        others[i].originate(...facts.flatMap((fact) => ('from' in fact && fact.from === name ? [fact.to] : [])));
    };
    connect();
    for (const i of history) step(() => there.add(i));
    step(() => {
      for (const i of [...there]) if (!wanted.has(i)) there.delete(i);
    });
    for (const i of wanted) if (!there.has(i)) step(() => there.add(i));
    return here.speaker
      .routes({})
      .map(({ prefix: to, source, best, reason }) => ({ to, source, best, reason, way: ways(to) }));
  }
  const sorted = (routes: unknown) => (routes as unknown[]).map((route) => JSON.stringify(route)).sort();

  test('does not change what is reached, and how', async () => {
    const index = fc.integer({ min: 0, max: FACTS.length - 1 });
    await fc.assert(
      fc.asyncProperty(fc.array(index, { maxLength: 8 }), fc.uniqueArray(index), async (history, wanted) => {
        const after = sorted(await endOf(history, new Set(wanted)));
        expect(after).toEqual(sorted(await endOf([], new Set([...wanted].reverse()))));
      }),
      { numRuns: 30 },
    );
  });
});
