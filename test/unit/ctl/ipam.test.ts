import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { addr, FakeClock } from '#core';
import { createResources, Ipam, type Store } from '#datastore';
import { apply, CLUSTER, ctl, memoryStore } from './harness.ts';

let store: Store;
let cwd: string;
beforeEach(async () => {
  store = await memoryStore();
  cwd = await mkdtemp(join(tmpdir(), 'ctl-ipam-'));
  await apply(store, CLUSTER);
  const clock = new FakeClock();
  const ipam = new Ipam({ store, resources: createResources(store, clock), clock, random: () => 0 });
  // One address in use by the workload of the cluster, one that nobody uses.
  await ipam.assign(addr('10.65.3.70'), {
    node: 'n1',
    handle: 'net1.abc123',
    use: 'Workload',
    secondary: { node: 'n1' },
  });
  await ipam.assign(addr('10.65.3.71'), {
    node: 'n1',
    handle: 'net1.gone',
    use: 'Workload',
    secondary: { node: 'n1' },
  });
});
afterEach(() => rm(cwd, { recursive: true }));
const run = (...argv: string[]) => ctl(store, ['ipam', ...argv], { cwd });

test('show: pools, blocks, one address', async () => {
  expect((await run('show', '--show-blocks')).out).toMatchInlineSnapshot(`
    "+----------+---------------+-----------+------------+-------------+
    | GROUPING | CIDR          | IPS TOTAL | IPS IN USE | IPS FREE    |
    +----------+---------------+-----------+------------+-------------+
    | IP Pool  | 10.65.0.0/16  | 65536     | 2 (0%)     | 65534 (99%) |
    | Block    | 10.65.3.64/26 | 64        | 2 (3%)     | 62 (96%)    |
    +----------+---------------+-----------+------------+-------------+
    "
  `);
  expect((await run('show', '--ip=10.65.3.70')).out).toContain('Handle: net1.abc123\n');
  expect((await run('show', '--ip=10.65.3.99')).out).toBe('10.65.3.99 is not assigned\n');
  expect(JSON.parse((await run('show', '-o', 'json')).out).pools[0]).toMatchObject({
    name: 'pool-a',
    total: 65536,
    inUse: 2,
  });
  expect(await run('show', '--ip=x')).toMatchObject({ status: 2 });
});

test('check finds the leak; release frees it by the report, and what is in use only by force', async () => {
  const checked = await run('check', '-o', 'report.json');
  expect(checked.status).toBe(1);
  expect(checked.out).toMatch(/leak: address 10\.65\.3\.71 .*\n {4}tsnetctl ipam release --ip=10\.65\.3\.71/);
  expect(await run('release', '--from-report=report.json')).toMatchObject({ status: 0, out: '10.65.3.71 released\n' });
  expect(await run('release', '--ip=10.65.3.71')).toMatchObject({
    status: 1,
    err: 'tsnetctl: 10.65.3.71 is not assigned\n',
  });
  expect(await run('release', '--ip=10.65.3.70')).toMatchObject({
    status: 1,
    err: expect.stringContaining('10.65.3.70 is used by WorkloadEndpoint(default/n1-cni-abc123-eth0)'),
  });
  // The workload's IPv6 address was never assigned, which is another problem than a leak.
  const left = JSON.parse((await run('check', '-o', 'json')).out).findings as { type: string }[];
  expect(left.map(({ type }) => type)).toEqual(['in-use-unallocated']);
  expect((await run('release', '--ip=10.65.3.70', '--force')).out).toBe('10.65.3.70 released\n');
  expect(await run('release')).toMatchObject({ status: 2 });
});

test('configure changes what is given', async () => {
  expect(JSON.parse((await run('configure', '--strictaffinity=true', '-o', 'json')).out)).toMatchObject({
    strictAffinity: true,
    autoAllocateBlocks: true,
  });
  expect((await run('configure', '--max-blocks-per-host', '4')).out).toContain('| MaxBlocksPerHost   | 4');
  expect((await run('show', '--show-configuration')).out).toContain('| StrictAffinity     | true');
  expect(await run('configure', '--strictaffinity=maybe')).toMatchObject({ status: 2 });
  expect(await run('configure', '--strictaffinity=false')).toMatchObject({
    status: 1,
    err: expect.stringContaining('maxBlocksPerHost'),
  });
});

test('split puts several pools in the place of one, and moves no address', async () => {
  expect((await run('split', '4', '--name', 'pool-a')).out).toBe(
    [0, 1, 2, 3].map((i) => `IPPool(split-pool-a-${i}) created: 10.65.${64 * i}.0/18\n`).join('') +
      'IPPool(pool-a) deleted\n',
  );
  const { pools } = JSON.parse((await run('show', '-o', 'json')).out);
  expect(pools.map((p: { name: string; inUse: number }) => [p.name, p.inUse])).toEqual([
    ['split-pool-a-0', 2],
    ['split-pool-a-1', 0],
    ['split-pool-a-2', 0],
    ['split-pool-a-3', 0],
  ]);
  expect(await run('split', '3', '--name', 'split-pool-a-0')).toMatchObject({ status: 2 });
  expect(await run('split', '2', '--name', 'pool-b')).toMatchObject({
    status: 1,
    err: expect.stringContaining("the name 'pool-b'"),
  });
});
