import { describe, expect, test } from 'vitest';
import { addr, FakeClock, OperationalError, silentLog } from '#core';
import type { Node } from '#datastore';
import type { MachineAddresses } from '../../../agent/node-address.ts';
import { type NodeClient, registerNode } from '../../../agent/registration.ts';

const link = (index: number, name: string) => ({
  index,
  name,
  adminUp: true,
  up: true,
  mac: '',
  mtu: 1500,
  linkKind: '',
});
const machine: MachineAddresses = {
  links: [link(1, 'lo'), link(3, 'eth1'), link(2, 'eth0'), link(4, 'cali123')],
  addresses: [
    { index: 1, address: addr('127.0.0.1'), length: 8, scope: 'host' },
    { index: 2, address: addr('10.0.0.11'), length: 24, scope: 'global' },
    { index: 2, address: addr('fe80::1'), length: 64, scope: 'link' },
    { index: 2, address: addr('fd00::11'), length: 64, scope: 'global' },
    { index: 3, address: addr('192.0.2.11'), length: 25, scope: 'global' },
    { index: 4, address: addr('10.65.0.1'), length: 32, scope: 'global' },
  ],
  sourceTowards: async (to) => (to === '192.0.2.1' ? addr('192.0.2.11') : null),
  resolve: async () => null,
};
const settings = {
  nodeName: 'a',
  ip: '',
  ip6: '',
  ipAutodetectionMethod: 'first-found',
  ip6AutodetectionMethod: 'first-found',
  as: undefined as number | undefined,
  noBgp: false,
};

class FakeNodes implements NodeClient {
  readonly nodes = new Map<string, Node>();
  writes = 0;
  conflicts = 0;
  async get(name: string) {
    return structuredClone(this.nodes.get(name) ?? null);
  }
  async list() {
    return [...this.nodes.values()];
  }
  async create(node: Node) {
    return this.#put(node);
  }
  async update(node: Node) {
    if (this.conflicts-- > 0) throw new OperationalError('CONFLICT', 'lost');
    return this.#put(node);
  }
  #put(node: Node) {
    this.writes++;
    this.nodes.set(node.metadata.name, node);
    return node;
  }
}
const node = (name: string, spec: Node['spec'], metadata: object = {}): Node => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'Node',
  metadata: { name, ...metadata },
  spec,
});
const register = async (client: FakeNodes, change: Partial<typeof settings> = {}, log = silentLog) => {
  const clock = new FakeClock();
  const result = registerNode(client, { ...settings, ...change }, machine, clock, log);
  const tick = setInterval(() => clock.advance(1000), 1);
  return result.finally(() => clearInterval(tick));
};

describe('which address', () => {
  test('the first of the first interface that can be a node address, with its prefix length', async () => {
    const made = await register(new FakeNodes());
    expect(made.spec.bgp).toEqual({ ipv4Address: '10.0.0.11/24', ipv6Address: 'fd00::11/64' });
    expect(made.spec.addresses?.[0]).toEqual({ address: '10.0.0.11', type: 'CalicoNodeIP' });
  });
  test.each([
    ['interface=eth1', '192.0.2.11/25'],
    ['skip-interface=eth0', '192.0.2.11/25'],
    ['can-reach=192.0.2.1', '192.0.2.11/25'],
    ['cidr=192.0.2.0/24', '192.0.2.11/25'],
  ])('%s', async (method, expected) => {
    const made = await register(new FakeNodes(), { ipAutodetectionMethod: method });
    expect(made.spec.bgp?.ipv4Address).toBe(expected);
  });
  test('what the resource says stays, unless a setting asks for another', async () => {
    const client = new FakeNodes();
    client.nodes.set(
      'a',
      node('a', { bgp: { ipv4Address: '10.9.9.9/24', routeReflectorClusterID: '1.1.1.1' } }, { labels: { x: 'y' } }),
    );
    expect((await register(client)).spec.bgp?.ipv4Address).toBe('10.9.9.9/24');
    const moved = await register(client, { ip: 'autodetect', ip6: 'none', as: 65000 });
    expect(moved.spec.bgp).toEqual({
      ipv4Address: '10.0.0.11/24',
      routeReflectorClusterID: '1.1.1.1',
      asNumber: 65000,
    });
    expect(moved.metadata.labels).toEqual({ x: 'y' });
    expect((await register(client, { ip: '10.1.1.1/16', ip6: 'none' })).spec.bgp?.ipv4Address).toBe('10.1.1.1/16');
  });
  test('none at all is an error that names the settings', async () => {
    await expect(register(new FakeNodes(), { ipAutodetectionMethod: 'interface=nope', ip6: 'none' })).rejects.toThrow(
      'give --ip or --ip6',
    );
  });
});

test('a method that finds none in one family is told, with its name', async () => {
  const told: unknown[] = [];
  const log = { ...silentLog, warn: (...words: unknown[]) => void told.push(words) } as unknown as typeof silentLog;
  await register(new FakeNodes(), { ipAutodetectionMethod: 'interface=nope' }, log);
  expect(told).toEqual([[{ family: 4, method: 'interface=nope' }, 'no node address of this family was found']]);
});
test('a Node that is right is not written again', async () => {
  const client = new FakeNodes();
  await register(client);
  await register(client);
  expect(client.writes).toBe(1);
});
test('a lost compare-and-swap is tried again on what is there then', async () => {
  const client = new FakeNodes();
  client.nodes.set('a', node('a', {}));
  client.conflicts = 2;
  expect((await register(client)).spec.bgp?.ipv4Address).toBe('10.0.0.11/24');
});
test('an address of another Node is refused', async () => {
  const client = new FakeNodes();
  client.nodes.set('b', node('b', { bgp: { ipv4Address: '10.0.0.11/24' } }));
  await expect(register(client)).rejects.toThrow('is already that of Node(b)');
});
