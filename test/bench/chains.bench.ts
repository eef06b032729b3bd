import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { createMetrics, type Metrics, realClock, silentLog } from '#core';
import type { Update } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { createIpset } from '../../agent/kernel/ipset/index.ts';
import { IpsetSocket } from '../../agent/kernel/ipset/socket.ts';
import { createIptables } from '../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../agent/kernel/nftables/sets.ts';
import { createRunner } from '../../agent/kernel/runner.ts';
import { ChainReconciler } from '../../agent/reconcile/chains.ts';
import { SetReconciler } from '../../agent/reconcile/sets.ts';

/**
 * From an update to the kernel, with 1 000 local endpoints of one or both families and policies of five rules each (2 000 of them: 20 000 rules in the
 * IPv4 table with iptables): one policy edited, one endpoint added; then a set of 100 000 addresses built and a member added, alone and beside networks, and
 * the same with 100 000 networks.
 * Root; it refuses to run in a network namespace that is in use.
 *
 *     unshare -n node --conditions=tsnet-source --import tsx test/bench/chains.bench.ts [nft|legacy|nftables] [rounds] [one|both] [policies]
 */

const inUse = Object.keys(networkInterfaces()).filter((name) => name !== 'lo');
if (inUse.length > 0) {
  process.stderr.write(
    `chains.bench: ${inUse.join(', ')} would be under these rules, which stay in force; use unshare -n\n`,
  );
  process.exit(2);
}
const KIND = (process.argv[2] ?? 'nft') as 'nft' | 'legacy' | 'nftables';
const ROUNDS = Number(process.argv[3] ?? 50);
const BOTH = process.argv[4] !== 'one';
const ENDPOINTS = 1000;
const POLICIES = Number(process.argv[5] ?? 2000);

const runner = createRunner({ log: silentLog });
const socket = new NftSocket();
const ipset = new IpsetSocket(realClock);
const metrics = (): Metrics => createMetrics();
const parts = { clock: realClock, log: silentLog };
const engine = createPolicyEngine({
  node: 'n',
  config: { ...DEFAULT_RENDER_CONFIG, dispatch: KIND === 'nftables' ? 'map' : 'tree' },
});
const chains = new ChainReconciler({
  ...parts,
  metrics: metrics(),
  backend:
    KIND === 'nftables'
      ? createNftables(socket)
      : createIptables({ runner, variant: KIND, stay: process.env.STAY !== '0' }),
  families: [4, 6],
});
const sets = new SetReconciler({
  ...parts,
  metrics: metrics(),
  backend: KIND === 'nftables' ? createNftSets(socket) : createIpset(ipset),
  maxElements: 1 << 20,
});

function update(kind: string, id: string, spec: object, labels?: Record<string, string>): void {
  const [namespace, name] = id.includes('/') ? id.split('/') : [undefined, id];
  const value = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name, namespace, labels }, spec };
  engine.onUpdate({ kind, id, revision: 1n, value } as unknown as Update);
}
function endpoint(i: number): void {
  const interfaceName = `cali${createHash('sha1').update(String(i)).digest('hex').slice(0, 11)}`;
  const ipNetworks = [`10.65.${i >> 8}.${i & 255}/32`, ...(BOTH ? [`fd00:65::${i.toString(16)}/128`] : [])];
  const spec = { node: 'n', orchestrator: 'k8s', endpoint: 'eth0', interfaceName, ipNetworks };
  update('WorkloadEndpoint', `space/w-${i}`, spec, { app: `app-${i % (POLICIES / 2)}` });
}
function policy(i: number, edit = 0): void {
  const ingress = [0, 1, 2, 3, 4].map((r) => ({
    action: 'Allow',
    protocol: 'TCP',
    source: { nets: [`10.${r}.${edit & 255}.0/24`] },
    destination: { ports: [8000 + r] },
  }));
  update('GlobalNetworkPolicy', `p-${i}`, {
    selector: `app == 'app-${i % (POLICIES / 2)}'`,
    types: ['Ingress'],
    ingress,
  });
}
async function apply(): Promise<number> {
  const changes = engine.flush();
  sets.update(changes.sets);
  chains.update(changes);
  const before = await sets.applyUpdates();
  const { written, failures } = await chains.apply();
  const after = await sets.applyRemovals();
  const refused = [...before.failures, ...failures, ...after.failures];
  if (refused.length > 0) throw new Error(JSON.stringify(refused));
  return written;
}
async function measure(name: string, change: (round: number) => void, rounds = ROUNDS): Promise<void> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    change(round);
    await apply();
    times.push(performance.now() - started);
  }
  times.sort((a, b) => a - b);
  const at = (q: number) => times[Math.ceil(q * rounds) - 1].toFixed(1);
  console.log(`${KIND}: ${name}: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, slowest ${at(1)} ms, of ${rounds}`);
}
async function timed(name: string, work: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  const result = await work();
  console.log(`${KIND}: ${name}: ${(performance.now() - started).toFixed(0)} ms (${String(result)} written)`);
}

for (let i = 0; i < POLICIES; i++) policy(i);
for (let i = 0; i < ENDPOINTS; i++) endpoint(i);
await timed('everything for the first time', apply);
chains.resync();
await timed('read back, nothing changed', apply);
await measure('one policy edited', (round) => policy((round * 17) % (POLICIES / 2), round + 1));
await measure('one endpoint added', (round) => endpoint(ENDPOINTS + round));
const nets = Array.from({ length: 100_000 }, (_, i) => `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`);
update('GlobalNetworkSet', 'large', { nets }, { large: 'yes' });
update('GlobalNetworkPolicy', 'p-0', {
  selector: "app == 'app-0'",
  types: ['Ingress'],
  ingress: [{ action: 'Allow', source: { selector: "large == 'yes'" } }],
});
await timed('a set of 100 000 members built', apply);
/** A member takes half a millisecond: so many that a p99 is one. */
const MEMBERS = Math.max(ROUNDS, 300);
const member = (net: number, round: number) => `${net}.0.${round >> 8}.${round & 255}/32`;
const add = (name: string, net: (round: number) => string, label = 'large') =>
  measure(name, (i) => update('GlobalNetworkSet', `${name}-${i}`, { nets: [net(i)] }, { [label]: 'yes' }), MEMBERS);
await add('one member added', (round) => member(192, round));
const networks = (list: string[]) => update('GlobalNetworkSet', 'networks', { nets: list }, { large: 'yes' });
const applyAll = async () => {
  const written = await apply();
  return written + (await sets.applyDeletes()).written;
};
networks(['198.51.100.0/24']);
await timed('a network joins it', applyAll);
await add('one member more, beside a network', (round) => member(203, round));
await add('one network more, beside addresses', (round) => `${204 + (round >> 8)}.${round & 255}.0.0/24`);
for (let round = 0; round < MEMBERS; round++)
  update('GlobalNetworkSet', `one network more, beside addresses-${round}`, { nets: [] }, { large: 'yes' });
networks([]);
await timed('the networks leave it', applyAll);
const wide = Array.from({ length: 100_000 }, (_, i) => `${20 + (i >> 15)}.${(i >> 7) & 255}.${(i & 127) * 2}.0/24`);
update('GlobalNetworkSet', 'wide', { nets: wide }, { wide: 'yes' });
update('GlobalNetworkPolicy', 'p-1', {
  selector: "app == 'app-1'",
  types: ['Ingress'],
  ingress: [{ action: 'Allow', source: { selector: "wide == 'yes'" } }],
});
await timed('a set of 100 000 networks built', apply);
await add('one network added', (round) => `${204 + (round >> 8)}.${round & 255}.0.0/24`, 'wide');
runner.close();
socket.close();
ipset.close();
