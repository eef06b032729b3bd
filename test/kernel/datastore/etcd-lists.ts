import { expect, test } from 'vitest';
import type { Store } from '#datastore';
import { listAll, nodeKey, nodeValue } from '../../unit/datastore/store-suite.ts';
import type { EtcdServer } from './etcd-server.ts';

/** What a store on a real etcd owes to lists that are longer than a page, whichever way it asks. */
export function listsOfOneRevision(etcd: EtcdServer, open: () => Promise<Store>): void {
  test('a list of more than one page is of one revision', async () => {
    etcd.ctl('del', '', '--prefix');
    const store = await open();
    for (let batch = 0; batch < 120; batch++)
      await store.txn(
        [],
        Array.from({ length: 100 }, (_, i) => {
          const name = `n${batch * 100 + i}`;
          return { op: 'put', key: nodeKey(name), value: nodeValue(name) };
        }),
      );
    let count = 0;
    for await (const page of store.list('/calico/')) {
      count += page.length;
      await store.txn([], [{ op: 'put', key: nodeKey('zz-late'), value: nodeValue('zz-late') }]);
    }
    expect(count).toBe(12_000);
    expect((await listAll(store, '/calico/')).entries).toHaveLength(12_001);
    await store.close();
  });
}
