import type { AnyResource } from '#datastore';
import type { ClusterFacts, HostInterface, RenderConfig } from '#policy';
import { resource } from '../../scenarios/scenario.ts';

export interface Case {
  readonly name: string;
  readonly resources: readonly AnyResource[];
  readonly config?: Partial<RenderConfig>;
  readonly facts?: ClusterFacts;
  readonly interfaces?: readonly HostInterface[];
  readonly closed?: readonly string[];
}

const web = (spec: object = {}) =>
  resource(
    'WorkloadEndpoint',
    'prod/node--1-k8s-web-eth0',
    {
      orchestrator: 'k8s',
      node: 'node-1',
      pod: 'web',
      endpoint: 'eth0',
      interfaceName: 'cali0a1b2c3d4e5',
      ipNetworks: ['10.65.0.2/32', 'fd00:65::2/128'],
      profiles: ['kns.prod'],
      ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
      ...spec,
    },
    { app: 'web', 'projectcalico.org/namespace': 'prod', 'projectcalico.org/orchestrator': 'k8s' },
  );

const profile = resource('Profile', 'kns.prod', {
  ingress: [{ action: 'Allow' }],
  egress: [{ action: 'Allow' }],
  labelsToApply: { 'pcns.team': 'shop' },
});

const policy = (spec: object, id = 'prod/web') =>
  resource('NetworkPolicy', id, { tier: 'default', selector: "app == 'web'", types: ['Ingress'], ...spec });

const ingress = (...rules: object[]) => [web(), policy({ ingress: rules })];

const many = (count: number, make: (i: number) => object) => Array.from({ length: count }, (_, i) => make(i));

const hostEndpoint = (spec: object = {}) =>
  resource(
    'HostEndpoint',
    'node-1-eth0',
    { node: 'node-1', interfaceName: 'eth0', expectedIPs: ['192.0.2.11', '2001:db8::11'], ...spec },
    { role: 'edge' },
  );
const onHost = (spec: object) =>
  resource('GlobalNetworkPolicy', 'edge', { tier: 'default', selector: "role == 'edge'", types: ['Ingress'], ...spec });

export const cases: readonly Case[] = [
  { name: 'workload-without-policy', resources: [web(), profile] },
  { name: 'workload-profile-missing', resources: [web()] },
  {
    name: 'dispatch-tree',
    resources: many(24, (i) => web({ interfaceName: `cali${(i * 41).toString(16).padStart(3, '0')}` })).map(
      (value, i) => ({
        ...(value as AnyResource),
        metadata: { ...(value as AnyResource).metadata, name: `node--1-k8s-web${i}-eth0` },
      }),
    ) as AnyResource[],
  },
  { name: 'rule-nets', resources: ingress({ action: 'Allow', source: { nets: ['10.0.0.0/8', '172.16.0.0/12'] } }) },
  {
    name: 'rule-nets-and-not-nets',
    resources: ingress({ action: 'Allow', source: { nets: ['10.0.0.0/8'], notNets: ['10.1.0.0/16', '10.2.0.0/16'] } }),
  },
  {
    name: 'rule-many-nets-both-sides',
    resources: ingress({
      action: 'Deny',
      source: { nets: many(4, (i) => ({ n: `10.${i}.0.0/16` })).map((x) => (x as { n: string }).n) },
      destination: { nets: ['10.65.0.0/24', '10.65.1.0/24'] },
    }),
  },
  {
    name: 'rule-ports',
    resources: ingress({
      action: 'Allow',
      protocol: 'TCP',
      destination: { ports: [80, 443, '8000:8010', '9000:9000'], notPorts: ['8005:8006'] },
    }),
  },
  {
    name: 'rule-more-ports-than-one-line-holds',
    resources: ingress({
      action: 'Allow',
      protocol: 'UDP',
      destination: { ports: [...Array(14).keys()].map((i) => 1000 + i * 2).concat(2000) as number[] },
      source: { ports: ['1:10', '20:30', '40:50', '60:70', '80:90', '100:110', '120:130', '140:150'] },
    }),
  },
  {
    name: 'rule-named-port',
    resources: ingress({ action: 'Allow', protocol: 'TCP', destination: { ports: ['http', 9090] } }),
  },
  {
    name: 'rule-selectors',
    resources: ingress(
      { action: 'Allow', source: { selector: "app == 'web'", notSelector: "tier == 'bad'" } },
      { action: 'Allow', protocol: 'TCP', source: { selector: "app == 'web'" }, destination: { ports: [80] } },
    ),
  },
  {
    name: 'rule-selectors-without-ipv6',
    resources: [
      web({ ipNetworks: ['10.65.0.2/32'] }),
      policy({
        ingress: [
          { action: 'Allow', source: { selector: "app == 'web'" } },
          { action: 'Allow', source: { notSelector: "app == 'web'" } },
          { action: 'Allow', source: { selector: 'has(six)' } },
        ],
      }),
      resource('GlobalNetworkSet', 'six', { nets: ['2001:db8::/32'] }, { six: '' }),
    ],
  },
  {
    name: 'rule-selectors-with-networks',
    resources: [
      ...ingress(
        { action: 'Allow', source: { selector: "app == 'web' || has(office)" } },
        { action: 'Allow', source: { notSelector: "app == 'web' || has(office)" } },
        { action: 'Allow', source: { selector: 'has(office)' } },
        {
          action: 'Deny',
          protocol: 'TCP',
          source: { selector: "app == 'web' || has(office)" },
          destination: { selector: "app == 'web' || has(office)", ports: [80] },
        },
        { action: 'Log', source: { selector: "app == 'web' || has(office)" } },
      ),
      resource('NetworkSet', 'prod/office', { nets: ['192.0.2.0/24', '2001:db8::/32'] }, { office: '' }),
    ],
  },
  {
    name: 'rule-icmp',
    resources: ingress(
      { action: 'Allow', protocol: 'ICMP', icmp: { type: 8, code: 0 } },
      { action: 'Allow', protocol: 'ICMPv6', icmp: { type: 128 } },
      { action: 'Deny', protocol: 'ICMP', notICMP: { type: 3 } },
    ),
  },
  {
    name: 'rule-protocols',
    resources: ingress(
      { action: 'Allow', protocol: 'SCTP', destination: { ports: [5000] } },
      { action: 'Allow', protocol: 'UDPLite' },
      { action: 'Allow', protocol: 50 },
      { action: 'Deny', notProtocol: 'TCP' },
    ),
  },
  {
    name: 'rule-log-pass-annotations',
    resources: ingress(
      { action: 'Log', protocol: 'TCP', metadata: { annotations: { why: 'said "who"; -j ACCEPT\n-A' } } },
      { action: 'Pass' },
    ),
    config: { log: { prefix: 'calico-packet %t %n', rate: { perSecond: 1 / 6, burst: 5 } } },
  },
  {
    name: 'rule-log-to-a-group',
    resources: ingress({ action: 'Log', protocol: 'TCP', destination: { ports: [80] } }, { action: 'Log' }),
    config: { log: { prefix: 'calico-packet', group: 7 } },
  },
  {
    name: 'tiers-and-groups',
    resources: [
      web(),
      profile,
      resource('Tier', 'security', { order: 100, defaultAction: 'Pass' }),
      resource('GlobalNetworkPolicy', 'security.block', {
        tier: 'security',
        selector: 'all()',
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Deny', source: { nets: ['198.51.100.0/24'] } }],
        egress: [{ action: 'Pass' }],
      }),
      ...(many(7, (i) =>
        policy({ order: i, ingress: [{ action: 'Allow', protocol: 50 + i }] }, `prod/p${i}`),
      ) as AnyResource[]),
    ],
  },
  {
    name: 'quality-of-service',
    resources: [
      web({
        qosControls: {
          ingressPacketRate: 1000,
          egressPacketRate: 500,
          egressPacketBurst: 50,
          ingressMaxConnections: 100,
          dscp: 'AF41',
        },
      }),
      profile,
    ],
  },
  {
    name: 'spoofing-allowed',
    resources: [web({ allowSpoofedSourcePrefixes: ['203.0.113.0/24', '2001:db8:1::/64'] }), profile],
    config: { workloadSourceSpoofing: 'Any' },
  },
  { name: 'closed-endpoint', resources: [web(), profile], closed: ['WorkloadEndpoint/prod/node--1-k8s-web-eth0'] },
  {
    name: 'nat-outgoing',
    resources: [],
    config: { nat: { excludeHosts: true, portRange: [32768, 60999], randomFully: true } },
    facts: {
      pools: [
        { cidr: '10.65.0.0/16', natOutgoing: true },
        { cidr: '10.66.0.0/16', natOutgoing: false },
        { cidr: 'fd00:65::/48', natOutgoing: true },
      ],
      hosts: ['192.0.2.11', '2001:db8::11'],
      vxlanHosts: [],
      serviceCidrs: [],
    },
  },
  {
    name: 'floating-ip',
    resources: [
      web({
        ipNATs: [
          { internalIP: '10.65.0.2', externalIP: '192.0.2.77' },
          { internalIP: 'fd00:65::2', externalIP: '2001:db8::77' },
        ],
      }),
      profile,
    ],
    config: { floatingIps: true },
  },
  {
    name: 'host-endpoint',
    resources: [
      hostEndpoint(),
      onHost({ ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [443] } }] }),
    ],
    interfaces: [{ name: 'eth0', addresses: ['192.0.2.11'] }],
    config: {
      failsafeInbound: [{ protocol: 6, port: 22, net: '192.0.2.0/24' }],
      failsafeOutbound: [{ protocol: 17, port: 53 }],
    },
  },
  {
    name: 'host-endpoint-forward-prednat-untracked',
    resources: [
      hostEndpoint(),
      onHost({ applyOnForward: true, ingress: [{ action: 'Deny', source: { nets: ['198.51.100.0/24'] } }] }),
      resource('GlobalNetworkPolicy', 'pre', {
        tier: 'default',
        selector: "role == 'edge'",
        types: ['Ingress'],
        preDNAT: true,
        applyOnForward: true,
        ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80] } }, { action: 'Deny' }],
      }),
      resource('GlobalNetworkPolicy', 'raw', {
        tier: 'default',
        selector: "role == 'edge'",
        types: ['Ingress', 'Egress'],
        doNotTrack: true,
        applyOnForward: true,
        ingress: [{ action: 'Allow', protocol: 'UDP', destination: { ports: [53] } }],
        egress: [{ action: 'Allow', protocol: 'UDP', source: { ports: [53] } }],
      }),
    ],
    interfaces: [{ name: 'eth0', addresses: ['192.0.2.11'] }],
    config: { failsafeInbound: [{ protocol: 6, port: 22 }], failsafeOutbound: [{ protocol: 17, port: 53 }] },
  },
  {
    name: 'host-endpoint-all-interfaces',
    resources: [hostEndpoint({ interfaceName: '*' }), onHost({ ingress: [{ action: 'Allow' }] })],
    interfaces: [
      { name: 'eth0', addresses: ['192.0.2.11'] },
      { name: 'cali0a1b2c3d4e5', addresses: [] },
    ],
    config: { failsafeInbound: [], failsafeOutbound: [] },
  },
  {
    name: 'service-loop-prevention',
    resources: [],
    facts: { pools: [], hosts: [], vxlanHosts: [], serviceCidrs: ['10.96.0.0/12', 'fd00:96::/108'] },
  },
  {
    name: 'overlay',
    resources: [],
    config: { vxlan: true },
    facts: { pools: [], hosts: [], vxlanHosts: ['192.0.2.12', '2001:db8::12'], serviceCidrs: [] },
  },
];
