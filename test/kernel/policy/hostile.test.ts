import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnyResource, validate } from '#datastore';
import type { RenderConfig } from '#policy';
import { actor, resource } from '../../scenarios/index.ts';
import { makeRouter, type Router, VARIANTS } from './router.ts';

/** Odd and extreme values that validation lets through: no kernel refuses one, and what is read back is what was written (I5). */

const count = (n: number, from = 0) => [...Array(n).keys()].map((i) => i + from);
const web = (spec: object = {}, id = 'w0', labels: Record<string, string> = {}): AnyResource =>
  resource(
    'WorkloadEndpoint',
    `red/${id}`,
    {
      ...{ orchestrator: 'k8s', node: 'node-a', endpoint: 'eth0', pod: id, interfaceName: 'caliw0', profiles: [] },
      ...{ ipNetworks: ['10.0.0.1/32', 'fd00::1/128'], ...spec },
    },
    labels,
  );
const policy = (rules: object[], id = 'p', more: object = {}): AnyResource =>
  resource('GlobalNetworkPolicy', id, { ingress: rules, egress: rules, types: ['Ingress', 'Egress'], ...more });
const host = (id: string, spec: object): AnyResource => resource('HostEndpoint', id, { node: 'node-a', ...spec });
const profile = (id: string): AnyResource => resource('Profile', id, { ingress: [allow({})] });
const allow = (rest: object) => ({ action: 'Allow', ...rest });
const qos = (qosControls: object) => [web({ qosControls })];

const NETS = ['0.0.0.0/0', '::/0', '::ffff:1.2.3.4/128', '::ffff:0:0/96', '128.0.0.0/1', 'FD00::/8', '0:0::1/128'];
const MORE_NETS = ['224.0.0.0/4', 'ff00::/8', '255.255.255.255/32', '::/128', '0.0.0.0/32'];
const TEXTS = [
  'a\nCOMMIT',
  '"; -j ACCEPT',
  "it's",
  'ü'.repeat(400),
  'x'.repeat(5000),
  '\u0000',
  '\\"',
  '😀'.repeat(200),
];
const SHELL = ['$(id)', '`id`', '--comment', 'a\tb', '%s%n'];
const LINKS = ['cali', 'cali.', 'cali..', 'cali-', 'cali_', 'caliA', 'calia', 'cali1', 'cali12', 'cali123', 'cali1234'];
/** Seven and more of equal beginning make the dispatch branch where names end. */
const LONG_LINKS = count(9, 1).map((i) => `cali-123456789${i}`);
const OTHER_LINKS = ['_', '.', '..', '-', '-i', '--', 'lo', 'eth0', 'all', 'default', '*', 'vxlan.calico'];
const EXTERNAL = ['0.0.0.0', '255.255.255.255', '224.0.0.1', '127.0.0.1', '10.0.0.1', '169.254.1.1'];
const EXTERNAL_SIX = ['::', 'ff02::1', '::1', 'fe80::1', 'FD00::9', 'fd00:0::9', '::ffff:1.2.3.4'];
const ORDERS = [-0, 0, 1e308, -1e308, 5e-324, 2 ** 53, null, undefined];
const ICMP = [1, 58];
const SELECTORS = [
  'has(constructor)',
  "__proto__ == 'x'",
  "constructor contains 'x'",
  `${'('.repeat(500)}has(a)${')'.repeat(500)}`,
  `${'!'.repeat(10_000)}has(a)`,
  count(3000)
    .map((i) => `a == '${i}'`)
    .join(' || '),
];

const CASES: Record<string, () => AnyResource[]> = {
  'every protocol, and every one but it': () => [
    web(),
    policy(count(255, 1).flatMap((protocol) => [allow({ protocol }), allow({ notProtocol: protocol })])),
  ],
  'types and codes of ICMP': () => [
    web(),
    policy(
      ICMP.flatMap((protocol) =>
        [
          ...count(255).flatMap((type) => [{ icmp: { type } }, { notICMP: { type } }]),
          ...count(256).flatMap((code) => [{ icmp: { type: 3, code } }, { notICMP: { type: 254, code } }]),
          ...[{ icmp: {} }, { notICMP: {} }],
        ].map((match) => allow({ protocol, ...match })),
      ),
    ),
  ],
  ports: () => [
    web(),
    policy(
      ['TCP', 'UDP', 'SCTP', 6, 17, 132].flatMap((protocol) =>
        [[1], [65535], ['1:65535'], ['65535:65535'], ['0080'], count(50, 1), count(50, 1).map((p) => p * 2)].flatMap(
          (ports) => [
            allow({ protocol, destination: { ports } }),
            allow({ protocol, destination: { notPorts: ports } }),
            allow({ protocol, source: { ports }, destination: { notPorts: ports } }),
          ],
        ),
      ),
    ),
  ],
  nets: () => [
    web(),
    policy(
      [...NETS, ...MORE_NETS].flatMap((net) => [
        allow({ source: { nets: [net] } }),
        allow({ source: { nets: [net, net] }, destination: { nets: [net] } }),
        ...(net.endsWith('/0') ? [] : [allow({ source: { notNets: [net] } })]),
      ]),
    ),
  ],
  'thousands of nets and ports in a rule': () => [
    web(),
    policy([
      allow({ source: { nets: count(2000).map((i) => `10.${i >> 8}.${i & 255}.0/24`) } }),
      allow({ source: { notNets: count(2000).map((i) => `10.${i >> 8}.${i & 255}.0/24`) } }),
      allow({ protocol: 'TCP', source: { ports: count(1000, 1).map((i) => i * 2) } }),
    ]),
  ],
  'network sets': () => [
    web(),
    resource(
      'GlobalNetworkSet',
      's',
      {
        nets: [...NETS, ...MORE_NETS, '10.0.0.1', '10.0.0.1/32', '10.0.0.1/8', 'FD00::1', 'fd00::1/128', 'fd00::5/64'],
      },
      { s: '' },
    ),
    policy([allow({ source: { selector: 'has(s)' } }), allow({ source: { notSelector: 'has(s)' } })]),
  ],
  annotations: () => [
    web(),
    policy([...TEXTS, ...SHELL].map((text) => allow({ metadata: { annotations: { [text.slice(0, 50)]: text } } }))),
  ],
  'the largest packet rates and bursts': () =>
    qos({ ingressPacketRate: 10_000, egressPacketRate: 1, ingressPacketBurst: 0xffffffff, egressPacketBurst: 10_001 }),
  'the most and the fewest connections': () => qos({ ingressMaxConnections: 0xffffffff, egressMaxConnections: 1 }),
  'every code point': () =>
    [...count(64), 'DF', 'ef', 'VA', 'LE', 'CS0', 'cs7', 'AF11', 'AF43'].map((dscp, i) =>
      web({ interfaceName: `cali${i}`, qosControls: { dscp }, ipNetworks: [`10.0.1.${i}/32`] }, `w${i}`),
    ),
  'names of interfaces': () =>
    [...LINKS, ...LONG_LINKS, ...OTHER_LINKS].map((interfaceName, i) =>
      web({ interfaceName, ipNetworks: [`10.0.1.${i}/32`] }, `w${i}`),
    ),
  'names of objects': () => [
    web({ profiles: ['a'.repeat(253), 'constructor', '0'] }),
    ...['a'.repeat(253), 'constructor', '0'].map(profile),
    resource('Tier', 'x'.repeat(63), { order: 1 }),
    policy([allow({})], 'b'.repeat(253), { tier: 'x'.repeat(63) }),
    policy([{ action: 'Log' }], 'constructor'),
    resource('NetworkPolicy', `red/${'c'.repeat(253)}`, { ingress: [{ action: 'Log' }] }),
  ],
  'floating addresses': () => [
    web({
      ipNATs: [
        ...EXTERNAL.map((externalIP) => ({ internalIP: '10.0.0.1', externalIP })),
        ...EXTERNAL_SIX.map((externalIP) => ({ internalIP: 'FD00::1', externalIP })),
      ],
    }),
  ],
  'addresses that no workload can have': () => [
    web({
      ipNetworks: ['::ffff:10.0.0.1/128', '0.0.0.0/32', '::/128', '224.0.0.1/32'],
      ipNATs: [
        { internalIP: '::ffff:10.0.0.1', externalIP: '::ffff:1.1.1.1' },
        { internalIP: '0.0.0.0', externalIP: '1.1.1.1' },
      ],
    }),
  ],
  'prefixes to spoof': () => [
    web({ allowSpoofedSourcePrefixes: ['10.0.0.5/8', 'fd00::5/64', '0.0.0.0/0', '::/0', '1.2.3.4', '::ffff:1.2.3.4'] }),
  ],
  orders: () => [web(), ...ORDERS.map((order, i) => policy([allow({})], `o${i}`, { order }))],
  'host endpoints': () => [
    ...['eth0', 'caliw0', 'vxlan.calico', '*', 'a23456789012345', '.', '..', '-', 'lo', 'cali'].map(
      (interfaceName, i) => host(`h${i}`, { interfaceName, profiles: ['x'] }),
    ),
    host('by-address', { expectedIPs: ['::ffff:10.0.0.1', '0.0.0.0', '10.0.0.1', '10.0.0.1', 'FD00::1', 'ff02::1'] }),
    policy([allow({ protocol: 'TCP' })]),
    resource('GlobalNetworkPolicy', 'first', {
      ...{ preDNAT: true, applyOnForward: true, types: ['Ingress'], ingress: [allow({ protocol: 'UDP' })] },
    }),
    policy([{ action: 'Log' }, { action: 'Pass' }, { action: 'Deny', protocol: 'TCP' }], 'untracked', {
      ...{ doNotTrack: true, applyOnForward: true },
    }),
  ],
  'names of ports': () => [
    web({
      ports: [
        { name: 'A'.repeat(300), protocol: 'TCP', port: 1 },
        ...['TCP', 'UDP', 'SCTP'].map((protocol) => ({ name: 'http', protocol, port: 65535 })),
        { name: 'a.b_c-d', protocol: 'SCTP', port: 5 },
        { name: '', protocol: 'TCP', port: 7, hostPort: 7 },
      ],
    }),
    policy(
      ['http', 'a.b_c-d', 'constructor', 'X'.repeat(128), '__proto__'].flatMap((name) => [
        allow({ protocol: 'TCP', destination: { ports: [name] } }),
        allow({ destination: { ports: [name], notPorts: [name] } }),
        allow({ protocol: 'SCTP', source: { notPorts: [name, 80] } }),
      ]),
    ),
  ],
  'labels and selectors': () => [
    web({}, 'w0', { constructor: '1', toString: '2', 'a/b': '', x: 'y'.repeat(5000) }),
    policy(SELECTORS.map((selector) => allow({ source: { selector } }))),
  ],
  'service accounts': () => [
    web({ serviceAccountName: 'sa' }),
    resource('NetworkPolicy', 'red/p', {
      ingress: [allow({ source: { serviceAccounts: { names: [...TEXTS, ...SHELL], selector: 'has(x)' } } })],
    }),
  ],
};

/** What the cluster says beside them. */
const CONFIG: Partial<RenderConfig> = {
  floatingIps: true,
  workloadSourceSpoofing: 'Any',
  nat: { excludeHosts: true, randomFully: true },
  log: { prefix: 'ü"\n%t %k %n %p' },
  failsafeInbound: [
    { protocol: 6, port: 0 },
    { protocol: 17, port: 65535, net: '::/0' },
  ],
};

describe.each(VARIANTS)('%s', (variant) => {
  let router: Router;
  beforeAll(async () => {
    router = await makeRouter(variant, [{ actor: actor('w0', '10.0.0.1', 'fd00::1'), link: 'caliw0' }], {
      ...{ 4: '10.0.1.1', 6: 'fd00:0:0:1::1' },
    });
    router.engine.setHostInterfaces([{ name: 'eth0', addresses: ['10.9.9.9'] }]);
    router.engine.setFacts({
      pools: ['0.0.0.0/0', '::/0'].map((cidr) => ({ cidr, natOutgoing: true })),
      hosts: ['10.0.0.1', '0.0.0.0', '::ffff:102:304'],
      vxlanHosts: ['10.0.0.1'],
      serviceCidrs: ['0.0.0.0/0', '::/0', '10.0.0.0/8'],
    });
  });
  afterAll(() => router?.close());

  test.each(Object.entries(CASES))('%s', async (_, make) => {
    const resources = make();
    expect(resources.flatMap((r) => validate(r, 'read'))).toEqual([]);
    await router.become(resources, CONFIG);
    expect(await router.again()).toBe(0);
    await router.become([]);
  });
});
