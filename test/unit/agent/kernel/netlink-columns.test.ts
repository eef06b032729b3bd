import { expect, test } from 'vitest';
import { blockOf } from '#bgp';
import type { Addr, Prefix } from '#core';
import { columnWrites } from '../../../../agent/kernel/netlink/columns.ts';
import { MessageWriter } from '../../../../agent/kernel/netlink/message.ts';
import { encodeRoute } from '../../../../agent/kernel/netlink/route.ts';
import type { Route, RouteWrite } from '../../../../agent/kernel/types.ts';

const hop = (gateway: string, link?: string) => ({ gateway: gateway as Addr, ...(link && { link }) });
const indexOf = (name: string) => (name === 'eth0' ? 2 : 0);

for (const [family, to, hops] of [
  [4, '20.1.2.0/24', [hop('10.0.0.2')]],
  [4, '20.1.2.3/32', [hop('10.0.0.2', 'eth0'), hop('10.0.0.3')]],
  [4, '0.0.0.0/0', [hop('fe80::1', 'eth0')]],
  [6, '2001:db8:1:2::/64', [hop('fd00::2')]],
] as const)
  for (const op of ['add', 'replace', 'delete'] as const)
    test(`${op} ${to} in columns is the very message of the route`, () => {
      const route: Route = { to: to as Prefix, metric: 0, table: 300, via: { type: 'gateway', hops } };
      const write: RouteWrite = { op, route };
      const single = new MessageWriter(4096);
      expect(encodeRoute(single, write, 77, indexOf)).toBeNull();
      const { addr, length } = blockOf(route.to);
      const writes = columnWrites({ family, count: 1, addr, length, op: [op], like: [route] }, indexOf);
      const inColumns = new MessageWriter(4096);
      expect(writes.encode(0, inColumns, 77)).toBeNull();
      expect(inColumns.bytes.subarray(0, inColumns.length)).toEqual(single.bytes.subarray(0, single.length));
      expect(writes.fine(0)).toEqual(op === 'delete' ? ['ESRCH'] : undefined);
    });

test('a missing interface is named, and nothing is written', () => {
  const route: Route = {
    to: '20.0.0.0/8' as Prefix,
    metric: 1,
    table: 254,
    via: { type: 'gateway', hops: [hop('10.0.0.2', 'eth9')] },
  };
  const { addr, length } = blockOf(route.to);
  const writes = columnWrites({ family: 4, count: 1, addr, length, op: ['add'], like: [route] }, indexOf);
  const w = new MessageWriter(4096);
  expect(writes.encode(0, w, 1)).toBe('eth9');
  expect(w.length).toBe(0);
});
