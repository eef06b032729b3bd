import { beforeEach, describe, expect, test } from 'vitest';
import { addr, FakeClock } from '#core';
import { API_VERSION, createResources, Ipam, MemoryStore, type Resources, resourceKey } from '#datastore';

let store: MemoryStore;
let resources: Resources;
let ipam: Ipam;
const clock = new FakeClock();
const meta = { apiVersion: API_VERSION as typeof API_VERSION };

const keys = async (under: string) => {
  const found: string[] = [];
  for await (const page of store.list(under)) found.push(...page.map((entry) => entry.key.slice(under.length)));
  return found;
};
const endpoint = (node: string, pod: string, address: string) =>
  resources.create<'WorkloadEndpoint'>({
    ...meta,
    kind: 'WorkloadEndpoint',
    metadata: { name: '', namespace: 'prod' },
    spec: {
      ...{ orchestrator: 'k8s', node, pod, endpoint: 'eth0', interfaceName: `cali${pod}` },
      ...{ ipNetworks: [`${address}/32`], profiles: [], containerID: 'c' },
    },
  });
const workload = async (node: string, pod: string) => {
  const { assigned } = await ipam.autoAssign({
    node,
    family: 4,
    count: 1,
    handle: `k8s.${pod}`,
    secondary: { node, pod },
  });
  await endpoint(node, pod, assigned[0].address);
  return assigned[0].address;
};
const put = (key: string, value: string) => store.txn([], [{ op: 'put', key, value }]);

beforeEach(async () => {
  store = new MemoryStore(clock);
  resources = createResources(store, clock);
  ipam = new Ipam({ store, resources, clock, random: () => 0 });
  for (const name of ['n1', 'n10'])
    await resources.create<'Node'>({ ...meta, kind: 'Node', metadata: { name }, spec: {} });
  await resources.create<'IPPool'>({
    ...meta,
    kind: 'IPPool',
    metadata: { name: 'p' },
    spec: { cidr: '10.65.0.0/24', blockSize: 30, vxlanMode: 'Always' },
  });
});

describe('deleting a Node', () => {
  const related = async () => {
    for (const node of ['n1', 'n10']) {
      await resources.create({
        ...meta,
        kind: 'BGPPeer',
        metadata: { name: `peer-${node}` },
        spec: { node, peerIP: '10.0.0.1', asNumber: 64512 },
      });
      await resources.create({
        ...meta,
        kind: 'HostEndpoint',
        metadata: { name: `hep-${node}` },
        spec: { node, interfaceName: 'eth0' },
      });
      await resources.create({ ...meta, kind: 'FelixConfiguration', metadata: { name: `node.${node}` }, spec: {} });
      await resources.create({ ...meta, kind: 'BGPConfiguration', metadata: { name: `node.${node}` }, spec: {} });
    }
    await resources.create({
      ...meta,
      kind: 'BGPPeer',
      metadata: { name: 'global' },
      spec: { peerIP: '10.0.0.1', asNumber: 64512 },
    });
  };

  test('everything of it goes, nothing of others', async () => {
    await related();
    await workload('n1', 'a');
    await workload('n1', 'b');
    const other = await workload('n10', 'c');
    const tunnel = { node: 'n1', type: 'vxlanTunnelAddress' };
    await ipam.autoAssign({
      node: 'n1',
      family: 4,
      count: 1,
      use: 'Tunnel',
      handle: 'vxlan-tunnel-addr-n1',
      secondary: tunnel,
    });
    await put('/calico/ipam/v2/host/n1', '{}');

    await resources.delete('Node', 'n1');

    expect(await keys('/calico/ipam/v2/host/')).toEqual([expect.stringMatching(/^n10\//)]);
    expect(await keys('/calico/ipam/v2/handle/')).toEqual(['k8s.c']);
    expect(await keys('/calico/ipam/v2/assignment/')).toHaveLength(1);
    const rest = await keys('/calico/resources/v3/projectcalico.org/');
    expect(rest.filter((key) => !/^(tiers|clusterinformations|ippools)\//.test(key))).toEqual([
      'bgpconfigurations/node.n10',
      'bgppeers/global',
      'bgppeers/peer-n10',
      'felixconfigurations/node.n10',
      'hostendpoints/hep-n10',
      'nodes/n10',
      'workloadendpoints/prod/n10-k8s-c-eth0',
    ]);
    expect((await ipam.check()).findings).toEqual([]);
    expect((await ipam.usage()).pools[0].inUse).toBe(1n);
    expect(other).toMatch(/^10\.65\.0\./);
  });
  test('an address that another node has been given since is not taken from it', async () => {
    const address = await workload('n1', 'a');
    await ipam.release([{ address: addr(address) }]);
    await ipam.assign(addr(address), { node: 'n10', handle: 'k8s.c', secondary: { node: 'n10' } });
    await resources.delete('Node', 'n1');
    const { pools } = await ipam.usage();
    expect(pools[0].blocks.flatMap((block) => block.allocations)).toMatchObject([{ address, handle: 'k8s.c' }]);
    // The block outlives its owner as long as somebody has an address of it.
    expect(pools[0].blocks[0].affinity).toBeNull();
  });
  test('objects that cannot be used go too', async () => {
    await put(resourceKey('WorkloadEndpoint', 'n1-k8s-a-eth0', 'prod'), 'no json');
    await put(resourceKey('WorkloadEndpoint', 'n10-k8s-a-eth0', 'prod'), 'no json');
    await put(
      resourceKey('BGPPeer', 'bad'),
      '{"kind":"BGPPeer","metadata":{"name":"bad"},"spec":{"node":"n1","peerIP":"x"}}',
    );
    await resources.delete('Node', 'n1');
    expect(await keys('/calico/resources/v3/projectcalico.org/workloadendpoints/')).toEqual(['prod/n10-k8s-a-eth0']);
    expect(await keys('/calico/resources/v3/projectcalico.org/bgppeers/')).toEqual([]);
  });
  test('not when it does not exist, was changed since it was read, or only looked at', async () => {
    await workload('n1', 'a');
    const before = await keys('/calico/');
    await resources.delete('Node', 'n1', { dryRun: true });
    await expect(resources.delete('Node', 'n1', { resourceVersion: '1' })).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(resources.delete('Node', 'n2')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await keys('/calico/')).toEqual(before);
  });
});

describe('deleting an IPPool', () => {
  test('its blocks are given back first; those in use become nobody’s and go with their last address', async () => {
    const address = await workload('n1', 'a');
    await ipam.autoAssign({ node: 'n10', family: 4, count: 1, handle: 'h', secondary: {} });
    await ipam.releaseByHandle('h');
    const { resourceVersion } = (await resources.get('IPPool', 'p')).metadata;
    await resources.delete('IPPool', 'p', { resourceVersion });
    expect(await keys('/calico/resources/v3/projectcalico.org/ippools/')).toEqual([]);
    expect(await keys('/calico/ipam/v2/host/')).toEqual([]);
    expect((await ipam.usage()).homeless).toMatchObject([{ affinity: null, inUse: 1 }]);
    await ipam.release([{ address: addr(address) }]);
    expect(await keys('/calico/ipam/v2/assignment/')).toEqual([]);
  });
  test('other pools keep theirs, and one that is not valid can be deleted', async () => {
    await workload('n1', 'a');
    await put(
      resourceKey('IPPool', 'bad'),
      '{"kind":"IPPool","metadata":{"name":"bad"},"spec":{"cidr":"10.66.0.0/24","blockSize":99}}',
    );
    await resources.delete('IPPool', 'bad');
    expect(await keys('/calico/resources/v3/projectcalico.org/ippools/')).toEqual(['p']);
    expect(await keys('/calico/ipam/v2/host/')).toHaveLength(1);
  });
});
