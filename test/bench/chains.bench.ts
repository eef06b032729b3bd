import { type Kind, RuleRig } from './rule-rig.ts';

/**
 * From an update to the kernel, with 1 000 local endpoints of one or both families and policies of five rules each (2 000 of them: 20 000 rules in the
 * IPv4 table with iptables): one policy edited, one endpoint added; then a set of 100 000 addresses built and a member added, alone and beside networks, and
 * the same with 100 000 networks.
 * Root; it refuses to run in a network namespace that is in use.
 *
 *     unshare -n node --conditions=tsnet-source --import tsx test/bench/chains.bench.ts [nft|legacy|nftables] [rounds] [one|both] [policies]
 */

const KIND = (process.argv[2] ?? 'nft') as Kind;
const ROUNDS = Number(process.argv[3] ?? 50);
const BOTH = process.argv[4] !== 'one';
const ENDPOINTS = 1000;
const POLICIES = Number(process.argv[5] ?? 2000);

const rig = new RuleRig(KIND, { policies: POLICIES, both: BOTH });
const apply = () => rig.apply();

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

for (let i = 0; i < POLICIES; i++) rig.policy(i);
for (let i = 0; i < ENDPOINTS; i++) rig.endpoint(i);
await timed('everything for the first time', apply);
rig.chains.resync();
await timed('read back, nothing changed', apply);
await measure('one policy edited', (round) => rig.policy((round * 17) % (POLICIES / 2), round + 1));
await measure('one endpoint added', (round) => rig.endpoint(ENDPOINTS + round));
const nets = Array.from({ length: 100_000 }, (_, i) => `172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`);
rig.update('GlobalNetworkSet', 'large', { nets }, { large: 'yes' });
rig.update('GlobalNetworkPolicy', 'p-0', {
  selector: "app == 'app-0'",
  types: ['Ingress'],
  ingress: [{ action: 'Allow', source: { selector: "large == 'yes'" } }],
});
await timed('a set of 100 000 members built', apply);
/** A member takes half a millisecond: so many that a p99 is one. */
const MEMBERS = Math.max(ROUNDS, 300);
const member = (net: number, round: number) => `${net}.0.${round >> 8}.${round & 255}/32`;
const add = (name: string, net: (round: number) => string, label = 'large') =>
  measure(name, (i) => rig.update('GlobalNetworkSet', `${name}-${i}`, { nets: [net(i)] }, { [label]: 'yes' }), MEMBERS);
await add('one member added', (round) => member(192, round));
const networks = (list: string[]) => rig.update('GlobalNetworkSet', 'networks', { nets: list }, { large: 'yes' });
const applyAll = async () => {
  const written = await apply();
  return written + (await rig.sets.applyDeletes()).written;
};
networks(['198.51.100.0/24']);
await timed('a network joins it', applyAll);
await add('one member more, beside a network', (round) => member(203, round));
await add('one network more, beside addresses', (round) => `${204 + (round >> 8)}.${round & 255}.0.0/24`);
for (let round = 0; round < MEMBERS; round++)
  rig.update('GlobalNetworkSet', `one network more, beside addresses-${round}`, { nets: [] }, { large: 'yes' });
networks([]);
await timed('the networks leave it', applyAll);
const wide = Array.from({ length: 100_000 }, (_, i) => `${20 + (i >> 15)}.${(i >> 7) & 255}.${(i & 127) * 2}.0/24`);
rig.update('GlobalNetworkSet', 'wide', { nets: wide }, { wide: 'yes' });
rig.update('GlobalNetworkPolicy', 'p-1', {
  selector: "app == 'app-1'",
  types: ['Ingress'],
  ingress: [{ action: 'Allow', source: { selector: "wide == 'yes'" } }],
});
await timed('a set of 100 000 networks built', apply);
await add('one network added', (round) => `${204 + (round >> 8)}.${round & 255}.0.0/24`, 'wide');
rig.close();
