import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { watchRules } from '../../../agent/kernel/rule-events.ts';
import {
  concat,
  customers,
  endpoints,
  LOCAL,
  namespaces,
  netsetPolicies,
  type Shaped,
  tagPolicies,
} from '../shapes.ts';
import { timeByRoom } from './profile.ts';
import { MeasuredAgent, Rig, rounded, sh, valuesOf } from './rig.ts';

/** A cluster that the agent starts into: what is in etcd, and how many interfaces of it are on the node. */
interface Start {
  readonly local: number;
  readonly cluster: () => Iterable<Shaped>;
  /** FelixConfiguration `default`; absent: there is none at first. */
  readonly felix?: object;
}

export const STARTS: Record<string, Start> = {
  'start-policies': {
    local: 200,
    cluster: () =>
      concat(tagPolicies(10_000), namespaces(100), endpoints(250_000 - 200, 'remote'), endpoints(200, LOCAL)),
  },
  'start-netsets': {
    local: 200,
    cluster: () =>
      concat(netsetPolicies(10_000), namespaces(100), endpoints(250_000 - 200, 'remote'), endpoints(200, LOCAL)),
  },
  'start-namespaces': { local: 1000, cluster: () => customers(100_000, 100) },
  'start-thousand': {
    local: 1000,
    cluster: () => concat(tagPolicies(2000), namespaces(100), endpoints(1000, LOCAL)),
  },
  'start-nftables': {
    local: 1000,
    cluster: () => concat(tagPolicies(2000), namespaces(100), endpoints(1000, LOCAL)),
    felix: { nftablesMode: 'Enabled' },
  },
};

export type Report = (line: string, figures: Record<string, number | string>) => void;

/** Cold start into an empty kernel, then the same again with everything in the kernel already, and then another configuration. */
export async function measureStart(line: string, report: Report): Promise<void> {
  const { local, cluster, felix } = STARTS[line];
  const rig = await Rig.make();
  rig.interfaces(local);
  const objects = await rig.load(cluster());
  if (felix) await rig.put({ kind: 'FelixConfiguration', id: 'default', spec: felix });
  try {
    report(line, { objects, local });
    const cold = await start();
    report(`${line}, cold`, cold.figures);
    const before = kernelText();
    const changes = { transactions: 0 };
    const stop = watchRules({ changed: () => changes.transactions++, overrun: () => changes.transactions++ });
    const again = await start(async (agent) => {
      stop();
      if (kernelText() !== before) report(`${line}, restarted`, { error: 'the kernel is not as it was before' });
      return reconfigured(agent, rig, { ...felix, iptablesFilterDenyAction: 'Reject' });
    });
    report(`${line}, restarted`, { ...again.figures, transactions: changes.transactions });
    report(`${line}, another configuration`, again.more);
  } finally {
    await rig.close();
  }
}

type Figures = Record<string, number | string>;

/** Another configuration, by which all is rendered again: how long until the kernel has what differs, and how long the loop stood still at most. */
async function reconfigured(agent: MeasuredAgent, rig: Rig, spec: object): Promise<Figures> {
  const written = async () => (await agent.metrics()).get('tsnet_apply_writes_total{step="chains"}') ?? 0;
  const before = await written();
  await agent.asked();
  const started = performance.now();
  await rig.put({ kind: 'FelixConfiguration', id: 'default', spec });
  while ((await written()) === before) await new Promise((resolve) => setTimeout(resolve, 20));
  const seconds = rounded((performance.now() - started) / 1000);
  return { kernel_s: seconds, pause_ms: (await agent.asked()).lag.max, written: (await written()) - before };
}

/** One start, to its readiness: times, memory, and what it wrote; what else is done with the agent then. */
export async function start(
  then: (agent: MeasuredAgent) => Promise<Figures> = async () => ({}),
): Promise<{ figures: Figures; more: Figures }> {
  const directory = process.env.PROFILE ? mkdtempSync(join(tmpdir(), 'tsn-profile-')) : undefined;
  const nodeFlags = directory ? ['--cpu-prof', `--cpu-prof-dir=${directory}`] : [];
  const agent = new MeasuredAgent({ nodeFlags });
  const { inSync, ready, pauses } = await agent.ready();
  const memory = agent.memory();
  const cpu = agent.cpu();
  const metrics = await agent.metrics();
  const more = await then(agent);
  await agent.stop();
  const steps = valuesOf(metrics, 'tsnet_apply_step_seconds_sum');
  const apply = [...steps.values()].reduce((sum, value) => sum + value, 0);
  const figures: Figures = {
    ready_s: rounded(ready),
    in_sync_s: rounded(inSync),
    kernel_s: rounded(apply),
    ...Object.fromEntries([...steps].filter(([, s]) => s > 0.05).map(([step, s]) => [`${step}_s`, rounded(s)])),
    peak_mb: memory.peak,
    rss_mb: memory.now,
    pause_until_in_sync_ms: pauses[0],
    pause_then_ms: pauses[1],
    cpu_s: cpu,
    written: [...valuesOf(metrics, 'tsnet_apply_writes_total').values()].reduce((sum, n) => sum + n, 0),
  };
  if (directory) {
    for (const [place, seconds] of timeByRoom(directory)) if (seconds > 0.05) figures[`in ${place}`] = rounded(seconds);
    if (process.env.PROFILE === 'keep') figures.profile = directory;
    else rmSync(directory, { recursive: true });
  }
  return { figures, more };
}

/** Rules, sets and routes, without counters. */
function kernelText(): string {
  const rules = sh('iptables-save; ip6tables-save')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/ \[\d+:\d+\]/g, '');
  const sets = sh('ipset save').split('\n').sort().join('\n');
  return [rules, sets, sh('ip route show proto 80; ip -6 route show proto 80')].join('\n');
}
