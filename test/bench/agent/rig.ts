import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { realClock, silentLog } from '#core';
import { openStore, type Store, type Write } from '#datastore';
import { AgentProcess } from '../../kernel/agent/agent-process.ts';
import { EtcdServer } from '../../kernel/datastore/etcd-server.ts';
import { entryOf, LOCAL, type Shaped } from '../shapes.ts';

/** What a benchmark of the whole agent stands on: an etcd with a cluster in it, a node with interfaces, the built agent; all in the namespace of this process. */

/** Where the other ends of the node's interfaces are. */
const PODS = `tsn-pods-${process.pid}`;
/** Operations in a transaction: etcd's limit. */
const BATCH = 128;
/** What answers `asked`. */
const ANSWER = new URL('answer.mjs', import.meta.url).href;
/** Transactions on their way to etcd while a cluster is loaded. */
const IN_FLIGHT = 4;

export class Rig {
  readonly store: Store;
  readonly #etcd: EtcdServer;

  private constructor(etcd: EtcdServer, store: Store) {
    this.#etcd = etcd;
    this.store = store;
  }

  /** An address for the node, an etcd that need not survive a power cut, nothing in either. */
  static async make(): Promise<Rig> {
    sh(`ip netns add ${PODS}; ip -n ${PODS} link set lo up; ip link set lo up`);
    sh(`ip link add eth0 up type veth peer name uplink netns ${PODS} && ip -n ${PODS} link set uplink up`);
    sh('ip addr add 192.0.2.1/24 dev eth0');
    const extra = ['--quota-backend-bytes', String(4 << 30), '--unsafe-no-fsync'];
    const etcd = new EtcdServer({ extra });
    await etcd.start();
    const store = await openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });
    return new Rig(etcd, store);
  }

  async load(shapes: Iterable<Shaped>): Promise<number> {
    let count = 0;
    let batch: Write[] = [];
    const running = new Set<Promise<unknown>>();
    const send = async () => {
      const sent = this.store.txn([], batch).finally(() => running.delete(sent));
      running.add(sent);
      batch = [];
      if (running.size >= IN_FLIGHT) await Promise.race(running);
    };
    for (const shaped of shapes) {
      batch.push({ op: 'put', ...entryOf(shaped) });
      count++;
      if (batch.length === BATCH) await send();
    }
    if (batch.length > 0) await send();
    await Promise.all(running);
    return count;
  }

  async put(shaped: Shaped): Promise<void> {
    await this.store.txn([], [{ op: 'put', ...entryOf(shaped) }]);
  }

  /** Interfaces `cali0` and on, as many as the node has workloads. */
  interfaces(count: number, from = 0): void {
    const numbers = Array.from({ length: count }, (_, i) => from + i);
    const batch = (line: (i: number) => string, ...args: string[]) =>
      execFileSync('ip', [...args, '-batch', '-'], { input: numbers.map(line).join('\n') });
    batch((i) => `link add cali${i} up type veth peer name pod${i} netns ${PODS}`);
    batch((i) => `link set pod${i} up`, '-n', PODS);
  }

  async close(): Promise<void> {
    await this.store.close();
    await this.#etcd.remove();
    sh(`ip netns del ${PODS}`);
  }
}

/** The agent from its start on: how long until what, and what it counts. */
export class MeasuredAgent {
  readonly started = performance.now();
  readonly process: AgentProcess;

  constructor(settings: { readonly env?: Record<string, string>; readonly nodeFlags?: readonly string[] } = {}) {
    this.process = new AgentProcess(
      {
        ...{ NODENAME: LOCAL, ETCD_ENDPOINTS: 'http://127.0.0.1:2379', IP: '192.0.2.1/24' },
        // For answer.mjs.
        ...(process.env.COLLECT !== undefined && { COLLECT: process.env.COLLECT }),
        ...settings.env,
      },
      ['--expose-gc', '--import', ANSWER, ...(settings.nodeFlags ?? []), ...(process.env.NODE_FLAGS?.split(' ') ?? [])],
    );
  }

  /**
   * Seconds since its start until it says that it follows the datastore, and until it is ready; and the longest times that its loop kept others waiting,
   * until then and from then on, in milliseconds.
   */
  async ready(): Promise<{ inSync: number; ready: number; pauses: readonly [before: number, after: number] }> {
    let inSync = 0;
    let before: Promise<Answer> | undefined;
    await this.process.waitUnready(
      (reasons) => {
        const answers = reasons === '' || /^(node|dataplane|bgp): /m.test(reasons);
        if (inSync === 0 && answers && !/^datastore: /m.test(reasons)) {
          inSync = this.#seconds();
          before = this.asked();
        }
        return reasons === '';
      },
      POLL,
      PATIENCE,
    );
    const ready = this.#seconds();
    return { inSync, ready, pauses: [(await before)?.lag.max ?? 0, (await this.asked()).lag.max] };
  }

  /** Values of its metrics by name with labels, as in the text format. */
  async metrics(): Promise<Metrics> {
    return metricsOf(await (await fetch('http://127.0.0.1:9091/metrics')).text());
  }

  /** Megabytes: the most that it ever had, and now. */
  memory(): { peak: number; now: number } {
    const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8');
    const of = (field: string) => Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) / 1024);
    return { peak: of('VmHWM'), now: of('VmRSS') };
  }
  /** What it says of itself: lateness of its loop since it was asked last, in milliseconds, and megabytes by kind, as Node.js names them (see answer.mjs). */
  async asked(): Promise<Answer> {
    const file = `${this.process.runDir}/answer.json`;
    rmSync(file, { force: true });
    process.kill(this.process.pid, 'SIGUSR2');
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, POLL));
    // What it measures begins with the first tick after this one.
    await new Promise((resolve) => setTimeout(resolve, 3 * POLL));
    return JSON.parse(readFileSync(file, 'utf8'));
  }
  /** Seconds of processor time so far. */
  cpu(): number {
    const [user, system] = readFileSync(`/proc/${this.process.pid}/stat`, 'utf8').split(') ')[1].split(' ').slice(11);
    return (Number(user) + Number(system)) / 100;
  }
  /** Milliseconds that its main thread could have run and had no processor, so far. */
  waited(): number {
    return Number(readFileSync(`/proc/${this.process.pid}/schedstat`, 'utf8').split(' ')[1]) / 1e6;
  }

  stop(): Promise<void> {
    return this.process.stop();
  }

  #seconds(): number {
    return (performance.now() - this.started) / 1000;
  }
}

export interface Answer {
  readonly lag: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly memory: { readonly rss: number; readonly heapUsed: number; readonly external: number };
}

export type Metrics = ReadonlyMap<string, number>;

/** By name with labels, as they stand in the text format. */
export function metricsOf(text: string): Metrics {
  const values = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^([a-z_]+(?:\{[^}]*\})?) (\S+)$/gm)) values.set(name, Number(value));
  return values;
}

/** Values of a metric by the value of its only label. */
export function valuesOf(metrics: Metrics, name: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [key, value] of metrics) {
    const label = key.startsWith(`${name}{`) ? /="([^"]*)"/.exec(key)?.[1] : undefined;
    if (label !== undefined) found.set(label, value);
  }
  return found;
}

/** Milliseconds of each step of an apply pass, on average over the passes in between; steps that take next to nothing are left out. */
export function stepTimes(before: Metrics, after: Metrics): string {
  const name = 'tsnet_apply_step_seconds';
  const passes = (after.get('tsnet_apply_seconds_count') ?? 0) - (before.get('tsnet_apply_seconds_count') ?? 0);
  const old = valuesOf(before, `${name}_sum`);
  const each = [...valuesOf(after, `${name}_sum`)].map(
    ([step, sum]) => [step, rounded(((sum - (old.get(step) ?? 0)) * 1000) / passes)] as const,
  );
  return [`${passes} passes`, ...each.filter(([, ms]) => ms >= 0.1).map(([step, ms]) => `${step} ${ms}`)].join(', ');
}

/** How often readiness is asked for, milliseconds: the resolution of what is measured with it. Asked every 20 ms, the answers took 3 % of the main thread. */
const POLL = 50;
/** Longer than any machine needs, milliseconds. */
const PATIENCE = 300_000;

export const sh = (line: string): string =>
  execFileSync('sh', ['-c', line], { encoding: 'utf8', maxBuffer: 512 << 20 });

/** p50, p99 and maximum of milliseconds. */
export function percentiles(times: readonly number[]): { p50: number; p99: number; max: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]);
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
export const rounded = (value: number): number => Math.round(value * 100) / 100;
