import { describe, expect, test } from 'vitest';
import { addr } from '#core';
import type { AnyResource } from '#datastore';
import {
  type EndpointRef,
  evaluateFlow,
  type FlowEnd,
  type FlowSettings,
  type Packet,
  type PolicyResources,
  World,
} from '#policy';
import { idOf, resource } from '../../scenarios/index.ts';

const SETTINGS: FlowSettings = {
  endpointToHostAction: 'Drop',
  failsafeInbound: [
    { protocol: 6, port: 22 },
    { protocol: 6, port: 179, net: '10.0.0.0/24' },
  ],
  failsafeOutbound: [{ protocol: 17, port: 53 }],
};

const workload = (id: string, node: string, ip: string): AnyResource =>
  resource(
    'WorkloadEndpoint',
    id,
    { node, orchestrator: 'k8s', endpoint: 'eth0', interfaceName: 'cali1', ipNetworks: [ip], profiles: ['open'] },
    { app: id.split('/')[1] },
  );
const host = (id: string, node: string, spec: object = {}): AnyResource =>
  resource('HostEndpoint', id, { node, interfaceName: 'eth0', expectedIPs: ['10.0.0.1'], ...spec }, { host: id });
const global = (id: string, spec: object): AnyResource => resource('GlobalNetworkPolicy', id, spec);

const BASE = [
  workload('a/near', 'n1', '10.65.0.1/32'),
  workload('a/far', 'n2', '10.65.0.2/32'),
  host('h1', 'n1'),
  resource('Profile', 'open', { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] }),
];

function flow(
  from: FlowEnd,
  to: FlowEnd,
  packet: Partial<Packet>,
  more: readonly AnyResource[] = [],
  settings: Partial<FlowSettings> = {},
  there: Partial<FlowSettings> = settings,
) {
  const byKind: Record<string, Map<string, AnyResource>> = {};
  for (const r of [...BASE, ...more]) {
    byKind[r.kind] ??= new Map();
    byKind[r.kind].set(idOf(r), r);
  }
  const whole = {
    source: addr('10.65.0.1'),
    destination: addr('10.65.0.2'),
    protocol: 6,
    sourcePort: 4000,
    destinationPort: 80,
    ...packet,
  };
  return evaluateFlow(
    new World(byKind as PolicyResources),
    from,
    to,
    whole,
    { ...SETTINGS, ...settings },
    {
      ...SETTINGS,
      ...there,
    },
  );
}
const at = (kind: EndpointRef['kind'], id: string): FlowEnd => ({ at: 'endpoint', ref: { kind, id } });
const near = at('WorkloadEndpoint', 'a/near');
const far = at('WorkloadEndpoint', 'a/far');
const h1 = at('HostEndpoint', 'h1');
const n1: FlowEnd = { at: 'node', node: 'n1' };
const elsewhere: FlowEnd = { at: 'elsewhere' };

describe('the way of a flow', () => {
  test('between workloads: egress, then ingress, each step with its reason', () => {
    const { verdict, steps } = flow(near, far, {}, [
      global('log', {
        order: 1,
        selector: "app == 'far'",
        ingress: [{ action: 'Log' }, { action: 'Deny', protocol: 'UDP' }],
      }),
      global('ok', {
        order: 2,
        selector: "app == 'far'",
        ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80] } }],
      }),
    ]);
    expect(verdict).toBe('Allow');
    expect(steps).toEqual([
      {
        where: 'WorkloadEndpoint/a/near',
        direction: 'egress',
        list: 'normal',
        tier: null,
        policy: 'Profile/open',
        rule: 0,
        action: 'Allow',
        reason: 'the rule matches',
        missed: [],
      },
      {
        where: 'Node/n1',
        direction: 'egress',
        list: 'forward',
        tier: null,
        policy: null,
        rule: null,
        action: 'Allow',
        reason: 'it passes by whichever interface (HostEndpoint/h1)',
        missed: [],
      },
      {
        where: 'WorkloadEndpoint/a/far',
        direction: 'ingress',
        list: 'normal',
        tier: 'default',
        policy: 'GlobalNetworkPolicy/log',
        rule: 0,
        action: 'Log',
        reason: 'the rule matches',
        missed: [],
      },
      {
        where: 'WorkloadEndpoint/a/far',
        direction: 'ingress',
        list: 'normal',
        tier: 'default',
        policy: 'GlobalNetworkPolicy/ok',
        rule: 0,
        action: 'Allow',
        reason: 'the rule matches',
        missed: [
          {
            tier: 'default',
            policy: 'GlobalNetworkPolicy/log',
            rule: 1,
            action: 'Deny',
            reason: 'it is for protocol UDP',
          },
        ],
      },
    ]);
  });
  test('a denied egress is not asked for ingress, and the default names the policies', () => {
    const { verdict, steps } = flow(near, far, {}, [global('shut', { selector: "app == 'near'", types: ['Egress'] })]);
    expect(verdict).toBe('Deny');
    expect(steps).toMatchObject([
      {
        tier: 'default',
        policy: null,
        rule: null,
        action: 'Deny',
        reason: expect.stringContaining('GlobalNetworkPolicy/shut'),
      },
    ]);
  });
  test.each([
    ['Drop', 'Deny'],
    ['Reject', 'Deny'],
    ['Return', 'Allow'],
    ['Accept', 'Allow'],
  ] as const)('a workload to its own host, where the action is %s: %s', (endpointToHostAction, verdict) => {
    expect(flow(near, n1, {}, [], { endpointToHostAction }).verdict).toBe(verdict);
    expect(flow(near, h1, {}, [], { endpointToHostAction }).verdict).toBe(verdict);
  });
  test('a workload to another host meets that host’s endpoint', () => {
    expect(flow(far, h1, {}).verdict).toBe('Deny');
    expect(flow(far, n1, {}).verdict).toBe('Allow');
  });
  test('a host reaches its own workloads, and others by their policy', () => {
    const shut = [global('shut', { selector: 'has(app)' })];
    expect(flow(n1, near, {}, shut).verdict).toBe('Allow');
    expect(flow(n1, far, {}, shut).verdict).toBe('Deny');
    expect(flow(elsewhere, near, {}, shut).verdict).toBe('Deny');
  });
  test('an endpoint that does not exist is closed', () => {
    expect(flow(elsewhere, at('WorkloadEndpoint', 'a/none'), {}).verdict).toBe('Deny');
  });
});

describe('a host endpoint', () => {
  const untracked = global('u', {
    order: 1,
    selector: 'has(host)',
    doNotTrack: true,
    applyOnForward: true,
    ingress: [
      { action: 'Allow', protocol: 'TCP', destination: { ports: [80] } },
      { action: 'Deny', protocol: 'UDP' },
    ],
  });
  const preDnat = global('d', {
    order: 1,
    selector: 'has(host)',
    preDNAT: true,
    applyOnForward: true,
    ingress: [{ action: 'Deny', protocol: 'TCP', destination: { ports: [80, 81] } }],
  });
  const normal = global('n', { selector: 'has(host)', ingress: [{ action: 'Allow' }] });
  const to = (packet: Partial<Packet>, more: readonly AnyResource[]) => flow(elsewhere, h1, packet, more).verdict;

  test('without policy is closed but for failsafe ports', () => {
    expect(to({}, [])).toBe('Deny');
    expect(to({ destinationPort: 22 }, [])).toBe('Allow');
    expect(to({ destinationPort: 179, source: addr('10.0.0.9') }, [])).toBe('Allow');
    expect(to({ destinationPort: 179, source: addr('10.0.1.9') }, [])).toBe('Deny');
    expect(flow(h1, elsewhere, { protocol: 17, destinationPort: 53 }).verdict).toBe('Allow');
    expect(flow(h1, elsewhere, { protocol: 17, destinationPort: 54 }).verdict).toBe('Deny');
  });
  test('untracked policy comes first, then pre-DNAT, then normal', () => {
    expect(to({}, [untracked, preDnat, normal])).toBe('Allow');
    expect(to({ protocol: 17 }, [untracked, normal])).toBe('Deny');
    expect(to({ destinationPort: 81 }, [untracked, preDnat, normal])).toBe('Deny');
    expect(to({ destinationPort: 82 }, [untracked, preDnat, normal])).toBe('Allow');
    expect(to({ destinationPort: 82 }, [untracked, preDnat])).toBe('Deny');
  });
  test('of all interfaces has no untracked policy', () => {
    expect(to({}, [host('h1', 'n1', { interfaceName: '*' }), untracked])).toBe('Deny');
  });
  test('pre-DNAT policy is about ingress alone', () => {
    const egress = global('e', { selector: 'has(host)', types: ['Egress'], egress: [{ action: 'Allow' }] });
    expect(flow(h1, elsewhere, {}, [preDnat, egress]).verdict).toBe('Allow');
  });
});

describe('what a node forwards', () => {
  const on = (selector: string, rules: object[], spec: object = {}) =>
    global('f', {
      order: 1,
      selector,
      applyOnForward: true,
      types: ['Ingress', 'Egress'],
      ...spec,
      ingress: rules,
      egress: rules,
    });
  const deny = [{ action: 'Deny', protocol: 'TCP' }, { action: 'Allow' }];
  const any = host('any', 'n2', { interfaceName: '*', expectedIPs: [] });

  test('passes its one endpoint of all interfaces for certain', () => {
    const shut = flow(near, far, {}, [any, on("host == 'any'", deny)]);
    expect(shut).toMatchObject({ verdict: 'Deny', unknown: [] });
    expect(shut.steps.at(-1)).toMatchObject({
      where: 'HostEndpoint/any',
      direction: 'ingress',
      list: 'forward',
      rule: 0,
    });
    expect(flow(near, far, { protocol: 17 }, [any, on("host == 'any'", deny)]).verdict).toBe('Allow');
    expect(flow(far, near, {}, [any, on("host == 'any'", deny)]).steps.at(-1)).toMatchObject({
      where: 'HostEndpoint/any',
      direction: 'egress',
    });
  });
  test('by one of several interfaces is told where they differ, and the verdict is that of passing', () => {
    const { verdict, unknown } = flow(near, far, {}, [on("host == 'h1'", deny)]);
    expect(verdict).toBe('Allow');
    expect(unknown).toMatchObject([
      {
        node: 'n1',
        direction: 'egress',
        ways: [
          { endpoint: 'HostEndpoint/h1', verdict: 'Deny', steps: [{ policy: 'GlobalNetworkPolicy/f', rule: 0 }] },
          { endpoint: null, verdict: 'Allow', steps: [] },
        ],
      },
    ]);
  });
  test('is denied for certain where all interfaces deny it', () => {
    const rest = host('rest', 'n1', { interfaceName: '*', expectedIPs: [] });
    const { verdict, steps, unknown } = flow(near, elsewhere, {}, [rest, on('has(host)', deny)]);
    expect([verdict, unknown]).toEqual(['Deny', []]);
    expect(steps.at(-1)).toMatchObject({
      where: 'Node/n1',
      reason: 'it is denied by whichever interface (HostEndpoint/h1, HostEndpoint/rest)',
    });
  });
  test('meets untracked and pre-DNAT policy where it comes in, but for failsafe ports', () => {
    const other = host('other', 'n2', { interfaceName: 'eth0', expectedIPs: [] });
    const preDnat = on("host == 'any'", deny, { preDNAT: true, types: ['Ingress'] });
    const untracked = on("host == 'other'", deny, { doNotTrack: true });
    expect(flow(elsewhere, far, {}, [any, preDnat]).verdict).toBe('Deny');
    expect(flow(elsewhere, far, { destinationPort: 22 }, [any, preDnat]).verdict).toBe('Allow');
    expect(flow(elsewhere, far, {}, [other, untracked]).unknown).toMatchObject([{ node: 'n2', direction: 'ingress' }]);
    expect(flow(far, elsewhere, {}, [any, preDnat]).verdict).toBe('Allow');
  });
  test('a node whose interface is not known is asked by all it has', () => {
    expect(flow(n1, elsewhere, {})).toMatchObject({ verdict: 'Allow', unknown: [{ node: 'n1', direction: 'egress' }] });
    expect(flow(elsewhere, n1, { destinationPort: 22 })).toMatchObject({ verdict: 'Allow', unknown: [] });
    expect(flow(elsewhere, { at: 'node', node: 'n2' }, {}, [any])).toMatchObject({ verdict: 'Deny', unknown: [] });
    expect(flow(n1, n1, {})).toEqual({ verdict: 'Allow', steps: [], unknown: [] });
  });
  test('each node by its own settings', () => {
    const open = { failsafeInbound: [{ protocol: 6, port: 80 }] };
    const n2: FlowEnd = { at: 'node', node: 'n2' };
    expect(flow(elsewhere, n2, {}, [any], {}, open).verdict).toBe('Allow');
    expect(flow(elsewhere, n2, {}, [any], open, {}).verdict).toBe('Deny');
  });
});

test.each([
  { source: { selector: 'a =' } },
  { source: { notSelector: '((' } },
  { destination: { nets: ['10.0.0.0/33'] } },
  { protocol: 'TCP', destination: { ports: ['90:80'] } },
  { protocol: 'TPC' },
])('a rule that cannot be read leaves its policy without rules: %j', (rule) => {
  const policy = global('p', {
    order: 1,
    selector: "app == 'far'",
    ingress: [{ action: 'Allow' }, { action: 'Allow', ...rule }],
  });
  expect(flow(near, far, {}, [policy]).verdict).toBe('Deny');
});
