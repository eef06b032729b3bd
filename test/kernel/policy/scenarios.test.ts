import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RenderConfig } from '#policy';
import {
  ACTORS,
  actorHere,
  describeProbe,
  HOST_ACTOR,
  HOST_LINKS,
  HOST_SCENARIOS,
  LINK_ADDRESSES,
  packetOf,
  resourcesOnOneNode,
  SCENARIOS,
  type Scenario,
} from '../../scenarios/index.ts';
import { makeRouter, type Plugged, type Router, VARIANTS } from './router.ts';

/** Every scenario as packets through the rules that the kernel got for it, one after the other without a clean start in between. */

const PLUGGED: Plugged[] = [...ACTORS.values()].map((actor) => ({
  actor,
  link: HOST_LINKS[actor.name] ?? `cali${actor.name}`,
}));

/** An ICMP error about no flow at all is invalid to conntrack: policy is asked only where such packets are not dropped first. */
const isAboutErrors = ({ probes }: Scenario): boolean =>
  probes.some(({ icmpType }) => icmpType !== undefined && ![8, 13, 128].includes(icmpType));

async function play(router: Router, scenario: Scenario, config: Partial<RenderConfig>): Promise<void> {
  await router.become(resourcesOnOneNode(scenario), config);
  const shots = scenario.probes.map((probe) => {
    const [from, to] = [actorHere(probe.from), actorHere(probe.to)];
    return { from: from.name, to: to.name, packet: packetOf(probe, from, to) };
  });
  const arrived = await router.fire(
    shots,
    scenario.probes.map(({ allow }) => allow),
  );
  const verdicts = (allows: (i: number) => boolean) =>
    scenario.probes.map((probe, i) => `${describeProbe(probe)}: ${allows(i) ? 'yes' : 'no'}`);
  expect(verdicts((i) => arrived[i] !== undefined)).toEqual(verdicts((i) => scenario.probes[i].allow));
}

describe.each(VARIANTS)('%s', (variant) => {
  let router: Router;
  beforeAll(async () => {
    router = await makeRouter(variant, PLUGGED, HOST_ACTOR.addresses);
    router.engine.setHostInterfaces(Object.entries(LINK_ADDRESSES).map(([name, addresses]) => ({ name, addresses })));
  });
  afterAll(() => router?.close());

  const ordered = [...SCENARIOS].sort((a, b) => Number(isAboutErrors(a)) - Number(isAboutErrors(b)));
  test.each(ordered.map((s) => [s.name, s] as const))('%s', async (_, scenario) => {
    await play(router, scenario, { dropInvalid: !isAboutErrors(scenario) });
  });
  test.each(HOST_SCENARIOS.map((s) => [s.name, s] as const))('host endpoints: %s', async (_, scenario) => {
    await play(router, scenario, scenario.settings);
  });
});
