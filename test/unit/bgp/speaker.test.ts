import { beforeEach, describe, expect, test } from 'vitest';
import { addr, type Prefix, prefix } from '#core';
import { Network, Node, peerConfig } from './network.ts';

let net: Network;
beforeEach(() => {
  net = new Network();
});

async function two(change: Parameters<typeof Node.mesh>[1] = {}, asNumbers = [65001, 65002]): Promise<[Node, Node]> {
  const nodes: [Node, Node] = [new Node(net, '10.0.0.1', asNumbers[0]), new Node(net, '10.0.0.2', asNumbers[1])];
  Node.mesh(nodes, change);
  for (const node of nodes) await node.start();
  net.pass(2);
  return nodes;
}

describe('a session', () => {
  test('both dial, one connection stays, routes go both ways and back', async () => {
    const [a, b] = await two();
    expect([a.state(b), b.state(a)]).toEqual(['Established', 'Established']);
    a.originate('10.1.0.0/16');
    b.originate('10.2.0.0/16', '10.2.1.0/24');
    expect(a.learned()).toEqual(['10.2.0.0/16', '10.2.1.0/24']);
    expect(b.best.get(prefix('10.1.0.0/16'))?.nextHops).toEqual([{ address: '10.0.0.1' }]);
    b.originate('10.2.1.0/24');
    expect(a.learned()).toEqual(['10.2.1.0/24']);
    net.pass(200);
    expect(a.speaker.peers()[0]).toMatchObject({ state: 'Established', flaps: 0 });
  });
  test('each end counts the messages that the other one counts', async () => {
    const [a, b] = await two();
    a.originate('10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16');
    a.originate('10.1.0.0/16');
    const [{ messages: ofA }] = a.speaker.peers();
    const [{ messages: ofB }] = b.speaker.peers();
    // End-of-RIB, an announcement, a withdrawal.
    expect(ofA.UPDATE.out).toBe(3);
    for (const type of Object.keys(ofA))
      expect([type, ofA[type].out, ofA[type].in]).toEqual([type, ofB[type].in, ofB[type].out]);
  });
  test('a lost session takes its routes along, and comes back', async () => {
    const [a, b] = await two();
    b.originate('10.2.0.0/16');
    net.breakAll();
    expect(a.learned()).toEqual([]);
    net.pass(10);
    expect(a.learned()).toEqual(['10.2.0.0/16']);
    expect(a.speaker.peers()[0].flaps).toBe(1);
  });
  test('F13: a silent peer is given up after the hold time', async () => {
    const [a, b] = await two();
    b.originate('10.2.0.0/16');
    for (const end of net.ends) {
      end.stuck = true;
      end.far.stuck = true;
    }
    net.isCut = true;
    net.pass(85);
    expect(a.learned()).toEqual(['10.2.0.0/16']);
    net.pass(10);
    expect(a.state(b)).not.toBe('Established');
    expect(a.learned()).toEqual([]);
  });
  test('a stopped peer holds up nobody and costs no memory', async () => {
    const a = new Node(net, '10.0.0.1', 65001);
    const others = [2, 3, 4].map((i) => new Node(net, `10.0.0.${i}`, 65000 + i));
    a.setPeers(others.map((other) => peerConfig(other.address, other.asNumber)));
    for (const other of others) other.setPeers([peerConfig('10.0.0.1', 65001, { passive: true })]);
    for (const node of [a, ...others]) await node.start();
    net.pass(3);
    const stuck = net.ends.find((end) => end.remoteAddress === '10.0.0.4')!;
    stuck.far.stuck = true;
    for (let i = 0; i < 30; i++) {
      a.originate(...Array.from({ length: 500 }, (_, j) => `10.${100 + (i % 2)}.${j >> 6}.${(j & 63) * 4}/30`));
      net.pass(0.25);
    }
    expect(others[0].learned()).toHaveLength(500);
    expect(stuck.queued).toBeLessThan(20_000);
    stuck.far.stuck = false;
    stuck.flush();
    net.pass(1);
    expect(others[2].learned()).toEqual(others[0].learned());
  });
  test('a peer is asked for everything again (RFC 2918, RFC 7313), and messages are counted as they go', async () => {
    const [a, b] = await two();
    b.originate('10.2.0.0/16', '10.2.1.0/24');
    const counts = (node: Node) => node.speaker.peers()[0].messages;
    const before = counts(b).UPDATE.out;
    a.speaker.refresh(b.address);
    net.pass(1);
    expect(counts(b).UPDATE.out).toBeGreaterThan(before);
    expect(counts(a).UPDATE.in).toBe(counts(b).UPDATE.out);
    // Asked once, answered between two borders.
    expect([counts(a)['ROUTE-REFRESH'], counts(b)['ROUTE-REFRESH']]).toEqual([
      { in: 2, out: 1 },
      { in: 1, out: 2 },
    ]);
    expect(a.learned()).toEqual(['10.2.0.0/16', '10.2.1.0/24']);
    expect(() => a.speaker.refresh(addr('10.0.0.9'))).toThrow('no BGP peer');
    net.breakAll();
    expect(() => a.speaker.refresh(b.address)).toThrow('cannot be asked');
  });
  test('shutdown is told with its text, after a warning (RFC 8326)', async () => {
    const [a, b] = await two();
    a.originate('10.1.0.0/16');
    const stopped = a.speaker.stop('shutdown', 'maintenance');
    net.settle();
    const warned = b.speaker.routes({ received: addr('10.0.0.1') })[0];
    expect(warned.communities).toEqual(['65535:0']);
    net.pass(2);
    await stopped;
    net.settle();
    expect(b.speaker.peers()[0].lastError).toBe('received 6/2 cease: administrative shutdown ("maintenance")');
    expect(b.learned()).toEqual([]);
  });
});

describe('graceful restart (RFC 4724)', () => {
  const GR = { gracefulRestart: { restartTime: 120 } };
  const stale = (node: Node) => node.speaker.routes({}).filter((route) => route.stale).length;

  test('F19: routes stay for the restart time and no longer', async () => {
    const [a, b] = await two(GR);
    b.originate('10.2.0.0/16');
    net.isCut = true;
    net.breakAll();
    net.pass(115);
    expect(a.learned()).toEqual(['10.2.0.0/16']);
    net.pass(10);
    expect(a.learned()).toEqual([]);
  });
  test('F21: a peer that comes back without its forwarding state loses its old routes at once', async () => {
    const [a, b] = await two(GR);
    b.originate('10.2.0.0/16');
    net.breakAll();
    expect(a.learned()).toEqual(['10.2.0.0/16']);
    b.speaker.setLocalRoutes([]);
    net.pass(10);
    expect(a.state(b)).toBe('Established');
    expect(a.learned()).toEqual([]);
  });
  test('a restart of the peer that kept its state: no route goes, and what it does not tell again goes with its End-of-RIB', async () => {
    const [a, b] = await two(GR);
    b.originate('10.2.0.0/16', '10.3.0.0/16');
    await b.speaker.stop('restart');
    net.settle();
    expect(stale(a)).toBe(2);
    const again = new Node(net, '10.0.0.2', 65002, { restarting: true });
    Node.mesh([again, a], GR);
    again.originate('10.2.0.0/16');
    await again.start();
    net.pass(10);
    expect(a.state(again)).toBe('Established');
    expect(a.learned()).toEqual(['10.2.0.0/16']);
    expect(stale(a)).toBe(0);
    expect(again.restartsComplete).toBe(1);
  });
  test('a restart with many peers waits for those that are there, and for one that is not only a while', async () => {
    const [a, b] = await two(GR);
    a.originate('10.1.0.0/16');
    b.originate('10.2.0.0/16');
    await b.speaker.stop('restart');
    const again = new Node(net, '10.0.0.2', 65002, { restarting: true });
    again.setPeers([peerConfig('10.0.0.1', 65001, GR), peerConfig('10.0.0.9', 65009, GR)]);
    again.originate('10.2.0.0/16');
    await again.start();
    net.pass(10);
    expect(again.restartsComplete).toBe(0);
    expect(again.learned()).toEqual(['10.1.0.0/16']);
    net.pass(8);
    expect(again.restartsComplete).toBe(1);
    expect(a.learned()).toEqual(['10.2.0.0/16']);
  });
  test('without the capability nothing stays', async () => {
    const [a, b] = await two();
    b.originate('10.2.0.0/16');
    await b.speaker.stop('restart');
    net.settle();
    expect(a.learned()).toEqual([]);
  });
  test('RFC 9494: beyond the restart time routes stay as the last resort', async () => {
    const [a, b] = await two({ gracefulRestart: { restartTime: 10, longLivedSeconds: 100 } });
    b.originate('10.2.0.0/16');
    net.isCut = true;
    net.breakAll();
    net.pass(15);
    expect(a.speaker.routes({})[0]).toMatchObject({ prefix: '10.2.0.0/16', communities: ['65535:6'], stale: true });
    net.pass(100);
    expect(a.learned()).toEqual([]);
  });
});

describe('more than two', () => {
  test('an external route goes to internal peers, but not from one to another', async () => {
    const nodes = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => new Node(net, address, 65000));
    nodes[0].setPeers([peerConfig('10.0.0.2', 65000)]);
    nodes[1].setPeers([peerConfig('10.0.0.1', 65000), peerConfig('10.0.0.3', 65000)]);
    nodes[2].setPeers([peerConfig('10.0.0.2', 65000)]);
    for (const node of nodes) await node.start();
    nodes[0].originate('10.1.0.0/16');
    net.pass(8);
    expect(nodes[1].learned()).toEqual(['10.1.0.0/16']);
    expect(nodes[2].learned()).toEqual([]);
    const [refused] = nodes[1].speaker.routes({ advertised: addr('10.0.0.3'), prefix: '10.1.0.0/16' as Prefix });
    expect(refused.reason).toContain('neither side is a reflector client');
  });
  test('a reflector passes routes between its clients, with their originator, and loops end (U57, U60)', async () => {
    const nodes = ['10.0.0.1', '10.0.0.2', '10.0.0.3'].map((address) => new Node(net, address, 65000));
    nodes[0].setPeers([peerConfig('10.0.0.2', 65000)]);
    nodes[1].setPeers(['10.0.0.1', '10.0.0.3'].map((a) => peerConfig(a, 65000, { routeReflectorClient: true })));
    nodes[2].setPeers([peerConfig('10.0.0.2', 65000)]);
    for (const node of nodes) await node.start();
    nodes[0].originate('10.1.0.0/16');
    net.pass(8);
    expect(nodes[2].speaker.routes({})[0]).toMatchObject({
      prefix: '10.1.0.0/16',
      nextHops: ['10.0.0.1'],
      originatorId: '10.0.0.1',
      clusterList: ['10.0.0.2'],
    });
  });
  test('equal paths are one multipath route', async () => {
    const nodes = [1, 2, 3, 4].map((i) => new Node(net, `10.0.0.${i}`, 65000 + i));
    Node.mesh(nodes.slice(0, 3));
    nodes[0].setPeers([2, 3].map((i) => peerConfig(`10.0.0.${i}`, 65000 + i)));
    for (const node of nodes.slice(0, 3)) await node.start();
    nodes[1].originate('10.9.0.0/16');
    nodes[2].originate('10.9.0.0/16');
    net.pass(8);
    expect(nodes[0].best.get(prefix('10.9.0.0/16'))?.nextHops).toEqual([
      { address: '10.0.0.2' },
      { address: '10.0.0.3' },
    ]);
    nodes[1].originate();
    net.pass(1);
    expect(nodes[0].best.get(prefix('10.9.0.0/16'))?.nextHops).toEqual([{ address: '10.0.0.3' }]);
  });
});

describe('changes of settings', () => {
  test('a policy changes what is told and taken without touching the session', async () => {
    const [a, b] = await two();
    a.originate('10.1.0.0/16', '10.2.0.0/16');
    const rule = (net: string) => ({
      name: `reject ${net}`,
      match: { prefix: { net: prefix(net), op: 'In' as const, minLength: 0, maxLength: 32 } },
      action: 'reject' as const,
      operations: [],
    });
    a.setPeers([
      peerConfig('10.0.0.2', 65002, { exportPolicy: { rules: [rule('10.1.0.0/16')], otherwise: 'accept' } }),
    ]);
    net.pass(1);
    expect(b.learned()).toEqual(['10.2.0.0/16']);
    b.setPeers([
      peerConfig('10.0.0.1', 65001, { importPolicy: { rules: [rule('10.2.0.0/16')], otherwise: 'accept' } }),
    ]);
    net.pass(1);
    expect(b.learned()).toEqual([]);
    expect(b.speaker.routes({ received: addr('10.0.0.1') })).toMatchObject([
      { prefix: '10.2.0.0/16', reason: 'reject 10.2.0.0/16' },
    ]);
    a.setPeers([peerConfig('10.0.0.2', 65002)]);
    b.setPeers([peerConfig('10.0.0.1', 65001)]);
    net.pass(1);
    expect(b.learned()).toEqual(['10.1.0.0/16', '10.2.0.0/16']);
    expect(a.speaker.peers()[0].flaps).toBe(0);
  });
  test('F26: a removed peer is told so, and leaves nothing behind', async () => {
    const [a, b] = await two();
    b.originate('10.2.0.0/16');
    a.setPeers([]);
    net.pass(1);
    expect(a.learned()).toEqual([]);
    expect(a.speaker.peers()).toEqual([]);
    expect(b.speaker.peers()[0].lastError).toContain('peer deconfigured');
  });
  test('P26: too many prefixes end the session, with the limit in the message', async () => {
    const [a, b] = await two({ maxPrefixes: 3 });
    a.originate('10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16', '10.4.0.0/16');
    expect(b.learned()).toEqual([]);
    expect(a.speaker.peers()[0].lastError).toContain('maximum number of prefixes reached');
  });
  test('a peer without its password stays down and says why', async () => {
    const [a] = await two({ missingPassword: "the password is not there: secret 's', key 'k'" });
    expect(a.speaker.peers()[0]).toMatchObject({
      state: 'Idle',
      reason: "the password is not there: secret 's', key 'k'",
    });
  });
  test('anybody from a range may come, up to a number, with one of the AS numbers', async () => {
    const a = new Node(net, '10.0.0.1', 65001);
    a.setPeers([
      peerConfig('10.0.0.0', 65002, {
        name: '10.0.0.0/24',
        range: prefix('10.0.0.0/24'),
        asNumbers: [65002, 65003],
        maxPeers: 2,
      }),
    ]);
    const others = [2, 3, 4].map((i) => new Node(net, `10.0.0.${i}`, i === 4 ? 65002 : 65000 + i));
    for (const other of others) other.setPeers([peerConfig('10.0.0.1', 65001)]);
    for (const node of [a, ...others]) await node.start();
    net.pass(20);
    const states = others.map((other) => other.state(a));
    expect(states.filter((state) => state === 'Established')).toHaveLength(2);
    expect(a.speaker.peers()).toHaveLength(2);
  });
});
