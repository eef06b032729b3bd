import { describe, expect, test } from 'vitest';
import { hostMtu, type Link, type OverlayInput, overlayIntent, vtepMac, workloadMtu } from '#agent';
import type { IPPool, IpamBlock, Node } from '#datastore';

const node = (name: string, spec: Node['spec']): [string, Node] => [
  name,
  { apiVersion: 'projectcalico.org/v3', kind: 'Node', metadata: { name }, spec },
];
const pool = (cidr: string, vxlanMode: 'Always' | 'CrossSubnet' | 'Never'): [string, IPPool] => [
  cidr,
  { apiVersion: 'projectcalico.org/v3', kind: 'IPPool', metadata: { name: 'p' }, spec: { cidr, vxlanMode } },
];
const held = (name: string, cidr: string, state: 'confirmed' | 'pending' = 'confirmed') =>
  [`host:${name}/${cidr}`, { owner: { type: 'host' as const, name }, cidr, state }] as const;
const block = (cidr: string, host: string, users: Record<number, string>): [string, IpamBlock] => [
  cidr,
  {
    cidr,
    affinity: `host:${host}`,
    allocations: Array.from({ length: 64 }, (_, i) => (users[i] ? Object.keys(users).indexOf(String(i)) : null)),
    unallocated: [],
    attributes: Object.values(users).map((user) => ({ handle_id: 'h', secondary: { node: user } })),
    sequenceNumber: 1n,
    sequenceNumberForAllocation: {},
    deleted: false,
  },
];

const nodes = new Map([
  node('n1', {
    bgp: { ipv4Address: '10.0.1.1/24', ipv6Address: 'fd00:1::1/64' },
    ipv4VXLANTunnelAddr: '10.65.1.0',
    ipv6VXLANTunnelAddr: 'fd00:65::1:0',
  }),
  node('n2', {
    bgp: { ipv4Address: '10.0.1.2/24', ipv6Address: 'fd00:1::2/64' },
    ipv4VXLANTunnelAddr: '10.65.2.0',
    ipv6VXLANTunnelAddr: 'fd00:65::2:0',
    vxlanTunnelMACAddr: '66:00:00:00:00:02',
  }),
  node('n3', { bgp: { ipv4Address: '10.0.3.3/24' }, ipv4VXLANTunnelAddr: '10.65.3.0' }),
  node('n4', { bgp: { ipv4Address: '10.0.4.4/24' } }),
]);
const input = (more: Partial<OverlayInput> = {}): OverlayInput => ({
  node: 'n1',
  nodes,
  pools: new Map([pool('10.65.0.0/16', 'Always')]),
  affinities: new Map([
    held('n1', '10.65.1.0/26'),
    held('n2', '10.65.2.0/26'),
    held('n3', '10.65.3.0/26'),
    held('n4', '10.65.4.0/26'),
    held('n2', '10.65.9.0/26', 'pending'),
    held('n2', '10.99.0.0/26'),
  ]),
  blocks: new Map(),
  felix: {},
  hostMtu: 1500,
  parentOf: () => 'eth0',
  ...more,
});
const ways = (given: OverlayInput) =>
  Object.fromEntries(
    overlayIntent(given).routes.map(({ route: { to, via } }) => [
      to,
      via.type === 'gateway'
        ? via.hops.map((h) => `${h.gateway} ${h.link}${h.onlink ? ' onlink' : ''}`).join()
        : via.type,
    ]),
  );

describe('nodes that cannot be told apart', () => {
  const at = (name: string, created: string, spec: Node['spec']): [string, Node] => {
    const [, made] = node(name, { bgp: { ipv4Address: `10.0.7.${name.length}/24` }, ...spec });
    return [name, { ...made, metadata: { name, creationTimestamp: created } }];
  };
  const reached = (...more: [string, Node][]) => {
    const { neighbours, fdb, problems } = overlayIntent(input({ nodes: new Map([...nodes, ...more]) }));
    expect(fdb).toHaveLength(neighbours.length);
    return [neighbours.map(({ address }) => address), problems];
  };
  const known = ['10.65.2.0', '10.65.3.0'];
  test('of two with one tunnel address or MAC the last created is reached, in whatever order they came', () => {
    const a = at('old', '2025-01-01T00:00:00Z', { ipv4VXLANTunnelAddr: '10.65.7.0' });
    const b = at('newer', '2026-01-01T00:00:00Z', { ipv4VXLANTunnelAddr: '10.65.7.0' });
    const c = at('third-', '2026-02-01T00:00:00Z', {
      ipv4VXLANTunnelAddr: '10.65.8.0',
      vxlanTunnelMACAddr: vtepMac('newer', 4),
    });
    const both = overlayIntent(input({ nodes: new Map([...nodes, a, b]) }));
    expect(both.fdb.find(({ mac }) => mac === vtepMac('newer', 4))?.destination).toBe('10.0.7.5');
    const problem = 'Node old has the tunnel address or MAC of Node newer: no overlay to it';
    expect(both.problems).toEqual([problem]);
    expect(overlayIntent(input({ nodes: new Map([b, a, ...nodes]) }))).toMatchObject({ fdb: both.fdb });
    expect(reached(b, c)[1]).toEqual(['Node newer has the tunnel address or MAC of Node third-: no overlay to it']);
  });
  test('the address of this node is nobody else’s, and some MACs are nobody’s', () => {
    const copy = at('copy', '2027-01-01T00:00:00Z', { ipv4VXLANTunnelAddr: '10.65.1.0' });
    expect(reached(copy)).toEqual([known, ['Node copy has the tunnel address or MAC of Node n1: no overlay to it']]);
    for (const mac of ['00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) {
      const odd = at('odd', '2027-01-01T00:00:00Z', { ipv4VXLANTunnelAddr: '10.65.7.0', vxlanTunnelMACAddr: mac });
      expect(reached(odd)).toEqual([known, [`Node odd: MAC ${mac} is no device's: no overlay to it`]]);
    }
  });
});

describe('Always', () => {
  test('every remote block of the pool goes through its VTEP, our own leads nowhere, others are none of our business', () => {
    expect(ways(input())).toEqual({
      '10.65.1.0/26': 'blackhole',
      '10.65.2.0/26': '10.65.2.0 vxlan.calico onlink',
      '10.65.3.0/26': '10.65.3.0 vxlan.calico onlink',
    });
  });
  test('device, neighbours and forwarding entries', () => {
    const { devices, neighbours, fdb } = overlayIntent(input());
    expect(devices).toEqual([
      {
        device: {
          name: 'vxlan.calico',
          vni: 4096,
          port: 4789,
          mac: vtepMac('n1', 4),
          mtu: 1450,
          local: '10.0.1.1',
          parent: 'eth0',
        },
        address: '10.65.1.0',
      },
    ]);
    expect(neighbours).toEqual([
      { link: 'vxlan.calico', address: '10.65.2.0', mac: '66:00:00:00:00:02' },
      { link: 'vxlan.calico', address: '10.65.3.0', mac: vtepMac('n3', 4) },
    ]);
    expect(fdb.map((entry) => entry.destination)).toEqual(['10.0.1.2', '10.0.3.3']);
  });
  test('an address borrowed from another block goes to the node that uses it', () => {
    const blocks = new Map([block('10.65.2.0/26', 'n2', { 3: 'n3', 4: 'n2', 5: 'n1' })]);
    expect(ways(input({ blocks }))).toMatchObject({ '10.65.2.3/32': '10.65.3.0 vxlan.calico onlink' });
    expect(ways(input({ blocks }))['10.65.2.4/32']).toBeUndefined();
    expect(ways(input({ blocks }))['10.65.2.5/32']).toBeUndefined();
  });
  test('without a tunnel address of our own there is no device, and somebody is told', () => {
    const poor = new Map(nodes);
    poor.set(...node('n1', { bgp: { ipv4Address: '10.0.1.1/24' } }));
    const intent = overlayIntent(input({ nodes: poor }));
    expect([intent.devices, intent.fdb, Object.keys(ways(input({ nodes: poor })))]).toEqual([[], [], ['10.65.1.0/26']]);
    expect(intent.problems[0]).toContain('ipv4VXLANTunnelAddr');
  });
});

describe('CrossSubnet', () => {
  const pools = new Map([pool('10.65.0.0/16', 'CrossSubnet')]);
  test('nodes in our subnet are reached directly, others through the tunnel', () => {
    expect(ways(input({ pools }))).toEqual({
      '10.65.1.0/26': 'blackhole',
      '10.65.2.0/26': '10.0.1.2 eth0',
      '10.65.3.0/26': '10.65.3.0 vxlan.calico onlink',
    });
  });
});

test('IPv6 follows the same rules on its own device', () => {
  const given = input({
    pools: new Map([pool('fd00:65::/64', 'Always')]),
    affinities: new Map([held('n2', 'fd00:65::2:0/122'), held('n1', 'fd00:65::1:0/122')]),
  });
  expect(ways(given)).toEqual({
    'fd00:65::2:0/122': 'fd00:65::2:0 vxlan-v6.calico onlink',
    'fd00:65::1:0/122': 'blackhole',
  });
  expect(overlayIntent(given).devices[0]).toMatchObject({
    device: { name: 'vxlan-v6.calico', mtu: 1430, local: 'fd00:1::1', mac: vtepMac('n1', 6) },
    address: 'fd00:65::1:0',
  });
});

test('vxlanEnabled false, or no pool, leaves nothing', () => {
  const nothing = { devices: [], neighbours: [], fdb: [], routes: [], problems: [] };
  expect(overlayIntent(input({ felix: { vxlanEnabled: false } }))).toEqual(nothing);
  expect(overlayIntent(input({ pools: new Map([pool('10.65.0.0/16', 'Never')]) }))).toEqual(nothing);
});

test('the MAC is a local unicast address that any node can compute', () => {
  expect(vtepMac('node-1', 4)).toMatch(/^66(:[0-9a-f]{2}){5}$/);
  expect(vtepMac('node-1', 4)).not.toBe(vtepMac('node-1', 6));
  // The first five bytes that `printf node-1 | sha1sum` gives.
  expect(vtepMac('node-1', 4)).toBe('66:b3:68:28:39:8e');
});

describe('MTU', () => {
  const link = (name: string, mtu: number, up = true): Link => ({
    index: 1,
    name,
    mtu,
    up,
    adminUp: up,
    mac: '',
    linkKind: '',
  });
  test('of the host: the smallest of its own interfaces that are up', () => {
    const links = [link('eth0', 9000), link('ens5', 1500), link('enp1s0', 1400, false), link('docker0', 1280)];
    expect(hostMtu(links, undefined)).toBe(1500);
    expect(hostMtu(links, '^docker')).toBe(1280);
    expect(hostMtu(links, '(')).toBe(1500);
    expect(hostMtu([], undefined)).toBe(1460);
  });
  test('of workloads: what fits through every overlay in use', () => {
    const four = pool('10.65.0.0/16', 'CrossSubnet');
    const six = pool('fd00:65::/64', 'Always');
    expect(workloadMtu(1500, new Map(), {})).toBe(1500);
    expect(workloadMtu(1500, new Map([four]), {})).toBe(1450);
    expect(workloadMtu(1500, new Map([four, six]), {})).toBe(1430);
    expect(workloadMtu(1500, new Map([four, six]), { vxlanMTUV6: 1400 })).toBe(1400);
    expect(workloadMtu(1500, new Map([four]), { vxlanEnabled: false })).toBe(1500);
  });
});
