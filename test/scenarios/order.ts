import type { AnyResource } from '#datastore';
import { ACTORS } from './cast.ts';
import { resource, type Scenario, scenario } from './scenario.ts';

const WEB = "app == 'web' && role == 'server'";
const global = (name: string, spec: object): AnyResource =>
  resource('GlobalNetworkPolicy', name, { selector: WEB, types: ['Ingress'], ...spec });
const namespaced = (id: string, spec: object): AnyResource =>
  resource('NetworkPolicy', id, { types: ['Ingress'], ...spec });
const tier = (name: string, order: number | undefined, defaultAction: 'Deny' | 'Pass' = 'Deny'): AnyResource =>
  resource('Tier', name, { ...(order !== undefined && { order }), defaultAction });
const allow = { ingress: [{ action: 'Allow' }] };
const deny = { ingress: [{ action: 'Deny' }] };
const pass = { ingress: [{ action: 'Pass' }] };
const tcp = (action: string, port: number) => ({ action, protocol: 'TCP', destination: { ports: [port] } });

const ORDER: readonly Scenario[] = [
  scenario('no policy at all', [], ['lb > web tcp/80 yes', 'out > web udp/53 yes', 'web > out icmp/8 yes']),
  scenario(
    'the lower order comes first',
    [global('a', { order: 2, ...deny }), global('b', { order: 1, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'an order is a number, not a text',
    [global('a', { order: 10, ...deny }), global('b', { order: 9, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'orders may be fractions and negative',
    [global('a', { order: 0.5, ...deny }), global('b', { order: -3.5, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario('no order is last', [global('a', deny), global('b', { order: 1e9, ...allow })], ['lb > web tcp/80 yes']),
  scenario(
    'null is no order',
    [global('a', { order: null, ...deny }), global('b', { order: 5, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'equal orders go by name',
    [global('b', { order: 1, ...deny }), global('a', { order: 1, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario('no orders go by name', [global('zz', deny), global('aa', allow)], ['lb > web tcp/80 yes']),
  scenario('names go by bytes', [global('a-b', deny), global('a', allow)], ['lb > web tcp/80 no']),
  scenario(
    'a name before its namespace',
    [namespaced('prod/b', { selector: WEB, ...deny }), global('a', allow)],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'one name: the global one first',
    [namespaced('prod/a', { selector: WEB, ...deny }), global('a', allow)],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'policies of one tier add up',
    [global('a', { ingress: [tcp('Allow', 80)] }), global('b', { ingress: [tcp('Allow', 443)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/443 yes', 'lb > web tcp/22 no'],
  ),
  scenario(
    'a policy of another endpoint adds nothing',
    [global('a', { selector: "app == 'db'", ...allow }), global('b', { ingress: [tcp('Allow', 443)] })],
    ['lb > web tcp/443 yes', 'lb > web tcp/80 no', 'lb > db tcp/80 yes'],
  ),
  scenario(
    'the same policy in two namespaces',
    [
      namespaced('prod/p', { selector: "app == 'web'", ...deny }),
      namespaced('dev/p', { selector: "app == 'web'", ...allow }),
    ],
    ['lb > web tcp/80 no', 'lb > dev tcp/80 yes'],
  ),
];

const TYPES: readonly Scenario[] = [
  scenario(
    'no types and no rules is ingress',
    [global('p', { types: undefined })],
    ['lb > web tcp/80 no', 'web > lb tcp/80 yes'],
  ),
  scenario(
    'no types, egress rules alone',
    [global('p', { types: undefined, egress: [tcp('Allow', 80)] })],
    ['lb > web tcp/80 yes', 'web > lb tcp/80 yes', 'web > lb tcp/81 no'],
  ),
  scenario(
    'no types, ingress rules alone',
    [global('p', { types: [], ingress: [tcp('Allow', 80)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no', 'web > lb tcp/81 yes'],
  ),
  scenario(
    'no types, rules of both',
    [global('p', { types: undefined, ingress: [tcp('Allow', 80)], egress: [tcp('Allow', 81)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no', 'web > lb tcp/80 no', 'web > lb tcp/81 yes'],
  ),
  scenario(
    'types with rules that do not count',
    [global('p', { types: ['Egress'], ...deny, egress: [tcp('Allow', 80)] })],
    ['lb > web tcp/80 yes', 'web > lb tcp/80 yes', 'web > lb tcp/81 no'],
  ),
  scenario(
    'both types without rules',
    [global('p', { types: ['Ingress', 'Egress'] })],
    ['lb > web tcp/80 no', 'web > lb tcp/80 no'],
  ),
  scenario(
    'both ends must agree',
    [
      global('in', { ingress: [tcp('Allow', 80)] }),
      global('out', { selector: "app == 'lb'", types: ['Egress'], egress: [tcp('Allow', 81)] }),
    ],
    ['lb > web tcp/80 no', 'lb > web tcp/81 no', 'api > web tcp/80 yes', 'lb > db tcp/81 yes'],
  ),
];

const TIERS: readonly Scenario[] = [
  scenario(
    'the lower tier comes first',
    [tier('high', 1), global('a', { tier: 'high', ...deny }), global('b', allow)],
    ['lb > web tcp/80 no'],
  ),
  scenario(
    'a tier after default',
    [tier('late', 2_000_000), global('a', { tier: 'late', ...deny }), global('b', allow)],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'Allow ends all tiers',
    [tier('high', 1), global('a', { tier: 'high', ...allow }), global('b', deny)],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'Pass leads to the next tier',
    [tier('high', 1), global('a', { tier: 'high', ...pass }), global('b', { ingress: [tcp('Allow', 80)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  scenario(
    'Pass skips the rest of its tier',
    [
      tier('high', 1),
      global('a', { order: 1, tier: 'high', ...pass }),
      global('b', { order: 2, tier: 'high', ...deny }),
    ],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a tier denies what it does not match',
    [tier('high', 1), global('a', { tier: 'high', ingress: [tcp('Pass', 80)] }), global('b', allow)],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  scenario(
    'a tier that passes what it does not match',
    [
      tier('high', 1, 'Pass'),
      global('a', { tier: 'high', ingress: [tcp('Deny', 80)] }),
      global('b', { ingress: [tcp('Allow', 81)] }),
    ],
    ['lb > web tcp/80 no', 'lb > web tcp/81 yes', 'lb > web tcp/82 no'],
  ),
  scenario(
    'the last tier passes to the profiles',
    [tier('late', 2_000_000, 'Pass'), global('a', { tier: 'late', ingress: [tcp('Deny', 80)] })],
    ['lb > web tcp/80 no', 'lb > web tcp/81 yes'],
  ),
  scenario(
    'a tier without a policy for the endpoint does nothing',
    [tier('high', 1), global('a', { tier: 'high', selector: "app == 'db'", ...pass })],
    ['lb > web tcp/80 yes', 'lb > db tcp/80 yes'],
  ),
  scenario(
    'a tier with policy for egress alone does not deny ingress',
    [tier('high', 1), global('a', { tier: 'high', types: ['Egress'], egress: [tcp('Pass', 80)] })],
    ['lb > web tcp/80 yes', 'web > lb tcp/80 yes', 'web > lb tcp/81 no'],
  ),
  scenario(
    'tiers of equal order go by name',
    [tier('bb', 5), tier('aa', 5), global('x', { tier: 'bb', ...deny }), global('y', { tier: 'aa', ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a tier without order is last',
    [tier('aa', undefined), global('x', { tier: 'aa', ...deny }), global('y', allow)],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a tier that does not exist comes after those that do',
    [global('x', { tier: 'absent', ...deny }), global('y', { ingress: [tcp('Allow', 80), tcp('Pass', 81)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  scenario(
    'a tier that does not exist denies by default',
    [global('x', { tier: 'absent', ingress: [tcp('Allow', 80)] })],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  scenario(
    'three tiers',
    [
      tier('one', 1, 'Pass'),
      tier('two', 2),
      global('a', { tier: 'one', ingress: [tcp('Deny', 1)] }),
      global('b', { tier: 'two', ingress: [tcp('Allow', 2), tcp('Pass', 3), tcp('Pass', 4)] }),
      global('c', { ingress: [tcp('Allow', 4)] }),
    ],
    ['lb > web tcp/1 no', 'lb > web tcp/2 yes', 'lb > web tcp/3 no', 'lb > web tcp/4 yes', 'lb > web tcp/5 no'],
  ),
  scenario(
    'orders count within a tier only',
    [tier('high', 1), global('a', { tier: 'high', order: 1000, ...allow }), global('b', { order: 1, ...deny })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a namespaced policy in a tier',
    [
      tier('high', 1),
      namespaced('prod/high.p', { tier: 'high', selector: "app == 'web'", ingress: [tcp('Pass', 80)] }),
    ],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no', 'lb > dev tcp/81 yes'],
  ),
];

const STAGED: readonly Scenario[] = [
  scenario(
    'a staged policy does nothing',
    [resource('StagedGlobalNetworkPolicy', 'p', { selector: WEB, types: ['Ingress'], ...deny, stagedAction: 'Set' })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a staged namespaced policy does nothing',
    [resource('StagedNetworkPolicy', 'prod/p', { types: ['Ingress', 'Egress'] })],
    ['lb > web tcp/80 yes', 'web > lb tcp/80 yes'],
  ),
  scenario(
    'a staged deletion deletes nothing',
    [global('p', deny), resource('StagedGlobalNetworkPolicy', 'p', { stagedAction: 'Delete' })],
    ['lb > web tcp/80 no'],
  ),
  scenario(
    'a tier of staged policies does not deny',
    [tier('high', 1), resource('StagedGlobalNetworkPolicy', 'p', { tier: 'high', selector: WEB, ...allow })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'a staged policy beside an enforced one',
    [
      global('p', { ingress: [tcp('Allow', 80)] }),
      resource('StagedGlobalNetworkPolicy', 'a', { selector: WEB, ...deny }),
    ],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
];

/** Another version of one of the cast's endpoints: it takes the place of the cast's. */
function recast(name: string, spec: object, labels: Record<string, string> = {}): AnyResource {
  const { workload, addresses } = ACTORS.get(name) as { workload: string; addresses: Record<4 | 6, string> };
  return resource(
    'WorkloadEndpoint',
    workload,
    {
      orchestrator: 'k8s',
      node: 'node-a',
      pod: name,
      endpoint: 'eth0',
      interfaceName: `cali${name}`,
      ipNetworks: [`${addresses[4]}/32`, `${addresses[6]}/128`],
      ...spec,
    },
    labels,
  );
}

const PROFILES: readonly Scenario[] = [
  scenario(
    'no profile and no policy is closed',
    [recast('web', { profiles: [] })],
    ['lb > web tcp/80 no', 'web > lb tcp/80 no'],
  ),
  scenario(
    'a profile that does not exist allows nothing',
    [recast('web', { profiles: ['absent'] })],
    ['lb > web tcp/80 no'],
  ),
  scenario(
    'the next profile decides',
    [resource('Profile', 'one', { ingress: [tcp('Deny', 80)] }), recast('web', { profiles: ['one', 'kns.prod'] })],
    ['lb > web tcp/80 no', 'lb > web tcp/81 yes', 'web > lb tcp/80 yes'],
  ),
  scenario(
    'the first profile decides',
    [resource('Profile', 'one', { ingress: [tcp('Deny', 80)] }), recast('web', { profiles: ['kns.prod', 'one'] })],
    ['lb > web tcp/80 yes'],
  ),
  scenario(
    'Pass in a profile leads to the next profile',
    [
      resource('Profile', 'one', { ingress: [tcp('Pass', 80), { action: 'Deny' }] }),
      recast('web', { profiles: ['one', 'kns.prod'] }),
    ],
    ['lb > web tcp/80 yes', 'lb > web tcp/81 no'],
  ),
  scenario(
    'a profile with selectors',
    [
      resource('Profile', 'net1', {
        ingress: [{ action: 'Allow', source: { selector: 'has(net1)' } }],
        egress: [{ action: 'Allow' }],
        labelsToApply: { net1: '' },
      }),
      recast('web', { profiles: ['net1'] }),
      recast('db', { profiles: ['net1'] }),
    ],
    ['web > db tcp/80 yes', 'db > web tcp/80 yes', 'lb > web tcp/80 no', 'web > lb tcp/80 yes'],
  ),
  scenario(
    'a policy comes before every profile',
    [global('p', deny), recast('web', { profiles: ['kns.prod'] }, { app: 'web', role: 'server' })],
    ['lb > web tcp/80 no', 'web > lb tcp/80 yes'],
  ),
  scenario(
    'own labels win over those of a profile',
    [
      resource('Profile', 'one', { labelsToApply: { app: 'web', role: 'server' } }),
      recast('db', { profiles: ['one', 'kns.prod'] }, { app: 'db' }),
      global('p', deny),
    ],
    ['lb > db tcp/80 yes', 'lb > web tcp/80 no'],
  ),
  scenario(
    'the earlier profile wins',
    [
      resource('Profile', 'one', { labelsToApply: { kind: '1' } }),
      resource('Profile', 'two', { labelsToApply: { kind: '2' } }),
      recast('db', { profiles: ['one', 'two', 'kns.prod'] }),
      recast('web', { profiles: ['two', 'one', 'kns.prod'] }),
      global('p', { selector: "kind == '2'", ...deny }),
    ],
    ['lb > web tcp/80 no', 'lb > db tcp/80 yes'],
  ),
  scenario(
    'a label of a profile selects',
    [
      resource('Profile', 'one', { labelsToApply: { closed: '' } }),
      recast('db', { profiles: ['one', 'kns.prod'] }),
      global('p', { selector: 'has(closed)', ...deny }),
    ],
    ['lb > db tcp/80 no', 'lb > web tcp/80 yes'],
  ),
  scenario(
    'namespace labels cannot be given by an endpoint itself',
    [
      recast('dev', { profiles: ['kns.dev'] }, { 'pcns.stage': 'prod', 'pcsa.kind': 'data' }),
      global('p', { ingress: [{ action: 'Allow', source: { namespaceSelector: "stage == 'prod'" } }] }),
    ],
    ['lb > web tcp/80 yes', 'dev > web tcp/80 no'],
  ),
  scenario(
    'an endpoint without addresses is absent',
    [
      recast('lb', { ipNetworks: [], profiles: ['kns.prod'] }, { app: 'lb' }),
      global('p', { ingress: [{ action: 'Allow', source: { selector: "app == 'lb'" } }] }),
    ],
    ['api > web tcp/80 no'],
  ),
  scenario(
    'two endpoints with one address are two in sets',
    [
      recast('lb', { ipNetworks: ['10.65.0.4/32'], profiles: ['kns.prod'] }, { app: 'twin' }),
      global('p', { ingress: [{ action: 'Allow', source: { selector: "app == 'twin'" } }] }),
    ],
    ['api > web tcp/80 v4 yes', 'api > web tcp/80 v6 no'],
  ),
  scenario(
    'an endpoint of one family',
    [
      recast('web', { ipNetworks: ['10.65.0.1/32'], profiles: ['kns.prod'] }, { app: 'web' }),
      global('p', { selector: "app == 'db'", ingress: [{ action: 'Allow', source: { selector: "app == 'web'" } }] }),
    ],
    ['web > db tcp/80 v4 yes', 'web > db tcp/80 v6 no', 'dev > db tcp/80 yes'],
  ),
];

/** Whole little clusters, as people write them. */
const WHOLE: readonly Scenario[] = [
  scenario(
    'three layers',
    [
      resource('NetworkPolicy', 'prod/default-deny', { types: ['Ingress', 'Egress'], order: 1000 }),
      namespaced('prod/web', {
        order: 10,
        selector: "app == 'web'",
        types: ['Ingress', 'Egress'],
        ingress: [
          { action: 'Allow', protocol: 'TCP', source: { selector: "app == 'lb'" }, destination: { ports: ['http'] } },
        ],
        egress: [{ action: 'Allow', protocol: 'TCP', destination: { selector: "app == 'db'", ports: ['sql'] } }],
      }),
      namespaced('prod/db', {
        order: 10,
        selector: "app == 'db'",
        ingress: [
          { action: 'Allow', protocol: 'TCP', source: { selector: "app == 'web'" }, destination: { ports: [5432] } },
        ],
      }),
      namespaced('prod/lb', {
        order: 10,
        selector: "app == 'lb'",
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Allow', source: { notSelector: 'all()', namespaceSelector: 'all()' } }, tcp('Allow', 443)],
        egress: [{ action: 'Allow', destination: { selector: "app == 'web'" } }],
      }),
    ],
    [
      'out > lb tcp/443 yes',
      'out > lb tcp/80 no',
      'lb > web tcp/8080 yes',
      'lb > web tcp/80 no',
      'web > db tcp/5432 yes',
      'web > db tcp/22 no',
      'lb > db tcp/5432 no',
      'api > web tcp/8080 no',
      'dev > web tcp/8080 no',
      'web > out tcp/443 no',
      'dev > out tcp/443 yes',
      'probe > dev tcp/8080 yes',
    ],
  ),
  scenario(
    'quarantine before everything else',
    [
      tier('security', 100),
      global('quarantine', {
        tier: 'security',
        order: 1,
        selector: "app == 'api'",
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Log' }, { action: 'Deny' }],
        egress: [{ action: 'Log' }, { action: 'Deny' }],
      }),
      global('pass', {
        tier: 'security',
        order: 9,
        selector: 'all()',
        types: ['Ingress', 'Egress'],
        ...pass,
        egress: [{ action: 'Pass' }],
      }),
      global('allow', { selector: 'all()', types: ['Ingress', 'Egress'], ...allow, egress: [{ action: 'Allow' }] }),
    ],
    [
      'web > api tcp/80 no',
      'api > web tcp/80 no',
      'lb > web tcp/80 yes',
      'web > out tcp/80 yes',
      'out > api icmp/8 no',
    ],
  ),
  scenario(
    'namespaces apart, monitoring everywhere',
    [
      namespaced('prod/own', {
        ingress: [
          { action: 'Allow', source: { selector: 'all()' } },
          { action: 'Allow', source: { namespaceSelector: "team == 'ops'" } },
        ],
      }),
      namespaced('dev/own', {
        ingress: [
          { action: 'Allow', source: { selector: 'all()' } },
          { action: 'Allow', source: { namespaceSelector: "team == 'ops'" } },
        ],
      }),
    ],
    [
      'web > db tcp/80 yes',
      'dev > db tcp/80 no',
      'probe > db tcp/80 yes',
      'db > dev tcp/80 no',
      'probe > dev tcp/80 yes',
      'out > web tcp/80 no',
      'dev > probe tcp/80 yes',
    ],
  ),
  scenario(
    'egress to the world but not to a list',
    [
      resource('GlobalNetworkSet', 'bad', { nets: ['192.0.2.0/24', '2001:db8:bad::/48'] }, { threat: 'feed' }),
      global('no-threats', {
        selector: 'all()',
        types: ['Egress'],
        egress: [{ action: 'Deny', destination: { selector: "threat == 'feed'" } }, { action: 'Allow' }],
      }),
    ],
    [
      'web > out tcp/443 no',
      'web > office tcp/443 yes',
      'dev > out udp/53 no',
      'dev > web tcp/80 yes',
      'out > web tcp/80 yes',
    ],
  ),
  scenario(
    'DNS for everybody, everything else on request',
    [
      global('dns', {
        selector: 'all()',
        order: 1,
        types: ['Egress'],
        egress: [
          { action: 'Allow', protocol: 'UDP', destination: { ports: ['dns'] } },
          { action: 'Allow', protocol: 'TCP', destination: { ports: ['dns'] } },
        ],
      }),
      namespaced('dev/open', {
        order: 2,
        types: ['Egress'],
        egress: [{ action: 'Allow', protocol: 'TCP', destination: { notPorts: [25] } }],
      }),
    ],
    [
      'lb > web udp/53 yes',
      'lb > web tcp/53 yes',
      'lb > web tcp/80 no',
      'dev > out tcp/80 yes',
      'dev > out tcp/25 no',
      'lb > out udp/53 no',
    ],
  ),
];

export const ORDER_SCENARIOS: readonly Scenario[] = [...ORDER, ...TYPES, ...TIERS, ...STAGED, ...PROFILES, ...WHOLE];
