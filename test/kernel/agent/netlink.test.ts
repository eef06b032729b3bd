import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createNetlink, type LinkEvent, type Netlink } from '#agent';
import { addr, prefix } from '#core';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

let ns: Namespace;
let pod: string;
let netlink: Netlink;

beforeAll(() => {
  ns = enterNamespace('netlink');
  pod = `${ns.name}-pod`;
  ns.sh(`ip netns add ${pod}
    ip link add cali1 type veth peer name eth0 netns ${pod}; ip link set cali1 up
    ip addr add 10.0.0.1/24 dev cali1; ip -6 addr add fd00::1/64 dev cali1 nodad`);
  inside(
    'ip link set lo up; ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0; ip -6 addr add fd00::2/64 dev eth0 nodad',
  );
  netlink = createNetlink();
});
afterAll(() => {
  netlink.close();
  execFileSync('ip', ['netns', 'del', pod]);
  ns.leave();
});
const inside = (line: string) => execFileSync('ip', ['netns', 'exec', pod, 'sh', '-ec', line], { encoding: 'utf8' });

test('links and addresses are what ip shows', async () => {
  const links = await netlink.listLinks();
  expect(links.map((l) => [l.name, l.linkKind, l.adminUp, l.up, l.mtu])).toEqual([
    ['lo', '', true, true, 65536],
    ['cali1', 'veth', true, true, 1500],
  ]);
  const { index } = links[1];
  const addresses = (await netlink.listAddresses()).filter((a) => a.index === index && a.scope === 'global');
  expect(addresses.map((a) => `${a.address}/${a.length}`).sort()).toEqual(['10.0.0.1/24', 'fd00::1/64']);
});

test('a lookup says link, gateway and source; a blackhole or no route is no way', async () => {
  ns.sh('ip route add 10.9.0.0/16 via 10.0.0.2; ip route add blackhole 10.8.0.0/16');
  expect(await netlink.lookup(addr('10.9.1.1'))).toEqual({ link: 'cali1', gateway: '10.0.0.2', source: '10.0.0.1' });
  expect(await netlink.lookup(addr('fd00::2'))).toEqual({ link: 'cali1', source: 'fd00::1' });
  expect(await netlink.lookup(addr('10.8.1.1'))).toBeNull();
  expect(await netlink.lookup(addr('203.0.113.1'))).toBeNull();
  expect(await netlink.lookup(addr('2001:db8::1'))).toBeNull();
});

test('neighbours carry our protocol, so that others stay unseen', async () => {
  ns.sh('ip neigh add 10.0.0.77 lladdr 02:00:00:00:00:77 dev cali1 nud permanent');
  const wanted = [
    { link: 'cali1', address: addr('10.0.0.50'), mac: '02:00:00:00:00:50' },
    { link: 'cali1', address: addr('10.0.0.51') },
    { link: 'cali1', address: addr('fd00::50'), mac: '02:00:00:00:00:50' },
    { link: 'cali1', address: addr('fd00::51') },
  ];
  expect(await netlink.writeNeighbours(wanted.map((neighbour) => ({ op: 'set', neighbour })))).toEqual([]);
  expect([...(await netlink.listNeighbours(4)), ...(await netlink.listNeighbours(6))]).toEqual(wanted);
  const gone = [...wanted, { link: 'nowhere', address: addr('10.0.0.1') }];
  expect(await netlink.writeNeighbours(gone.map((neighbour) => ({ op: 'delete', neighbour })))).toEqual([]);
  expect([...(await netlink.listNeighbours(4)), ...(await netlink.listNeighbours(6))]).toEqual([]);
  expect(ns.sh('ip neigh show nud permanent')).toContain('10.0.0.77');
});

test('each refusal of a batch is told with its key, reason and words; the rest is written', async () => {
  const blackhole = (to: string) => ({ to: prefix(to), metric: 0, table: 254, via: { type: 'blackhole' as const } });
  const failures = await netlink.writeRoutes([
    { op: 'add', route: blackhole('10.70.0.0/24') },
    { op: 'add', route: blackhole('10.70.0.0/24') },
    { op: 'delete', route: blackhole('10.71.0.0/24') },
    { op: 'add', route: { ...blackhole('10.72.0.0/24'), via: { type: 'link', link: 'nowhere' } } },
    {
      op: 'add',
      route: { ...blackhole('10.73.0.0/24'), via: { type: 'gateway', hops: [{ gateway: addr('192.0.2.1') }] } },
    },
    { op: 'add', route: blackhole('10.74.0.0/24') },
  ]);
  expect(failures.map((f) => [f.key, f.error, f.detail]).sort()).toEqual([
    ['10.70.0.0/24 254 0', 'EEXIST', ''],
    ['10.72.0.0/24 254 0', 'ENODEV', 'nowhere'],
    ['10.73.0.0/24 254 0', 'ENETUNREACH', 'Nexthop has invalid gateway'],
  ]);
  expect((await netlink.listRoutes(4)).map((r) => r.to)).toEqual(['10.70.0.0/24', '10.74.0.0/24']);
});

test('of twenty thousand routes in columns exactly those that a stranger holds are refused; a batch refused whole loses no answer', async () => {
  const count = 20_000;
  const taken = [0, 8191, 8192, 12_345, count - 1];
  const dst = (i: number) => (20 << 24) + i;
  ns.sh(taken.map((i) => `ip route add blackhole 20.0.${i >> 8}.${i & 255} proto static`).join('; '));
  const like = { to: prefix('0.0.0.0/0'), metric: 0, table: 254, via: { type: 'blackhole' as const } };
  const columns = (op: 'add' | 'delete') => ({
    family: 4 as const,
    count,
    addr: Uint32Array.from({ length: count }, (_, i) => dst(i)),
    length: new Uint8Array(count).fill(32),
    op: new Array(count).fill(op),
    like: new Array(count).fill(like),
  });
  const indexes = (failures: readonly { index: number; error: string }[]) =>
    failures.map(({ index, error }) => `${index} ${error}`);
  const all = Array.from({ length: count }, (_, i) => i);
  expect(indexes(await netlink.writeRouteColumns(columns('add')))).toEqual(taken.map((i) => `${i} EEXIST`));
  expect(indexes(await netlink.writeRouteColumns(columns('add')))).toEqual(all.map((i) => `${i} EEXIST`));
  expect(await netlink.writeRouteColumns(columns('delete'))).toEqual([]);
  expect(ns.sh('ip route show proto static').trim().split('\n')).toHaveLength(taken.length);
  expect(ns.sh('ip route show proto 80 root 20.0.0.0/8').trim()).toBe('');
});

test('answers of concurrent callers do not mix', async () => {
  const results = await Promise.all([
    netlink.listLinks(),
    netlink.listRoutes(4),
    netlink.lookup(addr('10.0.0.2')),
    netlink.listAddresses(),
    netlink.listNeighbours(6),
    netlink.lookup(addr('fd00::2')),
  ]);
  expect(results.map((r) => (Array.isArray(r) ? typeof r[0] : r?.link))).toEqual([
    'object',
    'object',
    'cali1',
    'object',
    'undefined',
    'cali1',
  ]);
});

test('link events follow making, renaming and removing; a bridge port that is released is not a link that is gone', async () => {
  const events: string[] = [];
  const text = ({ link, gone }: LinkEvent) => `${gone ? '-' : '+'}${link.name}`;
  const stop = netlink.watch({ link: (event) => events.push(text(event)), overrun: () => events.push('overrun') });
  ns.sh(`ip link add x1 type veth peer name x2; ip link set x1 name x3; ip link add br0 type bridge
    ip link set x3 master br0; ip link set x3 nomaster`);
  await until('the rename', () => events.includes('+x3'));
  expect(events).not.toContain('-x3');
  ns.sh('ip link del x3; ip link del br0');
  await until('the removal', () => events.includes('-x3') && events.includes('-x2'));
  stop();
  const count = events.length;
  ns.sh('ip link add x4 type veth peer name x5; ip link del x4');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(events.length).toBe(count);
});

test('flows of an address are forgotten, others stay', async () => {
  // The namespace tracks connections only where a rule asks for it.
  ns.sh(
    'iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT; ip6tables -A INPUT -m conntrack --ctstate NEW -j ACCEPT',
  );
  inside('ip addr add 10.0.0.3/24 dev eth0');
  for (const [from, to] of [
    ['10.0.0.2', '10.0.0.1'],
    ['10.0.0.3', '10.0.0.1'],
    ['fd00::2', 'fd00::1'],
  ])
    inside(`ping -c1 -W2 -I ${from} ${to}`);
  const flows = () => ns.sh('conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null');
  expect(flows()).toMatch(/src=10\.0\.0\.2 /);
  expect(await netlink.forgetFlows(new Set([addr('10.0.0.2'), addr('fd00::2')]))).toBe(2);
  expect(flows()).not.toMatch(/10\.0\.0\.2 |fd00:.*:0002 |fd00::2 /);
  expect(flows()).toMatch(/src=10\.0\.0\.3 /);
  expect(await netlink.forgetFlows(new Set([addr('10.0.0.2')]))).toBe(0);
});

test('after close nothing hangs and nothing is sent', async () => {
  const closed = createNetlink();
  const pending = closed.listRoutes(4);
  closed.close();
  await expect(pending).resolves.toBeInstanceOf(Array);
  await expect(closed.listRoutes(4)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});
