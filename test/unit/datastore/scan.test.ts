import { expect, test } from 'vitest';
import { FakeClock, silentLog } from '#core';
import { type Kind, openStore, type Scanned, type ScanOptions, type Store, scanKind, scanOne } from '#datastore';

const PREFIX = '/calico/resources/v3/projectcalico.org/';
async function storeOf(values: Record<string, string>): Promise<Store> {
  const store = await openStore({ type: 'memory' }, { clock: new FakeClock(), log: silentLog });
  for (const [key, value] of Object.entries(values)) await store.txn([], [{ op: 'put', key: PREFIX + key, value }]);
  return store;
}
async function scanned<K extends Kind>(store: Store, kind: K, options?: ScanOptions<K>): Promise<Scanned<K>[]> {
  const all: Scanned<K>[] = [];
  for await (const one of scanKind(store, kind, options)) all.push(one);
  return all;
}

test('objects come by their keys, with what is wrong with those that cannot be used', async () => {
  const store = await storeOf({
    'networkpolicies/a/default.old': '{"spec":{"selector":"all()"}}',
    'networkpolicies/a/bad': '{"spec":{"selector":"a ="}}',
    'networkpolicies/b/text': 'no JSON',
    'networkpolicies/c/new': '{"metadata":{"name":"new"},"spec":{}}',
  });
  const all = await scanned(store, 'NetworkPolicy');
  expect(all.map(({ id, resource }) => [id, resource?.metadata.name])).toEqual([
    ['a/bad', undefined],
    ['a/default.old', 'old'],
    ['b/text', undefined],
    ['c/new', 'new'],
  ]);
  expect(all[0].invalid).toMatchObject({
    kind: 'NetworkPolicy',
    id: 'a/bad',
    message: expect.stringContaining('selector'),
  });
  expect(all[2].invalid?.message).toContain('not JSON');
  expect((await scanned(store, 'NetworkPolicy', { namespace: 'a' })).map(({ id }) => id)).toEqual([
    'a/bad',
    'a/default.old',
  ]);
});

test('what is not wanted is not judged, what cannot be read is always told', async () => {
  const store = await storeOf({
    'globalnetworksets/bad': '{"spec":{"nets":["x"],"mine":true}}',
    'globalnetworksets/other': '{"spec":{"nets":["y"]}}',
    'globalnetworksets/text': '[]',
  });
  const keep: ScanOptions<'GlobalNetworkSet'>['keep'] = ({ spec }) => spec.mine === true;
  const all = await scanned(store, 'GlobalNetworkSet', { keep });
  expect(all.map(({ id, resource, invalid }) => [id, resource, invalid?.message])).toEqual([
    ['bad', null, expect.stringContaining('spec.nets[0]')],
    ['text', null, expect.stringContaining('not a JSON object')],
  ]);
});

test('a part that is left out is told, and the rest is used', async () => {
  const store = await storeOf({ 'felixconfigurations/default': '{"spec":{"vxlanPort":70000,"vxlanVNI":7}}' });
  expect(await scanOne(store, 'FelixConfiguration', 'default')).toMatchObject({
    resource: { spec: { vxlanVNI: 7 } },
    invalid: { used: true, message: expect.stringContaining('spec.vxlanPort') },
  });
});

test('one by name; a profile that is built in is there', async () => {
  const store = await storeOf({ 'networksets/a/one': '{"spec":{}}' });
  expect(await scanOne(store, 'NetworkSet', 'one', 'a')).toMatchObject({ id: 'a/one', invalid: null });
  expect(await scanOne(store, 'NetworkSet', 'one', 'b')).toBeNull();
  expect((await scanOne(store, 'Profile', 'projectcalico-default-allow'))?.resource?.spec.ingress).toEqual([
    { action: 'Allow' },
  ]);
});
