import { expect, test } from 'vitest';
import { type Addr, addr, FakeClock, silentLog } from '#core';
import { MovedFlows } from '../../../agent/reconcile/moved-flows.ts';

function rig() {
  const clock = new FakeClock();
  const walks: { addresses: Addr[]; end: (result: number | Error) => Promise<void> }[] = [];
  let removed = 0;
  const moved = new MovedFlows({
    clock,
    log: silentLog,
    onRemoved: (count) => {
      removed += count;
    },
    netlink: {
      forgetFlows: (addresses) =>
        new Promise((resolve, reject) => {
          const end = async (result: number | Error) => {
            if (typeof result === 'number') resolve(result);
            else reject(result);
            await new Promise((done) => setImmediate(done));
          };
          walks.push({ addresses: [...addresses], end });
        }),
    },
  });
  const move = (...texts: string[]) => {
    for (const text of texts) moved.add(addr(text));
    moved.forget();
  };
  return { clock, walks, moved, move, removed: () => removed };
}

test('one walk at a time, and what moves meanwhile shares the next, which comes after three times what the last took', async () => {
  const { clock, walks, move, removed } = rig();
  move('10.0.0.1', 'fd00::1');
  expect(walks[0].addresses).toEqual(['10.0.0.1', 'fd00::1']);
  move('10.0.0.2');
  clock.advance(40);
  await walks[0].end(7);
  move('10.0.0.3');
  clock.advance(119);
  expect(walks).toHaveLength(1);
  clock.advance(1);
  expect(walks[1].addresses).toEqual(['10.0.0.2', '10.0.0.3']);
  await walks[1].end(1);
  expect(removed()).toBe(8);
  clock.advance(0);
  expect(walks).toHaveLength(2);
  move('10.0.0.4');
  expect(walks).toHaveLength(3);
});

test('a walk that failed is made again, and leaves nothing out', async () => {
  const { clock, walks, move, removed } = rig();
  move('10.0.0.1');
  await walks[0].end(new Error('no'));
  move('10.0.0.2');
  expect(walks).toHaveLength(1);
  clock.advance(10_000);
  expect(walks[1].addresses.sort()).toEqual(['10.0.0.1', '10.0.0.2']);
  await walks[1].end(2);
  expect(removed()).toBe(2);
});

test('closed, it walks no more', async () => {
  const { clock, walks, moved, move } = rig();
  move('10.0.0.1');
  move('10.0.0.2');
  moved.close();
  await walks[0].end(1);
  clock.advance(60_000);
  expect(walks).toHaveLength(1);
});
