import { concat, endpoint, endpoints, LOCAL, namespaces, sixLabels, tagPolicies } from '../shapes.ts';
import { type Answer, MeasuredAgent, type Metrics, Rig, rounded } from './rig.ts';
import type { Report } from './start.ts';

/**
 * 1 000 endpoints a second move to another address, one in twenty of them on this node, while the agent keeps up or does not. In the environment: SECONDS
 * of a round, ROUNDS, COLLECT=1 for what memory is in use after each.
 */

const ENDPOINTS = 100_000;
const ON_NODE = 200;
const RATE = 1000;
const SECONDS = Number(process.env.SECONDS ?? 60);
/** As many rounds one after the other. */
const ROUNDS = Number(process.env.ROUNDS ?? 1);
/** Whether garbage is collected after each round: what is in use then says whether something leaks. It makes the round after it slower. */
const COLLECT = process.env.COLLECT !== undefined;
/** Puts that etcd has not answered yet. */
const ON_THE_WAY = 500;
/** Milliseconds between two handfuls of updates, and seconds between two looks at the agent. */
const TICK = 10;
const LOOK = 5;

export async function measureChurn(line: string, report: Report): Promise<void> {
  const rig = await Rig.make();
  try {
    rig.interfaces(ON_NODE);
    const remote = endpoints(ENDPOINTS - ON_NODE, 'remote');
    await rig.load(concat(tagPolicies(1000), namespaces(100), remote, endpoints(ON_NODE, LOCAL)));
    const agent = new MeasuredAgent();
    await agent.ready();
    if (COLLECT) report(line, { memory_in_use_mb: described(await agent.asked()) });
    for (let round = 0; round < ROUNDS; round++) {
      report(line, await churn(rig, agent));
      if (COLLECT) report(line, { memory_in_use_mb: described(await agent.asked()) });
    }
    await agent.stop();
  } finally {
    await rig.close();
  }
}

async function churn(rig: Rig, agent: MeasuredAgent): Promise<Record<string, number | string>> {
  await agent.asked();
  const before = { memory: agent.memory(), cpu: agent.cpu(), metrics: await agent.metrics() };
  const started = performance.now();
  const queues: number[] = [];
  const lags: number[] = [];
  const waits: number[] = [];
  let waited = agent.waited();
  let sent = 0;
  let onTheWay = 0;
  let failed = 0;
  let mostOnTheWay = 0;
  let looked = 0;
  while (performance.now() - started < SECONDS * 1000) {
    const due = ((performance.now() - started) / 1000) * RATE;
    // More at once would be a measurement of etcd, which answers no call after its deadline.
    for (; sent < due && onTheWay < ON_THE_WAY; sent++) {
      const isLocal = sent % 20 === 0;
      const n = (sent * 7) % (isLocal ? ON_NODE : ENDPOINTS - ON_NODE);
      mostOnTheWay = Math.max(mostOnTheWay, ++onTheWay);
      const moved = endpoint(n, isLocal ? LOCAL : 'remote', `namespace-${n % 100}`, sixLabels(n));
      rig.put(moved).then(
        () => onTheWay--,
        () => failed++,
      );
    }
    await pause(TICK);
    if (performance.now() - started < (looked + 1) * LOOK * 1000) continue;
    looked++;
    const metrics = await agent.metrics();
    queues.push(metrics.get('tsnet_update_queue_length') ?? Number.NaN);
    lags.push((metrics.get('tsnet_loop_lag_seconds{percentile="99"}') ?? Number.NaN) * 1000);
    waits.push(agent.waited() - waited);
    waited = agent.waited();
  }
  const seconds = (performance.now() - started) / 1000;
  const { lag } = await agent.asked();
  const after = await agent.metrics();
  return {
    sent_per_s: Math.round(sent / seconds),
    waiting_for_etcd_most: mostOnTheWay,
    refused_by_etcd: failed,
    queue_each_5s: queues.join(' '),
    loop_lag_ms: `p50 ${lag.p50} p99 ${lag.p99} max ${lag.max}`,
    loop_lag_p99_ms_each_5s: lags.map(rounded).join(' '),
    // What the machine's other work does to the lag.
    waited_for_processor_ms_each_5s: waits.map(Math.round).join(' '),
    passes: difference('tsnet_apply_seconds_count', before.metrics, after),
    kernel_p50_s: quantile(0.5, before.metrics, after),
    kernel_p99_s: quantile(0.99, before.metrics, after),
    rss_before_mb: before.memory.now,
    rss_after_mb: agent.memory().now,
    cpu_share: rounded((agent.cpu() - before.cpu) / seconds),
  };
}

const difference = (name: string, before: Metrics, after: Metrics): number =>
  (after.get(name) ?? 0) - (before.get(name) ?? 0);

/** The upper bound of the bucket that holds the quantile of the time from a datastore event to the kernel, over what came in between. */
function quantile(share: number, before: Metrics, after: Metrics): string {
  const name = 'tsnet_datastore_to_kernel_seconds';
  const total = difference(`${name}_count`, before, after);
  for (const key of after.keys()) {
    const bound = new RegExp(`^${name}_bucket\\{le="([^"]+)"`).exec(key)?.[1];
    if (bound !== undefined && difference(key, before, after) >= share * total) return `<= ${bound}`;
  }
  return 'unknown';
}

const described = ({ memory }: Answer): string =>
  `heap ${memory.heapUsed} external ${memory.external} resident ${memory.rss}`;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
