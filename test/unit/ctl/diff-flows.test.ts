import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeResource, type Kind, type Rule, resourceKey, type Store } from '#datastore';
import { evaluateFlow, type FlowEnd, type FlowSettings } from '#policy';
import { ClusterReader } from '../../../ctl/flow/cluster-reader.ts';
import type { ChangedObject } from '../../../ctl/impact/changed.ts';
import { impactOf } from '../../../ctl/impact/impact.ts';
import { MOST_PACKETS, packetsOf } from '../../../ctl/impact/packets.ts';
import { actorHere, CAST, idOf, packetOf, SCENARIOS, worldOf } from '../../scenarios/index.ts';
import { apply, ctl, memoryStore } from './harness.ts';

/** The `flows` of `tsnetctl diff`: whose traffic a change would allow or deny. */

const PODS = ['web-0', 'web-1', 'db-0', 'other'];
const pod = (name: string, i: number) => `
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {namespace: prod, labels: {app: ${name.replace(/-.*/, '')}}}
spec: {orchestrator: k8s, node: n${i % 2}, pod: ${name}, endpoint: eth0, interfaceName: cali${i}, ipNetworks: [10.65.0.${i}/32, 'fd00:65::${i}/128'], profiles: [kns.prod]}`;
const CLUSTER = `
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: default}
spec: {order: 1000000, defaultAction: Deny}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: kns.prod}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n0}
spec: {bgp: {ipv4Address: 10.0.0.10/24}}${PODS.map(pod).join('')}
`;
const object = (kind: string, name: string, spec: string) =>
  `apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: {${name}}\nspec: ${spec}\n`;
const policy = (rules: string, more = '') =>
  object(
    'NetworkPolicy',
    'name: db, namespace: prod',
    `{selector: app == 'db', types: [Ingress], ingress: [${rules}]${more}}`,
  );
const fromWeb = (ports: string) =>
  `{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [${ports}]}}`;
const DB = 'WorkloadEndpoint/prod/n0-k8s-db--0-eth0';

let store: Store;
beforeEach(async () => {
  store = await memoryStore();
  await apply(store, CLUSTER);
});
async function diff(yaml: string, ...flags: string[]) {
  const { status, out, err } = await ctl(store, ['diff', '-f', '-', '-o', 'json', ...flags], { stdin: yaml });
  expect([status, err]).toEqual([0, '']);
  return JSON.parse(out);
}
const brief = (flows: { from: string; to: string; protocol: string; port: number | null; after: string }[]) =>
  flows
    .map(
      ({ from, to, protocol, port, after }) =>
        `${from.replace(/.*k8s-(.*)-eth0/, '$1')} > ${to.replace(/.*k8s-(.*)-eth0/, '$1')} ${protocol}/${port} ${after}`,
    )
    .sort();

test('a new policy: what it denies, with the rest of the ports, and each group of endpoints once', async () => {
  const { objects, flows, flowsAsked, limits } = await diff(policy(fromWeb('5432')));
  expect(objects).toMatchObject([{ kind: 'NetworkPolicy', change: 'add' }]);
  expect(brief(flows)).toEqual(
    ['192.0.2.1', '2001:db8::1', 'other', 'web--0']
      .flatMap((from) =>
        ['TCP/5432', 'TCP/64999', 'UDP/64999', 'ICMP/null'].map((what) => `${from} > db--0 ${what} Deny`),
      )
      .filter((line) => line !== 'web--0 > db--0 TCP/5432 Deny')
      .sort(),
  );
  expect(flows.find(({ from }: { from: string }) => from.includes('web'))).toEqual({
    from: 'WorkloadEndpoint/prod/n0-k8s-web--0-eth0',
    to: DB,
    protocol: 'TCP',
    port: 64_999,
    before: 'Allow',
    after: 'Deny',
    rule: `no rule of NetworkPolicy/prod/db matches, and the tier's default is to deny`,
    ipVersion: 4,
    alike: { from: 2, to: 1 },
  });
  expect(limits).toEqual([]);
  expect(flowsAsked).toMatchObject({ ends: 1, others: 5, packets: 4 });
});

test('an edit and a deletion: only what differs, with the rule that decides', async () => {
  await apply(store, policy(fromWeb('5432')));
  const { flows } = await diff(policy(fromWeb('5432, 5433')));
  expect(brief(flows)).toEqual(['web--0 > db--0 TCP/5433 Allow']);
  expect(flows[0]).toMatchObject({ before: 'Deny', rule: 'NetworkPolicy/prod/db ingress[0]' });
  const gone = await diff(policy(fromWeb('5432')), '--delete');
  expect(gone.flows.every(({ after }: { after: string }) => after === 'Allow')).toBe(true);
  expect(brief(gone.flows)).toContain('other > db--0 TCP/5432 Allow');
  expect(brief(gone.flows)).not.toContain('web--0 > db--0 TCP/5432 Allow');
});

test('tiers, profiles, sets and labels change traffic, too', async () => {
  await apply(store, policy(fromWeb('5432')));
  await apply(store, object('Tier', 'name: first', '{order: 1, defaultAction: Pass}'));
  await apply(
    store,
    object('GlobalNetworkPolicy', 'name: idle', "{tier: first, selector: app == 'other', types: [Ingress]}"),
  );
  const tier = await diff(object('Tier', 'name: first', '{order: 1, defaultAction: Deny}'));
  expect(brief(tier.flows)).toContain('web--0 > other TCP/64999 Deny');
  const profile = await diff(
    object(
      'Profile',
      'name: kns.prod',
      '{ingress: [{action: Allow}], egress: [{action: Deny, protocol: UDP}, {action: Allow}]}',
    ),
  );
  expect(brief(profile.flows)).toContain('web--0 > other UDP/64999 Deny');
  const relabelled = CLUSTER.split('---')
    .find((text) => text.includes('pod: other'))!
    .replace('app: other', 'app: web');
  expect(brief((await diff(relabelled)).flows)).toEqual(['other > db--0 TCP/5432 Allow']);
  await apply(store, policy(`{action: Allow, source: {namespaceSelector: global(), selector: who == 'office'}}`));
  const set = object('GlobalNetworkSet', 'name: office, labels: {who: office}', '{nets: [198.51.100.0/24]}');
  expect(brief((await diff(set)).flows)).toContain('198.51.100.0 > db--0 TCP/64999 Allow');
});

test('a host endpoint that is added closes its node, but for failsafe ports', async () => {
  const { flows } = await diff(object('HostEndpoint', 'name: n0', "{node: n0, interfaceName: '*'}"));
  expect(brief(flows)).toContain('192.0.2.1 > HostEndpoint/n0 TCP/64999 Deny');
});

test('what concerns no traffic asks nothing; --no-flows asks nothing either', async () => {
  const pool = object('IPPool', 'name: p', '{cidr: 10.65.0.0/16}');
  expect(await diff(pool)).toMatchObject({ flows: [], flowsAsked: null, limits: [] });
  const staged = policy(fromWeb('1')).replace('kind: Network', 'kind: StagedNetwork');
  expect(await diff(staged)).toMatchObject({ objects: [{ change: 'add' }], flows: [], flowsAsked: null });
  expect(Object.keys(await diff(policy(fromWeb('1')), '--no-flows'))).toEqual(['objects']);
  expect((await ctl(store, ['diff', '-f', '-'], { stdin: pool })).out).toBe('+ IPPool(p)\n');
});

test('a stored object that cannot be used is as if it were not there', async () => {
  const key = resourceKey('NetworkPolicy', 'db', 'prod');
  await store.txn([], [{ op: 'put', key, value: '{"spec":{"selector":"a =","ingress":7}}' }]);
  const ran = await ctl(store, ['diff', '-f', '-', '-o', 'json'], { stdin: policy(fromWeb('5432')) });
  expect(ran.err).toMatch(/^tsnetctl: warning: NetworkPolicy\(prod\/db\) cannot be used and counts as absent: .*\n$/);
  expect(brief(JSON.parse(ran.out).flows)).toContain('web--0 > db--0 TCP/64999 Deny');
});

test('what was not looked at is said', async () => {
  const ports = Array.from({ length: 30 }, (_, i) => i + 1).join(', ');
  const { limits } = await diff(policy(fromWeb(ports)));
  expect(limits).toEqual(['rules name 33 ports and protocols; 9 are not looked at']);
  const lost = await diff(object('HostEndpoint', 'name: lost', '{node: n9, interfaceName: eth0}'));
  expect(lost.limits).toEqual(['HostEndpoint/lost has no address that the datastore knows, and is not looked at']);
  const forward = object(
    'GlobalNetworkPolicy',
    'name: f',
    '{selector: has(host), applyOnForward: true, types: [Ingress], ingress: [{action: Allow}]}',
  );
  expect((await diff(forward)).limits).toEqual([expect.stringContaining('what nodes forward')]);
});

test('for people: denied before allowed, and what was looked at', async () => {
  await apply(store, policy(fromWeb('5432')));
  const { out } = await ctl(store, ['diff', '-f', '-'], { stdin: policy(fromWeb('5433')) });
  expect(out).toMatchInlineSnapshot(`
    "~ NetworkPolicy(prod/db)
        spec.ingress[0].destination.ports[0]: 5432 -> 5433

    denied:  WorkloadEndpoint/prod/n0-k8s-web--0-eth0 (and 1 like it) -> WorkloadEndpoint/prod/n0-k8s-db--0-eth0 TCP/5432: no rule of NetworkPolicy/prod/db matches, and the tier's default is to deny
    allowed: WorkloadEndpoint/prod/n0-k8s-web--0-eth0 (and 1 like it) -> WorkloadEndpoint/prod/n0-k8s-db--0-eth0 TCP/5433: NetworkPolicy/prod/db ingress[0]
    60 flows were compared: 1 end that the change concerns with 5, for 5 ports and protocols
    "
  `);
});

describe('the scenarios: from the cast without policy to the cast with it', () => {
  const KINDS: readonly Kind[] = ['NetworkPolicy', 'GlobalNetworkPolicy', 'Tier', 'NetworkSet', 'GlobalNetworkSet'];
  const cases = SCENARIOS.filter(({ resources }) => resources.every(({ kind }) => KINDS.includes(kind)));
  const compared = new Map<boolean, number>();

  test('there are many', () => {
    expect(cases.length).toBeGreaterThan(150);
  });
  let cast: Store;
  beforeAll(async () => {
    cast = await memoryStore();
    for (const one of CAST) {
      const key = resourceKey(one.kind, one.metadata.name, one.metadata.namespace);
      await cast.txn([], [{ op: 'put', key, value: encodeResource(one) }]);
    }
  });
  const settings: FlowSettings = { endpointToHostAction: 'Drop', failsafeInbound: [], failsafeOutbound: [] };
  const end = (id: string): FlowEnd => ({ at: 'endpoint', ref: { kind: 'WorkloadEndpoint', id } });
  const named = CAST.flatMap((r) => (r.kind === 'WorkloadEndpoint' ? (r.spec.ports ?? []) : []));

  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_, { resources, probes }) => {
    const known = new Map(CAST.map((r) => [`${r.kind}/${idOf(r)}`, r]));
    const changes: ChangedObject[] = resources.map((after) => ({
      kind: after.kind,
      before: known.get(`${after.kind}/${idOf(after)}`) ?? null,
      after,
    }));
    const silent = { stderr: { write: () => {} } } as unknown as ConstructorParameters<typeof ClusterReader>[1];
    const impact = await impactOf(new ClusterReader(cast, silent), changes);
    const told = new Set(impact?.flows.map(({ from, to, protocol, port }) => `${from} ${to} ${protocol} ${port}`));
    const rules = resources.flatMap(({ spec }) => {
      const { ingress = [], egress = [] } = spec as { ingress?: Rule[]; egress?: Rule[] };
      return [...ingress, ...egress];
    });
    const packets = packetsOf(rules, named).slice(0, MOST_PACKETS);
    const worlds = [worldOf(CAST), worldOf([...known.values(), ...resources])];
    for (const probe of probes) {
      const [from, to] = [actorHere(probe.from), actorHere(probe.to)];
      const protocol = { 6: 'TCP', 17: 'UDP' }[probe.protocol];
      const isAsked = packets.some((p) => p.protocol === probe.protocol && p.port === probe.port);
      if (!from.workload || !to.workload || !protocol || !isAsked) continue;
      const [source, destination] = [end(from.workload), end(to.workload)];
      const differs = ([4, 6] as const).some((family) => {
        const packet = { ...packetOf({ ...probe, family }, from, to), sourcePort: 49_152 };
        const [was, is] = worlds.map((world) => evaluateFlow(world, source, destination, packet, settings).verdict);
        return was !== is;
      });
      const flow = `WorkloadEndpoint/${from.workload} WorkloadEndpoint/${to.workload} ${protocol} ${probe.port}`;
      expect([flow, told.has(flow)]).toEqual([flow, differs]);
      compared.set(differs, (compared.get(differs) ?? 0) + 1);
    }
  });
  test('that many flows differed, and many did not', () => {
    for (const differs of [true, false]) expect(compared.get(differs)).toBeGreaterThan(40);
  });
});
