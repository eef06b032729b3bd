import { expect, test } from 'vitest';
import { createMetrics, FakeClock, silentLog } from '#core';
import { Applier, type ApplyStep, type StepOutcome } from '../../../agent/apply.ts';

const fine: StepOutcome = { written: 0, failures: [] };

function rig(steps: (Partial<ApplyStep> & { name: string })[]) {
  const clock = new FakeClock();
  const log: string[] = [];
  const passes: string[][] = [];
  /** Of what the next passes are given. */
  const arrivals: number[] = [];
  const metrics = createMetrics();
  const applier = new Applier({
    clock,
    log: silentLog,
    metrics,
    steps: steps.map((s) => ({
      because: 'test',
      ...s,
      run: async () => {
        log.push(s.name);
        return s.run ? s.run() : fine;
      },
    })),
    onBegin: async () => arrivals.shift(),
    onPass: (failures) => passes.push([...failures.keys()]),
  });
  return { clock, log, applier, passes, metrics, arrivals };
}

test('steps run in order; requests during a pass make one more pass, however many they are', async () => {
  let applier: Applier | undefined;
  let first = true;
  const r = rig([
    {
      name: 'a',
      run: async () => {
        if (first) for (let i = 0; i < 5; i++) applier?.request();
        first = false;
        return fine;
      },
    },
    { name: 'b' },
  ]);
  applier = r.applier;
  r.applier.request();
  r.applier.request();
  await r.applier.idle();
  expect(r.log).toEqual(['a', 'b', 'a', 'b']);
});

test('a step that could not be carried out holds back those that need it, not the others, and is retried', async () => {
  let broken = true;
  const r = rig([
    { name: 'chains', run: () => (broken ? Promise.reject(new Error('no')) : Promise.resolve(fine)) },
    { name: 'routes', needs: ['chains'] },
    { name: 'status' },
  ]);
  r.applier.request();
  await r.applier.idle();
  expect(r.log).toEqual(['chains', 'status']);
  expect(r.passes).toEqual([['chains', 'routes']]);
  broken = false;
  r.clock.advance(100);
  await r.applier.idle();
  expect(r.log).toEqual(['chains', 'status', 'chains', 'routes', 'status']);
  expect(r.passes[1]).toEqual([]);
});

test('one refused object does not hold back the steps after it', async () => {
  const r = rig([
    {
      name: 'chains',
      run: async () => ({ written: 1, failures: [{ key: 'cali-pi-x', error: 'EINVAL', detail: 'refused' }] }),
    },
    { name: 'routes', needs: ['chains'] },
  ]);
  r.applier.request();
  await r.applier.idle();
  expect(r.log).toEqual(['chains', 'routes']);
});

test('latency runs from the oldest input until it is really in the kernel', async () => {
  let broken = true;
  const r = rig([{ name: 'a', run: () => (broken ? Promise.reject(new Error('no')) : Promise.resolve(fine)) }]);
  r.arrivals.push(r.clock.now());
  r.applier.request();
  await r.applier.idle();
  broken = false;
  r.clock.advance(90);
  r.arrivals.push(r.clock.now());
  r.applier.request();
  await r.applier.idle();
  const text = await r.metrics.registry.getSingleMetricAsString('tsnet_datastore_to_kernel_seconds');
  expect(text).toContain('tsnet_datastore_to_kernel_seconds_sum 0.09');
  expect(text).toContain('tsnet_datastore_to_kernel_seconds_count 1');
});

test('after stop nothing runs and no timer is left', async () => {
  const r = rig([{ name: 'a', run: () => Promise.reject(new Error('no')) }]);
  r.applier.request();
  await r.applier.idle();
  await r.applier.stop();
  r.applier.request();
  r.clock.advance(60_000);
  await r.applier.idle();
  expect(r.log).toEqual(['a']);
  expect(r.clock.pending).toBe(0);
});

test('work left on purpose is come back to', async () => {
  let left = 2;
  const r = rig([{ name: 'a', run: async () => (left-- > 0 ? { ...fine, again: 50 } : fine) }]);
  r.applier.request();
  await r.applier.idle();
  r.clock.advance(50);
  await r.applier.idle();
  r.clock.advance(50);
  await r.applier.idle();
  expect(r.log).toHaveLength(3);
  expect(r.clock.pending).toBe(0);
});

test('what is to be seen by all steps of a pass or by none changes before its first', async () => {
  const seen: string[] = [];
  const applier: Applier = new Applier({
    ...{ clock: new FakeClock(), log: silentLog, metrics: createMetrics() },
    steps: ['a', 'b'].map((name) => ({
      ...{ name, because: 'test' },
      run: async () => {
        seen.push(name);
        if (seen.length === 2) applier.request();
        return fine;
      },
    })),
    onBegin: async () => {
      seen.push('begin');
      return undefined;
    },
  });
  applier.request();
  await applier.idle();
  expect(seen).toEqual(['begin', 'a', 'b', 'begin', 'a', 'b']);
});
