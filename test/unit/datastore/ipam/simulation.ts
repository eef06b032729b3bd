import fc from 'fast-check';
import { expect } from 'vitest';
import { addr, FakeClock, OperationalError, prefix } from '#core';
import {
  createResources,
  decodeBlock,
  type IPPool,
  Ipam,
  MemoryStore,
  type Node,
  type Store,
  type TxnResult,
} from '#datastore';

/** A store whose calls wait for a scheduler, so that a test chooses the order in which clients get their turn, and where one of them dies. */
class ScheduledStore implements Pick<Store, 'get' | 'list' | 'txn'> {
  readonly #inner: Store;
  readonly #turn: () => Promise<void>;
  constructor(inner: Store, turn: () => Promise<void>) {
    this.#inner = inner;
    this.#turn = turn;
  }
  async get(key: string) {
    await this.#turn();
    return this.#inner.get(key);
  }
  list(prefix: string) {
    return this.#inner.list(prefix);
  }
  async txn(...args: Parameters<Store['txn']>): Promise<TxnResult> {
    await this.#turn();
    return this.#inner.txn(...args);
  }
}

class Crash extends Error {}

const pool = (spec: IPPool['spec']): IPPool => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'IPPool',
  metadata: { name: 'p' },
  spec,
});
const node = (name: string): Node => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'Node',
  metadata: { name },
  spec: {},
});

async function world(spec: IPPool['spec'], nodes: string[]) {
  const clock = new FakeClock();
  const store = new MemoryStore(clock);
  const resources = createResources(store, clock);
  await resources.create<'IPPool'>(pool(spec));
  for (const name of nodes) await resources.create<'Node'>(node(name));
  return { clock, store, resources, ipam: new Ipam({ store, resources, clock, random: () => 0.5 }) };
}

/** Everything that holds at every moment, read from the keys themselves. */
async function invariants(store: Store) {
  const owners = new Map<string, string>();
  for await (const page of store.list('/calico/ipam/v2/assignment/'))
    for (const entry of page) {
      const block = decodeBlock(entry.value);
      expect(block.ok).toBe(true);
      if (!block.ok) continue;
      const { allocations, unallocated, attributes, cidr } = block.value;
      const free = allocations.flatMap((index, ordinal) => (index === null ? [ordinal] : []));
      expect(
        [...unallocated].sort((a, b) => a - b),
        `queue of ${cidr}`,
      ).toEqual(free);
      for (const [ordinal, index] of allocations.entries()) {
        if (index === null) continue;
        const key = `${cidr} ${ordinal}`;
        expect(owners.has(key)).toBe(false);
        owners.set(key, attributes[index].handle_id ?? '');
      }
    }
  return owners;
}

/** Handles whose counts are not those of the blocks, and those that are missing, as check should name them. */
async function lyingHandles(store: Store, owners: ReadonlyMap<string, string>): Promise<Set<string>> {
  const real: Record<string, Record<string, number>> = {};
  for (const [key, handle] of owners) {
    const [cidr] = key.split(' ');
    real[handle] = { ...real[handle], [cidr]: (real[handle]?.[cidr] ?? 0) + 1 };
  }
  const lying = new Set(Object.keys(real));
  for await (const page of store.list('/calico/ipam/v2/handle/'))
    for (const { key, value } of page) {
      const handle = key.slice('/calico/ipam/v2/handle/'.length);
      const counts: Record<string, number> = JSON.parse(value).block;
      const holds = Object.entries(counts).every(([cidr, count]) => real[handle]?.[cidr] === count);
      if (holds) lying.delete(handle);
      else lying.add(handle);
    }
  return new Set([...lying].map((handle) => `handle '${handle}'`));
}

type Step = { actor: number; op: 'assign' | 'release' | 'assign-two' | 'give-back'; crashAfter: number | null };

const step: fc.Arbitrary<Step> = fc.record({
  actor: fc.integer({ min: 0, max: 2 }),
  op: fc.constantFrom('assign', 'assign', 'assign-two', 'release', 'give-back'),
  crashAfter: fc.option(fc.integer({ min: 0, max: 8 }), { freq: 4 }),
});

/** Any number of clients at once, crashing between any two writes: no address is given twice, and check finds all that they leave. */
export const simulation = fc.asyncProperty(
  fc.array(step, { minLength: 3, maxLength: 10 }),
  fc.array(fc.nat({ max: 1000 }), { minLength: 50, maxLength: 50 }),
  fc.boolean(),
  simulate,
);

/** `order` says who gets the next turn. */
async function simulate(steps: readonly Step[], order: readonly number[], strict: boolean): Promise<void> {
  const { clock, store, resources, ipam } = await world({ cidr: '10.0.0.0/28', blockSize: 30 }, ['n0', 'n1', 'n2']);
  if (strict) await ipam.configure({ strictAffinity: true });
  const waiting: (() => void)[] = [];
  const given = new Map<string, string>();
  const running = steps.map(async (s, i) => {
    let calls = 0;
    const turn = () =>
      new Promise<void>((resolve, reject) => {
        if (s.crashAfter !== null && calls++ > s.crashAfter) reject(new Crash());
        else waiting.push(resolve);
      });
    const scheduled = new ScheduledStore(store, turn) as unknown as Store;
    const mine = new Ipam({ store: scheduled, resources, clock, random: () => 0.5 });
    await perform(mine, s, `h${i}`, given);
  });
  const all = Promise.all(running);
  let done = false;
  all.then(() => {
    done = true;
  });
  for (let i = 0; !done; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    const next = waiting.splice(waiting.length > 0 ? order[i % order.length] % waiting.length : 0, 1)[0];
    next?.();
  }
  await all;
  const owners = await invariants(store);
  for (const [address, handle] of given) {
    const held = [...owners].some(([key, h]) => h === handle && inBlock(address, key));
    expect(held, `${address} of ${handle} is lost`).toBe(true);
  }
  // What crashes left behind is found: every address that nobody was told of, every count without addresses, every half claim.
  const report = await ipam.check();
  const leaks = report.findings.filter((f) => f.type === 'leak').length;
  expect(leaks).toBe(owners.size);
  const named = report.findings.filter(({ type }) => type === 'handle').map(({ subject }) => subject);
  expect(new Set(named)).toEqual(await lyingHandles(store, owners));
  await mend(ipam, given);
  const mended = await ipam.check();
  expect(mended.findings.filter((f) => f.type === 'leak').length).toBe(given.size);
}

/** One client's work; what it was told is noted in `given`. A crash and an honest refusal end it. */
async function perform(ipam: Ipam, { op, actor }: Step, handle: string, given: Map<string, string>): Promise<void> {
  const name = `n${actor}`;
  try {
    if (op === 'release') {
      const victim = [...given][0];
      if (!victim) return;
      given.delete(victim[0]);
      await ipam.release([{ address: addr(victim[0]), handle: victim[1] }]);
    } else if (op === 'give-back') {
      await ipam.releaseBlock({ type: 'host', name }, prefix('10.0.0.0/30'), { mustBeEmpty: true });
    } else {
      const count = op === 'assign' ? 1 : 2;
      const { assigned } = await ipam.autoAssign({ node: name, family: 4, count, handle, secondary: { node: name } });
      for (const { address } of assigned) {
        expect(given.has(address), `${address} was given twice`).toBe(false);
        given.set(address, handle);
      }
    }
  } catch (error) {
    if (!(error instanceof Crash) && !(error instanceof OperationalError)) throw error;
  }
}

/** What an operator does with the findings: releases what nobody was given. */
async function mend(ipam: Ipam, given: ReadonlyMap<string, string>) {
  for (const { release } of (await ipam.check()).findings)
    if (release && !given.has(release.address)) await ipam.release([{ address: release.address }]);
}

function inBlock(address: string, key: string): boolean {
  const [cidr, ordinal] = key.split(' ');
  return (
    address.split('.').slice(0, 3).join('.') === cidr.split('.').slice(0, 3).join('.') &&
    Number(address.split('.')[3]) === Number(cidr.split('/')[0].split('.')[3]) + Number(ordinal)
  );
}
