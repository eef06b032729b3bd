import { expect, test } from 'vitest';
import { FakeClock } from '#core';
import { MemoryStore } from '#datastore';
import { follow, nodeKey, nodeValue, storeSuite } from './store-suite.ts';

storeSuite('memory store', async () => {
  const clock = new FakeClock();
  const store = new MemoryStore(clock);
  return { store, other: store, pass: async (ms) => clock.advance(ms), remove: () => store.close() };
});

test('a watcher that asks for forgotten history is told so', async () => {
  const store = new MemoryStore(new FakeClock());
  for (const host of [1, 2, 3]) await store.txn([], [{ op: 'put', key: nodeKey('a'), value: nodeValue('a', host) }]);
  store.table.compact(3n);
  const late = follow(store, '/', 1n);
  await late.done;
  expect(late.messages.map((m) => m.type)).toEqual(['connected', 'compacted']);
});

test('a watcher that is ahead of a restored store is told so', async () => {
  const store = new MemoryStore(new FakeClock());
  const ahead = follow(store, '/', 99n);
  await ahead.done;
  expect(ahead.messages.map((m) => m.type)).toEqual(['rewound']);
});
