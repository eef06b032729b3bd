import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { createResources, type FelixConfiguration, openStore, type Resources, type Store } from '#datastore';
import { createNetlink } from '../../../agent/kernel/netlink/index.ts';
import { watchRules } from '../../../agent/kernel/rule-events.ts';
import { EtcdServer } from '../datastore/etcd-server.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';
import { AgentProcess } from './agent-process.ts';

/** An agent that starts again, by its process or within it, and finds everything as it should be writes nothing (I5): by what the kernel tells of changes, and by its own count. */

const etcd = new EtcdServer();
let ns: Namespace;
let store: Store;
let resources: Resources;
let agent: AgentProcess | undefined;

const API = { apiVersion: 'projectcalico.org/v3' } as const;

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: join(import.meta.dirname, '../../..'), stdio: 'inherit' });
  ns = enterNamespace('again');
  ns.sh('ip link add eth0 type veth peer name eth0p && ip addr add 10.9.0.1/24 dev eth0 && ip link set eth0p up');
  ns.sh('ip link set eth0 up; ip link add cali1 type veth peer name c1; ip link set cali1 up; ip link set c1 up');
  await etcd.start();
  store = await openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });
  resources = createResources(store, realClock);
  // The first start makes tiers and pools.
  await (await start()).stop();
  await resources.create<'GlobalNetworkSet'>({
    ...{ ...API, kind: 'GlobalNetworkSet', metadata: { name: 'friends', labels: { role: 'friend' } } },
    spec: { nets: ['192.0.2.0/24', '198.51.100.7/32', '2001:db8::/64'] },
  });
  await resources.create<'GlobalNetworkPolicy'>({
    ...{ ...API, kind: 'GlobalNetworkPolicy', metadata: { name: 'web' } },
    spec: {
      ...{ selector: "app == 'web'", types: ['Ingress', 'Egress'] },
      ingress: [
        { action: 'Allow', protocol: 'TCP', source: { selector: "role == 'friend'" }, destination: { ports: [80] } },
      ],
      egress: [{ action: 'Log' }, { action: 'Allow', destination: { nets: ['10.0.0.0/8'] } }],
    },
  });
  await resources.create<'WorkloadEndpoint'>({
    ...{ ...API, kind: 'WorkloadEndpoint', metadata: { name: '', namespace: 'default', labels: { app: 'web' } } },
    spec: {
      ...{ orchestrator: 'cni', node: 'n1', containerID: 'c1', endpoint: 'eth0', interfaceName: 'cali1' },
      ...{ ipNetworks: ['10.65.0.1/32', 'fd00:65::1/128'], profiles: [] },
    },
  });
});
afterAll(async () => {
  await agent?.stop();
  await store?.close();
  await etcd.remove();
  ns.leave();
});

async function start(): Promise<AgentProcess> {
  const pools = { CALICO_IPV4POOL_CIDR: '10.65.0.0/16', CALICO_IPV6POOL_CIDR: 'fd00:65::/48' };
  agent = new AgentProcess({ NODENAME: 'n1', ETCD_ENDPOINTS: etcd.url, IP: '10.9.0.1/24', IP6: 'none', ...pools });
  await agent.ready();
  return agent;
}

/** What its metrics say that it wrote, by step; steps that wrote nothing are left out. */
async function written(): Promise<Record<string, number>> {
  const text = await (await fetch('http://127.0.0.1:9091/metrics')).text();
  const lines = [...text.matchAll(/^tsnet_apply_writes_total\{step="([^"]+)"\} (\d+)$/gm)];
  expect(lines.length).toBeGreaterThan(5);
  return Object.fromEntries(lines.map(([, step, n]) => [step, Number(n)] as const).filter(([, n]) => n > 0));
}

/** Rules without their counters, sets and routes. */
const kernel = () =>
  ns
    .sh('nft list ruleset; ipset save; ip route show proto 80; ip -6 route show proto 80')
    .replaceAll(/packets \d+ bytes \d+/g, '')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .sort();

describe.each(['Disabled', 'Enabled'] as const)('with nftablesMode %s', (nftablesMode) => {
  test('a restart writes nothing, and neither does the next', async () => {
    await resources.apply<'FelixConfiguration'>({
      ...{ ...API, kind: 'FelixConfiguration', metadata: { name: 'default' } },
      spec: { nftablesMode },
    });
    await (await start()).stop();
    const before = kernel();
    expect(before.join('\n')).toMatch(/10\.65\.0\.1 dev cali1/);
    expect(before.join('\n')).toMatch(/198\.51\.100\.7/);

    const changes: string[] = [];
    const overrun = () => changes.push('events were lost');
    const stopRules = watchRules({ changed: (pid) => changes.push(`rules, by process ${pid}`), overrun });
    const netlink = createNetlink();
    const stopRoutes = netlink.watch({ route: (_, route) => changes.push(`route ${route.to}`), overrun });
    for (let restart = 0; restart < 2; restart++) {
      const again = await start();
      expect(await written()).toEqual({});
      await again.stop();
    }
    // The last event there is says that all before it have been heard.
    ns.sh('nft add table inet marker && nft delete table inet marker');
    await until('the events so far', () => changes.length >= 2);
    stopRules();
    stopRoutes();
    netlink.close();
    expect(changes).toHaveLength(2);
    expect(kernel()).toEqual(before);
  });
});

test('another packet filter is taken in by the process that runs; nothing of the former one stays, and no route goes', async () => {
  const want = (spec: FelixConfiguration['spec']) =>
    resources.apply<'FelixConfiguration'>({
      ...{ ...API, kind: 'FelixConfiguration', metadata: { name: 'default' } },
      spec,
    });
  const held = () =>
    ['iptables-nft-save', 'ip6tables-nft-save', 'iptables-legacy-save', 'nft list table ip tsnet'].filter((line) =>
      ns.sh(`${line} 2>&1; true`).includes('cali-fw'),
    );
  const nft = ['iptables-nft-save', 'ip6tables-nft-save'];
  await want({});
  const running = await start();
  const { pid } = running;
  await until('iptables', () => held().join() === nft.join());
  const gone: string[] = [];
  const netlink = createNetlink();
  const stop = netlink.watch({
    route: (_, route, isGone) => void (isGone && route.to.startsWith('10.65.0.1/') && gone.push(route.to)),
    overrun: () => gone.push('events were lost'),
  });
  await want({ nftablesMode: 'Enabled' });
  await until('nftables', () => held().join() === 'nft list table ip tsnet');
  await want({ iptablesBackend: 'Legacy' });
  await until('legacy', () => held().join() === 'iptables-legacy-save');
  await want({});
  await until('what the machine uses', () => held().join() === nft.join());
  await running.ready();
  expect(running.pid).toBe(pid);
  expect(process.kill(pid, 0)).toBe(true);
  stop();
  netlink.close();
  expect(gone).toEqual([]);
  await running.stop();
});
