import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Update } from '#datastore';
import { createPolicyGraph, type PolicyGraph, type ResolvedChanges } from '#policy';

/**
 * The policy calculation at scale: the shapes of Felix's own benchmarks (calc_graph_bench_test.go, named_port_bench_test.go), and single updates on
 * top of them. Each shape runs in a process of its own, so that the memory printed is its own. Without arguments all shapes run.
 *
 *     node --conditions=tsnet-source --import tsx --expose-gc test/bench/policy.bench.ts [shape...]
 */

const NODE = 'local';

function resource(kind: string, id: string, spec: object, labels?: Record<string, string>): Update {
  const [first, second] = id.split('/');
  const metadata = second === undefined ? { name: first, labels } : { name: second, namespace: first, labels };
  // By way of text, as from etcd: every string is the update's own.
  const value = JSON.parse(JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind, metadata, spec }));
  return { kind, id, revision: 1n, value } as unknown as Update;
}

let addresses = 0x0a000001;
function nextAddress(): string {
  const a = addresses++;
  return `${a >>> 24}.${(a >> 16) & 255}.${(a >> 8) & 255}.${a & 255}`;
}

const endpoint = (n: number, node: string, namespace: string, labels: Record<string, string>): Update =>
  resource(
    'WorkloadEndpoint',
    `${namespace}/${node}-k8s-pod--${n}-eth0`,
    {
      node,
      orchestrator: 'k8s',
      pod: `pod-${n}`,
      endpoint: 'eth0',
      interfaceName: `cali${n}`,
      ipNetworks: [`${nextAddress()}/32`],
      profiles: [`kns.${namespace}`],
    },
    labels,
  );

const MARKERS = Array.from({ length: 31 }, (_, i) => (i % 2 ? `calico/Marker-${i}` : `MARKER_${i}`));
/** Six labels: five that divide the endpoints, and one of 31 markers. */
function sixLabels(n: number): Record<string, string> {
  const labels: Record<string, string> = { [MARKERS[n % MARKERS.length]]: 'true' };
  for (const every of [10, 11, 20, 30, 40]) labels[`one-in-${every}`] = `value-${n % every}`;
  return labels;
}

function* namespaces(count: number): Iterable<Update> {
  for (let i = 0; i < count; i++)
    yield resource('Profile', `kns.namespace-${i}`, {
      ingress: [{ action: 'Allow' }],
      egress: [{ action: 'Allow' }],
      labelsToApply: { 'pcns.projectcalico.org/name': `namespace-${i}` },
    });
}

function* endpoints(count: number, node: string, spaces = 100): Iterable<Update> {
  for (let n = 0; n < count; n++) yield endpoint(n, node, `namespace-${n % spaces}`, sixLabels(n));
}

function* tagPolicies(count: number): Iterable<Update> {
  const marker = (i: number) => MARKERS[i % MARKERS.length];
  for (let i = 0; i < count; i++)
    yield resource('GlobalNetworkPolicy', `tag-pol-${i}`, {
      selector: `has(${marker(i)})`,
      types: ['Ingress'],
      ingress: [0, 1, 2, 3, 4].map((j) => ({ action: 'Allow', source: { selector: `has(${marker(i + j)})` } })),
    });
}

const SET_SIZES = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000];
function* netsetPolicies(count: number): Iterable<Update> {
  for (let i = 0; i < count; i++) {
    const nets = Array.from({ length: SET_SIZES[i % SET_SIZES.length] }, () => `${nextAddress()}/32`);
    yield resource('GlobalNetworkSet', `network-set-${i}`, { nets }, { 'network-set-name': `network-set-${i}` });
    yield resource('GlobalNetworkPolicy', `network-set-pol-${i}`, {
      selector: 'all()',
      types: ['Ingress'],
      ingress: [{ action: 'Allow', source: { selector: `network-set-name == 'network-set-${i}'` } }],
    });
  }
}

/** A namespace a customer, one pod each, closed to the others but for DNS. */
function* customers(count: number, local: number): Iterable<Update> {
  for (let i = 0; i < count; i++) {
    const namespace = `customer-${i}`;
    yield resource('Profile', `kns.${namespace}`, {
      labelsToApply: {
        'pcns.projectcalico.org/name': namespace,
        'pcns.tier': i % 10 === 0 ? 'gold' : 'basic',
        'pcns.customer': `${i}`,
      },
    });
    yield resource('NetworkPolicy', `${namespace}/isolate`, {
      types: ['Ingress', 'Egress'],
      ingress: [{ action: 'Allow', source: { selector: 'all()' } }],
      egress: [
        { action: 'Allow', destination: { selector: 'all()' } },
        { action: 'Allow', protocol: 'UDP', destination: { nets: ['10.96.0.10/32'], ports: [53] } },
      ],
    });
    const labels = { app: `app-${i % 7}`, debug: `${i % 2}`, version: `v${i % 5000}`, tier: i % 3 ? 'web' : 'db' };
    yield endpoint(i, i < local ? NODE : 'remote', namespace, {
      ...labels,
      ...sixLabels(i),
    });
  }
}

const seconds = (since: bigint): number => Number(process.hrtime.bigint() - since) / 1e9;
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;

function feed(graph: PolicyGraph, updates: Iterable<Update>): number {
  let spent = 0;
  for (const update of updates) {
    const start = process.hrtime.bigint();
    graph.onUpdate(update);
    spent += seconds(start);
  }
  return spent;
}

function flush(graph: PolicyGraph): { spent: number; changes: ResolvedChanges } {
  const start = process.hrtime.bigint();
  const changes = graph.flush();
  return { spent: seconds(start), changes };
}

function report(what: string, text: string): void {
  console.log(`  ${what.padEnd(34)} ${text}`);
}

const members = (changes: ResolvedChanges): number =>
  [...changes.added.values()].reduce((sum, set) => sum + set.size, 0);

function coldStart(graph: PolicyGraph, snapshot: Iterable<Update>): void {
  const taken = feed(graph, snapshot);
  const { spent, changes } = flush(graph);
  report('cold start: updates, flush', `${taken.toFixed(2)} s, ${spent.toFixed(2)} s`);
  const { policies, sets, endpoints } = changes;
  report(
    'policies, sets, members, endpoints',
    `${policies.size}, ${sets.size}, ${members(changes)}, ${endpoints.size}`,
  );
  const peak = process.resourceUsage().maxRSS * 1024;
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  report('memory: peak, now, heap', `${megabytes(peak)}, ${megabytes(rss)}, ${megabytes(heapUsed)}`);
}

/** p50, p99 and maximum of update and flush together. */
function singles(graph: PolicyGraph, what: string, updates: Iterable<Update>): void {
  const times: number[] = [];
  for (const update of updates) {
    const start = process.hrtime.bigint();
    graph.onUpdate(update);
    graph.flush();
    times.push(seconds(start) * 1000);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(3);
  report(`${what}, each`, `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);
}

function* concat(...parts: Iterable<Update>[]): Iterable<Update> {
  for (const part of parts) yield* part;
}
function* relabelled(count: number, node: string): Iterable<Update> {
  for (let n = 0; n < count; n++) yield endpoint(n * 7, node, `namespace-${(n * 7) % 100}`, sixLabels(n * 7 + 1));
}

const SHAPES: Record<string, () => void> = {
  'tags-10k-policies-250k-endpoints': () => {
    const graph = createPolicyGraph({ node: NODE });
    coldStart(graph, concat(tagPolicies(10_000), namespaces(100), endpoints(250_000, 'remote'), endpoints(200, NODE)));
    singles(graph, 'remote endpoint moved', relabelled(2000, 'remote'));
    singles(graph, 'local endpoint relabelled', relabelled(25, NODE));
    singles(graph, 'policy rules edited', tagPolicies(200));
  },
  'netsets-1k-endpoints-10k': () => coldStart(createPolicyGraph({ node: NODE }), netsetShape(1000)),
  'netsets-10k-endpoints-10k': () => {
    const graph = createPolicyGraph({ node: NODE });
    coldStart(graph, netsetShape(10_000));
    singles(graph, 'remote endpoint moved', relabelled(1000, 'remote'));
  },
  'isolated-customers-100k': () => {
    const graph = createPolicyGraph({ node: NODE });
    coldStart(graph, customers(100_000, 100));
    singles(graph, 'customer again with another address', customers(300, 100));
  },
  'parent-labels-100k-children': () => {
    const graph = createPolicyGraph({ node: NODE });
    const ingress = Array.from({ length: 100 }, (_, i) => ({
      action: 'Allow',
      source: { selector: `pcns.flip == '${i}'` },
    }));
    coldStart(
      graph,
      concat(
        [resource('GlobalNetworkPolicy', 'p', { ingress })],
        endpoints(100_000, 'remote', 1),
        endpoints(1, NODE, 1),
      ),
    );
    const flips = Array.from({ length: 10 }, (_, i) =>
      resource('Profile', 'kns.namespace-0', { labelsToApply: { 'pcns.flip': `${i}` } }),
    );
    singles(graph, 'labels of 100 000 children changed', flips);
  },
  'set-of-100k-members': () => {
    const graph = createPolicyGraph({ node: NODE });
    coldStart(graph, concat(endpoints(100_000, 'remote'), endpoints(1, NODE)));
    const policy = (i: number) =>
      resource('GlobalNetworkPolicy', `p${i}`, {
        ingress: [{ action: 'Allow', source: { selector: `one-in-10 != 'x${i}'` } }],
      });
    singles(graph, 'set of 100 000 built', [0, 1, 2, 3, 4].map(policy));
    singles(graph, 'member changed', relabelled(1000, 'remote'));
  },
  'selectors-10k-endpoint-updates': () => {
    const graph = createPolicyGraph({ node: NODE });
    const rule = (i: number) => ({ action: 'Allow', source: { selector: `alpha == 'beta' && has(ipset-${i})` } });
    const ingress = Array.from({ length: 1000 }, (_, i) => i);
    for (let p = 0; p < 10; p++)
      graph.onUpdate(resource('GlobalNetworkPolicy', `p${p}`, { ingress: ingress.map((i) => rule(p * 1000 + i)) }));
    graph.onUpdate(endpoint(0, NODE, 'namespace-0', {}));
    flush(graph);
    const labels = { alpha: 'beta', 'ipset-1': 'true' };
    singles(
      graph,
      'endpoint new',
      Array.from({ length: 20_000 }, (_, n) => endpoint(n, 'remote', `own-${n}`, labels)),
    );
  },
};

const netsetShape = (count: number): Iterable<Update> =>
  concat(namespaces(100), endpoints(10_000, 'remote'), netsetPolicies(count), endpoints(200, NODE));

const wanted = process.argv.slice(2);
if (wanted.length === 1 && SHAPES[wanted[0]]) SHAPES[wanted[0]]();
else
  for (const shape of wanted.length > 0 ? wanted : Object.keys(SHAPES)) {
    console.log(shape);
    spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), shape], { stdio: 'inherit' });
  }
