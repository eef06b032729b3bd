import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkSystem, type Machine, type NodeStatus, type PublishedStatus } from '#agent';
import { type ControlServer, type PeerStatus, type RouteInfo, serveControl } from '#bgp';
import { OperationalError, silentLog } from '#core';
import type { Store } from '#datastore';
import { apply, CLUSTER, ctl, memoryStore } from './harness.ts';

const peer = (address: string, more: Partial<PeerStatus> = {}): PeerStatus => ({
  address,
  port: 179,
  asNumber: 65001,
  localAsNumber: 64512,
  localAddress: '10.0.0.11',
  localPort: 40000,
  type: 'GlobalPeer',
  resource: 'BGPPeer(tor)',
  state: 'Established',
  since: '2025-12-31T23:50:00Z',
  passive: false,
  families: ['ipv4', 'ipv6'],
  md5: false,
  ttlSecurity: null,
  routeReflectorClient: false,
  clusterId: null,
  allowedOwnAs: 0,
  filters: [],
  nextHop: 'auto',
  holdTime: 90,
  keepaliveTime: 30,
  restartTime: 120,
  addPath: { receive: false, send: false },
  bfd: null,
  prefixes: { ipv4: { received: 3, accepted: 2, advertised: 1 }, ipv6: { received: 1, accepted: 1, advertised: 1 } },
  faults: { withdrawn: 0, noted: 0, refused: 0 },
  messages: {},
  flaps: 0,
  lastError: null,
  reason: null,
  ...more,
});

const route = (prefix: string, more: Partial<RouteInfo> = {}): RouteInfo => ({
  prefix: prefix as RouteInfo['prefix'],
  best: true,
  source: '10.0.0.1',
  nextHops: ['10.0.0.1'],
  asPath: [65001, { set: [1, 2] }],
  origin: 'IGP',
  localPref: 100,
  med: null,
  communities: [],
  largeCommunities: [],
  originatorId: null,
  clusterList: [],
  stale: false,
  pathId: null,
  inKernel: true,
  reason: null,
  ...more,
});

/** What the agent here says. */
let here: Partial<NodeStatus> = {};
const status = (node: string, more: Partial<NodeStatus> = {}): NodeStatus => ({
  node,
  version: '0.1.0',
  since: '2025-12-31T22:00:00Z',
  datastore: { type: 'etcdv3', state: 'in-sync', reason: null, revision: '42' },
  ready: true,
  notReady: [],
  bgp: { Established: 1, Active: 1 },
  endpoints: { total: 2, programmed: 1, failed: [{ key: 'default/x', reason: 'no interface' }] },
  routes: 4,
  policies: 2,
  quarantined: [],
  invalid: [],
  problems: [],
  loopLagMs: { p50: 0.12, p99: 2.34 },
  ...more,
});

let directory: string;
let socket: string;
let server: ControlServer;
let asked: unknown[];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ctl-socket-'));
  socket = join(directory, 'agent.sock');
  asked = [];
  const table = Array.from({ length: 3500 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`).flatMap((prefix) => [
    route(prefix),
    route(prefix, { best: false, source: '10.0.0.2' }),
    route(prefix, { best: false, source: '10.0.0.3' }),
  ]);
  server = await serveControl(
    socket,
    {
      'node.status': () => status('n1', here),
      'bgp.peers': () => [
        peer('10.0.0.1'),
        peer('10.0.0.2', { state: 'Active', reason: 'connection refused', port: 1790 }),
      ],
      'bgp.refresh': ({ peer }) => {
        if (peer !== '10.0.0.1') throw new OperationalError('NOT_FOUND', `there is no BGP peer ${peer}`);
      },
      'bgp.routes': (query) => {
        asked.push(query);
        if (query.prefix)
          return [
            route('10.65.0.0/26'),
            route('10.65.0.0/26', { best: false, reason: 'longer AS path', source: '10.0.0.2' }),
          ];
        const from = table.findLastIndex((r) => r.prefix === query.after) + 1;
        return table.slice(from, from + Number(query.limit));
      },
    },
    silentLog,
  );
});
afterEach(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

describe('the agent here', () => {
  const run = (...argv: string[]) => ctl(null, ['--socket', socket, ...argv]);

  test('bgp peers: a grid for people, the very values for scripts', async () => {
    const { out, status: exit } = await run('bgp', 'peers');
    expect(exit).toBe(0);
    expect(out).toMatchInlineSnapshot(`
      "+--------------------+-------+-----------+-------------+-------+----+----------+-----+--------------------+
      | PEER ADDRESS       | ASN   | PEER TYPE | STATE       | SINCE | IN | ACCEPTED | OUT | INFO               |
      +--------------------+-------+-----------+-------------+-------+----+----------+-----+--------------------+
      | 10.0.0.1           | 65001 | global    | Established | 10m   | 4  | 3        | 2   | BGPPeer(tor)       |
      | 10.0.0.2 port 1790 | 65001 | global    | Active      | 10m   | 4  | 3        | 2   | connection refused |
      +--------------------+-------+-----------+-------------+-------+----+----------+-----+--------------------+
      "
    `);
    expect(JSON.parse((await run('bgp', 'peers', '-o', 'json')).out)[1]).toEqual(
      peer('10.0.0.2', { state: 'Active', reason: 'connection refused', port: 1790 }),
    );
  });

  test('bgp routes of a prefix, with the reasons', async () => {
    expect((await run('bgp', 'routes', '10.65.0.0/26', '--why')).out.replace(/ +$/gm, '')).toMatchInlineSnapshot(`
      "     PREFIX         NEXT HOPS   SOURCE     AS PATH         LOCAL PREF   MED   KERNEL   WHY
      *    10.65.0.0/26   10.0.0.1    10.0.0.1   65001 {1,2} i   100                yes
           10.65.0.0/26   10.0.0.1    10.0.0.2   65001 {1,2} i   100                yes      longer AS path
      "
    `);
    expect(asked[0]).toMatchObject({ prefix: '10.65.0.0/26' });
  });

  test('bgp routes come in pages', async () => {
    const { out } = await run('bgp', 'routes', '-o', 'json');
    // A page ends in the middle of a prefix: its paths come whole with the next one.
    expect(JSON.parse(out)).toHaveLength(3 * 3500);
    expect(asked).toHaveLength(3);
  });

  test('bgp refresh', async () => {
    expect((await run('bgp', 'refresh', '10.0.0.1')).out).toBe('10.0.0.1 has been asked for its routes\n');
    const { status: exit, err } = await run('bgp', 'refresh', '10.0.0.9');
    expect([exit, err]).toEqual([1, expect.stringContaining('there is no BGP peer 10.0.0.9')]);
  });

  test('node status', async () => {
    expect((await run('node', 'status')).out).toMatchInlineSnapshot(`
      "Node:       n1
      Agent:      tsnet 0.1.0, up 2h
      Ready:      yes
      Datastore:  etcdv3, in-sync at revision 42
      BGP:        1 Established, 1 Active
      Endpoints:  1 of 2 programmed
      Routes:     4
      Policies:   2
      Loop lag:   p50 0.1 ms, p99 2.3 ms
        ! endpoint default/x: no interface
      "
    `);
    expect(JSON.parse((await run('node', 'status', '-o', 'json')).out)).toEqual(status('n1'));
  });

  test('node status says why the datastore is waited for', async () => {
    here = { datastore: { type: 'etcdv3', state: 'waiting', reason: 'etcd at http://a:1: nobody', revision: '42' } };
    expect((await run('node', 'status')).out).toContain(
      '  ! etcd at http://a:1: nobody (what was read before stays in force)\n',
    );
    here = {};
  });

  test.each([
    [['bgp', 'routes', '10.65.0.1/26'], 'is not a prefix'],
    [['bgp', 'routes', '--received', 'x'], 'takes the address of a peer'],
    [['bgp', 'routes', '--longer'], 'needs a prefix'],
    [['bgp', 'peer'], "did you mean 'peers'?"],
    [['node', 'status', '--node', 'a', '--all'], 'not both'],
  ])('%j is wrong usage', async (argv, message) => {
    const ran = await run(...argv);
    expect([ran.status, ran.err]).toEqual([2, expect.stringContaining(message)]);
  });

  test('without a daemon it says what to do', async () => {
    const { status: exit, err } = await ctl(null, ['bgp', 'peers'], {
      env: { TSNET_RUN_DIR: join(directory, 'none') },
    });
    expect(exit).toBe(1);
    expect(err).toContain(`no daemon answers on ${join(directory, 'none')}/agent.sock`);
    expect(err).toContain('--node NAME or --all');
  });
});

describe('what agents publish', () => {
  let store: Store;
  const publish = async (node: string, value: Partial<PublishedStatus>) => {
    const key = `/tsnet/v1/status/${node}`;
    await store.txn(
      [],
      [
        {
          op: 'put',
          key,
          value: JSON.stringify({
            updated: '2025-12-31T23:59:50Z',
            status: status(node),
            peers: [],
            routes: null,
            ...value,
          }),
        },
      ],
    );
  };
  beforeEach(async () => {
    store = await memoryStore();
    await publish('n1', { peers: [peer('10.0.0.1')], routes: [route('10.65.0.0/26')] });
    await publish('n2', {
      status: status('n2', { ready: false, notReady: ['BGP: no session'] }),
      peers: [peer('10.0.0.2')],
    });
  });

  test('of one node', async () => {
    const { out } = await ctl(store, ['bgp', 'peers', '--node', 'n2', '-o', 'json']);
    expect(JSON.parse(out)).toEqual([peer('10.0.0.2')]);
    expect(JSON.parse((await ctl(store, ['node', 'status', '--node', 'n2', '-o', 'json'])).out)).toMatchObject({
      node: 'n2',
      ready: false,
    });
    expect((await ctl(store, ['bgp', 'routes', '--node', 'n1'])).out).toContain('10.65.0.0/26');
    expect(await ctl(store, ['bgp', 'routes', '--node', 'n2'])).toMatchObject({
      status: 1,
      err: expect.stringContaining('too many routes'),
    });
    expect(await ctl(store, ['node', 'status', '--node', 'n9'])).toMatchObject({
      status: 1,
      err: expect.stringContaining("node 'n9'"),
    });
  });

  test('of all', async () => {
    const { out } = await ctl(store, ['bgp', 'peers', '--all', '-o', 'json']);
    expect(JSON.parse(out).map(({ node, address }: { node: string; address: string }) => [node, address])).toEqual([
      ['n1', '10.0.0.1'],
      ['n2', '10.0.0.2'],
    ]);
    expect((await ctl(store, ['node', 'status', '--all'])).out).toMatchInlineSnapshot(`
      "+------+---------------------+-------+-----------+-------------------------+-----------+--------+----------+------------+
      | NODE | READY               | AGENT | DATASTORE | BGP                     | ENDPOINTS | ROUTES | POLICIES | STATUS AGE |
      +------+---------------------+-------+-----------+-------------------------+-----------+--------+----------+------------+
      | n1   | yes                 | 0.1.0 | in-sync   | 1 Established, 1 Active | 1/2       | 4      | 2        | 10s        |
      | n2   | no: BGP: no session | 0.1.0 | in-sync   | 1 Established, 1 Active | 1/2       | 4      | 2        | 10s        |
      +------+---------------------+-------+-----------+-------------------------+-----------+--------+----------+------------+
      "
    `);
  });
});

describe('node checksystem', () => {
  const machine = (files: Record<string, string>): Machine => ({
    read: (path) => files[path] ?? null,
    exists: (path) => Object.hasOwn(files, path),
    path: ['/sbin'],
    kernelConfig: null,
  });
  const good = {
    '/proc/sys/kernel/osrelease': '6.1.0-13-amd64\n',
    '/proc/modules': 'ip_set 1 2 - Live\nnf_tables 1 2 - Live\n',
    '/lib/modules/6.1.0-13-amd64/modules.builtin':
      'kernel/net/netfilter/nf_conntrack.ko\nkernel/net/netfilter/xt_mark.ko\n',
    '/lib/modules/6.1.0-13-amd64/modules.dep':
      'kernel/net/netfilter/xt_set.ko.xz: kernel/net/netfilter/x_tables.ko.xz\nkernel/net/netfilter/nft_compat.ko:\n',
    '/boot/config-6.1.0-13-amd64':
      'CONFIG_NF_CT_NETLINK=m\nCONFIG_NETFILTER_XT_MATCH_ADDRTYPE=m\nCONFIG_NETFILTER_XT_MATCH_COMMENT=m\nCONFIG_NETFILTER_XT_MATCH_CONNTRACK=y\nCONFIG_NETFILTER_XT_MATCH_MULTIPORT=m\n# CONFIG_VXLAN is not set\n',
    '/sbin/iptables-restore': '',
    '/sbin/ip6tables-restore': '',
    '/proc/self/status': 'Name:\tx\nCapEff:\t00000000a80435fb\n',
  };
  const failed = (files: Record<string, string>) =>
    checkSystem(machine(files))
      .filter((check) => check.required && !check.ok)
      .map(({ check }) => check);

  test('everything that is required is found where it may be', () => {
    expect(failed(good)).toEqual([]);
    expect(checkSystem(machine(good)).find(({ check }) => check === 'module vxlan')).toMatchObject({
      ok: false,
      required: false,
    });
  });

  test('what is missing is named', () => {
    expect(failed({ ...good, '/proc/sys/kernel/osrelease': '4.4.0' })).toContain('kernel');
    expect(failed({ ...good, '/proc/modules': 'ip_set 1\n' })).toContain('iptables backend');
    expect(failed({ ...good, '/proc/self/status': 'CapEff:\t0000000000000000\n' })).toHaveLength(3);
    const { '/sbin/ip6tables-restore': _, ...without } = good;
    expect(failed(without)).toEqual(['program ip6tables-restore']);
  });
});

describe('completion', () => {
  test('commands, flags, kinds and names of resources', async () => {
    const store = await memoryStore();
    await apply(store, CLUSTER);
    const complete = async (...words: string[]) =>
      (await ctl(store, ['__complete', '--', ...words])).out.split('\n').filter(Boolean);
    expect(await complete('a')).toEqual(['apply']);
    expect(await complete('bgp', '')).toEqual(['peers', 'routes', 'refresh', 'dump']);
    expect(await complete('get', 'ippo')).toEqual(['ippool', 'ippools']);
    expect(await complete('get', 'node', '')).toEqual(['n1', 'n2', 'n3']);
    expect(await complete('get', 'node', 'n1', '')).toEqual(['n2', 'n3']);
    expect(await complete('delete', 'np', '-n', 'prod', '')).toEqual(['web']);
    expect(await complete('get', 'np', '-n', '')).toEqual(['default', 'prod']);
    expect(await complete('get', 'nodes', '-o', 'j')).toEqual(['json']);
    expect(await complete('get', '--all')).toEqual(['--all-namespaces']);
    expect(await complete('patch', 'node', 'n1', '')).toEqual([]);
    expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish']);
    expect(await complete('get', 'nonsense', '')).toEqual([]);
  });

  test('no word of the outside is in the scripts of the shells', async () => {
    for (const shell of ['bash', 'zsh', 'fish'])
      expect((await ctl(null, ['completion', shell])).out).toContain('__complete');
  });
});

describe('every command', () => {
  test.each(
    [
      [],
      ['get'],
      ['create'],
      ['apply'],
      ['replace'],
      ['delete'],
      ['patch'],
      ['label'],
      ['validate'],
      ['diff'],
      ['version'],
      ['completion'],
      ['bgp'],
      ['bgp', 'peers'],
      ['bgp', 'routes'],
      ['node'],
      ['node', 'status'],
      ['node', 'checksystem'],
      ['ipam'],
      ['ipam', 'show'],
      ['ipam', 'check'],
      ['ipam', 'release'],
      ['ipam', 'configure'],
      ['ipam', 'split'],
      ['migrate', 'check'],
    ].map((words) => [words]),
  )('%j --help', async (words) => {
    const { status: exit, out, err } = await ctl(null, [...words, '--help']);
    expect([exit, err]).toEqual([0, '']);
    expect(out).toContain(`Usage: tsnetctl${words.length ? ` ${words.join(' ')}` : ''}`);
  });
});
