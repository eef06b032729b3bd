import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createNetlink, createRouteReconciler, type Netlink, type Route, type RouteReconciler, routeKey } from '#agent';
import { addr, createMetrics, type Prefix, prefix, realClock, silentLog } from '#core';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

let ns: Namespace;
let netlink: Netlink;
let routes: RouteReconciler;
let scheduled = false;
let running = false;
let begun = false;
/** What `loop` has begun: it ends before netlink is closed. */
let pass: Promise<void> = Promise.resolve();

const toLink = (to: string, link: string): Route => ({
  to: prefix(to),
  metric: 1024,
  table: 254,
  via: { type: 'link', link },
});
const toGateway = (to: string, ...gateways: string[]): Route => ({
  to: prefix(to),
  metric: 1024,
  table: 254,
  via: { type: 'gateway', hops: gateways.map((gateway) => ({ gateway: addr(gateway) })) },
});
const want = (...all: Route[]) => routes.update(new Map(all.map((route) => [routeKey(route), route])));
const drop = (...all: Route[]) => routes.update(new Map(all.map((route) => [routeKey(route), undefined])));
const shown = (family: 4 | 6 = 4) =>
  ns
    .sh(`ip -${family} route show proto 80`)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** Applies whenever there is work, as the agent does. */
function loop(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    if (running && begun) pass = pass.then(apply);
  });
}
async function apply(): Promise<void> {
  if (!begun) await routes.readBack();
  begun = true;
  await routes.applyDeletes();
  await routes.applyUpdates();
}
function start(): void {
  running = true;
  begun = false;
  netlink = createNetlink();
  routes = createRouteReconciler({
    netlink,
    clock: realClock,
    log: silentLog,
    metrics: createMetrics(),
    onDirty: loop,
    isWorkloadLink: (name) => name.startsWith('cali'),
  });
}
async function stop(): Promise<void> {
  running = false;
  await pass;
  routes.close();
  netlink.close();
}

beforeAll(() => {
  ns = enterNamespace('routes');
});
afterAll(() => ns.leave());

beforeEach(() => {
  ns.sh(`ip link add cali1 type veth peer name w1 && ip link add cali2 type veth peer name w2
    ip link add up0 type veth peer name up1 && ip addr add 10.0.0.1/24 dev up0
    ip -6 addr add fd00::1/64 dev up0 nodad
    for i in cali1 w1 cali2 w2 up0 up1; do ip link set $i up; done`);
  start();
});
afterEach(async () => {
  await stop();
  ns.sh(
    'ip route flush proto 80; ip -6 route flush proto 80; for i in cali1 cali2 up0; do ip link del $i 2>/dev/null; done; true',
  );
});

describe('routes to workloads', () => {
  test('before the first read-back nothing is written or removed, whatever happens', async () => {
    ns.sh('ip route add blackhole 10.66.0.0/26 proto 80; ip route add 10.65.0.7/32 dev cali1 proto 80');
    want(toLink('10.65.0.1/32', 'cali1'));
    await routes.applyDeletes();
    await routes.applyUpdates();
    ns.sh('ip route del 10.65.0.7/32 proto 80');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(shown()).toEqual(['blackhole 10.66.0.0/26']);
    await apply();
    expect(shown()).toEqual(['10.65.0.1 dev cali1 scope link metric 1024']);
  });

  test('both families are written, read back as equal, and not written again', async () => {
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    expect(shown()).toEqual(['10.65.0.1 dev cali1 scope link metric 1024']);
    expect(shown(6)).toEqual(['fd00:65::1 dev cali1 metric 1024 pref medium']);
    const writes: number[] = [];
    const real = netlink.writeRoutes;
    netlink.writeRoutes = (all) => {
      writes.push(all.length);
      return real(all);
    };
    await routes.readBack();
    await apply();
    expect(routes.inSync).toBe(true);
    expect(writes.filter((n) => n > 0)).toEqual([]);
  });

  test('an interface that comes later gets its route then', async () => {
    want(toLink('10.65.0.9/32', 'cali9'), toLink('10.65.0.1/32', 'cali1'));
    await apply();
    expect(shown()).toEqual(['10.65.0.1 dev cali1 scope link metric 1024']);
    expect([...routes.problems()].map((p) => [p.route.to, p.error, p.detail])).toEqual([
      ['10.65.0.9/32', 'ENODEV', 'cali9'],
    ]);
    ns.sh('ip link add cali9 type veth peer name w9; ip link set w9 up; ip link set cali9 up');
    await until('the route of cali9', () => shown().length === 2);
    ns.sh('ip link del cali9');
    await until('one problem', () => routes.counts.failed === 1);
    ns.sh('ip link add cali9 type veth peer name w9; ip link set w9 up; ip link set cali9 up');
    await until('the route of the new cali9', () => shown().length === 2);
    ns.sh('ip link del cali9');
  });

  test('a renamed interface takes nothing with it, and its successor gets the route', async () => {
    want(toLink('10.65.0.1/32', 'cali1'));
    await apply();
    ns.sh('ip link set cali1 down; ip link set cali1 name other; ip link set other up');
    await until('the loss to be noticed', () => routes.counts.failed === 1);
    ns.sh('ip link add cali1 type veth peer name w1b; ip link set w1b up; ip link set cali1 up');
    await until('the route', () => shown().join() === '10.65.0.1 dev cali1 scope link metric 1024');
    ns.sh('ip link set cali1 down; ip link set cali1 name cali1x; ip link set cali1x name cali1; ip link set cali1 up');
    await until('the route again', () => shown().join() === '10.65.0.1 dev cali1 scope link metric 1024');
    ns.sh('ip link del other');
  });

  test('an interface that goes down and up gets its routes back', async () => {
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    ns.sh('ip link set cali1 down');
    ns.sh('ip link set cali1 up');
    await until('both routes', () => shown().length === 1 && shown(6).length === 1 && routes.counts.failed === 0);
  });

  test('an address that moves to another interface is replaced, not doubled', async () => {
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    want(toLink('10.65.0.1/32', 'cali2'), toLink('fd00:65::1/128', 'cali2'));
    await apply();
    expect(shown()).toEqual(['10.65.0.1 dev cali2 scope link metric 1024']);
    expect(shown(6)).toEqual(['fd00:65::1 dev cali2 metric 1024 pref medium']);
    drop(toLink('10.65.0.1/32', 'cali2'), toLink('fd00:65::1/128', 'cali2'));
    await apply();
    expect([...shown(), ...shown(6)]).toEqual([]);
  });
});

describe('other routes', () => {
  test('gateways, several hops, IPv4 through an IPv6 hop, blackholes; each kind may become any other', async () => {
    const kinds = (to: Prefix): Route[] => {
      const six = to.includes(':');
      const gateway = (n: number) => addr(six ? `fd00::${n}` : `10.0.0.${n}`);
      const route = (via: Route['via']): Route => ({ to, metric: 1024, table: 254, via });
      return [
        route({ type: 'gateway', hops: [{ gateway: gateway(2) }] }),
        route({ type: 'gateway', hops: [{ gateway: gateway(2) }, { gateway: gateway(3) }] }),
        route({ type: 'blackhole' }),
        route({ type: 'link', link: 'cali1' }),
        route({ type: 'gateway', hops: [{ gateway: addr('fe80::99'), link: 'up0' }] }),
        route({ type: 'gateway', hops: [{ gateway: addr(six ? 'fd99::1' : '10.99.0.1'), link: 'up0', onlink: true }] }),
      ];
    };
    for (const to of [prefix('10.66.0.0/26'), prefix('fd00:66::/122')])
      for (const from of kinds(to))
        for (const then of kinds(to)) {
          want(from);
          await apply();
          want(then);
          await apply();
          await routes.readBack();
          expect([from.via, then.via, routes.inSync, [...routes.problems()]]).toEqual([from.via, then.via, true, []]);
          expect([...routes.actual.keys()]).toEqual([routeKey(then)]);
          drop(then);
          await apply();
        }
  });

  test('a gateway that cannot be reached is one failure; the rest of the batch is written', async () => {
    want(
      toGateway('10.66.0.0/26', '10.0.0.2'),
      toGateway('10.66.1.0/26', '172.31.0.9'),
      toLink('10.65.0.1/32', 'cali1'),
    );
    await apply();
    expect(shown().length).toBe(2);
    const [problem] = routes.problems();
    expect([problem.route.to, problem.error, problem.detail]).toEqual([
      '10.66.1.0/26',
      'ENETUNREACH',
      'Nexthop has invalid gateway',
    ]);
    ns.sh('ip addr add 172.31.0.1/24 dev up0');
    await until('the retry', () => shown().length === 3, 30_000);
  });

  test('an uplink that bounces gets its gateway routes back', async () => {
    want(toGateway('10.66.0.0/26', '10.0.0.2'));
    await apply();
    ns.sh('ip link set up0 down');
    await until('the loss', () => !routes.isProgrammed(routeKey(toGateway('10.66.0.0/26', '10.0.0.2'))));
    ns.sh('ip link set up0 up');
    await until('the route', () => shown().join() === '10.66.0.0/26 via 10.0.0.2 dev up0 metric 1024');
  });
});

describe('strangers', () => {
  test("a route of ours that somebody deletes or replaces is there again, by the kernel's word and no look of ours", async () => {
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    for (const [family, to] of [
      [4, '10.65.0.1'],
      [6, 'fd00:65::1'],
    ] as const) {
      ns.sh(`ip -${family} route del ${to}`);
      await until('the repair', () => shown(family).length === 1);
      ns.sh(`ip -${family} route change ${to} dev cali2 metric 1024 proto 80 ${family === 4 ? 'scope link' : ''}`);
      await until('the repair', () => shown(family).join().includes('cali1'));
    }
  });

  test('routes of other protocols are never changed, also where they stand in the way', async () => {
    ns.sh(`ip route add 10.65.0.1/32 dev cali2 metric 1024; ip -6 route add fd00:65::1/128 dev cali2 metric 1024
      ip route add 10.65.0.2/32 dev cali1 scope link proto static; ip route add 10.65.0.3/32 dev cali1 proto bird`);
    const before = ns.sh('ip route show; ip -6 route show');
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    await routes.readBack();
    await apply();
    expect(ns.sh('ip route show; ip -6 route show')).toBe(before);
    expect([...routes.problems()].map((p) => [p.error, p.served])).toEqual([
      ['EEXIST', false],
      ['EEXIST', false],
    ]);
    ns.sh('ip route del 10.65.0.1/32 metric 1024; ip -6 route del fd00:65::1/128 metric 1024');
    await until('our routes in the freed places', () => shown().length === 1 && shown(6).length === 1, 30_000);
    drop(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    expect(ns.sh('ip route show 10.65.0.2; ip route show 10.65.0.3').split('\n').length).toBe(3);
  });

  test('an equal route that a CNI plugin made serves, and is said to', async () => {
    ns.sh('ip -6 route add fd00:65::1/128 dev cali1 metric 1024');
    want(toLink('fd00:65::1/128', 'cali1'));
    await apply();
    expect([...routes.problems()].map((p) => [p.error, p.served])).toEqual([['EEXIST', true]]);
    expect(routes.isProgrammed(routeKey(toLink('fd00:65::1/128', 'cali1')))).toBe(true);
    expect(routes.counts.failed).toBe(0);
  });

  test('a replaced route is noticed, and the stranger keeps what it took until it goes', async () => {
    want(toLink('10.65.0.1/32', 'cali1'));
    await apply();
    ns.sh('ip route replace 10.65.0.1/32 dev cali2 metric 1024 proto static');
    await until('the loss', () => routes.counts.failed === 1);
    expect(ns.sh('ip route show 10.65.0.1').trim()).toBe('10.65.0.1 dev cali2 proto static scope link metric 1024');
    ns.sh('ip route del 10.65.0.1/32');
    await until('our route', () => shown().length === 1, 30_000);
  });

  test('a route that a CNI plugin has just made is left for five seconds, other leftovers go at once', async () => {
    ns.sh(
      'ip route add 10.65.0.7/32 dev cali1 metric 1024 proto 80 scope link; ip route add blackhole 10.66.0.0/26 proto 80',
    );
    const begin = performance.now();
    await apply();
    expect(shown()).toEqual(['10.65.0.7 dev cali1 scope link metric 1024']);
    await until('the end of the grace', () => shown().length === 0);
    expect(performance.now() - begin).toBeGreaterThan(4_500);
    ns.sh('ip route add 10.65.0.8/32 dev cali1 metric 1024 proto 80 scope link');
    await until('the event', () => routes.actual.size === 1);
    want(toLink('10.65.0.8/32', 'cali1'));
    await apply();
    drop(toLink('10.65.0.8/32', 'cali1'));
    await apply();
    expect(shown()).toEqual([]);
  }, 30_000);

  test('a restart writes nothing where everything is right, and removes what is no longer wanted', async () => {
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'), toGateway('10.66.0.0/26', '10.0.0.2'));
    await apply();
    await stop();
    start();
    const seen: string[] = [];
    const stranger = createNetlink();
    const unwatch = stranger.watch({
      route: (_, route, gone) => seen.push(`${gone ? '-' : '+'}${route.to}`),
      overrun: () => seen.push('overrun'),
    });
    want(toLink('10.65.0.1/32', 'cali1'), toLink('fd00:65::1/128', 'cali1'));
    await apply();
    await until('the removal', () => seen.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(seen).toEqual(['-10.66.0.0/26']);
    unwatch();
    stranger.close();
  });
});

describe('scale', () => {
  const many = (count: number, link: string): Route[] =>
    Array.from({ length: count }, (_, i) => toLink(`10.${100 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}/32`, link));

  test('100 000 routes in and out, and the loop lives', async () => {
    let turns = 0;
    const beat = setInterval(() => turns++, 1);
    const all = many(100_000, 'cali1');
    const changes = new Map(all.map((route) => [routeKey(route), route]));
    routes.update(changes);
    await apply();
    expect(routes.counts.programmed).toBe(100_000);
    await routes.readBack();
    expect(routes.inSync).toBe(true);
    routes.replace([]);
    await apply();
    clearInterval(beat);
    expect(shown()).toEqual([]);
    // Timers had their turn between the batches of the kernel's work, and not only after it.
    expect(turns).toBeGreaterThan(20);
  });

  test('a stranger who deletes 50 000 routes at once, more than events can hold, changes nothing in the end', async () => {
    want(...many(50_000, 'cali1'));
    await apply();
    ns.sh('ip route flush proto 80');
    await until('all routes', () => routes.inSync && routes.counts.failed === 0 && shown().length === 50_000, 60_000);
  });

  test('lost events are noticed', async () => {
    await apply();
    let overruns = 0;
    const other = createNetlink();
    const stopWatching = other.watch({ route: () => undefined, overrun: () => overruns++ });
    ns.sh(
      'i=0; while [ $i -lt 200 ]; do j=0; while [ $j -lt 250 ]; do echo "route add 10.90.$i.$j/32 dev cali1 proto 80"; j=$((j+1)); done; i=$((i+1)); done > /tmp/tsn-batch-$$; ip -batch /tmp/tsn-batch-$$; rm /tmp/tsn-batch-$$',
    );
    await until('the overrun', () => overruns > 0);
    stopWatching();
    other.close();
    await until('the strange routes gone', () => shown().length === 0, 60_000);
  });
});
