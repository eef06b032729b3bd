import { expect, test } from 'vitest';
import { FakeClock, OperationalError, silentLog } from '#core';
import { MemoryStore } from '#datastore';
import { Publisher } from '../../../agent/publisher.ts';
import type { NodeStatus } from '../../../agent/status.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

function rig() {
  const clock = new FakeClock();
  const store = new MemoryStore(clock);
  let version = 0;
  const status = () => ({ status: { version: String(version) } as NodeStatus, peers: [], routes: null });
  const publisher = new Publisher({ store, node: 'n', clock, log: silentLog, status });
  const read = async () => JSON.parse((await store.get('/tsnet/v1/status/n'))?.value ?? 'null');
  return { clock, store, publisher, read, set: (v: number) => (version = v) };
}

test('a burst of changes is one write, and silence is broken before the lease ends', async () => {
  const { clock, store, publisher, read, set } = rig();
  let writes = 0;
  const txn = store.txn.bind(store);
  store.txn = (...args) => {
    writes++;
    return txn(...args);
  };
  publisher.start();
  for (let i = 1; i <= 5; i++) {
    set(i);
    publisher.poke();
  }
  clock.advance(1000);
  await turn();
  expect([(await read()).status.version, writes]).toEqual(['5', 1]);
  clock.advance(30_000);
  await turn();
  expect(writes).toBe(2);
  publisher.stop();
  clock.advance(600_000);
  await turn();
  expect(await read()).toBeNull();
});

test('a datastore that is away is tried again', async () => {
  const { clock, store, publisher, read } = rig();
  const txn = store.txn.bind(store);
  store.txn = () => Promise.reject(new OperationalError('UNAVAILABLE', 'away'));
  publisher.start();
  clock.advance(1000);
  await turn();
  store.txn = txn;
  clock.advance(30_000);
  await turn();
  expect(await read()).not.toBeNull();
  publisher.stop();
});
