import { describe, expect, test } from 'vitest';
import { FELIX_FIELDS } from '#agent';
import { type FelixConfigurationSpec, felixSpec } from '#datastore';
import { DEFAULT_RENDER_CONFIG } from '#policy';
import { Cluster } from '../../../agent/cluster.ts';
import {
  clusterFacts,
  endpointSettings,
  intervals,
  iptablesVariant,
  nodeWide,
  renderConfig,
} from '../../../agent/felix.ts';
import { hostMtu, vxlanMtu, workloadMtu } from '../../../agent/mtu.ts';
import { overlayIntent } from '../../../agent/vxlan.ts';

const AGENT = { interfacePrefix: ['cali'], logGroup: undefined, given: new Set<never>() };
const rendered = (spec: FelixConfigurationSpec) =>
  renderConfig(spec, AGENT, { vxlan: false, dispatch: spec.nftablesMode === 'Enabled' ? 'map' : 'tree' });
const settings = { metric: { 4: 1024, 6: 1024 }, routes: true, isWorkloadLink: () => false };
const links = ['eth0', 'wan0'].map((name, i) => ({
  ...{ index: i, name, adminUp: true, up: true, mac: '', linkKind: '' },
  mtu: name === 'wan0' ? 1400 : 1500,
}));
const meta = (name: string) => ({ apiVersion: 'projectcalico.org/v3', metadata: { name } }) as const;
const pool = {
  ...meta('p'),
  kind: 'IPPool' as const,
  spec: { cidr: '10.65.0.0/16', vxlanMode: 'Always' as const },
};
const node = {
  ...meta('n1'),
  kind: 'Node' as const,
  spec: { bgp: { ipv4Address: '10.0.0.1/24' }, ipv4VXLANTunnelAddr: '10.65.0.0' },
};
const overlay = (felix: FelixConfigurationSpec) =>
  overlayIntent({
    ...{ node: 'n1', nodes: new Map([['n1', node]]), pools: new Map([['p', pool]]), affinities: new Map() },
    ...{ blocks: new Map(), felix, hostMtu: 1500, parentOf: () => 'eth0' },
  }).devices.map(({ device }) => device);

/** A value of each field, and everything in which its effect can show. */
const SAMPLES: Readonly<Record<string, [unknown, (spec: FelixConfigurationSpec) => unknown]>> = {
  interfacePrefix: ['tap,cali', (spec) => rendered(spec).config.interfacePrefixes],
  defaultEndpointToHostAction: ['accept', (spec) => rendered(spec).config.endpointToHostAction],
  iptablesBackend: ['Legacy', (spec) => iptablesVariant(spec, AGENT)],
  nftablesMode: ['Enabled', (spec) => rendered(spec).config.dispatch],
  chainInsertMode: ['append', (spec) => rendered(spec).config.chainInsertMode],
  iptablesFilterAllowAction: ['Return', (spec) => rendered(spec).config.filterAllowAction],
  iptablesMangleAllowAction: ['Return', (spec) => rendered(spec).config.mangleAllowAction],
  iptablesFilterDenyAction: ['Reject', (spec) => rendered(spec).config.filterDenyAction],
  iptablesMarkMask: [0xff00, (spec) => rendered(spec).config.marks],
  disableConntrackInvalidCheck: [true, (spec) => rendered(spec).config.dropInvalid],
  workloadSourceSpoofing: ['Any', (spec) => rendered(spec).config.workloadSourceSpoofing],
  serviceLoopPrevention: ['Reject', (spec) => rendered(spec).config.serviceLoopPrevention],
  allowVXLANPacketsFromWorkloads: [true, (spec) => rendered(spec).config.allowVxlanFromWorkloads],
  allowIPIPPacketsFromWorkloads: [true, (spec) => rendered(spec).config.allowIpipFromWorkloads],
  vxlanEnabled: [false, (spec) => [rendered(spec).config.vxlan, overlay(spec).length]],
  vxlanPort: [4790, (spec) => [rendered(spec).config.vxlanPort, overlay(spec)]],
  vxlanVNI: [7, overlay],
  vxlanMTU: [1300, (spec) => vxlanMtu(1500, 4, spec)],
  vxlanMTUV6: [1290, (spec) => vxlanMtu(1500, 6, spec)],
  externalNodesList: [['203.0.113.0/24'], (spec) => clusterFacts(new Cluster('n1'), spec).vxlanHosts],
  mtuIfacePattern: ['^wan', (spec) => workloadMtu(hostMtu(links, spec.mtuIfacePattern), new Map(), spec)],
  failsafeInboundHostPorts: [[{ protocol: 'UDP', port: 5 }], (spec) => rendered(spec).config.failsafeInbound],
  failsafeOutboundHostPorts: [[], (spec) => rendered(spec).config.failsafeOutbound],
  floatingIPs: ['Enabled', (spec) => rendered(spec).config.floatingIps],
  natOutgoingAddress: ['192.0.2.1', (spec) => rendered(spec).config.nat],
  natPortRange: ['1000:2000', (spec) => rendered(spec).config.nat],
  natOutgoingExclusions: ['IPPoolsAndHostIPs', (spec) => rendered(spec).config.nat],
  iptablesNATOutgoingInterfaceFilter: ['eth+', (spec) => rendered(spec).config.nat],
  deviceRouteSourceAddress: ['192.0.2.1', (spec) => endpointSettings(spec, settings).source],
  deviceRouteSourceAddressIPv6: ['2001:db8::1', (spec) => endpointSettings(spec, settings).source],
  logPrefix: ['x', (spec) => rendered(spec).config.log],
  logActionRateLimit: ['30/minute', (spec) => rendered(spec).config.log],
  logActionRateLimitBurst: [9, (spec) => rendered({ logActionRateLimit: '1/second', ...spec }).config.log],
  ipForwarding: ['Disabled', (spec) => nodeWide(spec)],
  maxIpsetSize: [5, (spec) => nodeWide(spec)],
  iptablesRefreshInterval: ['1m', intervals],
  ipsetsRefreshInterval: ['0s', intervals],
  routeRefreshInterval: ['5s', intervals],
  interfaceRefreshInterval: ['1m30s500ms', intervals],
};

describe('every field that the manual says tsnet acts on', () => {
  test('has a sample here, and the other way round', () => {
    expect(Object.keys(SAMPLES).sort()).toEqual(Object.keys(FELIX_FIELDS).sort());
  });
  test.each(Object.entries(SAMPLES))('%s', (field, [value, effect]) => {
    expect(effect({ [field]: value })).not.toEqual(effect({}));
    if (!FELIX_FIELDS[field].effect.includes('agent starts')) expect(rendered({ [field]: value }).problems).toEqual([]);
  });
});

test('without any field the chains are rendered as Calico renders them by default', () => {
  expect(rendered({})).toEqual({ config: DEFAULT_RENDER_CONFIG, problems: [] });
});

test('forged sources are allowed in rules and in the kernel’s own check', () => {
  const spec = { workloadSourceSpoofing: 'any' };
  expect(rendered(spec).config.workloadSourceSpoofing).toBe('Any');
  expect(endpointSettings(spec, settings).spoofing).toBe(true);
});

test('floating addresses have rules and routes', () => {
  const spec = { floatingIPs: 'Enabled' };
  expect([rendered(spec).config.floatingIps, endpointSettings(spec, settings).floatingIps]).toEqual([true, true]);
});

test('a disabled pool is a pool, and what its workloads send is still translated', () => {
  const cluster = new Cluster('n1');
  const spec = { cidr: '10.65.0.0/16', natOutgoing: true, disabled: true };
  cluster.onUpdate({ kind: 'IPPool', id: 'p', revision: 1n, value: { ...pool, spec } });
  expect(clusterFacts(cluster, {}).pools).toEqual([{ cidr: '10.65.0.0/16', natOutgoing: true }]);
});

test('a node’s own configuration goes before one that selects it, field by field, and that before default', () => {
  const felix = (name: string, spec: FelixConfigurationSpec) =>
    [name, { ...meta(name), kind: 'FelixConfiguration' as const, spec }] as const;
  const all = new Map([
    felix('default', { vxlanPort: 1, vxlanVNI: 1, vxlanMTU: 1 }),
    felix('racks', { nodeSelector: "rack == 'r1'", vxlanPort: 2, vxlanVNI: 2 }),
    felix('others', { nodeSelector: "rack == 'r2'", vxlanPort: 9, vxlanVNI: 9, vxlanMTU: 9 }),
    felix('node.n1', { vxlanPort: 3 }),
    felix('node.n2', { vxlanPort: 9 }),
  ]);
  expect(felixSpec(all, 'n1', { rack: 'r1' })).toMatchObject({ vxlanPort: 3, vxlanVNI: 2, vxlanMTU: 1 });
});

test('nothing is read back more than once a second', () => {
  const read = (iptablesRefreshInterval: string) => intervals({ iptablesRefreshInterval }).rules;
  expect(['1ns', '999ms', '1s', '1500ms', '0s', '-1s'].map(read)).toEqual([1000, 1000, 1000, 1500, 0, -1000]);
});

test('a selector of nodes may ask for any name: what every object has is no label', () => {
  for (const nodeSelector of ["constructor contains 'x'", 'has(toString)', "!(__proto__ != 'x')"]) {
    const all = new Map([
      ['odd', { ...meta('odd'), kind: 'FelixConfiguration' as const, spec: { nodeSelector, vxlanPort: 1 } }],
    ]);
    expect(felixSpec(all, 'n1', { rack: 'r1' })).toEqual({});
  }
});

test.each([
  [{ iptablesMarkMask: 0x0f }, 'iptablesMarkMask', '4 bits; 5 are needed'],
  [{ natOutgoingAddress: 'here' }, 'natOutgoingAddress', 'here'],
  [{ ipv6Support: false }, 'ipv6Support', 'stays programmed'],
])('%j cannot be honoured: named, and the default holds', (spec, field, words) => {
  const { config, problems } = rendered(spec);
  expect(problems).toEqual([{ field, message: expect.stringContaining(words) }]);
  expect(config).toEqual(DEFAULT_RENDER_CONFIG);
});

test('bursts of logs that the kernel would refuse, and no port at all', () => {
  const burst = (spec: FelixConfigurationSpec) => rendered(spec).config.log.rate?.burst;
  expect(burst({ logActionRateLimit: '10/second', logActionRateLimitBurst: 0 })).toBe(5);
  expect(burst({ logActionRateLimit: '1/day' })).toBe(1);
  expect(burst({ logActionRateLimit: '2/hour', logActionRateLimitBurst: 100 })).toBe(48);
  expect(burst({ logActionRateLimit: '9999/second', logActionRateLimitBurst: 9999 })).toBe(9999);
  expect(rendered({ natPortRange: 0 }).config.nat).toEqual(DEFAULT_RENDER_CONFIG.nat);
});

test('a flag of the agent beats the cluster', () => {
  const config = { ...AGENT, given: new Set(['interfacePrefix', 'iptablesBackend'] as const) };
  const options = { vxlan: false, dispatch: 'tree' } as const;
  expect(renderConfig({ interfacePrefix: 'tap' }, config, options).config.interfacePrefixes).toEqual(['cali']);
  expect(iptablesVariant({ iptablesBackend: 'Legacy' }, config)).toBeUndefined();
});
