import { describe, expect, test } from 'vitest';
import { settledMatrix, waitFor } from '../../deploy/lab/index.ts';
import { routeOf, useLab, waitReach } from './use-lab.ts';

/** The main job: three nodes, a BIRD top-of-rack router with eBGP, both address families in one session. */

interface Peer {
  address: string;
  asNumber: number;
  type: string;
  state: string;
  families: string[];
  passive: boolean;
  lastError: unknown;
  prefixes: Record<string, { received: number; accepted: number; advertised: number }>;
}

const lab = useLab('cl', { noDefaultRoute: ['node-3'] });
const OFFICE_V4 = '10.200.0.0/24';
const OFFICE_V6 = 'fd00:200::/64';

describe('who reaches whom', () => {
  test('as the policy says, in both families, on and between all nodes and the outside', async () => {
    const cells = await settledMatrix(lab());
    expect(cells.length).toBe(84);
    expect(cells.filter((cell) => cell.seen !== cell.expected)).toEqual([]);
    expect(cells.some((cell) => !cell.expected)).toBe(true);
  });

  test('a policy edit opens and closes', async () => {
    const open = {
      kind: 'GlobalNetworkPolicy',
      name: 'office-to-client',
      spec: { order: 50, selector: "app == 'client'", types: ['Ingress'], ingress: [{ action: 'Allow' }] },
    };
    await waitReach(lab(), 'office', 'client-2', false);
    await lab().put(open);
    await waitReach(lab(), 'office', 'client-2', true);
    await lab().remove(open);
    await waitReach(lab(), 'office', 'client-2', false);
  });
});

describe('BGP', () => {
  const peers = async (node: string) => (await lab().node(node).ctl(['bgp', 'peers'])) as Peer[];

  test('every node is established with both others and with the router', async () => {
    for (const { name, plan } of lab().nodes) {
      const others = lab().plan.nodes.filter((other) => other.name !== name);
      await waitFor(`${name}'s peers`, async () => {
        const up = (await peers(name)).filter((peer) => peer.state === 'Established').map((peer) => peer.address);
        const missing = [...others, lab().plan.tor].filter((host) => !host.addresses.some((a) => up.includes(a)));
        return missing.length === 0 || `not up: ${missing.map((host) => host.name).join(', ')}`;
      });
      const mesh = (await peers(name)).filter((peer) => peer.type === 'NodeMesh');
      expect(new Set(mesh.map((peer) => peer.asNumber))).toEqual(new Set([64512]));
      // The side whose address is larger as a string dials; the other waits.
      for (const peer of mesh.filter((p) => p.address.includes('.')))
        expect([peer.address, peer.passive]).toEqual([peer.address, plan.addresses[0] < peer.address]);
    }
  });

  test('one session carries both families to the router', async () => {
    const router = (await peers('node-1')).find((peer) => peer.address === lab().plan.tor.addresses[0]);
    expect(router).toMatchObject({ type: 'GlobalPeer', asNumber: 65001, state: 'Established' });
    expect(router?.families).toEqual(['ipv4', 'ipv6']);
    expect(router?.prefixes.ipv4.accepted).toBe(1);
    expect(router?.prefixes.ipv6.accepted).toBe(1);
    expect((await lab().tor.sessions()).map((s) => s.state)).toEqual(['Established', 'Established', 'Established']);
  });

  test('the router learned every block with its own node as a next hop', async () => {
    for (const node of lab().plan.nodes)
      for (const [at, block] of node.blocks.entries())
        await waitFor(`${block} at the router`, async () => {
          const route = (await lab().tor.routes()).find(({ prefix }) => prefix === block);
          return route?.nextHops.includes(node.addresses[at]) || `has ${JSON.stringify(route)}`;
        });
  });

  test('no address inside a block is advertised beside it', async () => {
    const prefixes = (await lab().tor.routes()).map(({ prefix }) => prefix);
    expect(prefixes.filter((prefix) => /\/(32|128)$/.test(prefix))).toEqual([]);
  });

  test("a node's own blocks are blackholes, those of others lead to them, and the router's to it", async () => {
    for (const node of lab().nodes) {
      for (const other of lab().plan.nodes)
        for (const [at, block] of other.blocks.entries()) {
          const via = new RegExp(`via ${other.addresses[at]} .*proto 80`);
          const wanted = other.name === node.name ? /^blackhole .*proto 80/ : via;
          await waitFor(`${block} on ${node.name}`, async () => {
            const route = await routeOf(node, block);
            return wanted.test(route ?? '') || `is ${route}`;
          });
        }
      expect(await routeOf(node, OFFICE_V4)).toMatch(/via 10\.99\.0\.1 .*proto 80/);
      expect(await routeOf(node, OFFICE_V6)).toMatch(/via (fd00:99::1|fe80::\S+) .*proto 80/);
    }
  });

  test('an address in no block of the node is advertised by itself, and withdrawn when it leaves', async () => {
    const endpoint = { kind: 'WorkloadEndpoint', namespace: 'default', name: 'node--1-cni-roamer-eth0' };
    const [host] = lab().workloads.filter((w) => w.node === 'node-1');
    const addresses = ['10.65.200.9/32', 'fd00:65:0:200::9/128'];
    await lab().put({
      ...endpoint,
      labels: { app: 'client' },
      spec: {
        orchestrator: 'cni',
        node: 'node-1',
        containerID: 'roamer',
        endpoint: 'eth0',
        interfaceName: host.interfaceName,
        ipNetworks: addresses,
        profiles: ['lab'],
      },
    });
    const known = async () =>
      (await lab().tor.routes()).map(({ prefix }) => prefix).filter((prefix) => addresses.includes(prefix));
    await waitFor('both at the router', async () => (await known()).length === 2 || `${await known()}`);
    expect(await routeOf(lab().node('node-2'), addresses[0])).toMatch(/via 10\.99\.0\.11 /);
    await lab().remove(endpoint);
    await waitFor('both gone from the router', async () => (await known()).length === 0 || `${await known()}`);
    await waitFor(
      'both gone from node-2',
      async () =>
        (await routeOf(lab().node('node-2'), addresses[0])) ??
        (await routeOf(lab().node('node-2'), addresses[1])) ??
        true,
    );
  });

  test('routes leave the kernel when the session ends, and come back with it', async () => {
    await lab().tor.stopBird();
    for (const node of lab().nodes)
      for (const prefix of [OFFICE_V4, OFFICE_V6])
        await waitFor(`${node.name} to forget ${prefix}`, async () => (await routeOf(node, prefix)) ?? true);
    await lab().tor.startBird();
    for (const node of lab().nodes)
      for (const prefix of [OFFICE_V4, OFFICE_V6])
        await waitFor(`${node.name} to know ${prefix}`, async () => Boolean(await routeOf(node, prefix)) || 'does not');
    await settledMatrix(lab());
  });

  test('routes leave the kernel when the peer falls silent: the hold timer', async () => {
    const [node] = lab().nodes;
    await lab().cut('node-1', 'tor');
    try {
      await waitFor('node-1 to forget the office', async () => (await routeOf(node, OFFICE_V4)) ?? true);
      const router = (await peers('node-1')).find((peer) => peer.type === 'GlobalPeer');
      expect(JSON.stringify(router?.lastError)).toMatch(/hold/i);
    } finally {
      await lab().heal('node-1', 'tor');
    }
    await waitFor('node-1 to know the office', async () => Boolean(await routeOf(node, OFFICE_V4)) || 'does not');
  });
});
