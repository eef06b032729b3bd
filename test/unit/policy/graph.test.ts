import { beforeEach, describe, expect, test } from 'vitest';
import type { Update } from '#datastore';
import { createPolicyGraph, type PolicyGraph, type ResolvedChanges } from '#policy';

type Spec = Record<string, unknown>;
const meta = (id: string, labels?: Record<string, string>) => {
  const [a, b] = id.split('/');
  return b === undefined ? { name: a, labels } : { name: b, namespace: a, labels };
};
const update = (kind: string, id: string, spec: Spec | null, labels?: Record<string, string>): Update =>
  ({
    kind,
    id,
    revision: 1n,
    value: spec && { apiVersion: 'projectcalico.org/v3', kind, metadata: meta(id, labels), spec },
  }) as unknown as Update;
const workload = (id: string, node: string, ip: string, labels?: Record<string, string>, more: Spec = {}) =>
  update(
    'WorkloadEndpoint',
    id,
    {
      node,
      orchestrator: 'k8s',
      endpoint: 'eth0',
      interfaceName: 'cali0',
      ipNetworks: [ip],
      profiles: [`kns.${id.split('/')[0]}`],
      ...more,
    },
    labels,
  );

let graph: PolicyGraph;
beforeEach(() => {
  graph = createPolicyGraph({ node: 'here' });
});
const feed = (...updates: Update[]): ResolvedChanges => {
  for (const u of updates) graph.onUpdate(u);
  return graph.flush();
};
const nothing = {
  sets: new Map(),
  added: new Map(),
  removed: new Map(),
  policies: new Map(),
  profiles: new Map(),
  endpoints: new Map(),
};

const allowFromLb = update('NetworkPolicy', 'prod/web', {
  selector: "app == 'web'",
  types: ['Ingress'],
  ingress: [
    { action: 'Allow', protocol: 'TCP', source: { selector: "app == 'lb'" }, destination: { ports: [80, 'http'] } },
  ],
});

describe('activity', () => {
  test('a policy is active only while it selects an endpoint of this node', () => {
    expect(feed(allowFromLb, workload('prod/far', 'there', '10.0.0.9/32', { app: 'web' }))).toEqual(nothing);
    const on = feed(workload('prod/near', 'here', '10.0.0.1/32', { app: 'web' }));
    expect([...on.policies.keys()]).toEqual(['NetworkPolicy/prod/web']);
    expect([...on.endpoints.values()][0]).toMatchObject({
      kind: 'workload',
      id: 'prod/near',
      tiers: [{ tier: 'default', defaultAction: 'Deny', ingress: ['NetworkPolicy/prod/web'], egress: [] }],
    });
    expect([...on.sets.values()].map((s) => s?.owner).sort()).toEqual([
      '(projectcalico.org/namespace == "prod" && app == "lb")',
      'port http/tcp of all()',
    ]);
    const off = feed(workload('prod/near', 'here', '10.0.0.1/32', { app: 'db' }));
    expect(off.policies).toEqual(new Map([['NetworkPolicy/prod/web', null]]));
    expect([...off.sets.values()]).toEqual([null, null]);
    expect(off.removed.size + off.added.size).toBe(0);
  });

  test('the same facts again change nothing', () => {
    const facts = [allowFromLb, workload('prod/near', 'here', '10.0.0.1/32', { app: 'web' })];
    feed(...facts);
    expect(feed(...facts)).toEqual(nothing);
  });

  test('what came and went between two flushes is not told', () => {
    feed(allowFromLb);
    graph.onUpdate(workload('prod/near', 'here', '10.0.0.1/32', { app: 'web' }));
    graph.settle(1000);
    expect(feed(update('WorkloadEndpoint', 'prod/near', null))).toEqual(nothing);
  });

  test('an endpoint that goes and comes back between two flushes stays', () => {
    feed(allowFromLb, workload('prod/near', 'here', '10.0.0.1/32', { app: 'web' }));
    graph.onUpdate(update('WorkloadEndpoint', 'prod/near', null));
    graph.settle(1000);
    expect(feed(workload('prod/near', 'here', '10.0.0.1/32', { app: 'web' }))).toEqual(nothing);
  });
});

describe('members', () => {
  const only = (changes: ReadonlyMap<string, ReadonlySet<string>>) => [...changes.values()].map((s) => [...s].sort());
  const start = () =>
    feed(
      update('GlobalNetworkPolicy', 'p', { ingress: [{ action: 'Allow', source: { selector: 'has(lb)' } }] }),
      workload('a/near', 'here', '10.0.0.1/32'),
    );

  test('an address of several endpoints leaves with the last of them', () => {
    start();
    expect(only(feed(workload('a/x', 'there', '10.1.0.1/32', { lb: '' })).added)).toEqual([['10.1.0.1/32']]);
    expect(feed(workload('a/y', 'there', '10.1.0.1/32', { lb: '' }))).toEqual(nothing);
    expect(feed(update('WorkloadEndpoint', 'a/x', null))).toEqual(nothing);
    expect(only(feed(update('WorkloadEndpoint', 'a/y', null)).removed)).toEqual([['10.1.0.1/32']]);
  });

  test('labels come from profiles too, and leave with them', () => {
    start();
    expect(feed(workload('b/x', 'there', '10.1.0.1/32'))).toEqual(nothing);
    expect(only(feed(update('Profile', 'kns.b', { labelsToApply: { lb: 'x' } })).added)).toEqual([['10.1.0.1/32']]);
    expect(only(feed(update('Profile', 'kns.b', null)).removed)).toEqual([['10.1.0.1/32']]);
  });

  test('network sets count by their nets, canonical', () => {
    start();
    const set = update(
      'GlobalNetworkSet',
      'lbs',
      { nets: ['192.0.2.7/24', '2001:DB8::/32', 'nonsense', '192.0.2.9'] },
      { lb: '' },
    );
    expect(only(feed(set).added)).toEqual([['192.0.2.0/24', '192.0.2.9/32', '2001:db8::/32']]);
  });

  test('an address that moves from one label to another leaves one set for the other', () => {
    start();
    feed(workload('a/x', 'there', '10.1.0.1/32', { lb: '' }));
    const moved = feed(workload('a/x', 'there', '10.1.0.2/32', { lb: 'y' }));
    expect(only(moved.added)).toEqual([['10.1.0.2/32']]);
    expect(only(moved.removed)).toEqual([['10.1.0.1/32']]);
  });

  test('an endpoint without addresses counts as absent', () => {
    start();
    feed(workload('a/x', 'there', '10.1.0.1/32', { lb: '' }));
    const gone = feed(workload('a/x', 'there', '10.1.0.1/32', { lb: '' }, { ipNetworks: [] }));
    expect(only(gone.removed)).toEqual([['10.1.0.1/32']]);
  });
});

describe('what cannot be read', () => {
  test('a policy whose selector is broken is absent, and named', () => {
    feed(update('GlobalNetworkPolicy', 'bad', { selector: 'a =' }), workload('a/near', 'here', '10.0.0.1/32'));
    expect([...graph.problems]).toEqual([['GlobalNetworkPolicy/bad', expect.stringMatching(/expected operator/)]]);
    expect(graph.counts.activePolicies).toBe(0);
    feed(update('GlobalNetworkPolicy', 'bad', { selector: 'has(a)' }));
    expect(graph.problems.size).toBe(0);
  });

  test('a policy with a broken rule keeps its place and allows nothing', () => {
    const bad = [{ action: 'Allow' }, { action: 'Allow', source: { selector: 'a =' } }];
    const changes = feed(
      update('GlobalNetworkPolicy', 'bad', { ingress: bad }),
      workload('a/near', 'here', '10.0.0.1/32'),
    );
    expect(changes.policies.get('GlobalNetworkPolicy/bad')).toMatchObject({ ingress: [], egress: [] });
    expect([...graph.problems]).toEqual([
      ['GlobalNetworkPolicy/bad', expect.stringMatching(/ingress rule 1: source:/)],
    ]);
  });
});
