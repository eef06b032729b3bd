import { addr, FakeClock, prefix } from '#core';
import { createResources, Ipam, type Store } from '#datastore';

/** What Calico's IPAM stores for node-1 in the cluster of calico-datastore.md 3.2 to 3.4, byte by byte, by key under `/calico/ipam/v2/`. */
export const EXAMPLE: Readonly<Record<string, string>> = {
  'assignment/ipv4/block/10.65.3.64-30': [
    '{"cidr":"10.65.3.64/30","affinity":"host:node-1","affinity_claim_time":"2026-03-01T09:30:00Z",',
    '"allocations":[0,null,1,null],"unallocated":[3,1],',
    '"attributes":[{"handle_id":"ipip-tunnel-addr-node-1","secondary":{"node":"node-1","type":"ipipTunnelAddress"}},',
    '{"handle_id":"net1.9f8e7d6c5b4a","secondary":{"namespace":"default","node":"node-1","pod":"web-0",',
    '"timestamp":"2026-03-01 09:30:05.123456789 +0000 UTC"}}],',
    '"sequenceNumber":1772357400000000005,',
    '"sequenceNumberForAllocation":{"0":1772357400000000003,"2":1772357400000000004},"deleted":false}',
  ].join(''),
  'handle/ipip-tunnel-addr-node-1': '{"block":{"10.65.3.64/30":1},"deleted":false}',
  'handle/net1.9f8e7d6c5b4a': '{"block":{"10.65.3.64/30":1},"deleted":false}',
  'host/node-1/ipv4/block/10.65.3.64-30': '{"state":"confirmed","deleted":false}',
};

/** The history that leads to it: a block with one address released before, and its claim once repaired. */
export async function makeExample(store: Store): Promise<void> {
  const clock = new FakeClock(Date.UTC(2026, 2, 1, 9, 30, 0));
  const resources = createResources(store, clock);
  const ipam = new Ipam({ store, resources, clock });
  const api = { apiVersion: 'projectcalico.org/v3' as const };
  await resources.create({ ...api, kind: 'Node', metadata: { name: 'node-1' }, spec: {} });
  await resources.create({
    ...api,
    kind: 'IPPool',
    metadata: { name: 'p' },
    spec: { cidr: '10.65.3.64/30', blockSize: 30 },
  });
  await ipam.claim('node-1', prefix('10.65.3.64/30'));
  await ipam.assign(addr('10.65.3.65'), { node: 'node-1', handle: 'first', secondary: {} });
  await ipam.releaseByHandle('first');
  await store.txn(
    [],
    [
      {
        op: 'put',
        key: '/calico/ipam/v2/host/node-1/ipv4/block/10.65.3.64-30',
        value: '{"state":"pending","deleted":false}',
      },
    ],
  );
  const one = { node: 'node-1', family: 4, count: 1 } as const;
  await ipam.autoAssign({
    ...one,
    use: 'Tunnel',
    handle: 'ipip-tunnel-addr-node-1',
    secondary: { node: 'node-1', type: 'ipipTunnelAddress' },
  });
  await ipam.autoAssign({
    ...one,
    handle: 'net1.9f8e7d6c5b4a',
    secondary: {
      namespace: 'default',
      node: 'node-1',
      pod: 'web-0',
      timestamp: '2026-03-01 09:30:05.123456789 +0000 UTC',
    },
  });
}
