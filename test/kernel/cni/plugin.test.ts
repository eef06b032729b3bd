import { afterAll, beforeAll, expect, test } from 'vitest';
import { NODE, Rig } from './rig.ts';

/** tsnet-cni as a runtime runs it: one file, a real etcd, and containers that are network namespaces. */

let rig: Rig;
beforeAll(async () => {
  rig = new Rig('cni');
  await rig.start();
});
afterAll(() => rig?.stop());

const NOTHING = { endpoints: [], handles: 0, addresses: 0 };

test('ADD gives a container addresses of both families, a link, an endpoint and a profile; DEL leaves nothing, twice', async () => {
  const container = rig.container('a1b2c3d4e5f6a7');
  const result = await rig.add(container);

  expect(result.cniVersion).toBe('1.0.0');
  expect(result.interfaces).toEqual([
    { name: 'calia1b2c3d4e5f' },
    { name: 'eth0', mac: expect.stringMatching(/^[0-9a-f:]{17}$/), sandbox: container.netns },
  ]);
  const [v4, v6] = result.ips.map((ip) => ip.address);
  expect(v4).toMatch(/^10\.65\.\d+\.\d+\/32$/);
  expect(v6).toMatch(/^fd00:65::[0-9a-f:]*\/128$/);
  expect(result.ips.map((ip) => ip.interface)).toEqual([1, 1]);

  const { spec, metadata } = await rig.resources.get('WorkloadEndpoint', 'node--1-cni-a1b2c3d4e5f6a7-eth0', 'default');
  expect(spec).toMatchObject({
    orchestrator: 'cni',
    node: NODE,
    containerID: container.id,
    endpoint: 'eth0',
    interfaceName: 'calia1b2c3d4e5f',
    mac: result.interfaces[1].mac,
    ipNetworks: [v4, v6],
    profiles: ['net1'],
  });
  expect(metadata.labels).toMatchObject({ 'projectcalico.org/orchestrator': 'cni' });
  expect((await rig.resources.get('Profile', 'net1')).spec).toEqual({
    ingress: [{ action: 'Allow', source: { selector: 'has(net1)' } }],
    egress: [{ action: 'Allow' }],
    labelsToApply: { net1: '' },
  });

  const host = rig.ns.sh('ip -d link show calia1b2c3d4e5f');
  expect(host).toContain('ee:ee:ee:ee:ee:ee');
  expect(host).toContain('mtu 1440');
  expect(rig.ns.sh('ip -6 addr show dev calia1b2c3d4e5f')).toContain('fe80::ecee:eeff:feee:eeee/64');
  for (const setting of ['route_localnet', 'proxy_arp', 'forwarding'])
    expect(rig.ns.sh(`cat /proc/sys/net/ipv4/conf/calia1b2c3d4e5f/${setting}`).trim()).toBe('1');
  expect(rig.ns.sh('cat /proc/sys/net/ipv6/conf/calia1b2c3d4e5f/proxy_ndp').trim()).toBe('1');
  const inside = container.sh('ip addr show eth0; ip route; ip -6 route');
  expect(inside).toContain(`inet ${v4}`);
  expect(inside).toContain(`inet6 ${v6}`);
  expect(inside).toContain('default via 169.254.1.1 dev eth0');
  expect(inside).toContain('169.254.1.1 dev eth0 scope link');
  expect(inside).toContain('default via fe80::ecee:eeff:feee:eeee dev eth0');
  expect(container.sh('cat /proc/sys/net/ipv4/ip_forward').trim()).toBe('0');

  await rig.del(container);
  expect(await rig.held()).toEqual(NOTHING);
  expect(rig.links()).toEqual([]);
  expect(container.sh('ip -o link')).not.toContain('eth0');
  await rig.del(container);
  container.end();
  await rig.del(container);
  expect(await rig.held()).toEqual(NOTHING);
});

test('containers talk through their host as soon as it has routes to them, which are the agent’s', async () => {
  const containers = [rig.container('c001'), rig.container('c002')];
  const results = await Promise.all(containers.map((container) => rig.add(container)));
  for (const name of ['ipv4.ip_forward', 'ipv6.conf.all.forwarding']) rig.ns.sh(`sysctl -q -w net.${name}=1`);
  for (const { interfaces, ips } of results)
    for (const { address } of ips) rig.ns.sh(`ip route add ${address} dev ${interfaces[0].name}`);
  for (const { address } of results[1].ips)
    expect(containers[0].sh(`ping -c 1 -W 5 ${address.split('/')[0]}`)).toContain('1 received');
  for (const container of containers) await rig.del(container);
  expect(await rig.held()).toEqual(NOTHING);
});

test('a pod of Kubernetes gets the interface, the endpoint and the attributes that Calico gives it, and a new sandbox takes it over', async () => {
  const args = {
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=x',
  };
  const [first, second] = [rig.container('sandbox1'), rig.container('sandbox2')];
  const conf = rig.conf({ ipam: { type: 'calico-ipam' } });
  const before = await rig.add(first, conf, args);
  expect(before.interfaces[0].name).toBe('cali0d7763386da');
  const after = await rig.add(second, conf, args);
  expect(after.ips).not.toEqual(before.ips);
  await rig.del(first, conf, args);
  const { spec } = await rig.resources.get('WorkloadEndpoint', 'node--1-k8s-web--0-eth0', 'default');
  expect(spec).toMatchObject({ containerID: 'sandbox2', pod: 'web-0', ipNetworks: [after.ips[0].address] });
  expect(rig.links()).toEqual(['cali0d7763386da']);
  await rig.del(second, conf, args);
  expect(await rig.held()).toEqual(NOTHING);
});

test('twenty containers at once each get addresses of their own', async () => {
  const containers = Array.from({ length: 20 }, (_, i) => rig.container(`many${i}`));
  const results = await Promise.all(containers.map((container) => rig.add(container)));
  const addresses = results.flatMap(({ ips }) => ips.map(({ address }) => address));
  expect(new Set(addresses).size).toBe(40);
  expect(await rig.held()).toMatchObject({ handles: 20, addresses: 40 });
  await Promise.all(containers.map((container) => rig.del(container)));
  expect(await rig.held()).toEqual(NOTHING);
  expect(rig.links()).toEqual([]);
  expect((await rig.ipam.check()).findings).toEqual([]);
});
