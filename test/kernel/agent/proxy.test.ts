import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  createInterfaceMonitor,
  createNetlink,
  createRouteReconciler,
  type InterfaceMonitor,
  LocalEndpoints,
  type Netlink,
  nodeSettings,
  type RouteReconciler,
  RouteTable,
  SettingsReconciler,
  sysctl,
  workloadSettings,
} from '#agent';
import { createMetrics, realClock, silentLog } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

let ns: Namespace;
let netlink: Netlink;
let routes: RouteReconciler;
let monitor: InterfaceMonitor;
let settings: SettingsReconciler;
const table = new RouteTable();
const endpoints = new LocalEndpoints('node1', table);
const workloads = ['a', 'b'] as const;
const pod = (name: string) => `${ns.name}-${name}`;
const inside = (name: string, line: string) =>
  execFileSync('ip', ['netns', 'exec', pod(name), 'sh', '-c', line], { encoding: 'utf8' });
const succeeds = (name: string, line: string): boolean => {
  try {
    inside(name, line);
    return true;
  } catch {
    return false;
  }
};

async function apply(): Promise<void> {
  endpoints.onLinks(monitor.links);
  settings.onLinks(monitor.links);
  settings.apply();
  routes.update(table.takeChanges());
  await routes.applyDeletes();
  await routes.applyUpdates();
}
const resource = (name: string, index: number): WorkloadEndpoint => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'WorkloadEndpoint',
  metadata: { name, namespace: 'default', creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {
    orchestrator: 'k8s',
    node: 'node1',
    endpoint: 'eth0',
    interfaceName: `cali${name}`,
    ipNetworks: [`10.65.0.${index}/32`, `fd00:65::${index}/128`],
  },
});

beforeAll(async () => {
  ns = enterNamespace('proxy');
  netlink = createNetlink();
  const common = { netlink, clock: realClock, log: silentLog };
  const isWorkloadLink = (name: string) => name.startsWith('cali');
  routes = createRouteReconciler({ ...common, metrics: createMetrics(), onDirty: () => void apply(), isWorkloadLink });
  settings = new SettingsReconciler({ ...common, sysctl, onDirty: () => void apply() });
  monitor = createInterfaceMonitor({ ...common, onChange: () => void apply(), refresh: 0 });
  await monitor.start();
  await routes.readBack();
  settings.set('', nodeSettings({ forwarding: true }));
  workloads.forEach((name, i) => {
    settings.set(`cali${name}`, workloadSettings(`cali${name}`, { spoofing: false, defaultRpFilter: '1' }));
    endpoints.onUpdate({ kind: 'WorkloadEndpoint', id: `default/${name}`, value: resource(name, i + 1), revision: 1n });
  });
  ns.sh(
    'ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; ip addr add 10.0.0.1/24 dev up0',
  );
  for (const [i, name] of workloads.entries()) {
    ns.sh(`ip netns add ${pod(name)}
      ip link add cali${name} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns ${pod(name)}
      ip link set cali${name} up`);
    inside(
      name,
      `ip link set lo up; ip link set eth0 up; ip addr add 10.65.0.${i + 1}/32 dev eth0
      ip route add 169.254.1.1 dev eth0 scope link; ip route add default via 169.254.1.1
      ip -6 addr add fd00:65::${i + 1}/128 dev eth0 nodad; ip -6 route add default via fe80::ecee:eeff:feee:eeee dev eth0`,
    );
  }
  await until('settings and routes', () => settings.isDone('calib') && routes.counts.programmed === 5);
});
afterAll(() => {
  routes.close();
  settings.close();
  monitor.close();
  netlink.close();
  for (const name of workloads) execFileSync('ip', ['netns', 'del', pod(name)]);
  ns.leave();
});

describe('a node without a default route', () => {
  test('has none', () => {
    expect(ns.sh('ip route show default; ip -6 route show default')).toBe('');
  });
  test('answers ARP for 169.254.1.1 with the fixed MAC, so one workload reaches another', async () => {
    expect(succeeds('a', 'ping -c1 -W2 10.65.0.2')).toBe(true);
    expect(inside('a', 'ip neigh show 169.254.1.1')).toContain('lladdr ee:ee:ee:ee:ee:ee');
  });
  test('carries IPv6 between workloads that know only the link-local gateway', async () => {
    // The first packets may meet duplicate address detection of the gateway.
    await until('a ping over IPv6', () => succeeds('a', 'ping -6 -c1 -W1 fd00:65::2'));
    expect(inside('a', 'ip -6 neigh show fe80::ecee:eeff:feee:eeee')).toContain('lladdr ee:ee:ee:ee:ee:ee');
  });
  test('answers ARP for another workload that looks as if it were on the link', () => {
    inside('a', 'ip route add 10.65.0.2/32 dev eth0 scope link');
    expect(succeeds('a', 'ping -c1 -W2 10.65.0.2')).toBe(true);
    inside('a', 'ip route del 10.65.0.2/32');
  });
  test('does not answer on the uplink', () => {
    ns.sh(`ip netns add ${pod('peer')}; ip link set up1 netns ${pod('peer')}`);
    inside('peer', 'ip link set up1 up; ip addr add 10.0.0.2/24 dev up1; ip route add 169.254.1.1 dev up1');
    const peerReaches = (to: string) => succeeds('peer', `ping -c1 -W1 ${to}`);
    try {
      expect([peerReaches('10.0.0.1'), peerReaches('169.254.1.1')]).toEqual([true, false]);
      expect(inside('peer', 'ip neigh show 169.254.1.1')).not.toContain('lladdr');
    } finally {
      execFileSync('ip', ['netns', 'del', pod('peer')]);
    }
  });
  test('answers also where lo is its only other interface', async () => {
    await until('the gateway through lo', () => ns.sh('ip route show 169.254.1.1').includes('dev lo'));
    inside('a', 'ip neigh flush dev eth0');
    expect(succeeds('a', 'ping -c1 -W2 10.65.0.2')).toBe(true);
  });
});

describe('settings of a workload interface', () => {
  const read = (path: string) => sysctl.read(path);
  test('are all there, and put on again when the interface is made anew', async () => {
    const expected = workloadSettings('calib', { spoofing: false, defaultRpFilter: '1' });
    expect(expected.map((s) => [s.path, read(s.path)])).toEqual(expected.map((s) => [s.path, s.value]));
    ns.sh(`ip link del calib; ip link add calib type veth peer name eth0 netns ${pod('b')}; ip link set calib up`);
    await until('the settings of the new interface', () => expected.every((s) => read(s.path) === s.value));
  });
  test('and those of the node are put back when somebody changes them, once a second if he does not stop', async () => {
    const wrong = { proxy_arp: 0, forwarding: 0, rp_filter: 2 };
    for (const [name, value] of Object.entries(wrong)) {
      const path = `net/ipv4/conf/calib/${name}`;
      const right = read(path);
      ns.sh(`echo ${value} > /proc/sys/${path}`);
      await until(`${path} to be ${right} again`, () => read(path) === right);
    }
    ns.sh('echo 0 > /proc/sys/net/ipv6/conf/calib/proxy_ndp');
    await until('proxy_ndp', () => read('net/ipv6/conf/calib/proxy_ndp') === '1');
    ns.sh('echo 0 > /proc/sys/net/ipv4/ip_forward');
    await until('forwarding of the node and of its workloads', () =>
      ['ip_forward', 'conf/calia/forwarding', 'conf/calib/forwarding'].every((one) => read(`net/ipv4/${one}`) === '1'),
    );
  });
  test('a spoofing endpoint has no reverse path check', () => {
    expect(
      workloadSettings('cali.x', { spoofing: true, defaultRpFilter: '1' }).find((s) => s.path.endsWith('rp_filter')),
    ).toEqual({ path: 'net/ipv4/conf/cali.x/rp_filter', value: '0', required: true });
  });
  test('a name that leads out of /proc/sys is refused', () => {
    expect(() => sysctl.write('net/ipv4/conf/../../kernel/x', '1')).toThrow(/not the path/);
  });
});
