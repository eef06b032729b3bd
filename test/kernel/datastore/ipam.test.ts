import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { addr, realClock, silentLog } from '#core';
import { createResources, decodeBlock, Ipam, type IpamReport, openStore, type Resources, type Store } from '#datastore';
import { EXAMPLE, makeExample } from '../../unit/datastore/ipam/example.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';
import { EtcdServer } from './etcd-server.ts';

const PROJECT = join(import.meta.dirname, '../../..');
/** Beside the project's modules, which the worker imports. */
const WORKER = join(PROJECT, `.cache/ipam-worker-${process.pid}.mjs`);
const API = { apiVersion: 'projectcalico.org/v3' as const };
const WORKERS = 20;
const DEATHS = 60;

let ns: Namespace;
let etcd: EtcdServer;
let dir: string;
let store: Store;
let resources: Resources;
let ipam: Ipam;

beforeAll(async () => {
  ns = enterNamespace('ipam');
  dir = mkdtempSync(join(tmpdir(), 'tsn-ipam-'));
  mkdirSync(join(PROJECT, '.cache'), { recursive: true });
  await build({
    entryPoints: [join(import.meta.dirname, 'ipam-worker.ts')],
    outfile: WORKER,
    bundle: true,
    packages: 'external',
    conditions: ['tsnet-source'],
    format: 'esm',
    platform: 'node',
  });
  etcd = new EtcdServer();
  await etcd.start();
  store = await openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });
  resources = createResources(store, realClock);
  ipam = new Ipam({ store, resources, clock: realClock });
});
afterAll(async () => {
  await store.close();
  await etcd.remove();
  rmSync(WORKER, { force: true });
  rmSync(dir, { recursive: true, force: true });
  ns.leave();
});
beforeEach(() => {
  etcd.ctl('del', '', '--prefix');
});

test('etcd holds the text that Calico would have written', async () => {
  await makeExample(store);
  for (const [key, text] of Object.entries(EXAMPLE))
    expect(etcd.ctl('get', `/calico/ipam/v2/${key}`, '--print-value-only').trimEnd(), key).toBe(text);
});

/** Workers that are replaced when they die, however they die, until enough have. */
class Crew {
  readonly #journal: string;
  readonly #alive = new Set<ChildProcess>();
  readonly errors: string[] = [];
  deaths = 0;
  #started = 0;
  #ended = false;

  constructor(journal: string) {
    this.#journal = journal;
    for (let i = 0; i < WORKERS; i++) this.#hire();
  }
  #hire(): void {
    // More processes than nodes: several work for the same node. Every other one dies by itself right after one of its writes.
    const node = `n${this.#started % 8}`;
    const deathAfter = this.#started++ % 2 === 0 ? 1 + Math.floor(Math.random() * 60) : 0;
    const child = spawn(process.execPath, [WORKER, etcd.url, this.#journal, node, String(deathAfter)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let output = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2000);
    });
    child.once('message', () => {
      if (deathAfter === 0) setTimeout(() => child.kill('SIGKILL'), 200 + Math.random() * 3000);
    });
    this.#alive.add(child);
    child.once('exit', (code, signal) => {
      this.#alive.delete(child);
      this.deaths++;
      if (signal !== 'SIGKILL') this.errors.push(`exit ${code}: ${output}`);
      if (!this.#ended && this.errors.length < 5) this.#hire();
    });
  }
  get size(): number {
    return this.#alive.size;
  }
  async end(): Promise<void> {
    this.#ended = true;
    for (const child of this.#alive) child.kill('SIGKILL');
    await until('all workers are gone', () => this.#alive.size === 0);
  }
}

/** Who was told that an address is theirs at the end of the journal; addresses that two were told of at once. */
function read(journal: string): { held: Map<string, string>; doubles: string[]; assignments: number } {
  const held = new Map<string, string>();
  const doubles: string[] = [];
  let assignments = 0;
  for (const line of readFileSync(journal, 'utf8').trimEnd().split('\n')) {
    const [what, address, handle] = line.split(' ');
    if (what === 'free') {
      if (held.get(address) === handle) held.delete(address);
      continue;
    }
    assignments++;
    const before = held.get(address);
    if (before !== undefined) doubles.push(`${address}: ${before} and ${handle}`);
    held.set(address, handle);
  }
  return { held, doubles, assignments };
}

/** Every allocation in etcd, with its handle. */
async function allocated(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const pool of (await ipam.usage()).pools)
    for (const block of pool.blocks)
      for (const { address, handle } of block.allocations) {
        expect(found.has(address), `${address} is allocated in two blocks`).toBe(false);
        found.set(address, handle);
      }
  return found;
}

/** Each holder's workload, as a CNI plugin would have written it. */
async function makeEndpoints(held: ReadonlyMap<string, string>): Promise<void> {
  for (const [i, [address, handle]] of [...held].entries())
    await resources.create<'WorkloadEndpoint'>({
      ...API,
      kind: 'WorkloadEndpoint',
      metadata: { name: '', namespace: 'default' },
      spec: {
        orchestrator: 'cni',
        node: 'n0',
        containerID: handle,
        endpoint: `eth${i}`,
        interfaceName: `cali${i}`,
        ipNetworks: [`${address}/${address.includes(':') ? 128 : 32}`],
        profiles: [],
      },
    });
}

/** What an operator does with a report, by its remedies. */
async function mend({ findings }: IpamReport): Promise<void> {
  for (const { release } of findings)
    if (release)
      await ipam.release([{ address: release.address, handle: release.handle, sequence: BigInt(release.sequence) }]);
  for (const { type, subject } of findings) {
    const handle = type === 'handle' ? /^handle '(.*)'$/.exec(subject)?.[1] : undefined;
    if (handle && (await store.get(`/calico/ipam/v2/handle/${handle}`))) await ipam.releaseByHandle(handle);
  }
  for (let i = 0; i < 8; i++)
    for (const family of [4, 6] as const) {
      const handle = `mend-${i}-${family}`;
      await ipam.autoAssign({ node: `n${i}`, family, count: 1, handle, secondary: {} });
      await ipam.releaseByHandle(handle);
    }
}

test('twenty processes at once, killed at random: no address twice, and check finds what they left', async () => {
  for (let i = 0; i < 8; i++)
    await resources.create<'Node'>({ ...API, kind: 'Node', metadata: { name: `n${i}` }, spec: {} });
  for (const [name, cidr, blockSize] of [
    ['four', '10.65.0.0/25', 29],
    ['six', 'fd00:65::/116', 125],
  ] as const)
    await resources.create<'IPPool'>({ ...API, kind: 'IPPool', metadata: { name }, spec: { cidr, blockSize } });
  const journal = join(dir, 'journal');
  writeFileSync(journal, '');
  const crew = new Crew(journal);
  try {
    await until('enough have died', () => crew.deaths >= DEATHS || crew.errors.length >= 5, 150_000);
  } finally {
    await crew.end();
  }
  expect(crew.errors).toEqual([]);
  const { held, doubles, assignments } = read(journal);
  expect(doubles).toEqual([]);
  expect(assignments).toBeGreaterThan(300);

  const real = await allocated();
  for (const [address, handle] of held) expect(real.get(address), `${address} of ${handle}`).toBe(handle);
  await everyBlockIsWhole();
  await makeEndpoints(held);
  const report = await ipam.check();
  const leaked = [...real.keys()].filter((address) => !held.has(address)).sort();
  const found = report.findings.flatMap(({ release }) => (release ? [String(release.address)] : [])).sort();
  expect(found).toEqual(leaked);
  expect(report.allocations).toBe(real.size);
  // So many deaths right after a write leave something behind, or this test shows nothing.
  expect(leaked.length).toBeGreaterThan(0);

  await mend(report);
  const after = await ipam.check();
  expect(after.findings).toEqual([]);
  expect([...(await allocated())].sort()).toEqual([...held].sort());
});

/** Free ordinals are exactly those in the queue, in every block. */
async function everyBlockIsWhole(): Promise<void> {
  for await (const page of store.list('/calico/ipam/v2/assignment/'))
    for (const { key, value } of page) {
      const block = decodeBlock(value);
      expect(block.ok, key).toBe(true);
      if (!block.ok) continue;
      const free = block.value.allocations.flatMap((index, ordinal) => (index === null ? [ordinal] : []));
      expect(
        [...block.value.unallocated].sort((a, b) => a - b),
        key,
      ).toEqual(free);
    }
}

test('an address that is given by name is given to one of twenty that ask at once', async () => {
  await resources.create<'Node'>({ ...API, kind: 'Node', metadata: { name: 'n0' }, spec: {} });
  await resources.create<'IPPool'>({
    ...API,
    kind: 'IPPool',
    metadata: { name: 'four' },
    spec: { cidr: '10.65.0.0/24' },
  });
  const all = Array.from({ length: WORKERS }, (_, i) =>
    ipam.assign(addr('10.65.0.7'), { node: 'n0', handle: `h${i}`, secondary: {} }).then(
      () => `h${i}`,
      (error: { code: string }) => error.code,
    ),
  );
  const answers = await Promise.all(all);
  const winners = answers.filter((answer) => answer !== 'ALREADY_EXISTS');
  expect(winners).toHaveLength(1);
  expect([...(await allocated())]).toEqual([['10.65.0.7', winners[0]]]);
});
