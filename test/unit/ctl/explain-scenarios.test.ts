import { describe, expect, test } from 'vitest';
import { type AnyResource, encodeResource, resourceKey, type Store } from '#datastore';
import {
  actorHere,
  CAST,
  describeProbe,
  endpointOfLink,
  HOST_ACTOR,
  HOST_LINKS,
  HOST_SCENARIOS,
  type HostScenario,
  idOf,
  LINK_ADDRESSES,
  type Probe,
  resource,
  resourcesOnOneNode,
  SCENARIOS,
  worldOf,
} from '../../scenarios/index.ts';
import { ctl, memoryStore } from './harness.ts';

/** `tsnetctl explain` on the scenarios: its way of finding ends and settings, and what it reads, held together with the evaluator. */

/** Scenarios whose resources the datastore would not let through, or whose ends have no such flow. */
const NOT_ASKED: Readonly<Record<string, string>> = {
  'many ranges': 'a range from 0',
  'the whole range': 'a range from 0',
  'nets of both families': 'in one rule',
  'a workload to its own host: Reject': 'is not a word of FelixConfiguration',
  'an endpoint of one family': 'is no end in the other',
};
const isAsked = ({ name }: { readonly name: string }): boolean => !(name in NOT_ASKED);

async function storeOf(resources: readonly AnyResource[]): Promise<Store> {
  const store = await memoryStore();
  for (const one of resources) {
    const key = resourceKey(one.kind, one.metadata.name, one.metadata.namespace);
    await store.txn([], [{ op: 'put', key, value: encodeResource(one) }]);
  }
  return store;
}

async function verdictOf(store: Store, from: string, to: string, probe: Probe): Promise<string> {
  const { protocol, port, sourcePort, icmpType, icmpCode, family } = probe;
  const flags = [
    ...(port === undefined ? [] : ['--port', String(port), '--source-port', String(sourcePort)]),
    ...(icmpType === undefined ? [] : ['--icmp-type', String(icmpType), '--icmp-code', String(icmpCode)]),
  ];
  const argv = ['--from', from, '--to', to, '--protocol', String(protocol), '--ip-version', String(family), ...flags];
  const { out, err, status } = await ctl(store, ['explain', ...argv, '-o', 'json']);
  expect([status, err]).toEqual([0, '']);
  const { verdict, unknown } = JSON.parse(out);
  expect(unknown).toEqual([]);
  return `${describeProbe(probe)}: ${verdict === 'Allow' ? 'yes' : 'no'}`;
}

const expected = (probe: Probe) => `${describeProbe(probe)}: ${probe.allow ? 'yes' : 'no'}`;

/** A probe of each family and verdict, where the flags can say it: a port where there are ports, and no ICMP of the other family. */
function sample(probes: readonly Probe[]): Probe[] {
  const sayable = probes.filter(
    ({ protocol, port, family, icmpType }) =>
      [6, 17, 132, 136].includes(protocol) === (port !== undefined) &&
      (![1, 58].includes(protocol) || (icmpType !== undefined && protocol === (family === 4 ? 1 : 58))),
  );
  return [...new Map(sayable.map((probe) => [`${probe.family} ${probe.allow}`, probe])).values()];
}

describe('workloads', () => {
  const asGiven = (name: string, { family }: Probe) => {
    const { workload, addresses } = actorHere(name);
    return workload ? `${workload.split('/')[0]}/${name}` : addresses[family];
  };
  test.each(SCENARIOS.filter(isAsked).map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    async (_, { resources, probes }) => {
      const all = new Map([...CAST, ...resources].map((r) => [`${r.kind}/${idOf(r)}`, r]));
      const store = await storeOf([...all.values()]);
      for (const probe of sample(probes))
        expect(await verdictOf(store, asGiven(probe.from, probe), asGiven(probe.to, probe), probe)).toBe(
          expected(probe),
        );
    },
  );
});

describe('hosts', () => {
  const node = resource('Node', 'node-a', { bgp: { ipv4Address: '10.0.0.1/24', ipv6Address: 'fd00::a/64' } });

  /** The scenario's settings as its node's configuration. */
  const configuration = ({ settings }: HostScenario): AnyResource => {
    const ports = (failsafes: typeof settings.failsafeInbound) =>
      failsafes.map(({ protocol, ...rest }) => ({ protocol: protocol === 17 ? 'UDP' : 'TCP', ...rest }));
    return resource('FelixConfiguration', 'node.node-a', {
      defaultEndpointToHostAction: settings.endpointToHostAction,
      failsafeInboundHostPorts: ports(settings.failsafeInbound),
      failsafeOutboundHostPorts: ports(settings.failsafeOutbound),
    });
  };

  /** The ends by name: what meets the host by a link is between the host endpoint there and an address outside. null: there is none. */
  const endsOf = (resources: readonly AnyResource[], { from, to, family }: Probe): [string, string] | null => {
    const world = worldOf(resources);
    const given = (name: string, other: string): string | null => {
      const { workload, addresses } = actorHere(name);
      if (workload) return `workloadendpoint/${workload}`;
      if (name !== HOST_ACTOR.name) return addresses[family];
      const link = HOST_LINKS[other];
      const endpoint = link === undefined ? undefined : endpointOfLink(world, link, LINK_ADDRESSES[link]);
      return link === undefined ? 'node/node-a' : endpoint === undefined ? null : `hostendpoint/${endpoint}`;
    };
    const [source, destination] = [given(from, to), given(to, from)];
    return source && destination && [from, to].includes(HOST_ACTOR.name) ? [source, destination] : null;
  };

  const cases = HOST_SCENARIOS.filter(isAsked)
    .map((scenario) => {
      const resources = [...resourcesOnOneNode(scenario), node, configuration(scenario)];
      const probes = sample(scenario.probes.filter((probe) => endsOf(resources, probe) !== null));
      return { name: scenario.name, resources, probes };
    })
    .filter(({ probes }) => probes.length > 0);

  test('there are many', () => {
    expect(cases.length).toBeGreaterThan(20);
  });
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, { resources, probes }) => {
    const store = await storeOf(resources);
    for (const probe of probes) {
      const [from, to] = endsOf(resources, probe) as [string, string];
      expect(await verdictOf(store, from, to, probe)).toBe(expected(probe));
    }
  });
});
