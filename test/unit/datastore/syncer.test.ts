import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeClock, type Log, OperationalError, silentLog } from '#core';
import { API_VERSION, createResources, type InvalidObject, MemoryStore, startSyncer, type Update } from '#datastore';

const NODES = '/calico/resources/v3/projectcalico.org/nodes/';
const node = (name: string, address = '10.0.0.1/24') => ({
  key: `${NODES}${name}`,
  value: JSON.stringify({ metadata: { name }, spec: { bgp: { ipv4Address: address } } }),
});

/** What a consumer that obeys updates ends up with. */
class Collector {
  readonly state = new Map<string, Update>();
  readonly statuses: string[] = [];
  readonly invalid = new Map<string, InvalidObject>();
  updates = 0;
  onUpdates(updates: readonly Update[]): void {
    this.updates += updates.length;
    for (const update of updates) {
      if (update.value) this.state.set(`${update.kind} ${update.id}`, update);
      else this.state.delete(`${update.kind} ${update.id}`);
    }
  }
  onStatus(status: string): void {
    this.statuses.push(status);
  }
  onInvalid(where: string, invalid: InvalidObject | null): void {
    if (invalid) this.invalid.set(where, invalid);
    else this.invalid.delete(where);
  }
  get names(): string[] {
    return [...this.state.keys()].sort();
  }
}

describe('a syncer', () => {
  const clock = new FakeClock();
  let store: MemoryStore;
  let seen: Collector;
  let stop: () => Promise<void>;

  const put = (...entries: { key: string; value: string }[]) =>
    store.txn(
      [],
      entries.map((e) => ({ op: 'put', ...e })),
    );
  const remove = (key: string) => store.txn([], [{ op: 'delete', key }]);
  const start = () => {
    seen = new Collector();
    ({ stop } = startSyncer({ store, clock, log: silentLog, sink: seen }));
  };
  const inSync = () => vi.waitFor(() => expect(seen.statuses.at(-1)).toBe('in-sync'));

  beforeEach(() => {
    store = new MemoryStore(clock);
  });
  afterEach(() => stop());

  test('tells what is there, then says in-sync, then tells changes', async () => {
    await put(node('a'), node('b'));
    start();
    await inSync();
    expect(seen.statuses).toEqual(['waiting', 'resyncing', 'in-sync']);
    expect(seen.names).toEqual(['Node a', 'Node b']);
    await remove(`${NODES}a`);
    await put(node('c'));
    await vi.waitFor(() => expect(seen.names).toEqual(['Node b', 'Node c']));
  });

  test('an outage is told once for each prefix and reason, and its end, too', async () => {
    let failures = 0;
    let away = true;
    class Flaky extends MemoryStore {
      override list(prefix: string) {
        failures++;
        if (away) throw new OperationalError('UNAVAILABLE', 'nobody there');
        return super.list(prefix);
      }
    }
    const flaky = new Flaky(clock);
    const told: string[] = [];
    const tell = ((_: unknown, message: string) => void told.push(message)) as unknown as Log['info'];
    seen = new Collector();
    ({ stop } = startSyncer({ store: flaky, clock, log: { ...silentLog, warn: tell, info: tell }, sink: seen }));
    const tick = setInterval(() => clock.advance(1000), 1);
    await vi.waitFor(() => expect(failures).toBeGreaterThan(30));
    const prefixes = told.length;
    expect(new Set(told)).toEqual(new Set(['datastore cannot be followed; trying again']));
    away = false;
    await inSync();
    clearInterval(tick);
    expect(told.slice(prefixes)).toEqual(Array(prefixes).fill('datastore is followed again'));
    expect(prefixes).toBeLessThan(10);
  });

  test('treats what cannot be used as absent, names it, and goes on with the rest', async () => {
    await put(
      node('good'),
      { key: `${NODES}broken`, value: '{' },
      { key: `${NODES}bad`, value: '{"spec":{"bgp":{"ipv4Address":"x"}}}' },
    );
    await put({ key: '/calico/resources/v3/projectcalico.org/gadgets/g', value: '{}' });
    start();
    await inSync();
    expect(seen.names).toEqual(['Node good']);
    expect([...seen.invalid.keys()].sort()).toEqual([
      '/calico/resources/v3/projectcalico.org/gadgets/g',
      `${NODES}bad`,
      `${NODES}broken`,
    ]);
    expect(seen.invalid.get(`${NODES}bad`)?.message).toContain('spec.bgp.ipv4Address');
    await put(node('bad'));
    await remove('/calico/resources/v3/projectcalico.org/gadgets/g');
    await vi.waitFor(() => expect([...seen.invalid.keys()]).toEqual([`${NODES}broken`]));
    expect(seen.names).toEqual(['Node bad', 'Node good']);
  });

  test('a policy under its older and its newer key: both are told, the older is named, until one of them goes', async () => {
    const base = '/calico/resources/v3/projectcalico.org/networkpolicies/prod/';
    const older = { key: `${base}default.web`, value: '{"metadata":{"name":"default.web"},"spec":{"order":1}}' };
    const newer = {
      key: `${base}web`,
      value:
        '{"metadata":{"name":"web","annotations":{"projectcalico.org/metadata":"{\\"name\\":\\"web\\"}"}},"spec":{}}',
    };
    const other = { key: `${base}default.db`, value: '{"metadata":{"name":"default.db"},"spec":{}}' };
    await put(older, newer, other);
    start();
    await inSync();
    const both = ['NetworkPolicy prod/default.db', 'NetworkPolicy prod/default.web', 'NetworkPolicy prod/web'];
    expect(seen.names).toEqual(both);
    expect([...seen.invalid.values()]).toMatchObject([{ where: older.key, id: 'prod/default.web', used: true }]);
    await put({ ...older, value: older.value.replace('"order":1', '"order":2') });
    await vi.waitFor(() => expect(seen.state.get(both[1])?.value).toMatchObject({ spec: { order: 2 } }));
    expect([...seen.invalid.keys()]).toEqual([older.key]);
    await remove(newer.key);
    await vi.waitFor(() => expect(seen.names).toEqual(both.slice(0, 2)));
    expect(seen.invalid.size).toBe(0);
    await put(newer);
    await vi.waitFor(() => expect([...seen.invalid.keys()]).toEqual([older.key]));
    const { items, invalid } = await createResources(store, clock).list('NetworkPolicy');
    expect(items.map(({ metadata }) => metadata.name).sort()).toEqual(['db', 'web', 'web']);
    expect(invalid).toMatchObject([
      { id: 'prod/default.web', used: true, message: expect.stringContaining("'default.web'") },
    ]);
    await createResources(store, clock).delete('NetworkPolicy', 'default.web', { namespace: 'prod' });
    await vi.waitFor(() => expect(seen.invalid.size).toBe(0));
    expect(seen.names).toEqual([both[0], both[2]]);
  });

  test('escapes what a hostile key holds', async () => {
    await put({ key: `${NODES}x\n$(rm)`, value: '{}' });
    start();
    await inSync();
    expect([...seen.invalid.keys()]).toEqual([`${NODES}x\\u000a$(rm)`]);
  });

  test('an object that becomes invalid is withdrawn', async () => {
    await put(node('a'));
    start();
    await inSync();
    await put(node('a', '10.0.0.1/99'));
    await vi.waitFor(() => expect(seen.names).toEqual([]));
    expect(seen.invalid.size).toBe(1);
  });

  test('after a restore to an older revision the result is what the store holds now', async () => {
    await put(node('a'), node('b'));
    await put(node('c'));
    start();
    await inSync();
    store.table.restore([[node('b').key, node('b', '10.0.0.9/24').value]], 2n);
    await vi.waitFor(() => expect(seen.names).toEqual(['Node b']));
    expect(seen.state.get('Node b')?.value).toMatchObject({ spec: { bgp: { ipv4Address: '10.0.0.9/24' } } });
    await put(node('d'));
    await vi.waitFor(() => expect(seen.names).toEqual(['Node b', 'Node d']));
  });

  test('a wrong field of a FelixConfiguration is left out and reported; the others hold', async () => {
    const key = '/calico/resources/v3/projectcalico.org/felixconfigurations/default';
    await put({ key, value: JSON.stringify({ spec: { vxlanPort: 99999, chainInsertMode: 'append' } }) });
    start();
    await inSync();
    expect(seen.state.get('FelixConfiguration default')?.value).toMatchObject({ spec: { chainInsertMode: 'append' } });
    expect(seen.state.get('FelixConfiguration default')?.value).not.toHaveProperty('spec.vxlanPort');
    expect(seen.invalid.get(key)?.message).toContain('spec.vxlanPort');
  });

  test('delivers IPAM keys with exact sequence numbers', async () => {
    const block = {
      key: '/calico/ipam/v2/assignment/ipv4/block/10.65.3.64-30',
      value:
        '{"cidr":"10.65.3.64/30","affinity":"host:n1","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":"h"}],"sequenceNumber":1772357400000000005,"sequenceNumberForAllocation":{"0":1772357400000000003},"deleted":false}',
    };
    await put(block, { key: '/calico/ipam/v2/host/n1/ipv4/block/10.65.3.64-30', value: '{"state":"confirmed"}' });
    start();
    await inSync();
    expect(seen.names).toEqual(['IpamAffinity host:n1/10.65.3.64/30', 'IpamBlock 10.65.3.64/30']);
    expect(seen.state.get('IpamBlock 10.65.3.64/30')?.value).toMatchObject({
      sequenceNumber: 1772357400000000005n,
      sequenceNumberForAllocation: { '0': 1772357400000000003n },
    });
  });

  test('what a client writes arrives', async () => {
    start();
    await inSync();
    const resources = createResources(store, clock);
    await resources.create({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'n1' }, spec: {} });
    await vi.waitFor(() => expect(seen.names).toContain('Node n1'));
    expect(seen.names).toContain('ClusterInformation default');
  });
});

/** One thing that happens to a store. */
type Step =
  | { readonly do: 'put'; readonly name: string; readonly host: number }
  | { readonly do: 'break'; readonly name: string; readonly host: number }
  | { readonly do: 'delete'; readonly name: string; readonly host: number }
  | { readonly do: 'compact' }
  | { readonly do: 'restore' }
  | { readonly do: 'pause' };

const name = fc.constantFrom('a', 'b', 'c', 'd');
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constantFrom('put', 'break', 'delete'), name, host: fc.nat(200) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('compact', 'restore', 'pause') }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 30 },
);

/** Does it to the store, and keeps what must be there: an address, or null for a value that is broken. */
async function take(step: Step, store: MemoryStore, truth: Map<string, string | null>): Promise<void> {
  switch (step.do) {
    case 'pause':
      return new Promise((resolve) => setImmediate(resolve));
    case 'compact':
      return store.table.compact(store.table.revision);
    case 'restore':
      truth.clear();
      truth.set('a', '10.0.0.77/24');
      return store.table.restore([[`${NODES}a`, node('a', '10.0.0.77/24').value]], 3n);
    case 'delete':
      truth.delete(step.name);
      await store.txn([], [{ op: 'delete', key: `${NODES}${step.name}` }]);
      return;
    default: {
      const address = step.do === 'put' ? `10.0.0.${step.host}/24` : 'nonsense';
      truth.set(step.name, step.do === 'put' ? address : null);
      await store.txn([], [{ op: 'put', ...node(step.name, address) }]);
    }
  }
}

test('whatever happens to the store, and in whatever order, the end is what it holds', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const clock = new FakeClock();
      const store = new MemoryStore(clock);
      const seen = new Collector();
      const { stop } = startSyncer({ store, clock, log: silentLog, sink: seen, kinds: ['Node'] });
      const truth = new Map<string, string | null>();
      for (const step of all) await take(step, store, truth);
      const valid = [...truth].filter(([, address]) => address !== null);
      for (let turn = 0; turn < 40; turn++) await new Promise((resolve) => setImmediate(resolve));
      await stop();
      const got = [...seen.state.values()].map((u) => [
        u.id,
        (u.value as { spec: { bgp: { ipv4Address: string } } }).spec.bgp.ipv4Address,
      ]);
      expect(got.sort()).toEqual(valid.sort());
      expect([...seen.invalid.keys()].sort()).toEqual(
        [...truth]
          .filter(([, address]) => address === null)
          .map(([n]) => `${NODES}${n}`)
          .sort(),
      );
    }),
    { numRuns: 100 },
  );
});
