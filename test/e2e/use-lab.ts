import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import {
  createLab,
  type FlowReport,
  type Lab,
  type LabNode,
  type LabOptions,
  waitFor,
} from '../../deploy/lab/index.ts';

/** One lab for the file: up before its tests, down after them. A failed test shows what the agents said meanwhile. */
export function useLab(name: string, options: Omit<LabOptions, 'name'> = {}): () => Lab {
  let lab: Lab | undefined;
  beforeAll(async () => {
    lab = await createLab({ ...options, name: `${name}${process.pid}` });
  });
  beforeEach(({ onTestFailed }) => {
    const lengths = new Map(lab?.nodes.map((node) => [node, node.logText().length]));
    onTestFailed(() => {
      for (const [node, length] of lengths)
        process.stderr.write(`--- ${node.name}\n${node.logText().slice(length).slice(-6_000)}\n`);
    });
  });
  afterEach(async () => {
    // What a failed test left behind would fail those after it.
    const planned = new Set(lab?.plan.workloads.map(({ name }) => name));
    for (const extra of lab?.workloads ?? []) if (!planned.has(extra.name)) await lab?.removeWorkload(extra.name);
  });
  afterAll(() => lab?.down());
  return () => {
    if (!lab) throw new Error('the lab is not up');
    return lab;
  };
}

/** Both families, as index into `addresses`. */
export const FAMILIES = [
  [4, 0],
  [6, 1],
] as const;

export interface Flows {
  stop(): Promise<FlowReport[]>;
}

/** UDP from each to each, both families, one datagram every 5 ms and path; started when the first of each has come back. */
export async function startFlows(lab: Lab, pairs: readonly (readonly [from: string, to: string])[]): Promise<Flows> {
  const flows = pairs.flatMap(([from, to]) =>
    FAMILIES.map(([family, at]) => ({ from, to, at, id: `${from}-${to}-${family}` })),
  );
  for (const { from, to, at, id } of flows) {
    const address = lab.host(to).addresses[at];
    await waitFor(`${from} to hear from ${address}`, async () => {
      const { answered, why } = await lab.probe(from).ask('udp', { to: address, port: 8081, count: 1, timeout: 500 });
      return answered === 1 || why;
    });
    await lab.probe(from).ask('flow-start', { id, to: address, port: 8081, interval: 5 });
  }
  return { stop: () => Promise.all(flows.map(({ from, id }) => lab.probe(from).ask('flow-stop', { id }))) };
}

/** Every datagram came back, and there were enough of them to say so. */
export function expectNoLoss(reports: readonly FlowReport[], atLeast: number): void {
  for (const report of reports) {
    expect(report.lost).toEqual([]);
    expect(report.sent).toBeGreaterThan(atLeast);
  }
}

/** Waits until the connection is as wanted in both families. */
export async function waitReach(lab: Lab, from: string, to: string, wanted: boolean, timeout = 30_000): Promise<void> {
  await waitFor(
    `${from} ${wanted ? 'to reach' : 'to be kept from'} ${to}`,
    async () => {
      for (const [family, at] of FAMILIES) {
        const request = { to: lab.host(to).addresses[at], port: 8080, timeout: wanted ? 2_000 : 500 };
        const { ok, why } = await lab.probe(from).ask('tcp', request);
        if (ok !== wanted) return `IPv${family}: ${ok ? 'reached' : why}`;
      }
      return true;
    },
    { timeout, evidence: () => lab.nodes.flatMap((node) => node.tail(5)) },
  );
}

/** What an agent leaves in the kernel, as text, without counters: to compare a before with an after. */
export async function kernelText(node: LabNode): Promise<string> {
  const rules = await Promise.all(
    ['iptables-save', 'ip6tables-save'].map(async (save) => {
      const text = await node.run([save]);
      return text.replaceAll(/^#.*\n/gm, '').replaceAll(/ \[\d+:\d+\]/g, '');
    }),
  );
  const sets = (await node.run(['ipset', 'save'])).split('\n').sort().join('\n');
  return [...(await node.ownRoutes()), ...rules, sets].join('\n');
}

/** The route to exactly this prefix, as the kernel has it, in one line. */
export async function routeOf(node: LabNode, prefix: string): Promise<string | null> {
  const [address, length] = prefix.split('/');
  const exact = length === '32' || length === '128' ? address : prefix;
  const family = address.includes(':') ? '-6' : '-4';
  const text = await node.run(['ip', family, 'route', 'show', 'exact', exact, 'table', 'main']);
  return text.trim().replaceAll(/\s+/g, ' ') || null;
}
