import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createPolicyGraph, type PolicyGraph, type ResolvedChanges } from '#policy';
import {
  concat,
  customers,
  endpoint,
  endpoints,
  LOCAL,
  namespaces,
  netsetPolicies,
  type Shaped,
  sixLabels,
  tagPolicies,
  updateOf,
} from './shapes.ts';

/**
 * The policy calculation at scale: the shapes of Felix's own benchmarks (calc_graph_bench_test.go, named_port_bench_test.go), and single updates on
 * top of them. Each shape runs in a process of its own, so that the memory printed is its own. Without arguments all shapes run.
 *
 *     node --conditions=tsnet-source --import tsx --expose-gc test/bench/policy.bench.ts [shape...]
 */

const seconds = (since: bigint): number => Number(process.hrtime.bigint() - since) / 1e9;
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MB`;

function feed(graph: PolicyGraph, updates: Iterable<Shaped>): number {
  let spent = 0;
  for (const shaped of updates) {
    const update = updateOf(shaped);
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

function coldStart(graph: PolicyGraph, snapshot: Iterable<Shaped>): void {
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
function singles(graph: PolicyGraph, what: string, updates: Iterable<Shaped>): void {
  const times: number[] = [];
  for (const shaped of updates) {
    const update = updateOf(shaped);
    const start = process.hrtime.bigint();
    graph.onUpdate(update);
    graph.flush();
    times.push(seconds(start) * 1000);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(3);
  report(`${what}, each`, `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);
}

function* relabelled(count: number, node: string): Iterable<Shaped> {
  for (let n = 0; n < count; n++) yield endpoint(n * 7, node, `namespace-${(n * 7) % 100}`, sixLabels(n * 7 + 1));
}

const SHAPES: Record<string, () => void> = {
  'tags-10k-policies-250k-endpoints': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    coldStart(graph, concat(tagPolicies(10_000), namespaces(100), endpoints(250_000, 'remote'), endpoints(200, LOCAL)));
    singles(graph, 'remote endpoint moved', relabelled(2000, 'remote'));
    singles(graph, 'local endpoint relabelled', relabelled(25, LOCAL));
    singles(graph, 'policy rules edited', tagPolicies(200));
  },
  'netsets-1k-endpoints-10k': () => coldStart(createPolicyGraph({ node: LOCAL }), netsetShape(1000)),
  'netsets-10k-endpoints-10k': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    coldStart(graph, netsetShape(10_000));
    singles(graph, 'remote endpoint moved', relabelled(1000, 'remote'));
  },
  'isolated-customers-100k': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    coldStart(graph, customers(100_000, 100));
    singles(graph, 'customer again with another address', customers(300, 100));
  },
  'parent-labels-100k-children': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    const ingress = Array.from({ length: 100 }, (_, i) => ({
      action: 'Allow',
      source: { selector: `pcns.flip == '${i}'` },
    }));
    coldStart(
      graph,
      concat(
        [{ kind: 'GlobalNetworkPolicy', id: 'p', spec: { ingress } }],
        endpoints(100_000, 'remote', 1),
        endpoints(1, LOCAL, 1),
      ),
    );
    const flips = Array.from({ length: 10 }, (_, i): Shaped => {
      const spec = { labelsToApply: { 'pcns.flip': `${i}` } };
      return { kind: 'Profile', id: 'kns.namespace-0', spec };
    });
    singles(graph, 'labels of 100 000 children changed', flips);
  },
  'set-of-100k-members': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    coldStart(graph, concat(endpoints(100_000, 'remote'), endpoints(1, LOCAL)));
    const policy = (i: number): Shaped => ({
      kind: 'GlobalNetworkPolicy',
      id: `p${i}`,
      spec: { ingress: [{ action: 'Allow', source: { selector: `one-in-10 != 'x${i}'` } }] },
    });
    singles(graph, 'set of 100 000 built', [0, 1, 2, 3, 4].map(policy));
    singles(graph, 'member changed', relabelled(1000, 'remote'));
  },
  'selectors-10k-endpoint-updates': () => {
    const graph = createPolicyGraph({ node: LOCAL });
    const rule = (i: number) => ({ action: 'Allow', source: { selector: `alpha == 'beta' && has(ipset-${i})` } });
    const ingress = Array.from({ length: 1000 }, (_, i) => i);
    for (let p = 0; p < 10; p++) {
      const spec = { ingress: ingress.map((i) => rule(p * 1000 + i)) };
      graph.onUpdate(updateOf({ kind: 'GlobalNetworkPolicy', id: `p${p}`, spec }));
    }
    graph.onUpdate(updateOf(endpoint(0, LOCAL, 'namespace-0', {})));
    flush(graph);
    const labels = { alpha: 'beta', 'ipset-1': 'true' };
    singles(
      graph,
      'endpoint new',
      Array.from({ length: 20_000 }, (_, n) => endpoint(n, 'remote', `own-${n}`, labels)),
    );
  },
};

const netsetShape = (count: number): Iterable<Shaped> =>
  concat(namespaces(100), endpoints(10_000, 'remote'), netsetPolicies(count), endpoints(200, LOCAL));

const wanted = process.argv.slice(2);
if (wanted.length === 1 && SHAPES[wanted[0]]) SHAPES[wanted[0]]();
else
  for (const shape of wanted.length > 0 ? wanted : Object.keys(SHAPES)) {
    console.log(shape);
    spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), shape], { stdio: 'inherit' });
  }
