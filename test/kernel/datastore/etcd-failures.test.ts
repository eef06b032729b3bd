import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { openStore, type Store, type SyncStatus, startSyncer, type Update } from '#datastore';
import { follow, listAll, nodeKey, nodeValue } from '../../unit/datastore/store-suite.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';
import { EtcdServer } from './etcd-server.ts';
import { CuttingProxy } from './proxy.ts';

/** What can happen to an etcd and to the way to it; the end is always that nothing was lost and nothing was thrown into the void. */

let ns: Namespace;
let etcd: EtcdServer;
let store: Store;
const unhandled: unknown[] = [];
const remember = (error: unknown) => unhandled.push(error);

const open = (...endpoints: string[]) => openStore({ type: 'etcdv3', endpoints }, { clock: realClock, log: silentLog });

beforeAll(() => {
  ns = enterNamespace('etcdfail');
  process.on('unhandledRejection', remember);
});
afterAll(() => {
  process.off('unhandledRejection', remember);
  ns.leave();
  expect(unhandled).toEqual([]);
});
beforeEach(async () => {
  etcd = new EtcdServer();
  await etcd.start();
  store = await open(etcd.url);
});
afterEach(async () => {
  await store.close();
  await etcd.remove();
});

/** A consumer that ends up with what the syncer says exists. */
function consumer(on: Store) {
  const names = new Set<string>();
  const statuses: SyncStatus[] = [];
  const { stop } = startSyncer({
    store: on,
    clock: realClock,
    log: silentLog,
    kinds: ['Node'],
    sink: {
      onUpdates: (updates: readonly Update[]) => {
        for (const { id, value } of updates) value ? names.add(id) : names.delete(id);
      },
      onStatus: (status) => statuses.push(status),
      onInvalid: () => {},
    },
  });
  return { names, statuses, stop };
}

const put = (on: Store, name: string, host = 1) =>
  on.txn([], [{ op: 'put', key: nodeKey(name), value: nodeValue(name, host) }]);

/** Resolves when so many connections to where etcd was have been made in vain: the pauses between them have grown by then. */
async function refused(count: number): Promise<void> {
  let made = 0;
  const deaf = createServer((socket) => {
    made++;
    socket.destroy();
  });
  const { hostname, port } = new URL(etcd.url);
  await once(deaf.listen(Number(port), hostname), 'listening');
  await until(`${count} attempts`, () => made >= count, 120_000);
  const closed = once(deaf, 'close');
  deaf.close();
  await closed;
}

/** `count` nodes in transactions of 100. */
async function fill(on: Store, count: number, prefix = 'n'): Promise<void> {
  for (let at = 0; at < count; at += 100)
    await on.txn(
      [],
      Array.from({ length: Math.min(100, count - at) }, (_, i) => {
        const name = `${prefix}${at + i}`;
        return { op: 'put', key: nodeKey(name), value: nodeValue(name) };
      }),
    );
}

test('etcd away for many attempts and back: nothing is lost, and the state says what is going on', async () => {
  await put(store, 'a');
  const seen = consumer(store);
  await until('in-sync', () => seen.statuses.at(-1) === 'in-sync');
  await etcd.stop('SIGTERM');
  await until('disconnection is told', () => seen.statuses.at(-1) === 'waiting', 10_000);
  await expect(store.get(nodeKey('a'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await refused(6);
  await etcd.start();
  etcd.ctl('put', nodeKey('b'), nodeValue('b'));
  await until('the new node arrives', () => seen.names.has('b'), 60_000);
  expect([...seen.names].sort()).toEqual(['a', 'b']);
  expect(seen.statuses.at(-1)).toBe('in-sync');
  await seen.stop();
});

test('etcd frozen is noticed, calls end by their deadline, and thawed it goes on', async () => {
  await put(store, 'a');
  const seen = consumer(store);
  await until('in-sync', () => seen.statuses.at(-1) === 'in-sync');
  etcd.signal('SIGSTOP');
  await until('the freeze is noticed', () => seen.statuses.at(-1) === 'waiting', 60_000);
  await expect(store.get(nodeKey('a'))).rejects.toMatchObject({ code: expect.stringMatching(/TIMEOUT|UNAVAILABLE/) });
  etcd.signal('SIGCONT');
  await etcd.ready();
  await until('in-sync again', () => seen.statuses.at(-1) === 'in-sync');
  etcd.ctl('put', nodeKey('b'), nodeValue('b'));
  await until('the new node arrives', () => seen.names.has('b'));
  await seen.stop();
});

test('history compacted while disconnected: a fresh snapshot, deletions worked out', async () => {
  const proxy = new CuttingProxy(2379);
  await proxy.listen(3379);
  const far = await open('http://127.0.0.1:3379');
  await fill(store, 300);
  const seen = consumer(far);
  await until('300 nodes', () => seen.names.size === 300);
  proxy.refuse = true;
  proxy.cut();
  await until('disconnection', () => seen.statuses.at(-1) === 'waiting');
  etcd.ctl('del', nodeKey('n1'));
  etcd.ctl('put', nodeKey('new'), nodeValue('new'));
  const { revision } = await store.status();
  etcd.ctl('compact', String(revision));
  proxy.refuse = false;
  await until('what is gone is gone', () => seen.names.has('new') && !seen.names.has('n1'));
  expect(seen.names.size).toBe(300);
  await seen.stop();
  await far.close();
  await proxy.close();
});

test('a connection cut anywhere in a catch-up of 8 000 events loses none of them', async () => {
  const { revision } = await listAll(store, '/calico/');
  await fill(store, 8000);
  const proxy = new CuttingProxy(2379);
  await proxy.listen(3379);
  for (const cutAfter of [20_000, 300_000, 700_000, 1_500_000]) {
    proxy.cutAfter = cutAfter;
    const far = await open('http://127.0.0.1:3379');
    const watch = follow(far, '/calico/', revision);
    const keys = () => new Set(watch.events.map((e) => e.key)).size;
    await watch.until(() => keys() >= 8000);
    expect(keys()).toBe(8000);
    await watch.stop();
    await far.close();
  }
  expect(proxy.cuts).toBe(4);
  await proxy.close();
});

test('the same through a proxy that cuts again and again', async () => {
  const { revision } = await listAll(store, '/calico/');
  await fill(store, 8000);
  const proxy = new CuttingProxy(2379);
  await proxy.listen(3379);
  const far = await open('http://127.0.0.1:3379');
  let cuts = 0;
  const cutting = setInterval(() => {
    if (++cuts <= 12) proxy.cut();
  }, 500);
  const watch = follow(far, '/calico/', revision);
  const keys = () => new Set(watch.events.map((e) => e.key)).size;
  const writing = fill(store, 2000, 'late');
  await watch.until(() => keys() >= 10_000);
  clearInterval(cutting);
  await writing;
  await watch.stop();
  await far.close();
  await proxy.close();
});

test('etcd restored to an older revision is noticed, and the result is what it holds now', async () => {
  await fill(store, 50);
  const dir = mkdtempSync(join(tmpdir(), 'tsn-snap-'));
  etcd.ctl('snapshot', 'save', join(dir, 'snap.db'));
  await put(store, 'after-backup');
  await put(store, 'n0', 77);
  const seen = consumer(store);
  await until('all nodes', () => seen.names.size === 51);
  await etcd.stop();
  const restored = join(dir, 'data');
  etcd.ctl(
    ...['snapshot', 'restore', join(dir, 'snap.db'), '--data-dir', restored, '--name', 'one'],
    ...['--initial-cluster', 'one=http://127.0.0.1:2380', '--initial-advertise-peer-urls', 'http://127.0.0.1:2380'],
  );
  etcd.data = restored;
  await etcd.start();
  await until(
    'the node of after the backup is gone',
    () => !seen.names.has('after-backup') && seen.names.size === 50,
    30_000,
  );
  await put(store, 'fresh');
  await until('life goes on', () => seen.names.has('fresh'));
  await seen.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('100 000 keys: bounded memory, a live loop', async () => {
  await fill(store, 100_000);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  let longest = 0;
  let last = performance.now();
  const tick = setInterval(() => {
    longest = Math.max(longest, performance.now() - last - 5);
    last = performance.now();
  }, 5);
  const seen = consumer(store);
  let peak = 0;
  await until(
    'all nodes',
    () => {
      peak = Math.max(peak, process.memoryUsage().rss);
      return seen.names.size === 100_000 && seen.statuses.at(-1) === 'in-sync';
    },
    60_000,
  );
  clearInterval(tick);
  console.log(
    `100 000 keys: ${Math.round((peak - before) / 1e6)} MB above ${Math.round(before / 1e6)}, longest block ${Math.round(longest)} ms`,
  );
  expect(peak - before).toBeLessThan(400e6);
  await seen.stop();
});
