import { describe, expect, test } from 'vitest';
import { TunnelAddresses, type TunnelNeed, tunnelNeed } from '#agent';
import { type Addr, addr, FakeClock, OperationalError, prefix, silentLog } from '#core';
import type { IPPool, IpamBlock, Node } from '#datastore';

const pool = (cidr: string, more: Partial<IPPool['spec']> = {}): [string, IPPool] => [
  cidr,
  {
    apiVersion: 'projectcalico.org/v3',
    kind: 'IPPool',
    metadata: { name: 'p' },
    spec: { cidr, vxlanMode: 'Always', ...more },
  },
];
const node = (held?: string): Node => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'Node',
  metadata: { name: 'n1', labels: { rack: 'r1' } },
  spec: { bgp: { ipv4Address: '10.0.0.1/24' }, ...(held && { ipv4VXLANTunnelAddr: held }) },
});
const block = (handle: string): [string, IpamBlock] => [
  '10.65.1.0/26',
  {
    cidr: '10.65.1.0/26',
    affinity: 'host:n1',
    allocations: [0, ...Array.from({ length: 63 }, () => null)],
    unallocated: [],
    attributes: [{ handle_id: handle }],
    sequenceNumber: 1n,
    sequenceNumberForAllocation: {},
    deleted: false,
  },
];
const need = (held: string | undefined, pools: [string, IPPool][], handle = 'vxlan-tunnel-addr-n1', enabled = true) =>
  tunnelNeed(4, 'n1', node(held), new Map(pools), new Map([block(handle)]), enabled);

describe('what is needed', () => {
  test('an address of a pool that encapsulates, selects the node and may serve tunnels', () => {
    const pools = [
      pool('10.65.0.0/16'),
      pool('10.66.0.0/16', { vxlanMode: 'Never' }),
      pool('10.67.0.0/16', { allowedUses: ['Workload'] }),
      pool('10.68.0.0/16', { nodeSelector: "rack == 'r2'" }),
      pool('10.69.0.0/16', { disabled: true }),
      pool('fd00::/64'),
    ];
    expect(need(undefined, pools)).toEqual({ pools: ['10.65.0.0/16'], held: undefined, recorded: false });
  });
  test('IPAM says whether the address that the node names is really its own', () => {
    expect(need('10.65.1.0', [pool('10.65.0.0/16')]).recorded).toBe(true);
    expect(need('10.65.1.0', [pool('10.65.0.0/16')], 'somebody').recorded).toBe(false);
    expect(need('10.65.1.1', [pool('10.65.0.0/16')]).recorded).toBe(false);
    expect(need('10.65.1.0', [pool('10.65.0.0/16')], undefined, false).pools).toEqual([]);
  });
});

/** A datastore of one node, and an IPAM that gives the same address each time. */
function world(held?: string) {
  const calls: string[] = [];
  let stored = node(held);
  let taken = false;
  let conflicts = 0;
  const tunnels = new TunnelAddresses({
    node: 'n1',
    clock: new FakeClock(),
    log: silentLog,
    ipam: {
      releaseByHandle: async (handle) => {
        calls.push(`release ${handle}`);
        throw new OperationalError('NOT_FOUND', handle);
      },
      assign: async (address) => {
        calls.push(`assign ${address}`);
        if (taken) throw new OperationalError('ALREADY_EXISTS', address);
        return { address, block: prefix('10.65.1.0/26') };
      },
      autoAssign: async ({ handle, use, secondary, pools }) => {
        calls.push(`auto ${handle} ${use} ${secondary.type} ${pools?.join()}`);
        return { assigned: [{ address: addr('10.65.1.7'), block: prefix('10.65.1.0/26') }], messages: [] };
      },
    },
    resources: {
      get: async () => stored as never,
      update: async (resource) => {
        if (conflicts-- > 0) throw new OperationalError('CONFLICT', 'lost');
        stored = resource as Node;
        return resource as never;
      },
    },
  });
  return {
    calls,
    tunnels,
    take: () => {
      taken = true;
    },
    loseRaces: (count: number) => {
      conflicts = count;
    },
    address: () => stored.spec.ipv4VXLANTunnelAddr,
    spec: () => stored.spec,
    /** Resolves when what was asked for is done. */
    want: async (four: TunnelNeed) => {
      tunnels.want({ 4: four, 6: { pools: [], held: undefined, recorded: false } });
      await tunnels.stop();
    },
  };
}
const pools = [prefix('10.65.0.0/16')];

describe('what is done', () => {
  test("a node without one gets one, under Calico's handle, and keeps the rest of its resource", async () => {
    const w = world();
    w.loseRaces(2);
    await w.want({ pools, held: undefined, recorded: false });
    expect(w.calls).toEqual([
      'release vxlan-tunnel-addr-n1',
      'auto vxlan-tunnel-addr-n1 Tunnel vxlanTunnelAddress 10.65.0.0/16',
    ]);
    expect(w.spec()).toEqual({ bgp: { ipv4Address: '10.0.0.1/24' }, ipv4VXLANTunnelAddr: '10.65.1.7' });
  });
  test('an address that nobody recorded is claimed; one that is somebody else’s is exchanged', async () => {
    const w = world('10.65.1.3');
    await w.want({ pools, held: addr('10.65.1.3'), recorded: false });
    expect([w.calls.at(-1), w.address()]).toEqual(['assign 10.65.1.3', '10.65.1.3']);
    const taken = world('10.65.1.3');
    taken.take();
    await taken.want({ pools, held: addr('10.65.1.3'), recorded: false });
    expect(taken.address()).toBe('10.65.1.7');
  });
  test('one that no pool wants any more is given back', async () => {
    const w = world('10.65.1.3');
    await w.want({ pools: [], held: addr('10.65.1.3'), recorded: true });
    expect([w.calls, w.address()]).toEqual([['release vxlan-tunnel-addr-n1'], undefined]);
  });
  test('what is settled, or decided from an old view, changes nothing', async () => {
    const settled = world('10.65.1.3');
    await settled.want({ pools, held: addr('10.65.1.3'), recorded: true });
    const old = world('10.65.1.3');
    const nothing: Addr | undefined = undefined;
    await old.want({ pools, held: nothing, recorded: false });
    expect([settled.calls, old.calls]).toEqual([[], []]);
  });
});
