import { createHash } from 'node:crypto';
import { type Kind, resourceKey, type Update } from '#datastore';

/**
 * Clusters as data: the shapes of Felix's own benchmarks (calc_graph_bench_test.go, named_port_bench_test.go). What measures the calculation takes them
 * as updates, what measures the agent puts them into etcd.
 */

export interface Shaped {
  readonly kind: Kind;
  /** `name`, or `namespace/name`. */
  readonly id: string;
  readonly spec: object;
  readonly labels?: Readonly<Record<string, string>>;
}

/** The node that the measured program runs on. */
export const LOCAL = 'local';

const names = ({ id, labels }: Shaped): { namespace?: string; name: string; labels: Shaped['labels'] } => {
  const [first, second] = id.split('/');
  return second === undefined ? { name: first, labels } : { name: second, namespace: first, labels };
};

/** By way of text, as from etcd: every string is the update's own. */
export function updateOf(shaped: Shaped): Update {
  const { kind, id, spec } = shaped;
  const text = JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind, metadata: names(shaped), spec });
  return { kind, id, revision: 1n, value: JSON.parse(text) } as unknown as Update;
}

/** Key and value as a Go client writes them, with what clients add by themselves. */
export function entryOf(shaped: Shaped): { key: string; value: string } {
  const { kind, id, spec } = shaped;
  const { namespace, name, labels } = names(shaped);
  const hash = createHash('sha1').update(`${kind} ${id}`).digest('hex');
  const uid = hash.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*/, '$1-$2-$3-$4-$5');
  const metadata = { name, namespace, uid, creationTimestamp: '2026-11-25T08:00:00Z', labels };
  const value = JSON.stringify({ kind, apiVersion: 'projectcalico.org/v3', metadata, spec });
  return { key: resourceKey(kind, name, namespace), value };
}

let addresses = 0x0a000001;
export function nextAddress(): string {
  const a = addresses++;
  return `${a >>> 24}.${(a >> 16) & 255}.${(a >> 8) & 255}.${a & 255}`;
}

/** As the CNI plugin writes it for a pod of Kubernetes. */
export function endpoint(
  n: number,
  node: string,
  namespace: string,
  labels: Record<string, string>,
  address = nextAddress(),
): Shaped {
  return {
    kind: 'WorkloadEndpoint',
    id: `${namespace}/${node}-k8s-pod--${n}-eth0`,
    spec: {
      node,
      orchestrator: 'k8s',
      pod: `pod-${n}`,
      containerID: createHash('sha256').update(`${node} ${n}`).digest('hex'),
      endpoint: 'eth0',
      interfaceName: `cali${n}`,
      ipNetworks: [`${address}/32`],
      profiles: [`kns.${namespace}`, `ksa.${namespace}.default`],
    },
    labels: {
      ...labels,
      'projectcalico.org/namespace': namespace,
      'projectcalico.org/orchestrator': 'k8s',
      'projectcalico.org/serviceaccount': 'default',
    },
  };
}

const MARKERS = Array.from({ length: 31 }, (_, i) => (i % 2 ? `calico/Marker-${i}` : `MARKER_${i}`));
/** Six labels: five that divide the endpoints, and one of 31 markers. */
export function sixLabels(n: number): Record<string, string> {
  const labels: Record<string, string> = { [MARKERS[n % MARKERS.length]]: 'true' };
  for (const every of [10, 11, 20, 30, 40]) labels[`one-in-${every}`] = `value-${n % every}`;
  return labels;
}

/** A profile each, open, with a label that its endpoints inherit. */
export function* namespaces(count: number): Iterable<Shaped> {
  for (let i = 0; i < count; i++)
    yield {
      kind: 'Profile',
      id: `kns.namespace-${i}`,
      spec: {
        ingress: [{ action: 'Allow' }],
        egress: [{ action: 'Allow' }],
        labelsToApply: { 'pcns.projectcalico.org/name': `namespace-${i}` },
      },
    };
}

export function* endpoints(count: number, node: string, spaces = 100): Iterable<Shaped> {
  for (let n = 0; n < count; n++) yield endpoint(n, node, `namespace-${n % spaces}`, sixLabels(n));
}

export function tagPolicy(i: number): Shaped {
  const marker = (at: number) => MARKERS[at % MARKERS.length];
  return {
    kind: 'GlobalNetworkPolicy',
    id: `tag-pol-${i}`,
    spec: {
      selector: `has(${marker(i)})`,
      types: ['Ingress'],
      ingress: [0, 1, 2, 3, 4].map((j) => ({ action: 'Allow', source: { selector: `has(${marker(i + j)})` } })),
    },
  };
}
/** Policies that select by marker and name markers in their rules. */
export function* tagPolicies(count: number): Iterable<Shaped> {
  for (let i = 0; i < count; i++) yield tagPolicy(i);
}

const SET_SIZES = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000];
/** Network sets, and a policy for each that names it and selects everything. */
export function* netsetPolicies(count: number): Iterable<Shaped> {
  for (let i = 0; i < count; i++) {
    const nets = Array.from({ length: SET_SIZES[i % SET_SIZES.length] }, () => `${nextAddress()}/32`);
    const name = `network-set-${i}`;
    yield { kind: 'GlobalNetworkSet', id: name, spec: { nets }, labels: { 'network-set-name': name } };
    yield {
      kind: 'GlobalNetworkPolicy',
      id: `network-set-pol-${i}`,
      spec: {
        selector: 'all()',
        types: ['Ingress'],
        ingress: [{ action: 'Allow', source: { selector: `network-set-name == '${name}'` } }],
      },
    };
  }
}

/** A namespace a customer, one pod each, closed to the others but for DNS (Felix's IsolatedCustomers); the first ones are local. */
export function* customers(count: number, local: number): Iterable<Shaped> {
  for (let i = 0; i < count; i++) {
    const namespace = `customer-${i}`;
    yield {
      kind: 'Profile',
      id: `kns.${namespace}`,
      spec: {
        labelsToApply: {
          'pcns.projectcalico.org/name': namespace,
          'pcns.tier': i % 10 === 0 ? 'gold' : 'basic',
          'pcns.customer': `${i}`,
        },
      },
    };
    yield {
      kind: 'NetworkPolicy',
      id: `${namespace}/isolate`,
      spec: {
        types: ['Ingress', 'Egress'],
        ingress: [{ action: 'Allow', source: { selector: 'all()' } }],
        egress: [
          { action: 'Allow', destination: { selector: 'all()' } },
          { action: 'Allow', protocol: 'UDP', destination: { nets: ['10.96.0.10/32'], ports: [53] } },
        ],
      },
    };
    const labels = { app: `app-${i % 7}`, debug: `${i % 2}`, version: `v${i % 5000}`, tier: i % 3 ? 'web' : 'db' };
    yield endpoint(i, i < local ? LOCAL : 'remote', namespace, { ...labels, ...sixLabels(i) });
  }
}

export function* concat(...parts: Iterable<Shaped>[]): Iterable<Shaped> {
  for (const part of parts) yield* part;
}
