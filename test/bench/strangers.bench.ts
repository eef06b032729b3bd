import { exec, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createMetrics, realClock, silentLog } from '#core';
import { Applier } from '../../agent/apply.ts';
import { RuleWatch } from '../../agent/reconcile/watch.ts';
import { RuleRig } from './rule-rig.ts';

/**
 * What a stranger does to rules of legacy iptables at odd moments: the time from the end of his command until it is repaired; and before that the processor time
 * that looking takes while nobody changes anything. 1 000 local endpoints of both families, policies of five rules of both or of IPv4 alone. Root.
 *
 *     unshare -n node --conditions=tsnet-source --import tsx test/bench/strangers.bench.ts [policies] [changes] [both|ipv4] [endpoints]
 */

const POLICIES = Number(process.argv[2] ?? 300);
const CHANGES = Number(process.argv[3] ?? 25);
const EVERYWHERE = process.argv[4] !== 'ipv4';
const ENDPOINTS = Number(process.argv[5] ?? 1000);
const IDLE_SECONDS = 10;

/** Of both tables and families, in turn. */
const KINDS = ['iptables-legacy -w', 'ip6tables-legacy -w'].flatMap((tool) => [
  `${tool} -F FORWARD`,
  `${tool} -I FORWARD -j ACCEPT`,
  `${tool} -R cali-FORWARD 1 -j ACCEPT`,
  `${tool} -D cali-from-wl-dispatch 1`,
  `${tool} -F cali-pi-gnp/p-7`,
  `${tool} -R cali-pi-gnp/p-9 2 -j ACCEPT`,
  `${tool} -t raw -F`,
]);

const rig = new RuleRig('legacy', { policies: POLICIES });
for (let i = 0; i < POLICIES; i++) rig.policy(i, 0, EVERYWHERE);
for (let i = 0; i < ENDPOINTS; i++) rig.endpoint(i);
console.log(`${await rig.apply()} rules written`);
for (const tool of ['iptables', 'ip6tables']) {
  const rules = execFileSync(`${tool}-legacy-save`, { maxBuffer: 1 << 30, encoding: 'utf8' }).match(/^-A /gm);
  console.log(`${tool}: ${rules?.length} rules`);
}

let repaired = () => {};
const metrics = createMetrics();
const applier = new Applier({
  steps: [
    { name: 'sets', because: '', run: () => rig.sets.applyUpdates() },
    { name: 'chains', because: '', run: () => rig.chains.apply() },
  ],
  ...{ clock: realClock, log: silentLog, metrics },
  onPass: (failures) => {
    if (failures.size === 0) repaired();
  },
});
const parts = { chains: rig.chains, sets: rig.sets, filter: rig.filter, clock: realClock, log: silentLog };
const watch = new RuleWatch({ ...parts, onDirty: () => applier.request() });

await sleep(3000);
const before = processorTime();
await sleep(IDLE_SECONDS * 1000);
console.log(`looking takes ${((processorTime() - before) / IDLE_SECONDS / 10).toFixed(1)} % of a processor`);

const times: number[] = [];
for (let round = 0; round < CHANGES; round++) {
  await sleep(Math.random() * 1500);
  const command = KINDS[round % KINDS.length];
  const done = new Promise<void>((resolve) => {
    repaired = resolve;
  });
  let ended = 0;
  await new Promise<void>((resolve, reject) =>
    exec(command, (error) => {
      ended = performance.now();
      return error ? reject(error) : resolve();
    }),
  );
  await done;
  times.push(Math.max(0, performance.now() - ended));
}
times.sort((a, b) => a - b);
const shown = times.map((ms) => ms.toFixed(0)).join(', ');
console.log(
  `repaired after: median ${times[times.length >> 1].toFixed(0)} ms, worst ${times.at(-1)!.toFixed(0)} ms: ${shown}`,
);
watch.stop();
await applier.stop();
rig.close();

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
/** Milliseconds of this process, and of the runner with the programs that have ended. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  let ticks = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let stat: string;
    try {
      stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    } catch {
      continue; // ended meanwhile
    }
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (Number(fields[1]) === process.pid) for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return (user + system) / 1000 + ticks * 10;
}
