import { expect, test } from 'vitest';
import { waitFor } from '../../deploy/lab/index.ts';
import { routeOf, useLab, waitReach } from './use-lab.ts';

/** Pools that change their encapsulation while everything runs: the agents get tunnel addresses, make devices, and packets go that way. */

const lab = useLab('ov', { nodes: 2 });

const POOLS = ['default-ipv4-ippool', 'default-ipv6-ippool'] as const;
const mode = async (vxlanMode: string) => {
  for (const pool of POOLS)
    await lab().nodes[0].ctl(['patch', 'ippool', pool, '-p', JSON.stringify({ spec: { vxlanMode } })]);
};
/** How node-1 reaches the blocks of node-2. */
const ways = async () => {
  const [here, there] = lab().nodes;
  return Promise.all(there.plan.blocks.map(async (block) => (await routeOf(here, block)) ?? 'no route'));
};

const reachable = async () => {
  await waitReach(lab(), 'client-1', 'web-2', true);
  await waitReach(lab(), 'client-2', 'web-1', true);
};

test('Always: both families go through the devices', async () => {
  await mode('Always');
  await waitFor('routes through the overlay', async () => {
    const [four, six] = await ways();
    return (
      (/via 10\.65\.2\.\d+ dev vxlan\.calico proto 80 .*onlink/.test(four) &&
        /via fd00:65:\S+ dev vxlan-v6\.calico proto 80 .*onlink/.test(six)) ||
      `${four}\n${six}`
    );
  });
  await reachable();
});

test('an agent that restarts finds its addresses, devices and routes right', async () => {
  const before = await ways();
  const [node] = lab().nodes;
  const links = await node.run(['ip', '-o', 'link', 'show', 'type', 'vxlan']);
  await node.kill();
  await node.start();
  await node.ready();
  await reachable();
  expect(await ways()).toEqual(before);
  expect(await node.run(['ip', '-o', 'link', 'show', 'type', 'vxlan'])).toBe(links);
});

test('CrossSubnet: nodes of one subnet reach each other directly', async () => {
  await mode('CrossSubnet');
  await waitFor('direct routes', async () => {
    const [four, six] = await ways();
    return (
      (/via 10\.99\.0\.12 dev \S+ proto 80/.test(four) && /via fd00:99::12 dev \S+ proto 80/.test(six)) ||
      `${four}\n${six}`
    );
  });
  await reachable();
});

test('Never: devices, tunnel addresses and routes through them are gone', async () => {
  await mode('Never');
  for (const node of lab().nodes)
    await waitFor(`${node.name} without overlay`, async () => {
      const links = await node.run(['ip', '-o', 'link', 'show', 'type', 'vxlan']);
      const [{ spec }] = [(await node.ctl(['get', 'node', node.name])) as { spec: Record<string, unknown> }];
      return (links === '' && !spec.ipv4VXLANTunnelAddr && !spec.ipv6VXLANTunnelAddr) || links + JSON.stringify(spec);
    });
  expect(`${await ways()}`).not.toContain('vxlan');
});
