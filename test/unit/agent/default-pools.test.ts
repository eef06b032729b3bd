import { beforeEach, expect, test } from 'vitest';
import { FakeClock, silentLog } from '#core';
import { createResources, MemoryStore, type Resources, resourceKey } from '#datastore';
import { makeDefaultPools } from '../../../agent/default-pools.ts';
import { agentCommand, readSettings } from '../../../agent/read-settings.ts';

let store: MemoryStore;
let resources: Resources;
const settings = (env: Record<string, string>) => readSettings([], { NODENAME: 'n1', ...env }, agentCommand('0.0.0'));
const make = (env: Record<string, string>) => makeDefaultPools(resources, settings(env), silentLog);
const cidrs = async () =>
  (await resources.list('IPPool')).items.map(({ metadata, spec }) => [metadata.name, spec.cidr]);
const BOTH = { CALICO_IPV4POOL_CIDR: '10.65.0.0/16', CALICO_IPV6POOL_CIDR: 'fd00:65::/48' };

beforeEach(() => {
  store = new MemoryStore(new FakeClock());
  resources = createResources(store, new FakeClock());
});

test('a pool of each family that is asked for, with what goes with it', async () => {
  await make({ ...BOTH, CALICO_IPV4POOL_VXLAN: 'crosssubnet', CALICO_IPV4POOL_BLOCK_SIZE: '28' });
  expect((await resources.list('IPPool')).items.map(({ spec }) => spec)).toMatchObject([
    { cidr: '10.65.0.0/16', blockSize: 28, vxlanMode: 'CrossSubnet', natOutgoing: true, nodeSelector: 'all()' },
    { cidr: 'fd00:65::/48', blockSize: 122, vxlanMode: 'Never', natOutgoing: false },
  ]);
});
test('none unless asked for, and none with NO_DEFAULT_POOLS', async () => {
  await make({});
  await make({ ...BOTH, NO_DEFAULT_POOLS: 'true' });
  await make({ CALICO_IPV4POOL_CIDR: 'none' });
  expect(await cidrs()).toEqual([]);
});
test('not in a family that has a pool, whatever its name, nor beside one that cannot be read', async () => {
  await resources.create({
    apiVersion: 'projectcalico.org/v3',
    kind: 'IPPool',
    metadata: { name: 'mine' },
    spec: { cidr: '10.1.0.0/16' },
  });
  await make(BOTH);
  expect(await cidrs()).toEqual([
    ['default-ipv6-ippool', 'fd00:65::/48'],
    ['mine', '10.1.0.0/16'],
  ]);
  await resources.delete('IPPool', 'default-ipv6-ippool');
  await store.txn([], [{ op: 'put', key: resourceKey('IPPool', 'broken'), value: 'no json' }]);
  await make(BOTH);
  expect(await cidrs()).toEqual([['mine', '10.1.0.0/16']]);
});
test('what cannot be is refused by the name of the setting', async () => {
  expect(() => settings({ CALICO_IPV4POOL_CIDR: 'fd00::/48' })).toThrow('CALICO_IPV4POOL_CIDR');
  expect(() => settings({ CALICO_IPV4POOL_BLOCK_SIZE: '33' })).toThrow('20 to 32');
  await expect(make({ CALICO_IPV4POOL_CIDR: '10.65.0.0/28' })).rejects.toThrow(
    /CALICO_IPV4POOL_CIDR.*smaller than one block/,
  );
});
