import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeClock, silentLog } from '#core';
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
