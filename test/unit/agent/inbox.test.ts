import { expect, test } from 'vitest';
import { FakeClock, type Milliseconds, realClock } from '#core';
import type { Update } from '#datastore';
import { Inbox } from '../../../agent/inbox.ts';

const update = (id: string, revision: number): Update => ({
  kind: 'Tier',
  id,
  value: null,
  revision: BigInt(revision),
});
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('changes of one object are one change, the last', async () => {
  const taken: string[] = [];
  const drained: (Milliseconds | undefined)[] = [];
  const clock = new FakeClock();
  const inbox = new Inbox(clock, {
    onUpdate: (u) => taken.push(`${u.id}@${u.revision}`),
    onDrained: (since) => drained.push(since),
  });
  clock.advance(5);
  inbox.put([update('a', 1), update('b', 1)]);
  clock.advance(5);
  inbox.put([update('a', 2)]);
  expect(inbox.size).toBe(2);
  await turn();
  expect(taken).toEqual(['a@2', 'b@1']);
  expect(drained).toEqual([5]);
  inbox.poke();
  await turn();
  expect(drained).toEqual([5, undefined]);
});

test('a flood is taken in slices between which the loop turns, and updates that come meanwhile are not lost', async () => {
  let turns = 0;
  let done = false;
  const taken = new Map<string, bigint>();
  const spin = () => {
    const end = realClock.now() + 0.05;
    while (realClock.now() < end);
  };
  const inbox = new Inbox(realClock, {
    onUpdate: (u) => {
      spin();
      if (u.id === '500' && u.revision === 1n) inbox.put([update('0', 2), update('999', 2)]);
      taken.set(u.id, u.revision);
    },
    onDrained: () => {
      done = true;
    },
  });
  inbox.put(Array.from({ length: 1000 }, (_, i) => update(`${i}`, 1)));
  while (!done) {
    await turn();
    turns++;
  }
  expect(turns).toBeGreaterThan(3);
  expect(taken.size).toBe(1000);
  expect([taken.get('0'), taken.get('999')]).toEqual([2n, 2n]);
});
