import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addr } from '#core';
import type { AnyResource, Kind } from '#datastore';
import {
  evaluateEndpoint,
  evaluateFlow,
  type FlowEnd,
  type FlowSettings,
  type Packet,
  type PolicyResources,
  stagedPolicies,
  World,
  worldIfEnforced,
} from '#policy';
import { CAST, describeProbe, idOf, packetOf, resource, SCENARIOS, worldOf } from '../../scenarios/index.ts';
import { actorHere } from '../../scenarios/one-node.ts';
import { cluster, packet } from '../../scenarios/random.ts';

const SETTINGS: FlowSettings = { endpointToHostAction: 'Drop', failsafeInbound: [], failsafeOutbound: [] };

const isPolicy = ({ kind }: AnyResource) => kind === 'NetworkPolicy' || kind === 'GlobalNetworkPolicy';
/** The same policy, staged. */
const staged = (r: AnyResource, spec: object = { ...r.spec, stagedAction: 'Set' }): AnyResource =>
  isPolicy(r) ? resource(`Staged${r.kind}` as Kind, idOf(r), spec, r.metadata.labels) : r;
const toDelete = (r: AnyResource): AnyResource[] => (isPolicy(r) ? [r, staged(r, { stagedAction: 'Delete' })] : [r]);
const resourcesOf = (resources: readonly AnyResource[]): PolicyResources => worldOf(resources).resources;

const end = (name: string): FlowEnd => {
  const { workload } = actorHere(name);
  return workload ? { at: 'endpoint', ref: { kind: 'WorkloadEndpoint', id: workload } } : { at: 'elsewhere' };
};

/** Some scenarios are about staged policies beside others. */
const ENFORCED = SCENARIOS.filter(({ resources }) => !resources.some(({ kind }) => kind.startsWith('Staged')));

describe.each(ENFORCED.map((scenario) => [scenario.name, scenario] as const))('%s', (_, { resources, probes }) => {
  const all = [...new Map([...CAST, ...resources].map((r) => [`${r.kind}/${idOf(r)}`, r])).values()];
  const verdicts = (world: World) =>
    probes.map((probe) => {
      const sent = packetOf(probe, actorHere(probe.from), actorHere(probe.to));
      const { verdict } = evaluateFlow(world, end(probe.from), end(probe.to), sent, SETTINGS);
      return `${describeProbe(probe)}: ${verdict === 'Allow' ? 'yes' : 'no'}`;
    });
  const expected = probes.map((probe) => `${describeProbe(probe)}: ${probe.allow ? 'yes' : 'no'}`);

  test('its policies, staged, would give its verdicts, and give none as they are', () => {
    const set = resourcesOf(all.map((r) => staged(r)));
    expect(verdicts(worldIfEnforced(set))).toEqual(expected);
    const without = verdicts(worldOf(all.filter((r) => !isPolicy(r))));
    expect(verdicts(new World(set))).toEqual(without);
    expect(verdicts(worldIfEnforced(resourcesOf(all.flatMap(toDelete))))).toEqual(without);
  });
});

test('random clusters: what is staged would do what it does when it is enforced', () => {
  const packets = fc.array(packet, { minLength: 4, maxLength: 4 });
  const verdictsOf = (world: World, sent: readonly Packet[]) =>
    [...(world.resources.HostEndpoint ?? []), ...(world.resources.WorkloadEndpoint ?? [])].flatMap(([id, { kind }]) =>
      (['normal', 'forward', 'preDNAT', 'untracked'] as const).flatMap((list) =>
        (['ingress', 'egress'] as const).flatMap((direction) =>
          sent.map((one) => evaluateEndpoint(world, { kind, id }, direction, list, one).verdict),
        ),
      ),
    );
  fc.assert(
    fc.property(cluster, packets, fc.infiniteStream(fc.nat(2)), (resources, sent, coins) => {
      // Each policy is enforced, staged, or staged over another of its name that is enforced.
      const mixed = resources.flatMap((r) => {
        if (!isPolicy(r)) return [r];
        const coin = coins.next().value;
        const other = { ...r, spec: { ...r.spec, order: 1, ingress: [{ action: 'Deny' }] } } as AnyResource;
        return coin === 0 ? [r] : coin === 1 ? [staged(r)] : [other, staged(r)];
      });
      expect(verdictsOf(worldIfEnforced(resourcesOf(mixed)), sent)).toEqual(verdictsOf(worldOf(resources), sent));
    }),
    { numRuns: 100 },
  );
});

describe('what is told of a staged policy', () => {
  const [web, db] = ['prod/web', 'prod/db'].map((id) => ({ kind: 'WorkloadEndpoint', id }) as const);
  const workload = (id: string, ip: string) =>
    resource(
      'WorkloadEndpoint',
      id,
      {
        orchestrator: 'k8s',
        node: 'n1',
        pod: id.split('/')[1],
        endpoint: 'eth0',
        ipNetworks: [ip],
        profiles: ['open'],
      },
      { app: id.split('/')[1] },
    );
  const BASE = [
    workload('prod/web', '10.65.0.1/32'),
    workload('prod/db', '10.65.0.2/32'),
    resource('Profile', 'open', { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] }),
  ];
  const sent: Packet = {
    source: addr('10.65.0.1'),
    destination: addr('10.65.0.2'),
    protocol: 6,
    sourcePort: 4000,
    destinationPort: 80,
  };
  const ask = (...more: AnyResource[]) => {
    const resources = resourcesOf([...BASE, ...more]);
    const [from, to] = [web, db].map((ref): FlowEnd => ({ at: 'endpoint', ref }));
    const ends = [
      { ref: web, direction: 'egress' },
      { ref: db, direction: 'ingress' },
    ] as const;
    return {
      policies: stagedPolicies(new World(resources), ends, sent),
      now: evaluateFlow(new World(resources), from, to, sent, SETTINGS),
      later: evaluateFlow(worldIfEnforced(resources), from, to, sent, SETTINGS),
    };
  };
  const global = (id: string, spec: object) => resource('GlobalNetworkPolicy', id, spec);
  const sgnp = (id: string, spec: object) => resource('StagedGlobalNetworkPolicy', id, spec);

  test('which ends it selects, what its rules say there, and the step it would be', () => {
    const { policies, now, later } = ask(
      sgnp('try', {
        selector: "app == 'db'",
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Log' }, { action: 'Deny', protocol: 'TCP' }],
      }),
      sgnp('others', { selector: "app == 'none'", ingress: [{ action: 'Deny' }] }),
      sgnp('host only', { selector: 'all()', doNotTrack: true, applyOnForward: true, ingress: [{ action: 'Deny' }] }),
    );
    expect(policies).toEqual([
      {
        policy: 'StagedGlobalNetworkPolicy/try',
        stagedAction: 'Set',
        instead: null,
        problem: null,
        at: [
          {
            where: 'WorkloadEndpoint/prod/db',
            direction: 'ingress',
            rule: 1,
            action: 'Deny',
            reason: 'the rule matches',
          },
        ],
      },
    ]);
    expect([now.verdict, later.verdict]).toEqual(['Allow', 'Deny']);
    expect(later.steps.at(-1)).toMatchObject({ policy: 'StagedGlobalNetworkPolicy/try', rule: 1, action: 'Deny' });
  });
  test('a policy in the place of another, also of one under an older key', () => {
    const enforced = { ...global('default.gate', { selector: 'all()', ingress: [{ action: 'Deny' }] }) } as AnyResource;
    enforced.metadata = { ...enforced.metadata, name: 'gate' };
    const { resources } = new World({
      ...resourcesOf(BASE),
      GlobalNetworkPolicy: new Map([['default.gate', enforced]]),
      StagedGlobalNetworkPolicy: new Map([
        ['gate', sgnp('gate', { selector: "app == 'web'", egress: [{ action: 'Allow' }] })],
      ]),
    } as unknown as PolicyResources);
    const [told] = stagedPolicies(new World(resources), [{ ref: db, direction: 'ingress' }], sent);
    expect(told).toMatchObject({
      instead: 'GlobalNetworkPolicy/default.gate',
      at: [{ reason: 'it would no longer select this, as GlobalNetworkPolicy/default.gate does' }],
    });
    const at = (world: World) => evaluateEndpoint(world, db, 'ingress', 'normal', sent).verdict;
    expect([at(new World(resources)), at(worldIfEnforced(resources))]).toEqual(['Deny', 'Allow']);
  });
  test('Delete is as if it were gone; Learn and Ignore change nothing', () => {
    const shut = global('shut', { selector: 'all()', ingress: [{ action: 'Deny' }] });
    const gone = ask(shut, sgnp('shut', { stagedAction: 'Delete' }));
    expect([gone.now.verdict, gone.later.verdict]).toEqual(['Deny', 'Allow']);
    expect(gone.policies).toMatchObject([
      {
        stagedAction: 'Delete',
        instead: 'GlobalNetworkPolicy/shut',
        at: [{ action: null, reason: 'GlobalNetworkPolicy/shut would be gone' }],
      },
    ]);
    for (const stagedAction of ['Learn', 'Ignore']) {
      const idle = ask(sgnp('idle', { stagedAction, selector: 'all()', ingress: [{ action: 'Deny' }] }));
      expect([idle.now.verdict, idle.later.verdict]).toEqual(['Allow', 'Allow']);
      expect(idle.policies).toMatchObject([{ stagedAction, at: [{ rule: 0, action: 'Deny' }] }]);
    }
    expect(ask(sgnp('never there', { stagedAction: 'Delete' })).policies).toEqual([]);
  });

  describe('of Kubernetes', () => {
    const sknp = (spec: object, id = 'prod/k') => resource('StagedKubernetesNetworkPolicy', id, spec);
    const from = (...peers: object[]) =>
      sknp({ podSelector: { matchLabels: { app: 'db' } }, ingress: [{ from: peers }] });
    const would = (...more: AnyResource[]) => ask(...more).later.verdict;

    test('isolates the pods it selects, in the directions it names', () => {
      expect(would(sknp({ podSelector: {} }))).toBe('Deny');
      expect(would(sknp({ podSelector: {} }, 'dev/k'))).toBe('Allow');
      expect(would(sknp({ podSelector: { matchLabels: { app: 'web' } } }))).toBe('Allow');
      expect(would(sknp({ podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Egress'] }))).toBe('Deny');
      expect(would(sknp({ podSelector: {}, egress: [{}] }))).toBe('Deny');
      expect(would(sknp({ podSelector: {}, ingress: [{}], egress: [{}] }))).toBe('Allow');
    });
    test.each([
      [{ podSelector: { matchLabels: { app: 'web' } } }, 'Allow'],
      [{ podSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'x'] }] } }, 'Allow'],
      [{ podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] } }, 'Deny'],
      [{ podSelector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] } }, 'Allow'],
      [{ podSelector: { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] } }, 'Deny'],
      [{ namespaceSelector: {} }, 'Allow'],
      [{ namespaceSelector: { matchLabels: { team: 'none' } } }, 'Deny'],
      [{ ipBlock: { cidr: '10.65.0.0/24' } }, 'Allow'],
      [{ ipBlock: { cidr: '10.65.0.0/24', except: ['10.65.0.1/32'] } }, 'Deny'],
    ])('a peer %j: %s', (peer, verdict) => {
      expect(would(from(peer))).toBe(verdict);
      expect(would(from(peer, { podSelector: {} }))).toBe('Allow');
    });
    test.each([
      [{ port: 80 }, 'Allow'],
      [{ port: 80, protocol: 'UDP' }, 'Deny'],
      [{ port: 70, endPort: 90 }, 'Allow'],
      [{ port: 'http' }, 'Deny'],
      [{ protocol: 'TCP' }, 'Allow'],
      [{}, 'Allow'],
    ])('a port %j: %s', (port, verdict) => {
      expect(would(sknp({ podSelector: {}, ingress: [{ ports: [port] }] }))).toBe(verdict);
    });
    test('takes the place of what kube-controllers made of the one that is enforced', () => {
      const made = resource('NetworkPolicy', 'prod/knp.default.k', {
        selector: 'all()',
        ingress: [{ action: 'Deny' }],
      });
      const gone = ask(made, sknp({ stagedAction: 'Delete' }));
      expect([gone.now.verdict, gone.later.verdict]).toEqual(['Deny', 'Allow']);
      expect(gone.policies).toMatchObject([{ instead: 'NetworkPolicy/prod/knp.default.k' }]);
    });
    test.each([
      [{ podSelector: 7 }, 'spec.podSelector must be an object'],
      [{ podSelector: { matchLabels: { "a' || has(b": 'x' } } }, 'spec.podSelector.matchLabels must be a label'],
      [{ podSelector: { matchLabels: { a: "x' || has(b" } } }, 'spec.podSelector.matchLabels must hold label values'],
      [{ podSelector: { matchExpressions: [{ key: 'a', operator: 'Like' }] } }, 'operator must be In'],
      [{ podSelector: {}, policyTypes: ['Both'] }, 'spec.policyTypes[0] must be Ingress or Egress'],
      [{ podSelector: {}, ingress: {} }, 'spec.ingress must be a list'],
      [{ podSelector: {}, ingress: [{ from: [{}] }] }, 'spec.ingress[0].from[0] must have'],
      [{ podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 'x' } }] }] }, 'ipBlock.cidr must be a CIDR'],
      [{ podSelector: {}, ingress: [{ ports: [{ port: 0 }] }] }, 'spec.ingress[0].ports[0].port'],
      [{ podSelector: {}, ingress: [{ ports: [{ port: 9, endPort: 8 }] }] }, 'spec.ingress[0].ports[0].port'],
      [{ podSelector: {}, ingress: [{ ports: [{ protocol: 'TPC' }] }] }, 'spec.ingress[0].ports[0].protocol'],
    ])('%j cannot be read: it is told, and left out', (spec, words) => {
      const { policies, later } = ask(sknp(spec));
      expect(policies).toMatchObject([{ problem: expect.stringContaining(words), at: [] }]);
      expect(later.verdict).toBe('Allow');
    });
  });
});
