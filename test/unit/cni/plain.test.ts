import { describe, expect, test } from 'vitest';
import { OperationalError } from '#core';
import { hasOwnIpam, parseConf, storeConfig } from '../../../cni/conf.ts';
import { asCniError, CniError } from '../../../cni/error.ts';
import { endpointName, identityOf } from '../../../cni/identity.ts';
import { containerBatch, containerSettings, type Pair, randomMac } from '../../../cni/links.ts';
import { argsOf, attachmentOf, commandOf } from '../../../cni/request.ts';
import { addressesOf, decodeResult, encodeResult, type Result } from '../../../cni/result.ts';
import { runSteps, type Step } from '../../../cni/steps.ts';
import { CNI_VERSIONS } from '../../../cni/version.ts';
import { plainDemand, podDemand } from '../../../cni/wishes.ts';

const conf = (over: object = {}) =>
  parseConf(
    JSON.stringify({ cniVersion: '1.0.0', name: 'net1', type: 'calico', etcd_endpoints: 'http://e:2379', ...over }),
  );
const failure = (work: () => unknown): CniError => {
  try {
    work();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('the configuration', () => {
  test('of Calico is understood with its defaults, and keys of others are left alone', () => {
    const read = conf({
      ipam: {
        type: 'calico-ipam',
        assign_ipv4: 'false',
        assign_ipv6: 'true',
        ipv6_pools: ['fd00::/64'],
        subnet: 'usePodCidr',
      },
      windows_use_single_network: true,
    });
    expect(read).toMatchObject({ name: 'net1', mtu: 0, num_queues: 1, ipam_lock_file: '/var/run/calico/ipam.lock' });
    expect(read.ipam).toMatchObject({
      assign_ipv4: false,
      assign_ipv6: true,
      ipv4_pools: [],
      ipv6_pools: ['fd00::/64'],
    });
    expect(plainDemand(read).wishes.families).toEqual([6]);
    expect(plainDemand(conf()).wishes.families).toEqual([4]);
  });

  test('no version means 0.2.0; an unknown one is refused with what would do', () => {
    expect(conf({ cniVersion: undefined }).cniVersion).toBe('0.2.0');
    expect(failure(() => conf({ cniVersion: '2.0.0' }))).toMatchObject({
      code: 1,
      message: expect.stringContaining('1.1.0'),
    });
  });

  test.each([
    ['no JSON', '{', 6],
    ['no object', '[]', 6],
    ['no name', '{"cniVersion":"1.0.0"}', 7],
    ['a name that is a path', '{"name":"../x"}', 7],
    ['a wrong type', '{"name":"a","mtu":"big"}', 7],
    ['a flag that is none', '{"name":"a","ipam":{"assign_ipv4":"yes"}}', 7],
  ])('%s is refused with the code of the specification', (_, text, code) => {
    expect(failure(() => parseConf(text)).code).toBe(code);
  });

  test('the datastore is what the configuration says, else the environment', () => {
    expect(
      storeConfig(conf({ etcd_endpoints: 'https://a:1, https://b:1', etcd_key_file: '/k', etcd_cert_file: '/c' }), {}),
    ).toEqual({
      type: 'etcdv3',
      endpoints: ['https://a:1', 'https://b:1'],
      discoverySrv: undefined,
      keyFile: '/k',
      certFile: '/c',
      caFile: undefined,
      username: undefined,
      password: undefined,
    });
    const env = { ETCD_ENDPOINTS: 'http://e:2379', ETCD_USERNAME: 'u', ETCD_PASSWORD: 'p' };
    expect(storeConfig(conf({ etcd_endpoints: undefined }), env)).toMatchObject({
      endpoints: ['http://e:2379'],
      username: 'u',
      password: 'p',
    });
    expect(storeConfig(conf({ datastore_type: 'directory', directory: '/d' }), {})).toEqual({
      type: 'directory',
      directory: '/d',
    });
    expect(storeConfig(conf({ etcd_endpoints: '', etcd_discovery_srv: 'example.org' }), {})).toMatchObject({
      endpoints: [],
      discoverySrv: 'example.org',
    });
    for (const over of [{ datastore_type: 'kubernetes' }, { etcd_endpoints: '' }])
      expect(failure(() => storeConfig(conf(over), {})).code).toBe(7);
  });

  test('addresses come from the pools unless another IPAM plugin is named', () => {
    expect(['calico-ipam', 'tsnet-ipam', undefined].map((type) => hasOwnIpam(conf({ ipam: { type } })))).toEqual([
      true,
      true,
      true,
    ]);
    expect(hasOwnIpam(conf({ ipam: { type: 'host-local' } }))).toBe(false);
    expect(hasOwnIpam(conf())).toBe(true);
  });
});

describe('the environment', () => {
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0', CNI_NETNS: '/var/run/netns/x' };

  test('names an attachment', () => {
    expect(commandOf(env)).toBe('ADD');
    expect(
      attachmentOf({ ...env, CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=p;K8S_POD_NAMESPACE=n;IP=10.0.0.1' }, 'ADD'),
    ).toEqual({
      containerId: 'c1',
      ifname: 'eth0',
      netns: '/var/run/netns/x',
      args: { pod: 'p', podNamespace: 'n', ip: '10.0.0.1', namespace: undefined },
    });
    expect(attachmentOf({ ...env, CNI_NETNS: undefined }, 'DEL').netns).toBe('');
  });

  test.each([
    ['CNI_CONTAINERID', ''],
    ['CNI_CONTAINERID', '../c1'],
    ['CNI_IFNAME', 'longer-than-the-kernel-takes'],
    ['CNI_IFNAME', 'eth0 up\nlink'],
    ['CNI_IFNAME', '..'],
    ['CNI_NETNS', ''],
    ['CNI_NETNS', 'netns/x'],
    ['CNI_ARGS', 'IP'],
  ])('%s of %j is refused and named', (name, value) => {
    expect(failure(() => attachmentOf({ ...env, [name]: value }, 'ADD'))).toMatchObject({
      code: 4,
      message: expect.stringContaining(name),
    });
  });

  test('an unknown command is refused', () => {
    expect(failure(() => commandOf({ CNI_COMMAND: 'add' })).code).toBe(4);
    expect(argsOf('')).toEqual({});
  });
});

describe('who an attachment is', () => {
  const attachment = { containerId: '9f8e7d6c5b4a', ifname: 'eth0', netns: '/n', args: {} };

  test('a container by its ID, a pod by its name', () => {
    const container = identityOf(attachment, conf(), 'node-1', {});
    expect(container).toMatchObject({
      orchestrator: 'cni',
      namespace: 'default',
      hostIfname: 'cali9f8e7d6c5b4',
      handle: 'net1.9f8e7d6c5b4a',
    });
    expect(endpointName(container)).toBe('node--1-cni-9f8e7d6c5b4a-eth0');
    const pod = identityOf({ ...attachment, args: { pod: 'web-0', podNamespace: 'default' } }, conf(), 'node-1', {});
    expect(pod).toMatchObject({ orchestrator: 'k8s', namespace: 'default', hostIfname: 'cali0d7763386da' });
    expect(endpointName(pod)).toBe('node--1-k8s-web--0-eth0');
  });

  test('a pod’s interface has the first prefix of the agent, a container’s never', () => {
    const env = { FELIX_INTERFACEPREFIX: 'tap,cali' };
    const pod = { ...attachment, args: { pod: 'web-0', podNamespace: 'default' } };
    expect(identityOf(pod, conf(), 'n', env).hostIfname).toBe('tap0d7763386da');
    expect(identityOf(attachment, conf(), 'n', env).hostIfname).toBe('cali9f8e7d6c5b4');
  });

  test('a name that no endpoint can have is refused', () => {
    expect(failure(() => identityOf({ ...attachment, containerId: 'abc-' }, conf(), 'n', {})).code).toBe(7);
  });
});

describe('results', () => {
  const result: Result = {
    interfaces: [{ name: 'cali1' }, { name: 'eth0', mac: '02:00:00:00:00:01', mtu: 1400, sandbox: '/n' }],
    ips: [
      { address: '10.0.0.1/32', interface: 1 },
      { address: 'fd00::1/128', interface: 1 },
    ],
    routes: [{ dst: '0.0.0.0/0' }],
    dns: {},
  };

  test('have the shape of the version asked for', () => {
    expect(encodeResult(result, '1.1.0')).toMatchObject({ cniVersion: '1.1.0', interfaces: [{}, { mtu: 1400 }] });
    expect(JSON.stringify(encodeResult(result, '1.0.0'))).not.toMatch(/mtu|version":"4/);
    expect(encodeResult(result, '0.4.0')).toMatchObject({ ips: [{ version: '4' }, { version: '6' }] });
    expect(encodeResult(result, '0.2.0')).toEqual({
      cniVersion: '0.2.0',
      ip4: { ip: '10.0.0.1/32', routes: [{ dst: '0.0.0.0/0' }] },
      ip6: { ip: 'fd00::1/128', routes: [] },
      dns: {},
    });
  });

  test.each(CNI_VERSIONS)('of %s are read with the same addresses', (version) => {
    expect(addressesOf(decodeResult(JSON.parse(JSON.stringify(encodeResult(result, version)))))).toEqual([
      '10.0.0.1',
      'fd00::1',
    ]);
  });

  test.each([null, 'x', { ips: 3 }, { ips: [{}] }, { ips: [null] }, { ips: [{ address: 'x' }] }])(
    '%j is refused',
    (raw) => {
      expect(failure(() => addressesOf(decodeResult(raw))).code).toBe(6);
    },
  );
});

describe('steps', () => {
  const told: string[] = [];
  const step = (name: string, fails = false): Step => ({
    name,
    run: async () => {
      told.push(name);
      if (fails) throw new Error(`${name} failed`);
    },
    undo: async () => {
      told.push(`undo ${name}`);
      if (name === 'b') throw new Error('b cannot be undone');
    },
  });

  test('are undone from the one that failed back to the first, whatever undoing says', async () => {
    told.length = 0;
    const failed: string[] = [];
    const run = runSteps([step('a'), step('b'), step('c', true), step('d')], {
      signal: new AbortController().signal,
      undoFailed: (name) => failed.push(name),
    });
    await expect(run).rejects.toThrow('c failed');
    expect(told).toEqual(['a', 'b', 'c', 'undo c', 'undo b', 'undo a']);
    expect(failed).toEqual(['b']);
  });

  test('end with the signal, and all is taken back', async () => {
    told.length = 0;
    const stop = new AbortController();
    const ending: Step = { name: 'end', run: async () => stop.abort(new Error('stopped')) };
    const run = runSteps([step('a'), ending, step('c')], { signal: stop.signal, undoFailed: () => {} });
    await expect(run).rejects.toThrow('stopped');
    expect(told).toEqual(['a', 'undo a']);
  });
});

describe('interfaces', () => {
  const pair = { ifname: 'eth0', addresses: ['10.0.0.1', 'fd00::1'], forwarding: false } as unknown as Pair;

  test('the container’s end has host addresses and the gateways of Calico', () => {
    expect(containerBatch(pair)).toEqual([
      'link set eth0 up',
      'addr add 10.0.0.1/32 dev eth0',
      'addr add fd00::1/128 dev eth0',
      'route add 169.254.1.1/32 dev eth0 scope link',
      'route add 0.0.0.0/0 via 169.254.1.1 dev eth0',
      'route add ::/0 via fe80::ecee:eeff:feee:eeee dev eth0',
    ]);
    expect(Object.fromEntries(containerSettings({ ...pair, forwarding: true }))).toEqual({
      0: [
        'ipv6/conf/all/disable_ipv6',
        'ipv6/conf/default/disable_ipv6',
        'ipv6/conf/lo/disable_ipv6',
        'ipv6/conf/eth0/accept_dad',
      ],
      1: ['ipv6/conf/all/forwarding', 'ipv4/ip_forward'],
    });
  });

  test('a MAC address is of one host and locally administered', () => {
    for (let i = 0; i < 50; i++) expect(Number.parseInt(randomMac().slice(0, 2), 16) & 3).toBe(2);
  });
});

test('a pod’s labels, ports, profiles and annotations make its endpoint', () => {
  const facts = {
    pod: {
      metadata: {
        labels: { app: 'web' },
        annotations: {
          'cni.projectcalico.org/ipv4pools': '["pool-b"]',
          'cni.projectcalico.org/ipFamilies': '["IPv4","IPv6"]',
          'cni.projectcalico.org/hwAddr': '02:00:00:00:00:01',
          'qos.projectcalico.org/ingressBandwidth': '1.5M',
          'qos.projectcalico.org/egressBurst': '64Ki',
          'qos.projectcalico.org/egressMaxConnections': '20',
          'qos.projectcalico.org/dscp': 'AF41',
        },
      },
      spec: {
        serviceAccountName: 'web',
        containers: [
          {
            ports: [
              { name: 'HTTP', containerPort: 8080 },
              { containerPort: 9 },
              { containerPort: 53, protocol: 'UDP', hostPort: 53 },
            ],
          },
        ],
      },
    },
    namespace: {
      metadata: { labels: { team: 'a' }, annotations: { 'cni.projectcalico.org/ipv6pools': '["fd00::/64"]' } },
    },
  };
  const k8s = conf({ policy: { type: 'k8s' } });
  expect(podDemand(conf(), 'prod', facts).traits.profiles).toEqual(['net1']);
  expect(podDemand(k8s, 'prod', facts)).toEqual({
    mac: '02:00:00:00:00:01',
    traits: {
      labels: { app: 'web' },
      profiles: ['kns.prod', 'ksa.prod.web'],
      serviceAccountName: 'web',
      ports: [
        { name: 'http', protocol: 'TCP', port: 8080, hostPort: 0, hostIP: '' },
        { name: '', protocol: 'UDP', port: 53, hostPort: 53, hostIP: '' },
      ],
      qosControls: { ingressBandwidth: 1_500_000, egressBurst: 65_536, egressMaxConnections: 20, dscp: 'AF41' },
    },
    wishes: { ips: [], pools: { 4: ['pool-b'], 6: ['fd00::/64'] }, families: [4, 6], namespaceLabels: { team: 'a' } },
  });
  facts.pod.metadata.annotations['qos.projectcalico.org/ingressBandwidth'] = 'fast';
  expect(failure(() => podDemand(conf(), 'prod', facts)).message).toContain(
    'must be a quantity such as 10M; it is "fast"',
  );
  facts.pod.metadata.annotations['qos.projectcalico.org/ingressBandwidth'] = '1M';
  facts.pod.metadata.annotations['cni.projectcalico.org/ipv4pools'] = 'pool-b';
  expect(failure(() => podDemand(conf(), 'prod', facts)).message).toContain('ipv4pools');
});

test('failures have the codes of the specification', () => {
  expect(asCniError(new OperationalError('UNAVAILABLE', 'x')).code).toBe(11);
  expect(asCniError(new OperationalError('VALIDATION', 'x')).code).toBe(7);
  expect(asCniError(new TypeError('x'))).toMatchObject({ code: 999, message: expect.stringContaining('defect') });
});
