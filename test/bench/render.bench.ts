import type { Update } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, type PolicyChanges, type PolicyEngine } from '#policy';

/**
 * What a single change costs from the update to the chains that differ, at 1 000 local endpoints: edits of a policy, an endpoint added.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/render.bench.ts [policies [rules]]
 */

const ENDPOINTS = 1000;
const ROUNDS = 200;
const POLICIES = Number(process.argv[2] ?? 2000);
const RULES = Number(process.argv[3] ?? 5);

const update = (kind: string, id: string, spec: object, labels?: Record<string, string>): Update => {
  const [first, second] = id.split('/');
  const metadata = second === undefined ? { name: first, labels } : { namespace: first, name: second, labels };
  return { kind, id, revision: 1n, value: { apiVersion: 'projectcalico.org/v3', kind, metadata, spec } } as never;
};
const hex = (n: number): string =>
  Math.imul(n + 1, 2654435761 | 0)
    .toString(16)
    .replace('-', '')
    .padStart(8, '0') + n;
const endpoint = (n: number): Update =>
  update(
    'WorkloadEndpoint',
    `space/w-${n}`,
    {
      node: 'here',
      orchestrator: 'k8s',
      endpoint: 'eth0',
      interfaceName: `cali${hex(n)}`.slice(0, 15),
      ipNetworks: [`10.65.${n >> 8}.${n & 255}/32`],
      profiles: ['open'],
    },
    { app: `app-${n % (POLICIES / 2)}` },
  );
/** Each endpoint is under a few policies, and each policy on a few endpoints. */
const policy = (n: number, edit = 0): Update =>
  update('GlobalNetworkPolicy', `policy-${n}`, {
    selector: `app == 'app-${n % (POLICIES / 2)}'`,
    types: ['Ingress'],
    ingress: Array.from({ length: RULES }, (_, i) => ({
      action: 'Allow',
      protocol: 'TCP',
      source: { nets: [`10.${i}.${edit & 255}.0/24`] },
      destination: { ports: [8000 + i] },
    })),
  });

function percentiles(times: number[]): string {
  const sorted = times.sort((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))].toFixed(2);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`;
}

function measure(name: string, engine: PolicyEngine, change: (round: number) => Update): void {
  const times: number[] = [];
  let chains = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const next = change(round);
    const started = performance.now();
    engine.onUpdate(next);
    const out: PolicyChanges = engine.flush();
    times.push(performance.now() - started);
    chains += out.chains.length;
  }
  console.log(`${name}: ${percentiles(times)}; ${(chains / ROUNDS).toFixed(1)} chains each`);
}

const engine = createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG });
engine.onUpdate(update('Profile', 'open', { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] }));
for (let i = 0; i < POLICIES; i++) engine.onUpdate(policy(i));
for (let i = 0; i < ENDPOINTS; i++) engine.onUpdate(endpoint(i));
const started = performance.now();
const first = engine.flush();
const rules = first.chains.reduce((sum, c) => sum + (c.family === 4 ? (c.chain?.rules.length ?? 0) : 0), 0);
console.log(
  `${ENDPOINTS} endpoints, ${POLICIES} policies of ${RULES} rules: ${rules} IPv4 rules in ${(performance.now() - started).toFixed(0)} ms`,
);
measure('policy edit', engine, (round) => policy((round * 7) % POLICIES, round + 1));
measure('endpoint added', engine, (round) => endpoint(ENDPOINTS + round));
