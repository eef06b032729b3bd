import { afterAll, beforeAll, expect, test } from 'vitest';
import { createNetlink, type Netlink } from '#agent';
import type { ResolvingRoute } from '#bgp';
import { type Prefix, prefix, realClock, silentLog } from '#core';
import { ForeignRoutes } from '../../../agent/foreign-routes.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** What the kernel's own tools do to routes, and what the tracker says then. */

let ns: Namespace;
let netlink: Netlink;
let foreign: ForeignRoutes;
const known = new Map<Prefix, ResolvingRoute>();

beforeAll(async () => {
  ns = enterNamespace('foreign');
  ns.sh(`ip link add p0 type veth peer name p1; ip link set p0 up; ip link set p1 up
    ip addr add 10.0.0.1/24 dev p0; ip -6 addr add fd00::1/64 dev p0 nodad
    ip route add 10.9.0.0/16 via 10.0.0.2`);
  netlink = createNetlink();
  foreign = new ForeignRoutes({
    netlink,
    clock: realClock,
    log: silentLog,
    onChange: (changes) => {
      for (const [to, route] of changes)
        if (route) known.set(to, route);
        else known.delete(to);
    },
  });
  await foreign.start();
});
afterAll(() => {
  foreign.close();
  netlink.close();
  ns.leave();
});

const becomes = (to: string, route: ResolvingRoute | undefined) =>
  until(`${to} to be ${JSON.stringify(route)}, it is ${JSON.stringify(known.get(prefix(to)))}`, () => {
    return JSON.stringify(known.get(prefix(to))) === JSON.stringify(route);
  });
const via = (...gateways: string[]) =>
  ({ hops: gateways.map((address) => ({ address, interface: 'p0' })) }) as unknown as ResolvingRoute;

test('what was there before is told, networks included; ours and other tables are not', async () => {
  await becomes('10.9.0.0/16', via('10.0.0.2'));
  await becomes('10.0.0.0/24', { hops: [{ interface: 'p0' }] });
  await becomes('fd00::/64', { hops: [{ interface: 'p0' }] });
  ns.sh('ip route add 10.10.0.0/16 via 10.0.0.2 proto 80; ip route add 10.11.0.0/16 via 10.0.0.2 table 77');
  ns.sh('ip route add 10.12.0.0/16 via 10.0.0.2');
  await becomes('10.12.0.0/16', via('10.0.0.2'));
  expect([...known.keys()]).not.toContain('10.10.0.0/16');
  expect([...known.keys()]).not.toContain('10.11.0.0/16');
});

test('of several the smallest metric counts; a change and a removal are told', async () => {
  ns.sh('ip route add 10.9.0.0/16 via 10.0.0.3 metric 50; ip route add default via 10.0.0.4 metric 100');
  await becomes('0.0.0.0/0', via('10.0.0.4'));
  await becomes('10.9.0.0/16', via('10.0.0.2'));
  ns.sh('ip route del 10.9.0.0/16 via 10.0.0.2');
  await becomes('10.9.0.0/16', via('10.0.0.3'));
  ns.sh('ip route replace 10.9.0.0/16 metric 50 nexthop via 10.0.0.5 nexthop via 10.0.0.6');
  await becomes('10.9.0.0/16', via('10.0.0.5', '10.0.0.6'));
  ns.sh('ip route replace unreachable 10.9.0.0/16 metric 50');
  await becomes('10.9.0.0/16', { hops: [] });
  ns.sh('ip route del unreachable 10.9.0.0/16 metric 50; ip route del default');
  await becomes('10.9.0.0/16', undefined);
  await becomes('0.0.0.0/0', undefined);
});

test('hops of an IPv6 route go one by one', async () => {
  ns.sh('ip -6 route add 2001:db8::/32 nexthop via fd00::2 nexthop via fd00::3');
  await becomes('2001:db8::/32', via('fd00::2', 'fd00::3'));
  ns.sh('ip -6 route del 2001:db8::/32 via fd00::2');
  await becomes('2001:db8::/32', via('fd00::3'));
});

test('a link without carrier carries no routes; they are back with it', async () => {
  ns.sh('ip link set p1 down');
  await becomes('10.12.0.0/16', undefined);
  await becomes('10.0.0.0/24', undefined);
  ns.sh('ip link set p1 up');
  await becomes('10.12.0.0/16', via('10.0.0.2'));
  await becomes('10.0.0.0/24', { hops: [{ interface: 'p0' }] });
});

test('the kernel drops the routes of a link that is set down, or of an address, without a word', async () => {
  ns.sh('ip route add 10.13.0.0/16 via 10.0.0.2 src 10.0.0.1; ip addr add 10.0.1.1/24 dev p0');
  await becomes('10.13.0.0/16', via('10.0.0.2'));
  ns.sh('ip addr del 10.0.0.1/24 dev p0');
  await becomes('10.13.0.0/16', undefined);
  ns.sh('ip route add 10.14.0.0/16 via 10.0.1.2');
  await becomes('10.14.0.0/16', via('10.0.1.2'));
  ns.sh('ip link set p0 down');
  await becomes('10.14.0.0/16', undefined);
  ns.sh('ip link set p0 up');
  await becomes('10.0.1.0/24', { hops: [{ interface: 'p0' }] });
  expect(known.has(prefix('10.14.0.0/16'))).toBe(false);
});
