import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../namespace.ts';
import { type CniResult, type Container, exchange, NODE, Rig } from './rig.ts';

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

test('CHECK names every difference from what ADD left', async () => {
  const container = rig.container('check1');
  const prevResult = await rig.add(container);
  const conf = rig.conf({ prevResult });
  expect(await rig.run('CHECK', container, conf)).toMatchObject({ status: 0, stdout: '' });
  const [address] = prevResult.ips;
  container.sh(`ip addr del ${address.address} dev eth0; ip route flush default`);
  const answer = JSON.parse((await rig.run('CHECK', container, conf)).stdout) as { code: number; msg: string };
  expect(answer.code).toBe(104);
  expect(answer.msg).toContain(`eth0 lacks ${address.address.split('/')[0]}`);
  expect(answer.msg).toContain('no default route of IPv4');
  await rig.del(container);
  expect(JSON.parse((await rig.run('CHECK', container, conf)).stdout).msg).toMatch(/interface eth0|no endpoint/);
});

test('GC takes back what the runtime no longer knows, of this network and node only', async () => {
  const [kept, lost, other] = [rig.container('kept'), rig.container('lost'), rig.container('other')];
  const net2 = rig.conf({ name: 'net2' });
  await Promise.all([rig.add(kept), rig.add(lost), rig.add(other, net2)]);
  lost.end();
  const valid = { 'cni.dev/valid-attachments': [{ containerID: 'kept', ifname: 'eth0' }] };
  expect(await rig.run('GC', null, rig.conf({ cniVersion: '1.1.0', ...valid }))).toMatchObject({
    status: 0,
    stdout: '',
  });
  expect(await rig.held()).toEqual({
    endpoints: ['node--1-cni-kept-eth0', 'node--1-cni-other-eth0'],
    handles: 2,
    addresses: 4,
  });
  expect(rig.links().sort()).toEqual(['calikept', 'caliother']);
  await rig.del(kept);
  await rig.del(other, net2);
  expect(await rig.held()).toEqual(NOTHING);
});

test('STATUS is well only with a datastore that is ready and an agent that answers', async () => {
  const ask = async () => {
    const { status, stdout } = await rig.run('STATUS', null, rig.conf({ cniVersion: '1.1.0' }));
    return status === 0 ? null : (JSON.parse(stdout) as { code: number; msg: string });
  };
  expect(await ask()).toMatchObject({ code: 50, msg: expect.stringContaining('agent does not run') });
  const server = createServer().listen(rig.agentSocket());
  await once(server, 'listening');
  expect(await ask()).toBeNull();
  const information = await rig.resources.get('ClusterInformation', 'default');
  await rig.resources.update({ ...information, spec: { ...information.spec, datastoreReady: false } });
  expect(await ask()).toMatchObject({ code: 50, msg: expect.stringContaining('datastoreReady') });
  const container = rig.container('early');
  expect(JSON.parse((await rig.run('ADD', container, rig.conf())).stdout).code).toBe(11);
  const now = await rig.resources.get('ClusterInformation', 'default');
  await rig.resources.update({ ...now, spec: { ...now.spec, datastoreReady: true } });
  server.close();
});

describe('a failure leaves nothing behind', () => {
  const refused = async (container: Container, over: object, env: Record<string, string> = {}) => {
    const { status, stdout } = await rig.run('ADD', container, rig.conf(over), env);
    expect(status).toBe(1);
    expect(await rig.held()).toEqual(NOTHING);
    expect(rig.links()).toEqual([]);
    return JSON.parse(stdout) as { code: number; msg: string; cniVersion: string };
  };

  test('when the interface cannot be made', async () => {
    const container = rig.container('taken');
    container.sh('ip link add eth0 type veth peer name other');
    expect(await refused(container, {})).toMatchObject({ code: 102, cniVersion: '1.0.0' });
  });

  test('when one family has no address left', async () => {
    const answer = await refused(rig.container('half'), {
      ipam: { type: 'calico-ipam', assign_ipv6: 'true', ipv6_pools: ['none'] },
    });
    expect(answer.msg).toContain('none');
  });

  test('when the namespace is gone', async () => {
    const container = rig.container('gone');
    container.end();
    expect(await refused(container, {})).toMatchObject({ code: 3 });
  });

  test('when the endpoint cannot be written', async () => {
    // Upper case: the kernel takes it, the datastore does not.
    expect(await refused({ ...rig.container('upper'), id: 'UPPER' }, {})).toMatchObject({ code: 7 });
  });

  test('when etcd is away, which is said as "try again"', async () => {
    expect(await refused(rig.container('away'), { etcd_endpoints: 'http://127.0.0.1:9' })).toMatchObject({ code: 11 });
  });
});

test('requested addresses and pools are honoured', async () => {
  const [fixed, pooled, again] = [rig.container('fixed'), rig.container('pooled'), rig.container('again')];
  const first = await rig.add(fixed, rig.conf(), { CNI_ARGS: 'IP=10.65.7.7' });
  expect(first.ips.map(({ address }) => address)).toEqual(['10.65.7.7/32']);
  const second = await rig.add(pooled, rig.conf({ ipam: { type: 'tsnet-ipam', ipv4_pools: ['10.66.0.0/24'] } }));
  expect(second.ips.map(({ address }) => address)).toEqual([expect.stringMatching(/^10\.66\.0\.\d+\/32$/)]);
  const taken = await rig.run('ADD', again, rig.conf({ runtimeConfig: { ips: ['10.65.7.7/24'] } }));
  expect(JSON.parse(taken.stdout).msg).toContain('already assigned');
  for (const container of [fixed, pooled]) await rig.del(container);
  expect(await rig.held()).toEqual(NOTHING);
});

test('another IPAM plugin gives the addresses, and has them back when ADD fails and on DEL', async () => {
  const dataDir = join(rig.dir, 'host-local');
  const reserved = () => readdirSync(join(dataDir, 'net1')).filter((name) => name.startsWith('10.77.'));
  const ipam = { type: 'host-local', dataDir, ranges: [[{ subnet: '10.77.0.0/24' }], [{ subnet: 'fd00:77::/64' }]] };
  const container = rig.container('foreign');
  const { ips } = await rig.add(container, rig.conf({ ipam }));
  expect(ips.map(({ address }) => address)).toEqual(['10.77.0.2/32', 'fd00:77::2/128']);
  const { spec } = await rig.resources.get('WorkloadEndpoint', 'node--1-cni-foreign-eth0', 'default');
  expect(spec.ipNetworks).toEqual(['10.77.0.2/32', 'fd00:77::2/128']);
  expect(await rig.held()).toMatchObject({ handles: 0, addresses: 0 });
  const busy = rig.container('busy');
  busy.sh('ip link add eth0 type veth peer name other');
  expect((await rig.run('ADD', busy, rig.conf({ ipam }))).status).toBe(1);
  expect(reserved()).toEqual(['10.77.0.2']);
  await rig.del(container, rig.conf({ ipam }));
  expect(reserved()).toEqual([]);
  expect(await rig.held()).toEqual(NOTHING);
});

test('portmap, bandwidth and tuning do their work on what ADD gave, and take it back', async () => {
  const container = rig.container('chained');
  const chain: [plugin: string, conf: object][] = [
    ['portmap', { runtimeConfig: { portMappings: [{ hostPort: 18080, containerPort: 80, protocol: 'tcp' }] } }],
    ['bandwidth', { ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 8_000_000, egressBurst: 800_000 }],
    ['tuning', { sysctl: { 'net.core.somaxconn': '777' }, mtu: 1300 }],
  ];
  const call = async (command: string, plugin: string, conf: object, prevResult: CniResult): Promise<CniResult> => {
    const env = { CNI_CONTAINERID: container.id, CNI_NETNS: container.netns, CNI_IFNAME: 'eth0', CNI_COMMAND: command };
    const input = { ...rig.conf({ ipam: undefined }), ...conf, type: plugin, prevResult };
    const where = { PATH: process.env.PATH, CNI_PATH: '/usr/lib/cni' };
    const { status, stdout, stderr } = await exchange(
      `/usr/lib/cni/${plugin}`,
      { ...where, ...env },
      JSON.stringify(input),
    );
    if (status !== 0) throw new Error(`${plugin} ${command}: ${stdout}${stderr}`);
    return command === 'ADD' ? JSON.parse(stdout) : prevResult;
  };
  const host = 'calichained';
  let result = await rig.add(container);
  const { ips } = result;
  for (const [plugin, conf] of chain) result = await call('ADD', plugin, conf, result);
  expect(result.ips).toEqual(ips);
  expect(rig.ns.sh('iptables -t nat -S')).toMatch(/--dport 18080 .*--to-destination 10\.65\.\d+\.\d+:80/);
  expect(rig.ns.sh(`tc qdisc show dev ${host}`)).toMatch(/tbf .*rate 8Mbit/);
  expect(container.sh('cat /proc/sys/net/core/somaxconn').trim()).toBe('777');
  expect(container.sh('ip link show eth0')).toContain('mtu 1300');
  for (const [plugin, conf] of chain.reverse()) await call('DEL', plugin, conf, result);
  await rig.del(container);
  expect(rig.ns.sh('iptables -t nat -S')).not.toContain('18080');
  expect(rig.ns.sh('ip -o link')).not.toMatch(/ifb|bwp/);
  expect(await rig.held()).toEqual(NOTHING);
});

test('ADD waits for the agent, and goes on with a warning when it does not come', async () => {
  const container = rig.container('waits');
  const conf = rig.conf({ policy_setup_timeout_seconds: 30, endpoint_status_dir: join(rig.dir, 'status') });
  mkdirSync(join(rig.dir, 'status'));
  const adding = rig.add(container, conf);
  let told: string[] = [];
  await until('the endpoint', () => rig.links().includes('caliwaits'));
  while (told.length === 0) told = (await rig.held()).endpoints;
  writeFileSync(join(rig.dir, 'status', 'cni default%2Fwaits eth0'), '');
  await adding;
  await rig.del(container);
  const { status, stderr } = await rig.run('ADD', container, {
    ...conf,
    name: 'x',
    policy_setup_timeout_seconds: 0.3,
    endpoint_status_dir: '/nonexistent',
  });
  expect(status).toBe(0);
  expect(stderr).toContain('has not said in time');
  await rig.del(container, rig.conf({ name: 'x' }));
});

test('the installer fills empty directories with all that the plugin needs, Node.js included', async () => {
  const [bin, net] = [join(rig.dir, 'host-bin'), join(rig.dir, 'host-net')];
  const deploy = join(import.meta.dirname, '../../../deploy');
  execFileSync(process.execPath, [join(deploy, 'install-cni.mjs')], {
    env: {
      CNI_BIN_DIR: bin,
      CNI_BIN_DIR_ON_HOST: bin,
      CNI_NET_DIR: net,
      TSNET_CNI_FILE: join(rig.dir, 'bin/tsnet-cni'),
      CNI_CONF_TEMPLATE: join(deploy, 'cni/10-tsnet.conflist'),
      ETCD_ENDPOINTS: rig.etcd.url,
      NODENAME: NODE,
    },
  });
  expect(readdirSync(bin).sort()).toEqual(['tsnet-cni', 'tsnet-cni.v8', 'tsnet-node']);
  const { plugins, name, cniVersion } = JSON.parse(readFileSync(join(net, '10-tsnet.conflist'), 'utf8'));
  const conf = {
    ...plugins[0],
    name,
    cniVersion,
    ipam_lock_file: join(rig.dir, 'lock'),
    policy_setup_timeout_seconds: 0,
  };
  const container = rig.container('installed');
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    CNI_CONTAINERID: container.id,
    CNI_NETNS: container.netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: bin,
  };
  const added = await exchange(join(bin, 'tsnet-cni'), { ...env, CNI_COMMAND: 'ADD' }, JSON.stringify(conf));
  expect(added).toMatchObject({ status: 0 });
  await exchange(join(bin, 'tsnet-cni'), { ...env, CNI_COMMAND: 'DEL' }, JSON.stringify(conf));
  expect(await rig.held()).toEqual(NOTHING);
});

test('what V8 has kept of it is only believed as the build has left it', async () => {
  const kept = readFileSync(join(rig.dir, 'bin/tsnet-cni.v8'));
  const [file, copy] = [join(rig.dir, 'copy/tsnet-cni'), Buffer.from(kept)];
  mkdirSync(join(rig.dir, 'copy'));
  copyFileSync(join(rig.dir, 'bin/tsnet-cni'), file);
  // A quarter of it is wrong: V8 would end the program.
  copy.fill(0xa5, copy.length / 2, copy.length * 0.75);
  for (const found of [kept, copy, kept.subarray(0, 1000)]) {
    writeFileSync(`${file}.v8`, found);
    const { status, stdout } = await exchange(file, { PATH: process.env.PATH, CNI_COMMAND: 'VERSION' }, '{}');
    expect([status, JSON.parse(stdout).supportedVersions]).toEqual([0, expect.arrayContaining(['0.3.1', '1.1.0'])]);
  }
});
