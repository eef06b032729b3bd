import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AnyResource } from '#datastore';
import { ACTORS, CAST, describeProbe, idOf, packetOf, SCENARIOS, type Scenario } from '../../scenarios/index.ts';
import { makeRouter, type Plugged, type Router, VARIANTS } from './router.ts';

/** Every scenario as packets through the rules that the kernel got for it, one after the other without a clean start in between. */

const LINKS: Readonly<Record<string, string>> = { out: 'eth0', office: 'eth1' };
const PLUGGED: Plugged[] = [...ACTORS.values()].map((actor) => ({
  actor,
  link: LINKS[actor.name] ?? `cali${actor.name}`,
}));
const HOST_ADDRESSES = { 4: '10.0.0.1', 6: 'fd00::a' };

/** All on one node: what leaves one endpoint enters the other through the same rules. */
function onOneNode(r: AnyResource): AnyResource {
  return r.kind === 'WorkloadEndpoint' ? { ...r, spec: { ...r.spec, node: 'node-a' } } : r;
}
const CAST_HERE = CAST.map(onOneNode);
const resourcesOf = ({ resources }: Scenario): AnyResource[] => [
  ...new Map([...CAST_HERE, ...resources.map(onOneNode)].map((r) => [`${r.kind}/${idOf(r)}`, r])).values(),
];

/** An ICMP error about no flow at all is invalid to conntrack: policy is asked only where such packets are not dropped first. */
const isAboutErrors = ({ probes }: Scenario): boolean =>
  probes.some(({ icmpType }) => icmpType !== undefined && ![8, 13, 128].includes(icmpType));

describe.each(VARIANTS)('iptables-%s', (variant) => {
  let router: Router;
  beforeAll(async () => {
    router = await makeRouter(variant, PLUGGED, HOST_ADDRESSES);
  });
  afterAll(() => router?.close());

  const ordered = [...SCENARIOS].sort((a, b) => Number(isAboutErrors(a)) - Number(isAboutErrors(b)));
  test.each(ordered.map((s) => [s.name, s]))('%s', async (_, scenario) => {
    await router.become(resourcesOf(scenario), { dropInvalid: !isAboutErrors(scenario) });
    const shots = scenario.probes.map((probe) => {
      const [from, to] = [ACTORS.get(probe.from)!, ACTORS.get(probe.to)!];
      return { from: from.name, to: to.name, packet: packetOf(probe, from, to) };
    });
    const arrived = await router.fire(
      shots,
      scenario.probes.map(({ allow }) => allow),
    );
    const verdicts = (allows: (i: number) => boolean) =>
      scenario.probes.map((probe, i) => `${describeProbe(probe)}: ${allows(i) ? 'yes' : 'no'}`);
    expect(verdicts((i) => arrived[i] !== undefined)).toEqual(verdicts((i) => scenario.probes[i].allow));
  });
});
