import { describe, expect, test } from 'vitest';
import type { PeerConfig } from '#bgp';
import { prefix } from '#core';
import type { BGPConfigurationSpec, BGPFilterSpec, BGPPeerSpec, IPPoolSpec, NodeSpec } from '#datastore';
import {
  bgpIntent,
  type IntentInput,
  learnedVerdict,
  MULTIPROTOCOL_ANNOTATION,
} from '../../../agent/bgp-intent/index.ts';
import { parsePeerAddress } from '../../../agent/bgp-intent/sessions.ts';

const resource = <K extends string, S>(kind: K, name: string, spec: S, metadata: object = {}) => ({
  apiVersion: 'projectcalico.org/v3' as const,
  kind,
  metadata: { name, ...metadata },
  spec,
});
const node = (name: string, spec: NodeSpec['bgp'], metadata: object = {}) =>
  resource('Node', name, { ...(spec && { bgp: spec }) }, metadata);
const byName = <T extends { metadata: { name: string } }>(...all: T[]) => new Map(all.map((r) => [r.metadata.name, r]));

interface World {
  nodes: ReturnType<typeof node>[];
  config?: BGPConfigurationSpec;
  nodeConfig?: BGPConfigurationSpec;
  peers?: Record<string, BGPPeerSpec>;
  filters?: Record<string, BGPFilterSpec>;
  pools?: Record<string, IPPoolSpec>;
  blocks?: string[];
  addresses?: Record<string, number>;
  secrets?: Record<string, string>;
  profile?: 'calico' | 'strict';
  routerId?: string;
}

/** The intent of node `a`. */
function input(world: World): IntentInput {
  const each = <S>(kind: string, all: Record<string, S> = {}) =>
    new Map(Object.entries(all).map(([name, spec]) => [name, resource(kind, name, spec) as never]));
  return {
    node: 'a',
    profile: world.profile ?? 'calico',
    routerId: world.routerId,
    nodes: byName(...world.nodes),
    configurations: new Map([
      ...(world.config ? [['default', resource('BGPConfiguration', 'default', world.config)] as const] : []),
      ...(world.nodeConfig ? [['node.a', resource('BGPConfiguration', 'node.a', world.nodeConfig)] as const] : []),
    ]),
    peers: each('BGPPeer', world.peers),
    filters: each('BGPFilter', world.filters),
    pools: each('IPPool', world.pools),
    affinities: new Map(
      (world.blocks ?? []).map((cidr) => [
        `host:a/${cidr}`,
        { owner: { type: 'host', name: 'a' }, cidr, state: 'confirmed' } as const,
      ]),
    ),
    localEndpoints: new Map(),
    localAddresses: new Map(Object.entries(world.addresses ?? {}).map(([text, metric]) => [prefix(text), metric])),
    secret: (name, key) => world.secrets?.[`${name}/${key}`],
  };
}
const intent = (world: World) => bgpIntent(input(world));
const one = (world: World): PeerConfig => {
  const { peers } = intent(world);
  expect(peers).toHaveLength(1);
  return peers[0];
};

const A = node('a', { ipv4Address: '10.0.0.2/24' }, { labels: { rack: 'r1' } });
const B = node('b', { ipv4Address: '10.0.0.10/24' }, { labels: { rack: 'r2', role: 'rr' } });

describe('the mesh', () => {
  test('one session with every other node that has an address', () => {
    const peer = one({ nodes: [A, B, node('c', undefined)] });
    expect(peer).toMatchObject({
      name: '10.0.0.10',
      type: 'NodeMesh',
      asNumbers: [64512],
      localAddress: '10.0.0.2',
      families: [4],
      port: 179,
      gracefulRestart: { restartTime: 120 },
    });
  });
  test('the side whose address is larger as a string dials: 10.0.0.10 sorts before 10.0.0.2', () => {
    expect(one({ nodes: [A, B] }).passive).toBe(false);
    expect(one({ nodes: [node('a', { ipv4Address: '10.0.0.1/24' }), B] }).passive).toBe(true);
  });
  test('one session a family, each over its own addresses, towards a Calico node', () => {
    const dual = (name: string, last: number, metadata = {}) =>
      node(name, { ipv4Address: `10.0.0.${last}/24`, ipv6Address: `fd00::${last}/64` }, metadata);
    const { peers } = intent({ nodes: [dual('a', 2), dual('b', 3)] });
    expect(peers.map((p) => [p.name, p.families])).toEqual([
      ['10.0.0.3', [4]],
      ['fd00::3', [6]],
    ]);
    const both = { annotations: { [MULTIPROTOCOL_ANNOTATION]: 'true' } };
    const joined = intent({ nodes: [dual('a', 2, both), dual('b', 3, both)] });
    expect(joined.peers.map((p) => [p.name, p.families, p.nextHopSelf])).toEqual([
      ['10.0.0.3', [4, 6], { 4: '10.0.0.2', 6: 'fd00::2' }],
    ]);
  });
  test('is off when the configuration says so, for a reflector, and towards one', () => {
    expect(intent({ nodes: [A, B], config: { nodeToNodeMeshEnabled: false } }).peers).toEqual([]);
    const reflector = node('b', { ipv4Address: '10.0.0.10/24', routeReflectorClusterID: '1.0.0.1' });
    expect(intent({ nodes: [A, reflector] }).peers).toEqual([]);
    expect(
      intent({ nodes: [node('a', { ipv4Address: '10.0.0.2/24', routeReflectorClusterID: '1.0.0.1' }), B] }).peers,
    ).toEqual([]);
  });
  test("a node's own AS number makes the session external", () => {
    const peer = one({ nodes: [A, node('b', { ipv4Address: '10.0.0.10/24', asNumber: '1.10' })] });
    expect(peer.asNumbers).toEqual([65546]);
  });
  test('a password that is not there keeps the session, with the reason', () => {
    const config = { nodeMeshPassword: { secretKeyRef: { name: 'bgp', key: 'mesh' } } };
    expect(one({ nodes: [A, B], config }).missingPassword).toContain("secret 'bgp', key 'mesh'");
    expect(one({ nodes: [A, B], config, secrets: { 'bgp/mesh': 'x' } })).toMatchObject({ password: 'x' });
  });
});

describe('BGPPeer', () => {
  const config = { nodeToNodeMeshEnabled: false };
  test('global, to a router', () => {
    const peer = one({ nodes: [A], config, peers: { tor: { peerIP: '10.0.0.254', asNumber: 65001 } } });
    expect(peer).toMatchObject({
      name: '10.0.0.254',
      type: 'GlobalPeer',
      resource: 'BGPPeer(tor)',
      asNumbers: [65001],
      passive: false,
    });
  });
  test('to a router: both families in one session, unless a second session has the other', () => {
    const dual = node('a', { ipv4Address: '10.0.0.2/24', ipv6Address: 'fd00::2/64' });
    const tor: BGPPeerSpec = { peerIP: '10.0.0.254', asNumber: 65001 };
    expect(one({ nodes: [dual], config, peers: { tor } }).families).toEqual([4, 6]);
    const both = intent({
      nodes: [dual],
      config,
      peers: { tor, tor6: { peerIP: 'fd00::254', asNumber: 65001 } },
    }).peers;
    expect(both.map((p) => [p.name, p.families])).toEqual([
      ['10.0.0.254', [4]],
      ['fd00::254', [6]],
    ]);
    expect(one({ nodes: [A], config, peers: { tor } }).families).toEqual([4]);
  });
  test('of one node, with port, passes other nodes by', () => {
    const peers = {
      tor: { node: 'a', peerIP: '10.0.0.254:1790', asNumber: 65001 },
      other: { node: 'b', peerIP: '10.0.0.253', asNumber: 1 },
    };
    expect(one({ nodes: [A], config, peers })).toMatchObject({ name: '10.0.0.254:1790', type: 'NodePeer', port: 1790 });
  });
  test('by labels on both sides, and back without being asked', () => {
    const spec = { nodeSelector: "rack == 'r2'", peerSelector: "rack == 'r1'" };
    expect(one({ nodes: [A, B], config, peers: { p: spec } })).toMatchObject({ name: '10.0.0.10' });
    expect(intent({ nodes: [A, B], config, peers: { p: { ...spec, reversePeering: 'Manual' } } }).peers).toEqual([]);
  });
  test('to a node picks up its listen port, and leaves itself out', () => {
    expect(intent({ nodes: [A], config, peers: { me: { peerIP: '10.0.0.2', asNumber: 64512 } } }).peers).toEqual([]);
    const ports = one({
      nodes: [A, B],
      config: { ...config, listenPort: 1179 },
      peers: { b: { peerIP: '10.0.0.10', asNumber: 64512 } },
    });
    expect(ports.port).toBe(1179);
  });
  test('two that ask for one session: the first by rank and name has it, and the other is named', () => {
    const peers = {
      z: { peerIP: '10.0.0.254', asNumber: 65001 },
      a: { node: 'a', peerIP: '10.0.0.254', asNumber: 65002 },
    };
    const result = intent({ nodes: [A], config, peers });
    expect(result.peers.map((p) => p.resource)).toEqual(['BGPPeer(z)']);
    expect(result.problems).toEqual([
      { resource: 'BGPPeer(a)', message: expect.stringContaining('BGPPeer(z) already configures 10.0.0.254') },
    ]);
  });
  test('a filter that does not exist closes the session in both directions', () => {
    const result = intent({
      nodes: [A],
      config,
      peers: { p: { peerIP: '10.0.0.254', asNumber: 1, filters: ['nope'] } },
    });
    expect(result.problems[0].message).toContain("BGPFilter 'nope' does not exist");
    expect(result.peers[0].importPolicy.rules[0]).toMatchObject({
      name: 'BGPFilter(nope) does not exist',
      action: 'reject',
    });
    expect(result.peers[0].exportPolicy.rules[0]).toMatchObject({
      name: 'BGPFilter(nope) does not exist',
      action: 'reject',
    });
  });
  test('a reflector has clients: internal peers of another cluster or none', () => {
    const rr = node('a', { ipv4Address: '10.0.0.2/24', routeReflectorClusterID: '1.0.0.1' });
    const twin = node('b', { ipv4Address: '10.0.0.10/24', routeReflectorClusterID: '1.0.0.1' });
    const peers = { p: { peerSelector: 'all()' } };
    expect(one({ nodes: [rr, B], peers }).routeReflectorClient).toBe(true);
    expect(one({ nodes: [rr, twin], peers }).routeReflectorClient).toBe(false);
  });
  test('settings of the resource', () => {
    const spec: BGPPeerSpec = {
      peerIP: 'fd00::1',
      asNumber: 65001,
      nextHopMode: 'Self',
      ttlSecurity: 2,
      maxRestartTime: '30s',
      keepaliveTime: '3s',
      numAllowedLocalASNumbers: 1,
      localASNumber: 65009,
      sourceAddress: 'None',
      reachableBy: 'fd00::254',
    };
    expect(one({ nodes: [node('a', { ipv6Address: 'fd00::2/64' })], config, peers: { p: spec } })).toMatchObject({
      families: [6],
      nextHop: 'self',
      ttlSecurity: 2,
      gracefulRestart: { restartTime: 30 },
      keepaliveTime: 3,
      holdTime: 9,
      allowOwnAs: 1,
      localAs: 65009,
      reachableBy: 'fd00::254',
    });
  });
});

test.each([
  ['10.0.0.1', { address: '10.0.0.1', port: undefined }],
  ['10.0.0.1:1790', { address: '10.0.0.1', port: 1790 }],
  ['[fd00::1]:1790', { address: 'fd00::1', port: 1790 }],
  ['fd00::1', { address: 'fd00::1', port: undefined }],
  ['10.0.0.1:0', null],
  ['10.0.0.1:70000', null],
  ['host', null],
])('peerIP %s', (text, expected) => {
  expect(parsePeerAddress(text)).toEqual(expected);
});

describe('export', () => {
  const pools = { p: { cidr: '10.65.0.0/16' } };
  const names = (world: World) => intent(world).peers[0].exportPolicy.rules.map((r) => `${r.name}: ${r.action}`);
  test('own block whole, inside it only elevated routes, then what lies in a pool, nothing else', () => {
    const world = { nodes: [A, B], pools, blocks: ['10.65.3.64/26'] };
    expect(names(world)).toEqual([
      'block 10.65.3.64/26: accept',
      'elevated route in block 10.65.3.64/26: accept',
      'covered by own block 10.65.3.64/26: reject',
      'IPPool(p): accept',
    ]);
    expect(intent(world).peers[0].exportPolicy.otherwise).toBe('reject');
  });
  test('filters first, disabled export and communities before the blocks', () => {
    const world: World = {
      nodes: [A],
      config: {
        communities: [{ name: 'lp', value: '65000:1' }],
        prefixAdvertisements: [{ cidr: '10.65.0.0/16', communities: ['lp'] }],
      },
      peers: { tor: { peerIP: '10.0.0.254', asNumber: 65001, filters: ['f'] } },
      filters: {
        f: {
          exportV4: [{ cidr: '10.9.0.0/16', matchOperator: 'In', action: 'Accept' }, { action: 'Reject' }],
          exportV6: [{ action: 'Reject' }],
        },
      },
      pools: { ...pools, hidden: { cidr: '10.66.0.0/16', disableBGPExport: true } },
    };
    expect(names(world)).toEqual([
      'BGPFilter(f) exportV4[0]: accept',
      'BGPFilter(f) exportV4[1]: reject',
      'IPPool(hidden) has disableBGPExport: reject',
      'prefixAdvertisements 10.65.0.0/16: next',
      'IPPool(hidden): accept',
      'IPPool(p): accept',
    ]);
    expect(intent(world).peers[0].exportPolicy.rules[3].operations).toEqual([{ op: 'addCommunity', value: '65000:1' }]);
  });
  test('strict profile: towards outside only own routes, from outside only what the cluster can own', () => {
    const world: World = {
      nodes: [A, B],
      profile: 'strict',
      pools,
      peers: { tor: { peerIP: '10.0.0.254', asNumber: 65001 } },
    };
    const tor = intent(world).peers.find((p) => p.name === '10.0.0.254');
    expect(tor?.exportPolicy.rules[0]).toMatchObject({ match: { source: 'remote' }, action: 'reject' });
    expect(tor?.importPolicy).toMatchObject({ otherwise: 'reject', rules: [{ name: 'IPPool(p)', action: 'accept' }] });
    const mesh = intent(world).peers.find((p) => p.name === '10.0.0.10');
    expect(mesh?.importPolicy).toEqual({ rules: [], otherwise: 'accept' });
  });
});

describe('what this node originates', () => {
  test('confirmed blocks with a blackhole, addresses outside them without', () => {
    const result = intent({
      nodes: [A],
      blocks: ['10.65.3.64/26', '10.65.9.9/32', 'fd00:65::1c40/122'],
      addresses: { '10.65.3.70/32': 1024, '10.65.99.1/32': 1024, '10.65.3.71/32': 512, '10.65.9.9/32': 1024 },
    });
    expect(result.localRoutes.map((r) => `${r.prefix} ${r.priority} ${r.reason}`)).toEqual([
      '10.65.3.64/26 1024 block',
      '10.65.9.9/32 1024 block',
      '10.65.99.1/32 1024 address outside a block',
      '10.65.3.71/32 512 address with elevated priority',
      'fd00:65::1c40/122 1024 block',
    ]);
    expect(result.blackholes).toEqual(['10.65.3.64/26', 'fd00:65::1c40/122']);
  });
  test('pending affinities and those of others are not there', () => {
    const base = input({ nodes: [A] });
    const affinities = new Map([
      ['1', { owner: { type: 'host', name: 'a' }, cidr: '10.65.1.0/26', state: 'pending' } as const],
      ['2', { owner: { type: 'host', name: 'b' }, cidr: '10.65.2.0/26', state: 'confirmed' } as const],
      ['3', { owner: { type: 'virtual', name: 'a' }, cidr: '10.65.3.0/26', state: 'confirmed' } as const],
      ['4', { owner: { type: 'host', name: 'a' }, cidr: '10.65.4.0/26', state: '' } as const],
    ]);
    expect(bgpIntent({ ...base, affinities }).localRoutes.map((r) => r.prefix)).toEqual(['10.65.4.0/26']);
  });
});

describe('the speaker', () => {
  test('router id: the IPv4 address, a given one, or a stable hash of the name', () => {
    expect(intent({ nodes: [A] }).speaker?.routerId).toBe('10.0.0.2');
    expect(intent({ nodes: [A], routerId: '1.2.3.4' }).speaker?.routerId).toBe('1.2.3.4');
    const six = { nodes: [node('a', { ipv6Address: 'fd00::2/64' })] };
    const hashed = intent(six).speaker?.routerId;
    expect(hashed).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
    expect(intent({ ...six, routerId: 'hash' }).speaker?.routerId).toBe(hashed);
  });
  test('listens where the configuration says', () => {
    expect(intent({ nodes: [A] }).speaker?.listen).toEqual([{ address: '0.0.0.0', port: 179 }]);
    expect(
      intent({ nodes: [A], config: { bindMode: 'NodeIP' }, nodeConfig: { listenPort: 1179, bindMode: 'NodeIP' } })
        .speaker?.listen,
    ).toEqual([{ address: '10.0.0.2', port: 1179 }]);
  });
  test('without an address there is none, and the reason is told', () => {
    expect(intent({ nodes: [node('a', undefined)] })).toMatchObject({
      speaker: null,
      problems: [{ resource: 'Node(a)' }],
    });
  });
});

test('learned routes that somebody else programs stay out of the kernel', () => {
  const { of: verdict } = learnedVerdict(
    input({
      nodes: [A],
      config: { serviceClusterIPs: [{ cidr: '10.96.0.0/12' }] },
      pools: { overlay: { cidr: '10.66.0.0/16', vxlanMode: 'CrossSubnet' }, flat: { cidr: '10.65.0.0/16' } },
    }),
  );
  expect(verdict('10.96.0.0/16' as never)).toContain('service range');
  expect(verdict('10.66.1.0/26' as never)).toContain('VXLAN pool overlay');
  expect(verdict('10.65.1.0/26' as never)).toBeNull();
  expect(verdict('0.0.0.0/0' as never)).toBeNull();
});
