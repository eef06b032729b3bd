import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createInterfaceMonitor,
  createNetlink,
  createRouteReconciler,
  type InterfaceMonitor,
  type Netlink,
  NO_OVERLAY,
  OverlayReconciler,
  overlayIntent,
  type RouteReconciler,
  RouteTable,
  vtepMac,
} from '#agent';
import { createMetrics, realClock, silentLog } from '#core';
import type { IPPool, Node } from '#datastore';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** This node by tsnet, the other by hand, as any Calico node would set it up. */
let ns: Namespace;
let other: string;
let netlink: Netlink;
let monitor: InterfaceMonitor;
let overlay: OverlayReconciler;
let routes: RouteReconciler;
const table = new RouteTable();

const there = (line: string) => execFileSync('ip', ['netns', 'exec', other, 'sh', '-ec', line], { encoding: 'utf8' });
const node = (name: string, n: number): [string, Node] => [
  name,
  {
    apiVersion: 'projectcalico.org/v3',
    kind: 'Node',
    metadata: { name },
    spec: {
      bgp: { ipv4Address: `10.0.${n}.1/24`, ipv6Address: `fd00:${n}::1/64` },
      ipv4VXLANTunnelAddr: `10.65.${n}.0`,
      ipv6VXLANTunnelAddr: `fd00:65::${n}:0`,
    },
  },
];
const pool = (cidr: string): [string, IPPool] => [
  cidr,
  { apiVersion: 'projectcalico.org/v3', kind: 'IPPool', metadata: { name: 'p' }, spec: { cidr, vxlanMode: 'Always' } },
];
const held = (name: string, cidr: string) =>
  [cidr, { owner: { type: 'host' as const, name }, cidr, state: 'confirmed' as const }] as const;
const intent = (on: boolean, port = 4789) =>
  on
    ? overlayIntent({
        node: 'n1',
        nodes: new Map([node('n1', 1), node('n2', 2)]),
        pools: new Map([pool('10.65.0.0/16'), pool('fd00:65::/64')]),
        affinities: new Map([
          held('n1', '10.65.1.0/26'),
          held('n2', '10.65.2.0/26'),
          held('n1', 'fd00:65::1:0/122'),
          held('n2', 'fd00:65::2:0/122'),
        ]),
        blocks: new Map(),
        felix: { vxlanPort: port },
        hostMtu: 1500,
        parentOf: (address) => monitor.holderOf(address)?.link.name,
      })
    : NO_OVERLAY;

let turn: Promise<void> = Promise.resolve();
function apply(): Promise<void> {
  turn = turn.then(pass);
  return turn;
}
async function pass(): Promise<void> {
  overlay.onLinks(monitor.links);
  routes.update(table.takeChanges());
  await routes.applyDeletes();
  await overlay.apply();
  await routes.applyUpdates();
  await overlay.removeUnused();
}
function want(on: boolean, port?: number): Promise<void> {
  const wanted = intent(on, port);
  overlay.set(wanted);
  table.replaceClass('vxlan', wanted.routes);
  return apply();
}

beforeAll(async () => {
  ns = enterNamespace('overlay');
  other = `${ns.name}-n2`;
  ns.sh(`ip netns add ${other}
    ip link add eth0 type veth peer name eth0 netns ${other}
    ip link set eth0 up; ip addr add 10.0.1.1/24 dev eth0; ip -6 addr add fd00:1::1/64 dev eth0 nodad
    ip route add 10.0.2.0/24 dev eth0; ip -6 route add fd00:2::/64 dev eth0
    ip addr add 10.65.1.5/32 dev lo; ip -6 addr add fd00:65::1:5/128 dev lo
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1`);
  there(`ip link set lo up; ip link set eth0 up
    ip addr add 10.0.2.1/24 dev eth0; ip -6 addr add fd00:2::1/64 dev eth0 nodad
    ip route add 10.0.1.0/24 dev eth0; ip -6 route add fd00:1::/64 dev eth0
    ip addr add 10.65.2.5/32 dev lo; ip -6 addr add fd00:65::2:5/128 dev lo
    ip link add vxlan.calico address ${vtepMac('n2', 4)} type vxlan id 4096 dstport 4789 local 10.0.2.1 dev eth0 nolearning
    ip link add vxlan-v6.calico address ${vtepMac('n2', 6)} type vxlan id 4096 dstport 4789 local fd00:2::1 dev eth0 nolearning
    ip link set vxlan.calico up; ip addr add 10.65.2.0/32 dev vxlan.calico
    ip link set vxlan-v6.calico up; ip -6 addr add fd00:65::2:0/128 dev vxlan-v6.calico nodad
    bridge fdb add ${vtepMac('n1', 4)} dev vxlan.calico dst 10.0.1.1
    bridge fdb add ${vtepMac('n1', 6)} dev vxlan-v6.calico dst fd00:1::1
    ip neigh add 10.65.1.0 lladdr ${vtepMac('n1', 4)} dev vxlan.calico nud permanent
    ip neigh add fd00:65::1:0 lladdr ${vtepMac('n1', 6)} dev vxlan-v6.calico nud permanent
    ip route add 10.65.1.0/26 via 10.65.1.0 dev vxlan.calico onlink
    ip -6 route add fd00:65::1:0/122 via fd00:65::1:0 dev vxlan-v6.calico onlink`);
  netlink = createNetlink();
  const common = { netlink, clock: realClock, log: silentLog };
  monitor = createInterfaceMonitor({ ...common, onChange: () => void apply(), refresh: 0 });
  overlay = new OverlayReconciler({ ...common, metrics: createMetrics(), onDirty: () => void apply() });
  const isWorkloadLink = (name: string) => name.startsWith('cali');
  routes = createRouteReconciler({ ...common, metrics: createMetrics(), onDirty: () => void apply(), isWorkloadLink });
  await monitor.start();
  await routes.readBack();
});
afterAll(() => {
  overlay.close();
  routes.close();
  monitor.close();
  netlink.close();
  execFileSync('ip', ['netns', 'del', other]);
  ns.leave();
});

const ping = (to: string): boolean => {
  try {
    ns.sh(`ping -c1 -W1 -I ${to.includes(':') ? 'fd00:65::1:5' : '10.65.1.5'} ${to}`);
    return true;
  } catch {
    return false;
  }
};
const kernel = () =>
  ns.sh(`ip -d link show type vxlan; bridge fdb show dev vxlan.calico; bridge fdb show dev vxlan-v6.calico
    ip neigh show nud permanent; ip -6 neigh show nud permanent; ip route; ip -6 route; ip -4 addr show dev vxlan.calico`);

test('packets of both families cross to a node that was set up by hand', async () => {
  await want(true);
  expect(overlay.problems).toEqual([]);
  await until('a ping over IPv4', () => ping('10.65.2.5'));
  await until('a ping over IPv6', () => ping('fd00:65::2:5'));
  expect(ns.sh('ip -d link show vxlan.calico')).toContain('vxlan id 4096 local 10.0.1.1 dev eth0');
  expect(ns.sh('ip -o link show vxlan.calico; ip -o link show vxlan-v6.calico')).toMatch(/mtu 1450.*\n.* mtu 1430/);
});

test('a second apply and a restart write nothing', async () => {
  const before = kernel();
  const again = new OverlayReconciler({
    netlink: { ...netlink, createVxlan: refuse, changeLink: refuse, deleteLink: refuse },
    clock: realClock,
    log: silentLog,
    metrics: createMetrics(),
    onDirty: () => undefined,
  });
  again.set(intent(true));
  again.onLinks(monitor.links);
  expect(await again.apply()).toEqual([]);
  expect(await again.removeUnused()).toEqual([]);
  expect(kernel()).toBe(before);
  again.close();
});
const refuse = () => Promise.reject(new Error('must not be written'));

test('what a stranger removes or bends is put right as soon as the kernel tells of it', async () => {
  const right = kernel();
  for (const harm of [
    'ip neigh del 10.65.2.0 dev vxlan.calico',
    `ip neigh replace 10.65.2.0 dev vxlan.calico lladdr 66:00:00:00:00:01 nud permanent`,
    'ip neigh del fd00:65::2:0 dev vxlan-v6.calico',
    `bridge fdb del ${vtepMac('n2', 4)} dev vxlan.calico dst 10.0.2.1`,
    `bridge fdb replace ${vtepMac('n2', 6)} dev vxlan-v6.calico dst fd00:2::7`,
    'ip addr add 10.77.0.1/32 dev vxlan.calico',
    'ip addr del 10.65.1.0/32 dev vxlan.calico',
    'ip link set vxlan.calico mtu 1300',
  ]) {
    ns.sh(harm);
    await until(`${harm} to be undone`, () => kernel() === right && ping('10.65.2.5'));
  }
  ns.sh('ip link set vxlan.calico down');
  await until('the device up again, with all that hangs on it', () => ping('10.65.2.5'));
  ns.sh('ip link del vxlan.calico');
  await until('the device made anew, with all that hangs on it', () => ping('10.65.2.5'));
});

test('settings that need a new device give one', async () => {
  await want(true, 4790);
  expect(ns.sh('ip -d link show vxlan.calico')).toContain('dstport 4790');
  await want(true, 4789);
  await until('a ping', () => ping('10.65.2.5') && ping('fd00:65::2:5'));
});

test('without the overlay nothing of it stays', async () => {
  await want(false);
  expect(
    ns.sh('ip link show type vxlan; ip route show proto 80; ip -6 route show proto 80; ip neigh show nud permanent'),
  ).toBe('');
});
