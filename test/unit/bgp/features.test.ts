import { mkdtempSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { addr, prefix } from '#core';
import { dumpToFile } from '../../../bgp/dump-file.ts';
import { EFFECTS } from '../../../bgp/reset.ts';
import type { PeerConfig } from '../../../bgp/types.ts';
import { Network, Node, peerConfig } from './network.ts';

/** Features of a whole speaker, between two of them. */

let net: Network;
let a: Node;
let b: Node;
beforeEach(() => {
  net = new Network();
  a = new Node(net, '10.0.0.1', 65001);
  b = new Node(net, '10.0.0.2', 65002);
});
async function start(ofA: Partial<PeerConfig> = {}, ofB: Partial<PeerConfig> = {}): Promise<void> {
  a.setPeers([peerConfig('10.0.0.2', 65002, ofA)]);
  b.setPeers([peerConfig('10.0.0.1', 65001, ofB)]);
  for (const node of [a, b]) await node.start();
  net.pass(3);
}
const isUp = () => [a.state(b), b.state(a)].every((state) => state === 'Established');
const ACCEPT = { name: 'all', match: {}, action: 'accept' as const, operations: [] };

describe('default deny towards external peers (RFC 8212)', () => {
  test('nothing in and nothing out without rules, and the reason; with them all goes', async () => {
    await start({ requirePolicy: true });
    a.originate('10.1.0.0/16');
    b.originate('10.2.0.0/16');
    net.pass(1);
    expect([a.learned(), b.learned()]).toEqual([[], []]);
    const [refused] = a.speaker.routes({ received: addr('10.0.0.2') });
    expect(refused.reason).toBe('no rule of the import policy accepts it');
    const [kept] = a.speaker.routes({ advertised: addr('10.0.0.2'), prefix: prefix('10.1.0.0/16') });
    expect(kept.reason).toBe('no rule of the export policy accepts it');
    const policy = { rules: [ACCEPT], otherwise: 'reject' as const };
    a.setPeers([peerConfig('10.0.0.2', 65002, { requirePolicy: true, importPolicy: policy, exportPolicy: policy })]);
    net.pass(1);
    expect([a.learned(), b.learned()]).toEqual([['10.2.0.0/16'], ['10.1.0.0/16']]);
  });
  test('internal peers need none', async () => {
    b = new Node(net, '10.0.0.2', 65001);
    a.setPeers([peerConfig('10.0.0.2', 65001, { requirePolicy: true })]);
    b.setPeers([peerConfig('10.0.0.1', 65001, { requirePolicy: true })]);
    for (const node of [a, b]) await node.start();
    net.pass(3);
    b.originate('10.2.0.0/16');
    expect(a.learned()).toEqual(['10.2.0.0/16']);
  });
});

test('another AS of ours: the peer sees that one alone, and a path with either comes back as a loop', async () => {
  await start({ localAs: 65010 }, { asNumbers: [65010] });
  expect(isUp()).toBe(true);
  a.originate('10.1.0.0/16');
  expect(b.speaker.routes({})[0].asPath).toEqual([65010]);
});

test('roles: a route that a provider tells goes to no other provider (RFC 9234)', async () => {
  const c = new Node(net, '10.0.0.3', 65003);
  a.setPeers([
    peerConfig('10.0.0.2', 65002, { role: 'customer' }),
    peerConfig('10.0.0.3', 65003, { role: 'customer' }),
  ]);
  for (const node of [b, c]) node.setPeers([peerConfig('10.0.0.1', 65001, { role: 'provider' })]);
  for (const node of [a, b, c]) await node.start();
  net.pass(5);
  b.originate('10.2.0.0/16');
  expect(a.learned()).toEqual(['10.2.0.0/16']);
  expect(c.learned()).toEqual([]);
  const [told] = a.speaker.routes({ advertised: addr('10.0.0.3'), prefix: prefix('10.2.0.0/16') });
  expect(told.reason).toBe('marked only-to-customer');
});

describe('changes of settings, one by one (bgp/reset.ts)', () => {
  const other: { readonly [K in keyof PeerConfig]-?: PeerConfig[K] } = {
    name: 'another',
    type: 'GlobalPeer',
    resource: 'BGPPeer(x)',
    address: addr('10.0.0.9'),
    port: 1790,
    asNumbers: [65002, 65003],
    range: prefix('10.0.0.0/24'),
    maxPeers: 7,
    localAs: 65001,
    localAddress: addr('10.0.0.1'),
    passive: true,
    families: [4, 6],
    password: 'secret',
    missingPassword: 'not there',
    ttlSecurity: 2,
    routeReflectorClient: true,
    addPath: { receive: true, send: true },
    gracefulRestart: { restartTime: 7 },
    holdTime: 30,
    keepaliveTime: 10,
    nextHop: 'self',
    nextHopSelf: { 6: addr('fd00::1') },
    maxPrefixes: 1000,
    maxPrefixesOut: 1000,
    allowOwnAs: 2,
    bfd: { interval: 300, multiplier: 3, multihop: true },
    role: 'peer',
    requirePolicy: true,
    reachableBy: addr('10.0.0.254'),
    importPolicy: { rules: [ACCEPT], otherwise: 'reject' },
    exportPolicy: { rules: [ACCEPT], otherwise: 'reject' },
    filterNames: ['f'],
  };
  const fields = Object.keys(EFFECTS) as (keyof PeerConfig)[];
  // A range and a name make it another peer; the first session of those is gone in any case.
  test.each(fields.filter((field) => field !== 'name' && field !== 'range'))('%s', async (field) => {
    const c = new Node(net, '10.0.0.3', 65003);
    c.setPeers([peerConfig('10.0.0.1', 65001)]);
    const third = peerConfig('10.0.0.3', 65003);
    a.setPeers([peerConfig('10.0.0.2', 65002), third]);
    b.setPeers([peerConfig('10.0.0.1', 65001)]);
    for (const node of [a, b, c]) await node.start();
    net.pass(5);
    expect(isUp()).toBe(true);
    a.setPeers([{ ...peerConfig('10.0.0.2', 65002), [field]: other[field] }, third]);
    net.settle();
    const ends = EFFECTS[field] === 'connection' || EFFECTS[field] === 'session';
    expect(b.speaker.peers()[0].flaps).toBe(ends ? 1 : 0);
    if (ends) expect(b.speaker.peers()[0].lastError).toContain('6/6');
    expect(c.speaker.peers()[0]).toMatchObject({ state: 'Established', flaps: 0 });
  });
});

test('RFC 9494: beyond the restart time routes stay as the last resort, but not those that ask not to', async () => {
  const keep = { gracefulRestart: { restartTime: 10, longLivedSeconds: 100 } };
  const rules = [
    {
      name: 'no llgr',
      match: { prefix: { net: prefix('10.3.0.0/16'), op: 'Equal' as const, minLength: 0, maxLength: 32 } },
      action: 'accept' as const,
      operations: [{ op: 'addCommunity' as const, value: '65535:7' }],
    },
  ];
  await start(keep, { ...keep, exportPolicy: { rules, otherwise: 'accept' } });
  b.originate('10.2.0.0/16', '10.3.0.0/16');
  expect(a.learned()).toHaveLength(2);
  net.isCut = true;
  net.breakAll();
  net.pass(15);
  expect(a.learned()).toEqual(['10.2.0.0/16']);
  net.pass(100);
  expect(a.learned()).toEqual([]);
});

test('the whole table goes into an MRT file (RFC 6396), which is there whole and for root alone', async () => {
  await start();
  a.originate('10.1.0.0/16');
  b.originate('10.1.0.0/16', '10.2.0.0/16');
  const file = join(mkdtempSync(join(tmpdir(), 'tsnet-dump-')), 'table.mrt');
  const made = dumpToFile({ file }, () => a.speaker.dumpMrt());
  net.settle();
  expect(await made).toEqual({ file, bytes: statSync(file).size });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const bytes = readFileSync(file);
  const records: string[] = [];
  for (let at = 0; at < bytes.length; at += 12 + bytes.readUInt32BE(at + 8))
    records.push(`${bytes.readUInt16BE(at + 4)}/${bytes.readUInt16BE(at + 6)}`);
  // PEER_INDEX_TABLE, then a RIB_IPV4_UNICAST for each prefix.
  expect(records).toEqual(['13/1', '13/2', '13/2']);
  await expect(dumpToFile({ file: 'table.mrt' }, () => a.speaker.dumpMrt())).rejects.toThrow('an absolute path');
});

describe('BFD (RFC 5880 to RFC 5883)', () => {
  test.each([
    ['single hop', false],
    ['multihop', true],
  ])('%s: 3 × 300 ms of silence end the session although TCP says nothing', async (_what, multihop) => {
    const bfd = { interval: 300, multiplier: 3, multihop };
    await start({ bfd }, { bfd });
    b.originate('10.2.0.0/16');
    net.pass(5);
    expect(a.speaker.peers()[0]).toMatchObject({ state: 'Established', bfd: { state: 'Up' } });
    net.isBfdCut = true;
    net.pass(0.5);
    expect(isUp()).toBe(true);
    // From the last packet 900 ms; that was up to 300 ms before the cut.
    net.pass(0.5);
    expect(a.learned()).toEqual([]);
    expect(a.speaker.peers()[0]).toMatchObject({ flaps: 1 });
    expect(a.speaker.peers()[0].lastError).toContain('no BFD packet within 900 ms');
  });
  test('a peer without BFD keeps its session: the fall counts, not the absence', async () => {
    await start({ bfd: { interval: 300, multiplier: 3, multihop: false } });
    net.pass(20);
    expect(a.speaker.peers()[0]).toMatchObject({ state: 'Established', flaps: 0, bfd: { state: 'Down' } });
  });
});
