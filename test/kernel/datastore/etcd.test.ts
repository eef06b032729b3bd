import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { openStore } from '#datastore';
import { opened, storeSuite } from '../../unit/datastore/store-suite.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';
import { listsOfOneRevision } from './etcd-lists.ts';
import { EtcdServer } from './etcd-server.ts';

let ns: Namespace;
const etcd = new EtcdServer();

beforeAll(async () => {
  ns = enterNamespace('etcd');
  await etcd.start();
});
afterAll(async () => {
  await etcd.remove();
  ns.leave();
});

const open = () => openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });

storeSuite('etcd store', async () => {
  etcd.ctl('del', '', '--prefix');
  return opened(open);
});

listsOfOneRevision(etcd, open);

test('a call without a server fails with UNAVAILABLE, soon', async () => {
  const nowhere = await openStore(
    { type: 'etcdv3', endpoints: ['http://127.0.0.1:1'] },
    { clock: realClock, log: silentLog },
  );
  await expect(nowhere.get('/x')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await nowhere.close();
});

test('settings that cannot work are refused', async () => {
  const context = { clock: realClock, log: silentLog };
  const bad = (config: object) => openStore({ type: 'etcdv3', endpoints: ['https://a:1'], ...config }, context);
  await expect(bad({ endpoints: [] })).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(bad({ endpoints: ['http://a:1', 'https://b:1'] })).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(bad({ caFile: '/nonexistent' })).rejects.toMatchObject({ code: 'CONFIG' });
  await expect(bad({ certFile: '/etc/hosts' })).rejects.toMatchObject({ code: 'CONFIG' });
});
