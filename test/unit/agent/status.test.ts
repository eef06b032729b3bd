import { expect, test } from 'vitest';
import { DEFAULT_ENDPOINT_SETTINGS, type Link, LocalEndpoints, RouteTable } from '#agent';
import { FakeClock, OperationalError, silentLog } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { SettingsReconciler } from '../../../agent/reconcile/settings.ts';
import { endpointStates, nodeStatus, type StatusParts } from '../../../agent/status.ts';
import { resource } from '../../scenarios/scenario.ts';

test('a setting that the kernel refuses is named, of the node or with the endpoint that lacks it', async () => {
  const link: Link = { index: 7, name: 'calia', adminUp: true, up: true, mac: '', mtu: 1500, linkKind: 'veth' };
  const links = new Map([[link.name, link]]);
  const endpoints = new LocalEndpoints('here', new RouteTable());
  endpoints.configure({ ...DEFAULT_ENDPOINT_SETTINGS, routes: false });
  const spec = {
    node: 'here',
    orchestrator: 'k8s',
    endpoint: 'eth0',
    interfaceName: 'calia',
    ipNetworks: ['10.0.0.1/32'],
  };
  const value = resource('WorkloadEndpoint', 'a/w', spec) as WorkloadEndpoint;
  endpoints.onUpdate({ kind: 'WorkloadEndpoint', id: 'a/w', value, revision: 1n });
  endpoints.onLinks(links);
  let refuses = true;
  const sysctl = {
    read: () => '0',
    write: (path: string) => {
      if (refuses) throw new OperationalError('KERNEL', `cannot set ${path}: EROFS`);
    },
  };
  const clock = new FakeClock();
  const settings = new SettingsReconciler({
    ...{ sysctl, netlink: { watch: () => () => {} } },
    clock,
    log: silentLog,
    onDirty: () => {},
  });
  settings.onLinks(links);
  settings.set('', [{ path: 'net/ipv4/ip_forward', value: '1', required: true }]);
  settings.set('calia', [{ path: 'net/ipv4/conf/calia/proxy_arp', value: '1', required: true }]);
  const nothing = { problems: [], quarantined: [], refusals: [], fights: [] };
  const parts = {
    ...{ endpoints, settings, routes: undefined, bgp: undefined, chains: nothing, closures: nothing, sets: nothing },
    ...{ bandwidth: nothing, health: { notReadyReasons: [] }, lag: { milliseconds: () => ({ p50: 0, p99: 0 }) } },
    pipeline: { invalid: [], settingProblems: [], overlayProblems: ['Node here has no ipv4VXLANTunnelAddr'] },
    ...{ revision: () => null, policies: () => 0, policyProblems: () => new Map() },
  } as unknown as StatusParts;

  await settings.apply();
  const told = nodeStatus(parts);
  expect(told.problems).toEqual(['Node here has no ipv4VXLANTunnelAddr', 'cannot set net/ipv4/ip_forward: EROFS']);
  const reason = 'cannot set net/ipv4/conf/calia/proxy_arp: EROFS';
  expect(told.endpoints).toEqual({ total: 1, programmed: 0, failed: [{ key: 'a/w', reason }] });

  refuses = false;
  clock.advance(20_000);
  await settings.apply();
  expect(nodeStatus(parts).problems).toHaveLength(1);
  expect(endpointStates(parts).get('a/w')).toEqual({ state: 'programmed' });
});
