import { expect, test } from 'vitest';
import { FakeClock, silentLog } from '#core';
import { Closures } from '../../../agent/closures.ts';
import type { Quarantined } from '../../../agent/reconcile/chains.ts';

const refusal = (owner: string): Quarantined => ({
  family: 4,
  table: 'filter',
  chain: 'cali-fw-x',
  rule: '-m nope',
  owner,
  error: 'no',
});

function rig() {
  const clock = new FakeClock();
  const told: string[][] = [];
  const closures = new Closures(clock, silentLog, (closed) => told.push([...closed]));
  return { clock, told, closures };
}

test('an endpoint with a refused rule is closed, stays so although the closed form is accepted, and is tried again ever later', () => {
  const { clock, told, closures } = rig();
  closures.onPass([refusal('WorkloadEndpoint/default/a')]);
  expect(told).toEqual([['WorkloadEndpoint/default/a']]);
  closures.onPass([]);
  expect(closures.refusals).toHaveLength(1);
  clock.advance(30_000);
  expect(told).toEqual([['WorkloadEndpoint/default/a'], []]);
  closures.onPass([refusal('WorkloadEndpoint/default/a')]);
  expect(told.at(-1)).toEqual(['WorkloadEndpoint/default/a']);
  clock.advance(40_000);
  expect(told).toHaveLength(3);
  clock.advance(20_000);
  expect(told.at(-1)).toEqual([]);
  closures.onPass([]);
  expect(closures.refusals).toEqual([]);
  expect(clock.pending).toBe(0);
});

test('a refused policy closes what uses it by itself', () => {
  const { told, closures } = rig();
  closures.onPass([refusal('GlobalNetworkPolicy/x')]);
  expect(told).toEqual([]);
  closures.stop();
});
