import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { createResources, Ipam, openStore, type Resources, type Store } from '#datastore';
import { AgentProcess } from '../agent/agent-process.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';
import { EtcdServer } from './etcd-server.ts';

const PROJECT = join(import.meta.dirname, '../../..');
const RESOURCES = '/calico/resources/v3/projectcalico.org';
const API = { apiVersion: 'projectcalico.org/v3' as const };
const USERS = ['agent', 'cni', 'operator', 'viewer'] as const;

let ns: Namespace;
let dir: string;
const etcd = new EtcdServer();
let agent: AgentProcess | null = null;

/** The commands of docs/ETCD.md, word by word. */
function documented(): string {
  const page = readFileSync(join(PROJECT, 'docs/ETCD.md'), 'utf8');
  return [...page.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, block]) => block).join('');
}

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: PROJECT, stdio: 'inherit' });
  ns = enterNamespace('roles');
  ns.sh(
    'ip link add eth0 type veth peer name eth0p && ip addr add 10.9.0.1/24 dev eth0 && ip link set eth0p up && ip link set eth0 up',
  );
  dir = mkdtempSync(join(tmpdir(), 'tsn-roles-'));
  await etcd.start();
  for (const user of USERS) writeFileSync(join(dir, `${user}.password`), `${user}-pw\n`);
  execFileSync('sh', ['-ec', documented()], {
    cwd: dir,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ETCDCTL_API: '3', ETCDCTL_ENDPOINTS: etcd.url },
  });
  for (const args of [
    ['user', 'add', 'root:root-pw'],
    ['user', 'grant-role', 'root', 'root'],
    ['auth', 'enable'],
  ])
    etcd.ctl(...args);
});
afterAll(async () => {
  await agent?.stop();
  await etcd.remove();
  rmSync(dir, { recursive: true, force: true });
  ns.leave();
});

const credentials = (user: (typeof USERS)[number]) => ({ ETCD_USERNAME: `tsnet-${user}`, ETCD_PASSWORD: `${user}-pw` });
const tsnetctl = (user: (typeof USERS)[number], argv: string[], input = '') =>
  spawnSync(join(PROJECT, 'bin/tsnetctl'), argv, {
    input,
    encoding: 'utf8',
    env: { PATH: process.env.PATH, ETCD_ENDPOINTS: etcd.url, TERM: 'dumb', ...credentials(user) },
  });
async function withUser(user: (typeof USERS)[number], use: (store: Store, resources: Resources) => Promise<void>) {
  const store = await openStore(
    { type: 'etcdv3', endpoints: [etcd.url], username: `tsnet-${user}`, password: `${user}-pw` },
    { clock: realClock, log: silentLog },
  );
  try {
    await use(store, createResources(store, realClock));
  } finally {
    await store.close();
  }
}
const put = (store: Store, key: string) => store.txn([], [{ op: 'put', key, value: '{}' }]);
const REFUSED = { code: 'PERMISSION' };

test('the agent joins an empty cluster, with its pool, its tunnel address and its status', async () => {
  agent = new AgentProcess({
    ...{ NODENAME: 'n1', ETCD_ENDPOINTS: etcd.url, IP: '10.9.0.1/24', IP6: 'none', ...credentials('agent') },
    ...{ CALICO_IPV4POOL_CIDR: '10.65.0.0/16', CALICO_IPV4POOL_VXLAN: 'Always' },
  });
  await agent.ready();
  await withUser('viewer', async (store, resources) => {
    let address: string | undefined;
    let status: unknown = null;
    for (let i = 0; i < 300 && !(address && status); i++) {
      address = (await resources.get('Node', 'n1')).spec.ipv4VXLANTunnelAddr;
      status = await store.get('/tsnet/v1/status/n1');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(address, agent?.log).toMatch(/^10\.65\./);
    expect(status, agent?.log).not.toBeNull();
    expect((await store.get('/calico/ipam/v2/handle/vxlan-tunnel-addr-n1'))?.value).toContain('"10.65.');
  });
  expect(agent.log).not.toMatch(/permission/i);
});

test('the agent writes nothing else, and reads nothing outside', async () => {
  await withUser('agent', async (store) => {
    for (const key of [
      `${RESOURCES}/globalnetworkpolicies/x`,
      `${RESOURCES}/workloadendpoints/default/x`,
      `${RESOURCES}/ippools/other`,
      `${RESOURCES}/bgppeers/x`,
      `${RESOURCES}/felixconfigurations/default`,
      '/tsnet/v1/other',
      '/registry/secrets/x',
    ])
      await expect(put(store, key), key).rejects.toMatchObject(REFUSED);
    await expect(store.get('/registry/secrets/x')).rejects.toMatchObject(REFUSED);
  });
});

test('the CNI plugin gets addresses and writes endpoints; policies and nodes are not its own', async () => {
  await withUser('cni', async (store, resources) => {
    const ipam = new Ipam({ store, resources, clock: realClock });
    const { assigned } = await ipam.autoAssign({
      node: 'n1',
      family: 4,
      count: 2,
      handle: 'k8s.c1',
      secondary: { node: 'n1' },
    });
    expect(assigned).toHaveLength(2);
    await resources.create<'WorkloadEndpoint'>({
      ...API,
      kind: 'WorkloadEndpoint',
      metadata: { name: '', namespace: 'default' },
      spec: {
        ...{ orchestrator: 'cni', node: 'n1', containerID: 'c1', endpoint: 'eth0', interfaceName: 'calic1' },
        ...{ ipNetworks: [`${assigned[0].address}/32`], profiles: ['net1'] },
      },
    });
    await resources.create<'Profile'>({ ...API, kind: 'Profile', metadata: { name: 'net1' }, spec: {} });
    await ipam.release([{ address: assigned[1].address }]);
    expect((await resources.get('ClusterInformation', 'default')).spec.datastoreReady).toBe(true);
    await expect(put(store, `${RESOURCES}/nodes/n1`)).rejects.toMatchObject(REFUSED);
    await expect(put(store, `${RESOURCES}/ippools/default-ipv4-ippool`)).rejects.toMatchObject(REFUSED);
    await expect(put(store, `${RESOURCES}/clusterinformations/default`)).rejects.toMatchObject(REFUSED);
    await expect(resources.list('GlobalNetworkPolicy')).rejects.toMatchObject(REFUSED);
    await expect(put(store, '/tsnet/v1/status/n1')).rejects.toMatchObject(REFUSED);
  });
});

test('operators change things with tsnetctl, viewers look, and both are told what they may not do', () => {
  const policy = `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: p}\nspec: {selector: all()}\n`;
  const applied = tsnetctl('operator', ['apply', '-f', '-'], policy);
  expect([applied.status, applied.stderr]).toEqual([0, '']);
  expect(tsnetctl('operator', ['ipam', 'configure', '--strictaffinity=true']).status).toBe(0);
  expect(tsnetctl('operator', ['ipam', 'check']).stdout).toContain('0 problems');
  expect(tsnetctl('viewer', ['get', 'gnp', '-o', 'name']).stdout).toBe('globalnetworkpolicy/p\n');
  expect(tsnetctl('viewer', ['ipam', 'show']).stdout).toContain('10.65.0.0/16');
  const refused = tsnetctl('viewer', ['delete', 'gnp', 'p']);
  expect(refused.status).not.toBe(0);
  expect(refused.stderr).toMatch(/permission/i);
  const deleted = tsnetctl('operator', ['delete', 'node', 'n1']);
  expect([deleted.status, deleted.stderr]).toEqual([0, '']);
  expect(tsnetctl('viewer', ['get', 'wep', '-A', '-o', 'name']).stdout).toBe('');
});
