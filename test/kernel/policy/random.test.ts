import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AnyResource } from '#datastore';
import { DEFAULT_RENDER_CONFIG, type FlowSettings, type Packet } from '#policy';
import { actor, endpointOfLink, idOf, type Place, passesNode, worldOf } from '../../scenarios/index.ts';
import { ADDRESSES, cluster, packet } from '../../scenarios/random.ts';
import { HOST, makeRouter, type Plugged, type Router, VARIANTS } from './router.ts';

/** Random clusters on one node: evaluator and kernel must agree on every packet. */

/** Three workload interfaces, the host itself, and one address outside, behind an interface that may be a host endpoint. */
const NAMES = ['w0', 'w1', 'w2', HOST, 'out'];
const PLUGGED: Plugged[] = NAMES.flatMap((name, i) =>
  name === HOST
    ? []
    : [{ actor: actor(name, ADDRESSES[4][i], ADDRESSES[6][i]), link: name === 'out' ? 'eth0' : `cali${name}` }],
);
const HOST_ADDRESSES = { 4: ADDRESSES[4][3], 6: ADDRESSES[6][3] };
const RUNS = { 'iptables-nft': 40, 'iptables-legacy': 20, nftables: 40 } as const;

/** The cluster as this node can have it: the first workload of an address has its interface, no workload has the host's. */
function onThisNode(resources: readonly AnyResource[]): { resources: AnyResource[]; workloads: Map<string, string> } {
  const workloads = new Map<string, string>();
  const kept = resources.flatMap((r): AnyResource[] => {
    if (r.kind === 'HostEndpoint') return [{ ...r, spec: { ...r.spec, node: 'node-a' } }];
    if (r.kind !== 'WorkloadEndpoint') return [r];
    const name = NAMES[ADDRESSES[4].indexOf((r.spec.ipNetworks ?? [])[0].split('/')[0])];
    if (name === HOST || workloads.has(name)) return [];
    workloads.set(name, idOf(r));
    return [{ ...r, spec: { ...r.spec, node: 'node-a', interfaceName: `cali${name}` } }];
  });
  return { resources: kept, workloads };
}

const nameOf = (address: string): string =>
  NAMES[Math.max(ADDRESSES[4].indexOf(address), ADDRESSES[6].indexOf(address))];
const actions = fc.constantFrom<FlowSettings['endpointToHostAction']>('Drop', 'Accept', 'Return');
const packets = fc.array(
  packet.filter(({ source, destination }) => source !== destination),
  { minLength: 24, maxLength: 24 },
);
const { failsafeInbound } = DEFAULT_RENDER_CONFIG;
/** One of the ports that the packets have, so that it matters. */
const failsafeOutbound = [{ protocol: 17, port: 90 }];

describe.each(VARIANTS)('%s', (variant) => {
  let router: Router;
  beforeAll(async () => {
    router = await makeRouter(variant, PLUGGED, HOST_ADDRESSES);
    router.engine.setHostInterfaces([{ name: 'eth0', addresses: [ADDRESSES[4][0]] }]);
  });
  afterAll(() => router?.close());

  test('random policy: evaluator and kernel agree packet by packet', async () => {
    const seen = new Map<boolean, number>();
    await fc.assert(
      fc.asyncProperty(cluster, packets, actions, async (random, sent, endpointToHostAction) => {
        const { resources, workloads } = onThisNode(random);
        const settings: FlowSettings = { endpointToHostAction, failsafeInbound, failsafeOutbound };
        const world = worldOf(resources);
        const endpoint = endpointOfLink(world, 'eth0', [ADDRESSES[4][0]]);
        const place = (name: string): Place => {
          if (name === HOST) return { at: 'host' };
          return name === 'out' ? { at: 'link', endpoint } : { at: 'workload', id: workloads.get(name) };
        };
        const shots = sent.map((one: Packet) => ({
          from: nameOf(one.source),
          to: nameOf(one.destination),
          packet: one,
        }));
        const allowed = shots.map(({ from, to, packet: one }) =>
          passesNode(world, place(from), place(to), one, settings),
        );
        await router.become(resources, { ...settings, dropInvalid: false });
        const arrived = await router.fire(shots, allowed);
        for (const allow of allowed) seen.set(allow, (seen.get(allow) ?? 0) + 1);
        const said = (allows: (i: number) => boolean) =>
          shots.map(({ from, to, packet: one }, i) => `${from} > ${to} ${JSON.stringify(one)}: ${allows(i)}`);
        expect(said((i) => arrived[i] !== undefined)).toEqual(said((i) => allowed[i]));
      }),
      { numRuns: RUNS[variant], interruptAfterTimeLimit: 60_000 },
    );
    // Had the clusters been all open or all closed, agreement would mean little.
    for (const allow of [true, false]) expect(seen.get(allow)).toBeGreaterThan(RUNS[variant]);
  });
});
