import { expect, test } from 'vitest';
import { FakeClock } from '#core';
import { Loop } from '../../../../bgp/loop.ts';
import { Sweeper } from '../../../../bgp/sweeper.ts';
import { FarEnd, path, World } from './world.ts';

const prefixOf = (i: number) => `${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`;

test('memory returns: after 50 feeds and withdrawals nothing is held, and no table is larger than after the first', () => {
  const world = new World();
  const source = world.source();
  const out = world.group();
  const far = new FarEnd(out, 60_000);
  const sizes: number[] = [];
  for (let feed = 0; feed < 50; feed++) {
    for (let i = 0; i < 2000; i++) world.announce(source, prefixOf(i), path([65001, 1 + (i % 40), feed + 1]));
    sizes.push(world.rib.prefixes.capacity);
    far.pull();
    for (let i = 0; i < 2000; i++) world.withdraw(source, prefixOf(i));
    far.pull();
    out.tidy();
    expect([world.rib.prefixes.count, world.rib.paths.count, world.attributes.count, out.emissions.count]).toEqual([
      0, 0, 0, 0,
    ]);
  }
  expect(new Set(sizes).size).toBe(1);
});

test('500 peers lost at once are cleaned up in one pass over the table, not one each', () => {
  const world = new World();
  const queue: (() => void)[] = [];
  const loop = new Loop(
    new FakeClock(),
    () => false,
    (run) => void queue.push(run),
  );
  const sources = Array.from({ length: 500 }, () => world.source());
  sources.forEach((source, at) => {
    for (let i = 0; i < 20; i++) world.announce(source, prefixOf(at * 20 + i), path([65001]));
  });
  const sweeper = new Sweeper(world.rib, loop, () => 1);
  let done = 0;
  for (const source of sources) sweeper.sweep(source.index, () => done++);
  while (queue.length > 0) queue.shift()?.();
  expect(done).toBe(500);
  expect(world.rib.paths.count).toBe(0);
  // 10 000 paths; the first lost peer may have a pass of its own.
  expect(sweeper.rows).toBeLessThanOrEqual(40_000);
});
