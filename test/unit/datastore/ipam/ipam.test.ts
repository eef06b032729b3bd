import { beforeEach, describe, expect, test } from 'vitest';
import { addr, FakeClock, prefix } from '#core';
import { createResources, decodeBlock, type IPPool, Ipam, MemoryStore, type Node, type Resources } from '#datastore';

let clock: FakeClock;
let store: MemoryStore;
let resources: Resources;
let ipam: Ipam;

const pool = (name: string, spec: IPPool['spec']) =>
  resources.create<'IPPool'>({ apiVersion: 'projectcalico.org/v3', kind: 'IPPool', metadata: { name }, spec });
const node = (name: string, labels: Record<string, string> = {}) =>
  resources.create<'Node'>({
    apiVersion: 'projectcalico.org/v3',
    kind: 'Node',
    metadata: { name, labels },
    spec: {},
  } as Node);
const assign = (nodeName: string, count = 1, rest: object = {}) =>
  ipam.autoAssign({
    node: nodeName,
    family: 4,
    count,
    handle: `h-${nodeName}`,
    secondary: { node: nodeName },
    ...rest,
  });
const keys = async (under: string) => {
  const found: string[] = [];
  for await (const page of store.list(under)) found.push(...page.map((e) => e.key.slice(under.length)));
  return found;
};

beforeEach(async () => {
  clock = new FakeClock();
  store = new MemoryStore(clock);
  resources = createResources(store, clock);
  ipam = new Ipam({ store, resources, clock, random: () => 0 });
  await node('a', { rack: 'r1' });
  await node('b', { rack: 'r2' });
});

describe('assignment', () => {
  test('claims a block, confirmed, and counts the handle', async () => {
    await pool('p', { cidr: '10.0.0.0/24', blockSize: 26 });
    const { assigned, messages } = await assign('a', 2);
    expect(assigned).toHaveLength(2);
    expect(messages).toEqual([]);
    const block = assigned[0].block;
    expect(await keys('/calico/ipam/v2/host/a/ipv4/block/')).toEqual([block.replace('/', '-')]);
    expect((await store.get(`/calico/ipam/v2/host/a/ipv4/block/${block.replace('/', '-')}`))?.value).toBe(
      '{"state":"confirmed","deleted":false}',
    );
    expect(JSON.parse((await store.get('/calico/ipam/v2/handle/h-a'))?.value ?? '')).toEqual({
      block: { [block]: 2 },
      deleted: false,
    });
  });
  test('uses the own block before a new one, and starts at a place of its own', async () => {
    await pool('p', { cidr: '10.0.0.0/16', blockSize: 26 });
    const a = (await assign('a')).assigned[0];
    const b = (await assign('b')).assigned[0];
    expect((await assign('a')).assigned[0].block).toBe(a.block);
    expect(b.block).not.toBe(a.block);
  });
  test('borrows when the pool is used up, not under strict affinity', async () => {
    await pool('p', { cidr: '10.0.0.0/30', blockSize: 30 });
    await assign('a');
    const borrowed = await assign('b');
    expect(borrowed.assigned).toHaveLength(1);
    await ipam.configure({ strictAffinity: true });
    await expect(assign('b')).rejects.toMatchObject({
      code: 'EXHAUSTED',
      message: expect.stringContaining('no block is free in p'),
    });
  });
  test('fewer than asked for comes with the reason', async () => {
    await pool('p', { cidr: '10.0.0.0/31', blockSize: 31 });
    const { assigned, messages } = await assign('a', 5);
    expect(assigned).toHaveLength(2);
    expect(messages[0]).toContain('no block is free');
  });
  test('reserved addresses are passed over and stay free', async () => {
    await pool('p', { cidr: '10.0.0.0/30', blockSize: 30 });
    await resources.create<'IPReservation'>({
      apiVersion: 'projectcalico.org/v3',
      kind: 'IPReservation',
      metadata: { name: 'r' },
      spec: { reservedCIDRs: ['10.0.0.0/31'] },
    });
    expect((await assign('a', 4)).assigned.map((a) => a.address)).toEqual(['10.0.0.2', '10.0.0.3']);
  });
  test('pools: by node labels, by request, by use', async () => {
    await pool('r1', { cidr: '10.1.0.0/24', nodeSelector: "rack == 'r1'" });
    await pool('manual', { cidr: '10.2.0.0/24', assignmentMode: 'Manual', nodeSelector: "rack == 'none'" });
    await pool('tunnel', { cidr: '10.3.0.0/24', allowedUses: ['Tunnel'], nodeSelector: 'all()' });
    expect((await assign('a')).assigned[0].address).toMatch(/^10\.1\./);
    await expect(assign('b')).rejects.toThrow('no IPv4 pool selects node b for use Workload');
    expect((await assign('b', 1, { pools: ['manual'] })).assigned[0].address).toMatch(/^10\.2\./);
    expect((await assign('b', 1, { pools: ['10.2.0.0/24'] })).assigned[0].address).toMatch(/^10\.2\./);
    expect((await assign('b', 1, { use: 'Tunnel' })).assigned[0].address).toMatch(/^10\.3\./);
    await expect(assign('b', 1, { pools: ['nope'] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('manual (10.2.0.0/24)'),
    });
  });
  test('a node that does not exist gets none', async () => {
    await pool('p', { cidr: '10.0.0.0/24' });
    await expect(assign('nope')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
  test('the limit of blocks', async () => {
    await pool('p', { cidr: '10.0.0.0/24', blockSize: 32 });
    await ipam.configure({ strictAffinity: true, maxBlocksPerHost: 2 });
    const { assigned, messages } = await assign('a', 3);
    expect(assigned).toHaveLength(2);
    expect(messages[0]).toContain('maxBlocksPerHost');
  });
  test('a given address: once, and its block is claimed', async () => {
    await pool('p', { cidr: '10.0.0.0/24' });
    const request = { node: 'a', handle: 'h', secondary: {} };
    expect(await ipam.assign(addr('10.0.0.77'), request)).toEqual({ address: '10.0.0.77', block: '10.0.0.64/26' });
    await expect(ipam.assign(addr('10.0.0.77'), request)).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await expect(ipam.assign(addr('10.9.0.1'), request)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
  test('IPv6 pools have blocks of /122, wherever the pool begins', async () => {
    await pool('p6', { cidr: 'fd00:65::/48' });
    const { assigned } = await assign('a', 1, { family: 6 });
    expect(assigned[0].block).toMatch(/^fd00:65:.*\/122$/);
  });
  test('an empty block of another node is taken back after a minute', async () => {
    await pool('p', { cidr: '10.0.0.0/30', blockSize: 30 });
    const first = (await assign('a')).assigned[0];
    await ipam.releaseByHandle('h-a');
    await ipam.configure({ strictAffinity: true });
    await expect(assign('b')).rejects.toMatchObject({ code: 'EXHAUSTED' });
    clock.advance(61_000);
    expect((await assign('b')).assigned[0].block).toBe(first.block);
    expect(await keys('/calico/ipam/v2/host/a/ipv4/block/')).toEqual([]);
  });
});

describe('release', () => {
  beforeEach(() => pool('p', { cidr: '10.0.0.0/24', blockSize: 30 }));
  test('freed addresses go to the end of the queue', async () => {
    const [first] = (await assign('a')).assigned;
    await ipam.release([{ address: first.address }]);
    expect((await assign('a')).assigned[0].address).not.toBe(first.address);
    expect(await ipam.release([{ address: first.address }])).toEqual({ released: [], unallocated: [first.address] });
  });
  test('only by who holds it: another handle or another allocation is refused', async () => {
    const [{ address }] = (await assign('a')).assigned;
    await expect(ipam.release([{ address, handle: 'other' }])).rejects.toMatchObject({ code: 'CONFLICT' });
    await expect(ipam.release([{ address, sequence: 1n }])).rejects.toMatchObject({ code: 'CONFLICT' });
  });
  test('by handle frees all and removes the handle', async () => {
    const { assigned } = await assign('a', 6);
    expect((await ipam.releaseByHandle('h-a')).sort()).toEqual(assigned.map((a) => a.address).sort());
    expect(await store.get('/calico/ipam/v2/handle/h-a')).toBeNull();
    await expect(ipam.releaseByHandle('h-a')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
  test('a block without owner goes with its last address', async () => {
    const [{ address, block }] = (await assign('a')).assigned;
    expect(await ipam.releaseBlock({ type: 'host', name: 'a' }, block, { mustBeEmpty: true })).toBe(false);
    expect(await ipam.releaseBlock({ type: 'host', name: 'a' }, block, { mustBeEmpty: false })).toBe(true);
    await ipam.release([{ address }]);
    expect(await keys('/calico/ipam/v2/assignment/ipv4/block/')).toEqual([]);
  });
  test('released addresses cool down', async () => {
    await ipam.configure({ cooldownSeconds: 60, strictAffinity: true, maxBlocksPerHost: 1 });
    const { assigned } = await assign('a', 4);
    await ipam.release(assigned.map(({ address }) => ({ address })));
    await expect(assign('a')).rejects.toMatchObject({ code: 'EXHAUSTED' });
    clock.advance(61_000);
    expect((await assign('a', 4)).assigned).toHaveLength(4);
  });
});

test('sequence numbers in the stored text are exact', async () => {
  await pool('p', { cidr: '10.0.0.0/30', blockSize: 30 });
  await assign('a');
  const text = (await store.get('/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30'))?.value ?? '';
  const block = decodeBlock(text);
  expect(block.ok && block.value.sequenceNumber).toBe(BigInt(clock.date().getTime()) * 1_000_000n + 1n);
  expect(text).toContain(`"sequenceNumber":${BigInt(clock.date().getTime()) * 1_000_000n + 1n}`);
});

test('usage adds up', async () => {
  await pool('p', { cidr: '10.0.0.0/24', blockSize: 30 });
  await pool('six', { cidr: 'fd00::/64' });
  await assign('a', 3);
  const { pools } = await ipam.usage();
  expect(pools.map((p) => [p.name, p.total, p.inUse, p.free])).toEqual([
    ['p', 256n, 3n, 253n],
    ['six', 2n ** 64n, 0n, 2n ** 64n],
  ]);
});

describe('check finds', () => {
  beforeEach(async () => {
    await pool('p', { cidr: '10.0.0.0/24', blockSize: 30 });
    await assign('a');
  });
  const types = async () => (await ipam.check()).findings.map((f) => `${f.type}: ${f.subject} ${f.message}`);
  test('an address that nobody uses', async () => {
    expect(await types()).toEqual([
      expect.stringMatching(/^leak: address 10\.0\.0\.\d+ is assigned .* no WorkloadEndpoint/),
    ]);
  });
  test('an affinity that was cut short, and one without its block', async () => {
    await store.txn(
      [],
      [{ op: 'put', key: '/calico/ipam/v2/host/b/ipv4/block/10.0.0.0-30', value: '{"state":"pending"}' }],
    );
    await store.txn(
      [],
      [{ op: 'put', key: '/calico/ipam/v2/host/b/ipv4/block/10.0.9.0-30', value: '{"state":"confirmed"}' }],
    );
    expect(await types()).toEqual(
      expect.arrayContaining([
        expect.stringContaining('is pending: a claim or release was cut short'),
        expect.stringContaining('is confirmed, but the block does not exist'),
      ]),
    );
  });
  test('a handle that counts too much, and one that is missing', async () => {
    await store.txn([], [{ op: 'put', key: '/calico/ipam/v2/handle/ghost', value: '{"block":{"10.0.0.0/30":2}}' }]);
    await store.txn([], [{ op: 'delete', key: '/calico/ipam/v2/handle/h-a' }]);
    expect(await types()).toEqual(
      expect.arrayContaining([
        expect.stringContaining("handle 'ghost' counts 2 addresses"),
        expect.stringContaining("handle 'h-a' does not exist, but addresses carry it"),
      ]),
    );
  });
  test('a block that cannot be read, and one outside the pools', async () => {
    await store.txn([], [{ op: 'put', key: '/calico/ipam/v2/assignment/ipv4/block/10.0.0.252-30', value: '{' }]);
    await ipam.claim('a', prefix('10.7.0.0/30'));
    expect(await types()).toEqual(
      expect.arrayContaining([
        expect.stringContaining('block 10.0.0.252/30 cannot be read'),
        expect.stringContaining('block 10.7.0.0/30 lies in no IPPool'),
      ]),
    );
  });
});
