import type { AnyResource } from '#datastore';
import { type Actor, actor, resource } from './scenario.ts';

/**
 * The cluster that every scenario plays in: two nodes, three namespaces, six workloads, two addresses outside. Without policy everybody
 * reaches everybody, because the profiles of the namespaces allow it.
 *
 *      node-a: web, db (prod), dev          node-b: lb, api (prod), probe (mon)          outside: out, office
 */
interface Workload {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly labels: Record<string, string>;
  readonly account: string;
  readonly ports: readonly { name: string; protocol: string; port: number }[];
}

const http = { name: 'http', protocol: 'TCP', port: 8080 };
const dns = { name: 'dns', protocol: 'UDP', port: 53 };
const WORKLOADS: readonly Workload[] = [
  {
    name: 'web',
    namespace: 'prod',
    node: 'node-a',
    labels: { app: 'web', role: 'server' },
    account: 'frontend',
    ports: [http, dns, { ...dns, protocol: 'TCP' }],
  },
  {
    name: 'db',
    namespace: 'prod',
    node: 'node-a',
    labels: { app: 'db', role: 'server' },
    account: 'storage',
    ports: [{ name: 'sql', protocol: 'TCP', port: 5432 }],
  },
  {
    name: 'lb',
    namespace: 'prod',
    node: 'node-b',
    labels: { app: 'lb', role: 'client' },
    account: 'frontend',
    ports: [],
  },
  {
    name: 'api',
    namespace: 'prod',
    node: 'node-b',
    labels: { app: 'api', role: 'client', tier: '' },
    account: 'backend',
    ports: [{ ...http, port: 80 }],
  },
  {
    name: 'dev',
    namespace: 'dev',
    node: 'node-a',
    labels: { app: 'web', role: 'client' },
    account: 'frontend',
    ports: [http],
  },
  { name: 'probe', namespace: 'mon', node: 'node-b', labels: { app: 'probe' }, account: 'watcher', ports: [] },
];

export const NODES: readonly string[] = ['node-a', 'node-b'];

const four = (i: number) => `10.65.0.${i + 1}`;
const six = (i: number) => `fd00:65::${i + 1}`;
const idOf = ({ namespace, node, name }: Workload) => `${namespace}/${node}-k8s-${name}-eth0`;

export const ACTORS: ReadonlyMap<string, Actor> = new Map(
  [
    ...WORKLOADS.map((w, i) => actor(w.name, four(i), six(i), idOf(w))),
    actor('out', '192.0.2.10', '2001:db8:bad::10'),
    actor('office', '198.51.100.7', '2001:db8:0ff::7'),
  ].map((one) => [one.name, one]),
);

const allowAll = { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] };
const namespaceProfile = (name: string, labels: Record<string, string>): AnyResource =>
  resource('Profile', `kns.${name}`, {
    ...allowAll,
    labelsToApply: {
      'pcns.projectcalico.org/name': name,
      ...Object.fromEntries(Object.entries(labels).map(([key, value]) => [`pcns.${key}`, value])),
    },
  });
const accountProfile = (namespace: string, name: string): AnyResource =>
  resource('Profile', `ksa.${namespace}.${name}`, {
    labelsToApply: { 'pcsa.projectcalico.org/name': name, 'pcsa.kind': name === 'storage' ? 'data' : 'web' },
  });

export const CAST: readonly AnyResource[] = [
  namespaceProfile('prod', { stage: 'prod', team: 'shop' }),
  namespaceProfile('dev', { stage: 'dev', team: 'shop' }),
  namespaceProfile('mon', { stage: 'prod', team: 'ops' }),
  ...new Map(WORKLOADS.map((w) => [`${w.namespace}/${w.account}`, accountProfile(w.namespace, w.account)])).values(),
  resource('Tier', 'default', { order: 1_000_000, defaultAction: 'Deny' }),
  ...WORKLOADS.map((w, i) =>
    resource(
      'WorkloadEndpoint',
      idOf(w),
      {
        orchestrator: 'k8s',
        node: w.node,
        pod: w.name,
        endpoint: 'eth0',
        interfaceName: `cali${w.name}`,
        ipNetworks: [`${four(i)}/32`, `${six(i)}/128`],
        profiles: [`kns.${w.namespace}`, `ksa.${w.namespace}.${w.account}`],
        serviceAccountName: w.account,
        ports: w.ports,
      },
      { ...w.labels, 'projectcalico.org/namespace': w.namespace, 'projectcalico.org/orchestrator': 'k8s' },
    ),
  ),
];
