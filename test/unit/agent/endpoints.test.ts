import { describe, expect, test } from 'vitest';
import { DEFAULT_ENDPOINT_SETTINGS, gatewayRoute, type Link, LocalEndpoints, RouteTable } from '#agent';
import { addr, prefix } from '#core';
import type { UpdateOf, WorkloadEndpoint } from '#datastore';

const link = (name: string, index: number, more: Partial<Link> = {}): Link => ({
  index,
  name,
  adminUp: true,
  up: true,
  mac: '',
  mtu: 1500,
  linkKind: 'veth',
  ...more,
});
const links = (...all: Link[]): Map<string, Link> => new Map(all.map((l) => [l.name, l]));

function update(
  id: string,
  spec: Partial<WorkloadEndpoint['spec']> | null,
  creationTimestamp = '2026-01-01T00:00:00Z',
): UpdateOf<'WorkloadEndpoint'> {
  const value = spec && {
    apiVersion: 'projectcalico.org/v3' as const,
    kind: 'WorkloadEndpoint' as const,
    metadata: { name: id, creationTimestamp },
    spec: { orchestrator: 'k8s', node: 'n1', endpoint: 'eth0', interfaceName: `cali${id}`, ...spec },
  };
  return { kind: 'WorkloadEndpoint', id, value, revision: 1n };
}
function world() {
  const table = new RouteTable();
  const endpoints = new LocalEndpoints('n1', table);
  const winner = (to = '10.65.0.1/32') => table.explain(prefix(to))?.winner;
  return { table, endpoints, winner };
}

describe('from endpoints to routes', () => {
  test('each address of a local endpoint becomes a route to its interface', () => {
    const { endpoints, winner } = world();
    expect(endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32', 'fd00::1/128'] }))).toBe(true);
    expect(endpoints.onUpdate(update('b', { node: 'n2', ipNetworks: ['10.65.0.2/32'] }))).toBe(false);
    expect(winner()?.route).toEqual({
      to: '10.65.0.1/32',
      metric: 1024,
      table: 254,
      via: { type: 'link', link: 'calia' },
    });
    expect(winner('fd00::1/128')?.route.via).toEqual({ type: 'link', link: 'calia' });
    expect(winner('10.65.0.2/32')).toBeUndefined();
  });
  test('an endpoint that changes its address, interface or node leaves nothing behind', () => {
    const { endpoints, winner, table } = world();
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }));
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.3/32'], interfaceName: 'caliz' }));
    expect([winner(), winner('10.65.0.3/32')?.route.via]).toEqual([undefined, { type: 'link', link: 'caliz' }]);
    expect([endpoints.onInterface('calia').length, endpoints.onInterface('caliz').length]).toEqual([0, 1]);
    expect(endpoints.onUpdate(update('a', { node: 'n2', ipNetworks: ['10.65.0.3/32'] }))).toBe(true);
    expect([table.size, endpoints.all.size]).toEqual([0, 0]);
    expect(endpoints.onUpdate(update('a', null))).toBe(false);
  });
  test('an endpoint without an address does not exist for the dataplane', () => {
    const { endpoints } = world();
    expect(endpoints.onUpdate(update('a', { ipNetworks: [] }))).toBe(false);
    expect(endpoints.all.size).toBe(0);
  });
  test('an endpoint that names an interface of the host has nothing there, and is named', () => {
    const { endpoints, winner, table } = world();
    endpoints.onLinks(links(link('eth0', 1), link('calia', 2)));
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }));
    endpoints.onUpdate(update('b', { ipNetworks: ['10.65.0.2/32'], interfaceName: 'eth0' }));
    expect([winner('10.65.0.2/32'), [...endpoints.served()].map(({ id }) => id)]).toEqual([undefined, ['a']]);
    expect(endpoints.stateOf('b', () => true)).toEqual({
      state: 'failed',
      reason: "interface eth0 is not a workload's: its name begins in none of the ways of interfacePrefix",
    });
    // Routes go when the cluster says that such interfaces are no workloads' any more, for with them goes policy.
    endpoints.configure({ ...DEFAULT_ENDPOINT_SETTINGS, isWorkloadLink: (name) => name.startsWith('tap') });
    expect([winner(), table.explain(prefix('10.65.0.1/32'))]).toEqual([undefined, null]);
  });
  test('metric and source address follow the settings; --policy-only offers nothing', () => {
    const { endpoints, winner, table } = world();
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }));
    const settings = { ...DEFAULT_ENDPOINT_SETTINGS, metric: { 4: 512, 6: 600 }, source: { 4: addr('10.0.0.1') } };
    endpoints.configure(settings);
    expect(winner()?.route).toMatchObject({ metric: 512, source: '10.0.0.1' });
    endpoints.configure({ ...settings, routes: false });
    expect(table.size).toBe(0);
  });
  test('the reverse path is not checked where endpoint and cluster say so, both', () => {
    const { endpoints } = world();
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'], allowSpoofedSourcePrefixes: ['10.9.0.0/16'] }));
    endpoints.onUpdate(update('b', { ipNetworks: ['10.65.0.2/32'] }));
    const those = () => [...endpoints.all.values()].filter((one) => endpoints.maySpoof(one)).map(({ id }) => id);
    expect(those()).toEqual([]);
    endpoints.configure({ ...DEFAULT_ENDPOINT_SETTINGS, spoofing: true });
    expect(those()).toEqual(['a']);
  });
  test('floating addresses are routed while the cluster has them, and follow the endpoint that has them', () => {
    const { endpoints, winner, table } = world();
    const floats = (internal: string, external: string) => [{ internalIP: internal, externalIP: external }];
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'], ipNATs: floats('10.65.0.1', '172.16.0.5') }));
    endpoints.onUpdate(update('b', { ipNetworks: ['fd00::2/128'], ipNATs: floats('fd00::2', 'fd99::5') }));
    expect(table.size).toBe(2);
    endpoints.configure({ ...DEFAULT_ENDPOINT_SETTINGS, floatingIps: true });
    expect(winner('172.16.0.5/32')?.route.via).toEqual({ type: 'link', link: 'calia' });
    expect(winner('fd99::5/128')?.route.via).toEqual({ type: 'link', link: 'calib' });
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }));
    endpoints.onUpdate(update('b', { ipNetworks: ['10.65.0.2/32'], ipNATs: floats('10.65.0.2', '172.16.0.5') }));
    expect(winner('172.16.0.5/32')?.route.via).toEqual({ type: 'link', link: 'calib' });
    endpoints.configure(DEFAULT_ENDPOINT_SETTINGS);
    expect(table.size).toBe(2);
  });

  test('nobody takes the address of another workload by calling it a floating one of his own', () => {
    const { endpoints, winner } = world();
    endpoints.configure({ ...DEFAULT_ENDPOINT_SETTINGS, floatingIps: true });
    endpoints.onLinks(links(link('calib', 1)));
    const thief = { ipNetworks: ['10.65.0.2/32'], ipNATs: [{ internalIP: '10.65.0.2', externalIP: '10.65.0.1' }] };
    endpoints.onUpdate(update('b', thief, '2026-02-01T00:00:00Z'));
    expect(winner('10.65.0.1/32')?.owner).toBe('b');
    endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }, '2026-01-01T00:00:00Z'));
    expect(winner('10.65.0.1/32')?.route.via).toEqual({ type: 'link', link: 'calia' });
  });
});

describe('two endpoints with one address', () => {
  const both = ['10.65.0.1/32'];
  test('the one created last wins, whatever the order of events', () => {
    for (const order of [
      ['a', 'b'],
      ['b', 'a'],
    ]) {
      const { endpoints, winner } = world();
      for (const id of order)
        endpoints.onUpdate(update(id, { ipNetworks: both }, id === 'a' ? '2026-01-02T00:00:00Z' : undefined));
      expect(winner()?.owner).toBe('a');
      endpoints.onUpdate(update('a', null));
      expect(winner()?.owner).toBe('b');
    }
  });
  test('of the same second, the smaller id', () => {
    const { endpoints, winner } = world();
    endpoints.onUpdate(update('b', { ipNetworks: both }));
    endpoints.onUpdate(update('a', { ipNetworks: both }));
    expect(winner()?.owner).toBe('a');
  });
  test('but one whose interface exists wins over one whose interface does not', () => {
    const { endpoints, winner } = world();
    endpoints.onUpdate(update('a', { ipNetworks: both }, '2026-01-02T00:00:00Z'));
    endpoints.onUpdate(update('b', { ipNetworks: both }));
    endpoints.onLinks(links(link('calib', 5)), new Set(['calib']));
    expect(winner()?.owner).toBe('b');
    expect(endpoints.stateOf('a', () => true)).toEqual({ state: 'down', reason: 'interface calia does not exist' });
    endpoints.onLinks(links(link('calib', 5), link('calia', 6)));
    expect(winner()?.owner).toBe('a');
    expect(endpoints.stateOf('b', () => true)).toEqual({
      state: 'failed',
      reason: 'address 10.65.0.1/32 belongs to a',
    });
  });
});

test('the state of an endpoint tells what keeps packets away', () => {
  const { endpoints } = world();
  endpoints.onUpdate(update('a', { ipNetworks: ['10.65.0.1/32'] }));
  const state = (told: true | string = true) => endpoints.stateOf('a', () => told);
  expect(state().state).toBe('down');
  endpoints.onLinks(links(link('calia', 5, { up: false })));
  expect(state()).toEqual({ state: 'down', reason: 'interface calia is down' });
  endpoints.onLinks(links(link('calia', 5)));
  expect(state('ENODEV')).toEqual({ state: 'failed', reason: 'route 10.65.0.1/32: ENODEV' });
  expect(state()).toEqual({ state: 'programmed' });
});

describe('the way to the gateway address, which lets proxy ARP answer', () => {
  const isWorkload = (name: string) => name.startsWith('cali');
  const through = (...all: Link[]) => {
    const route = gatewayRoute(links(link('lo', 1, { linkKind: '' }), ...all), isWorkload);
    return route?.via.type === 'link' ? route.via.link : route;
  };
  test('is a physical interface before a virtual one, never a workload or a tunnel, and lo at last', () => {
    expect(through()).toBe('lo');
    expect(through(link('cali1', 2), link('vxlan.calico', 3, { linkKind: 'vxlan' }))).toBe('lo');
    expect(through(link('docker0', 2, { linkKind: 'bridge' }), link('eth1', 4, { linkKind: '' }))).toBe('eth1');
    expect(through(link('eth0', 2, { linkKind: '', up: false }), link('br0', 3, { linkKind: 'bridge' }))).toBe('br0');
  });
});
