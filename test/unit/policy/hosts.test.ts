import { expect, test } from 'vitest';
import { describeProbe, evaluateProbe, HOST_SCENARIOS, resourcesOnOneNode, worldOf } from '../../scenarios/index.ts';

test('host endpoint scenarios have unique names', () => {
  expect(HOST_SCENARIOS.length).toBeGreaterThanOrEqual(40);
  expect(new Set(HOST_SCENARIOS.map(({ name }) => name)).size).toBe(HOST_SCENARIOS.length);
});

test.each(HOST_SCENARIOS.map((s) => [s.name, s] as const))('%s', (_, scenario) => {
  const world = worldOf(resourcesOnOneNode(scenario));
  const verdicts = (allows: (i: number) => boolean) =>
    scenario.probes.map((probe, i) => `${describeProbe(probe)}: ${allows(i) ? 'yes' : 'no'}`);
  const allows = (i: number) => evaluateProbe(world, scenario.probes[i], scenario.settings).allow;
  expect(verdicts(allows)).toEqual(verdicts((i) => scenario.probes[i].allow));
});
