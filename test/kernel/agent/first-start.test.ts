import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { createResources, openStore, type Resources, resourceKey, type Store } from '#datastore';
import { EtcdServer } from '../datastore/etcd-server.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';
import { AgentProcess } from './agent-process.ts';

const PROJECT = join(import.meta.dirname, '../../..');
const RESOURCES = '/calico/resources/v3/projectcalico.org/';
const etcd = new EtcdServer();
let ns: Namespace;
let agent: AgentProcess;
let store: Store;
let resources: Resources;

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: PROJECT, stdio: 'inherit' });
  ns = enterNamespace('first');
  ns.sh('ip link add eth0 type veth peer name eth0p && ip addr add 10.9.0.1/24 dev eth0 && ip link set eth0p up');
  ns.sh('ip link set eth0 up; ip link add cali1 type veth peer name c1; ip link set cali1 up; ip link set c1 up');
  await etcd.start();
  store = await openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });
  resources = createResources(store, realClock);
  agent = new AgentProcess({
    ...{ NODENAME: 'n1', ETCD_ENDPOINTS: etcd.url, IP: '10.9.0.1/24', IP6: 'none' },
    CALICO_IPV4POOL_CIDR: '10.65.0.0/16',
  });
  await agent.ready();
});
afterAll(async () => {
  await agent?.stop();
  await store?.close();
  await etcd.remove();
  ns.leave();
});

test('an empty etcd holds what the ecosystem expects after the first start, and nothing else', async () => {
  const keys = etcd.ctl('get', '/calico', '--prefix', '--keys-only').split('\n').filter(Boolean);
  expect(keys).toEqual(
    [
      'clusterinformations/default',
      'ippools/default-ipv4-ippool',
      'nodes/n1',
      'tiers/default',
      'tiers/kube-admin',
      'tiers/kube-baseline',
    ].map((key) => RESOURCES + key),
  );
  const { spec } = await resources.get('ClusterInformation', 'default');
  expect(spec).toEqual({
    clusterGUID: expect.stringMatching(/^[0-9a-f]{32}$/),
    clusterType: 'tsnet,bgp',
    datastoreReady: true,
  });
  expect((await resources.get('Tier', 'default')).spec).toEqual({ order: 1_000_000, defaultAction: 'Deny' });
  expect((await resources.get('Node', 'n1')).spec).toMatchObject({
    bgp: { ipv4Address: '10.9.0.1/24' },
    addresses: [{ address: '10.9.0.1', type: 'CalicoNodeIP' }],
  });
  expect((await resources.get('IPPool', 'default-ipv4-ippool')).spec).toMatchObject({
    cidr: '10.65.0.0/16',
    blockSize: 26,
    natOutgoing: true,
  });
});

test('nothing of a first start is a reason to warn', () => {
  const warnings = agent.log.split('\n').filter((line) => /"level":[4-6]0/.test(line));
  expect(warnings).toEqual([]);
});

test('the files that CNI plugins need hold the name and the MTU, without a line end', () => {
  expect(agent.file('/var/lib/calico/nodename')).toBe('n1');
  expect(agent.file('/var/lib/calico/mtu')).toBe('1500');
});

const endpoint = (container: string, address: string) =>
  resources.create<'WorkloadEndpoint'>({
    apiVersion: 'projectcalico.org/v3',
    kind: 'WorkloadEndpoint',
    metadata: { name: '', namespace: 'default' },
    spec: {
      ...{ orchestrator: 'cni', node: 'n1', containerID: container, endpoint: 'eth0', interfaceName: 'cali1' },
      ...{ ipNetworks: [`${address}/32`], profiles: [] },
    },
  });
const hasRoute = (address: string) => ns.sh(`ip route show ${address}/32`).includes('dev cali1');
const status = () =>
  JSON.parse(ns.sh(`${join(PROJECT, 'bin/tsnetctl')} --socket ${agent.runDir}/agent.sock node status -o json`)) as {
    datastore: { revision: string };
  };

async function setReady(isReady: boolean): Promise<void> {
  const key = resourceKey('ClusterInformation', 'default');
  const stored = JSON.parse((await store.get(key))?.value ?? '');
  stored.spec.datastoreReady = isReady;
  await store.txn([], [{ op: 'put', key, value: JSON.stringify(stored) }]);
}

test('datastoreReady: false holds everything back, with the reason, until it is true again', async () => {
  await endpoint('c1', '10.65.0.1');
  await until('the first route', () => hasRoute('10.65.0.1'));
  await setReady(false);
  await agent.waitUnready((reasons) => reasons.includes('datastoreReady: false'));
  const made = await endpoint('c2', '10.65.0.2');
  const revision = BigInt(made.metadata.resourceVersion ?? 0);
  await until('the agent has seen it', () => BigInt(status().datastore.revision) >= revision);
  expect(hasRoute('10.65.0.2')).toBe(false);
  expect(hasRoute('10.65.0.1')).toBe(true);
  await setReady(true);
  await until('the second route', () => hasRoute('10.65.0.2'));
  await agent.ready();
});
