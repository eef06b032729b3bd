import type { AnyResource } from '#datastore';
import { resource, type Scenario, scenario } from './scenario.ts';

const WORKLOADS = ['web', 'db', 'lb', 'api', 'dev', 'probe'];
const EVERYBODY = [...WORKLOADS, 'out', 'office'];

const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');

/** A policy with the spec, which denies ingress: who is closed? Global, unless a namespace is given. */
function closes(spec: object, closed: string, namespace?: string): Scenario {
  const kind = namespace === undefined ? 'GlobalNetworkPolicy' : 'NetworkPolicy';
  const id = namespace === undefined ? 'p' : `${namespace}/p`;
  const who = words(closed);
  return scenario(
    `${kind} for ${JSON.stringify(spec)} closes ${closed || 'nobody'}`,
    [resource(kind, id, { types: ['Ingress'], ...spec })],
    WORKLOADS.map((to) => `${to === 'web' ? 'out' : 'web'} > ${to} tcp/7 ${who.includes(to) ? 'no' : 'yes'}`),
  );
}

/** A rule that allows into db from the source: who gets in? In a global policy, unless a namespace is given; `more` is there too. */
function admits(source: object, admitted: string, { namespace = '', more = [] as AnyResource[] } = {}): Scenario {
  const kind = namespace === '' ? 'GlobalNetworkPolicy' : 'NetworkPolicy';
  const id = namespace === '' ? 'p' : `${namespace}/p`;
  const who = words(admitted);
  const spec = { selector: "app == 'db'", types: ['Ingress'], ingress: [{ action: 'Allow', source }] };
  return scenario(
    `${kind} rule from ${JSON.stringify(source)}${more.length > 0 ? ` with ${more.map(describeSet).join(', ')}` : ''} admits ${admitted || 'nobody'}`,
    [resource(kind, id, spec), ...more],
    EVERYBODY.filter((from) => from !== 'db').map((from) => `${from} > db tcp/7 ${who.includes(from) ? 'yes' : 'no'}`),
  );
}

/** A rule that allows out of web to the destination: where does it get? */
function reaches(destination: object, reached: string, namespace = ''): Scenario {
  const kind = namespace === '' ? 'GlobalNetworkPolicy' : 'NetworkPolicy';
  const id = namespace === '' ? 'p' : `${namespace}/p`;
  const spec = { selector: "app == 'web'", types: ['Egress'], egress: [{ action: 'Allow', destination }] };
  const where = words(reached);
  return scenario(
    `${kind} rule to ${JSON.stringify(destination)} reaches ${reached || 'nobody'}`,
    [resource(kind, id, spec)],
    EVERYBODY.filter((to) => to !== 'web').map((to) => `web > ${to} tcp/7 ${where.includes(to) ? 'yes' : 'no'}`),
  );
}

/** Which endpoints a policy applies to. */
const APPLIES: readonly Scenario[] = [
  closes({}, 'web db lb api dev probe'),
  closes({ selector: 'all()' }, 'web db lb api dev probe'),
  closes({ selector: "app == 'web'" }, 'web dev'),
  closes({ selector: "app != 'web'" }, 'db lb api probe'),
  closes({ selector: "!app == 'web'" }, 'db lb api probe'),
  closes({ selector: "app in {'web', 'db'}" }, 'web db dev'),
  closes({ selector: "app not in {'web', 'db'}" }, 'lb api probe'),
  closes({ selector: 'app in {}' }, ''),
  closes({ selector: 'app not in {}' }, 'web db lb api dev probe'),
  closes({ selector: 'has(tier)' }, 'api'),
  closes({ selector: "tier == ''" }, 'api'),
  closes({ selector: '!has(role)' }, 'probe'),
  closes({ selector: "role != 'server'" }, 'lb api dev probe'),
  closes({ selector: "app contains 'b'" }, 'web db lb dev probe'),
  closes({ selector: "app starts with 'w'" }, 'web dev'),
  closes({ selector: "app startswith 'a'" }, 'api'),
  closes({ selector: "app ends with 'b'" }, 'web db lb dev'),
  closes({ selector: "app == 'web' && role == 'server'" }, 'web'),
  closes({ selector: "app == 'db' || role == 'client'" }, 'db lb api dev'),
  closes({ selector: "app == 'db' || role == 'client' && app == 'lb'" }, 'db lb'),
  closes({ selector: "(app == 'db' || role == 'client') && app == 'lb'" }, 'lb'),
  closes({ selector: "!(app == 'db' || role == 'client')" }, 'web probe'),
  closes({ selector: 'has(role) && !has(role)' }, ''),
  closes({ selector: "projectcalico.org/namespace == 'mon'" }, 'probe'),
  closes({ selector: "projectcalico.org/orchestrator == 'k8s'" }, 'web db lb api dev probe'),
  closes({ selector: "pcns.stage == 'prod'" }, 'web db lb api probe'),
  closes({ selector: "pcsa.kind == 'data'" }, 'db'),
  closes({ selector: "projectcalico.org/serviceaccount == 'frontend'" }, 'web lb dev'),
  closes({ namespaceSelector: "team == 'shop'" }, 'web db lb api dev'),
  closes({ namespaceSelector: 'all()' }, 'web db lb api dev probe'),
  closes({ namespaceSelector: '!has(team)' }, ''),
  closes({ namespaceSelector: "projectcalico.org/name == 'dev'" }, 'dev'),
  closes({ selector: "role == 'client'", namespaceSelector: "stage == 'prod'" }, 'lb api'),
  closes({ serviceAccountSelector: "kind == 'data'" }, 'db'),
  closes({ serviceAccountSelector: 'all()' }, 'web db lb api dev probe'),
  closes({ selector: "role == 'server'", serviceAccountSelector: "kind == 'web'" }, 'web'),
  closes({ selector: "app == 'web'", namespaceSelector: "stage == 'dev'", serviceAccountSelector: 'has(kind)' }, 'dev'),
  closes({}, 'web db lb api', 'prod'),
  closes({ selector: "app == 'web'" }, 'web', 'prod'),
  closes({ selector: "app == 'web' || app == 'db'" }, 'dev', 'dev'),
  closes({ selector: 'all()' }, 'probe', 'mon'),
  closes({ selector: 'all()' }, '', 'nowhere'),
  closes({ selector: "role == 'server'", serviceAccountSelector: "kind == 'data'" }, 'db', 'prod'),
];

const netset = (id: string, labels: Record<string, string>, nets: string[]): AnyResource =>
  resource(id.includes('/') ? 'NetworkSet' : 'GlobalNetworkSet', id, { nets }, labels);
const OUTSIDE = ['192.0.2.10/32', '2001:db8:bad::10/128'];
const OFFICE = ['198.51.100.0/24', '2001:db8:ff::/48'];

const describeSet = ({ kind, metadata, spec }: AnyResource): string =>
  `${kind} ${metadata.namespace ?? ''}/${JSON.stringify(metadata.labels)} ${JSON.stringify(spec)}`;

/** Who is the source of a rule. */
const SOURCES: readonly Scenario[] = [
  admits({}, 'web lb api dev probe out office'),
  admits({ selector: '' }, 'web lb api dev probe out office'),
  admits({ selector: 'all()' }, 'web lb api dev probe'),
  admits({ selector: "role == 'client'" }, 'lb api dev'),
  admits({ selector: "app == 'web'" }, 'web dev'),
  admits({ selector: "app != 'web'" }, 'lb api probe'),
  admits({ selector: '!has(role)' }, 'probe'),
  admits({ notSelector: 'has(role)' }, 'probe out office'),
  admits({ notSelector: 'all()' }, 'out office'),
  admits({ selector: 'has(role)', notSelector: "app == 'web'" }, 'lb api'),
  admits({ namespaceSelector: "stage == 'prod'" }, 'web lb api probe'),
  admits({ namespaceSelector: 'all()' }, 'web lb api dev probe'),
  admits({ namespaceSelector: "stage == 'dev'", selector: "app == 'web'" }, 'dev'),
  admits({ namespaceSelector: 'global()' }, ''),
  admits({ serviceAccounts: { names: ['frontend'] } }, 'web lb dev'),
  admits({ serviceAccounts: { names: ['frontend', 'watcher'] } }, 'web lb dev probe'),
  admits({ serviceAccounts: { selector: "kind == 'web'" } }, 'web lb api dev probe'),
  admits({ serviceAccounts: { names: ['frontend', 'storage'], selector: "kind == 'web'" } }, 'web lb dev'),
  admits({ serviceAccounts: { names: ['frontend'] }, selector: "role == 'client'" }, 'lb dev'),
  admits({ serviceAccounts: { names: ['frontend'] }, namespaceSelector: "stage == 'dev'" }, 'dev'),
  admits({ services: { name: 's', namespace: 'prod' } }, ''),
  admits({ selector: "app == 'web'" }, 'web', { namespace: 'prod' }),
  admits({ selector: 'all()' }, 'web lb api', { namespace: 'prod' }),
  admits({}, 'web lb api dev probe out office', { namespace: 'prod' }),
  admits({ notSelector: "app == 'web'" }, 'lb api', { namespace: 'prod' }),
  admits({ namespaceSelector: "team == 'ops'" }, 'probe', { namespace: 'prod' }),
  admits({ namespaceSelector: "team == 'shop'", selector: "app == 'web'" }, 'web dev', { namespace: 'prod' }),
  admits({ namespaceSelector: 'all()' }, 'web lb api dev probe', { namespace: 'prod' }),
  admits({ namespaceSelector: 'global()' }, '', { namespace: 'prod' }),
  admits({ serviceAccounts: { names: ['frontend'] } }, 'web lb', { namespace: 'prod' }),
];

/** The same through network sets. */
const SETS: readonly Scenario[] = [
  admits({ selector: 'has(blocked)' }, 'out', { more: [netset('s', { blocked: '' }, OUTSIDE)] }),
  admits({ selector: 'all()' }, 'web lb api dev probe out', { more: [netset('s', { x: '' }, OUTSIDE)] }),
  admits({ notSelector: 'has(blocked)' }, 'web lb api dev probe office', {
    more: [netset('s', { blocked: '' }, OUTSIDE)],
  }),
  admits({ selector: 'has(p)' }, 'out office', {
    more: [netset('s', { p: '' }, OUTSIDE), netset('t', { p: '' }, OFFICE)],
  }),
  admits({ selector: "p == '1'" }, 'office', {
    more: [netset('s', { p: '2' }, OUTSIDE), netset('t', { p: '1' }, OFFICE)],
  }),
  admits({ selector: 'has(p)' }, 'web lb api dev probe', {
    more: [netset('s', { p: '' }, ['10.65.0.0/24', 'fd00:65::/64'])],
  }),
  admits({ selector: 'has(p)' }, 'out office', {
    more: [netset('s', { p: '' }, ['192.0.0.0/8', '198.51.100.7/24', '2001:db8::5/32'])],
  }),
  admits({ selector: "has(p) || app == 'lb'" }, 'lb office', { more: [netset('s', { p: '' }, OFFICE)] }),
  admits({ notSelector: "has(p) || app == 'lb'" }, 'web api dev probe out', { more: [netset('s', { p: '' }, OFFICE)] }),
  admits({ selector: "has(p) || role == 'client'", notSelector: "has(p) || app == 'lb'" }, 'api dev', {
    more: [netset('s', { p: '' }, OFFICE)],
  }),
  admits({ selector: "has(p) || role == 'client'", notSelector: "q == '1' || app == 'lb'" }, 'api dev out', {
    more: [netset('s', { p: '', q: '1' }, OFFICE), netset('t', { p: '' }, [...OUTSIDE, '203.0.113.0/24'])],
  }),
  admits({ selector: 'has(p)' }, '', { namespace: 'prod', more: [netset('s', { p: '' }, OUTSIDE)] }),
  admits({ selector: 'has(p)', namespaceSelector: 'global()' }, 'out', {
    namespace: 'prod',
    more: [netset('s', { p: '' }, OUTSIDE)],
  }),
  admits({ selector: 'has(p)' }, 'out', { namespace: 'prod', more: [netset('prod/s', { p: '' }, OUTSIDE)] }),
  admits({ selector: 'has(p)' }, '', { namespace: 'prod', more: [netset('dev/s', { p: '' }, OUTSIDE)] }),
  admits({ namespaceSelector: "stage == 'dev'" }, 'dev office', {
    namespace: 'prod',
    more: [netset('dev/s', { p: '' }, OFFICE)],
  }),
  admits({ namespaceSelector: 'has(team)', selector: 'has(p)' }, 'office', {
    more: [netset('mon/s', { p: '' }, OFFICE)],
  }),
  admits({ selector: "projectcalico.org/namespace == 'dev' && has(p)" }, 'office', {
    more: [netset('dev/s', { p: '' }, OFFICE)],
  }),
  admits({ namespaceSelector: 'global()' }, 'office', {
    more: [netset('s', { p: '' }, OFFICE), netset('dev/t', { p: '' }, OUTSIDE)],
  }),
];

/** Who is the destination of a rule. */
const DESTINATIONS: readonly Scenario[] = [
  reaches({}, 'db lb api dev probe out office'),
  reaches({ selector: "app == 'db'" }, 'db'),
  reaches({ selector: 'all()' }, 'db lb api dev probe'),
  reaches({ notSelector: "app == 'db'" }, 'lb api dev probe out office'),
  reaches({ namespaceSelector: "stage == 'dev'" }, 'dev'),
  reaches({ serviceAccounts: { names: ['storage'] } }, 'db'),
  reaches({ selector: "role == 'client'" }, 'lb api', 'prod'),
  reaches({ notSelector: "app == 'db'" }, 'lb api', 'prod'),
  reaches({ namespaceSelector: "team == 'ops'" }, 'probe', 'prod'),
  reaches({ services: { name: 's', namespace: 'prod' } }, ''),
];

export const SELECTOR_SCENARIOS: readonly Scenario[] = [...APPLIES, ...SOURCES, ...SETS, ...DESTINATIONS];
