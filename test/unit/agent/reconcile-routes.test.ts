import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  createRouteReconciler,
  type Failure,
  type Link,
  type Netlink,
  type NetlinkListener,
  type Route,
  type RouteReconciler,
  routeKey,
} from '#agent';
import { type Addr, createMetrics, FakeClock, familyOf, OperationalError, type Prefix, prefix, silentLog } from '#core';

/** The routes of a kernel, with strangers in it, that can refuse and forget to tell. */
class FakeKernel {
  readonly routes = new Map<string, Route>();
  readonly foreign = new Set<string>();
  readonly links = new Map<string, number>([['cali1', 10]]);
  readonly written: string[] = [];
  readonly forgotten: Addr[] = [];
  refuse: (write: { op: string; route: Route }) => string | null = () => null;
  duringList: () => void = () => undefined;
  listFails = false;
  lists = 0;
  listener: NetlinkListener = { overrun: () => undefined };

  netlink(): Netlink {
    const partial: Partial<Netlink> = {
      listRoutes: async (family) => {
        this.lists++;
        if (this.listFails) throw new OperationalError('KERNEL', 'no');
        const all = [...this.routes.values()].filter((route) => familyOf(route.to) === family);
        if (family === 4) this.duringList();
        return all;
      },
      listLinks: async () => [...this.links].map(([name, index]) => link(name, index, true)),
      lookup: async () => null,
      forgetFlows: async (addresses) => {
        this.forgotten.push(...addresses);
        return addresses.size;
      },
      writeRoutes: async (writes) => writes.flatMap((write) => this.#write(write)),
      watch: (listener) => {
        this.listener = listener;
        return () => undefined;
      },
    };
    return partial as Netlink;
  }
  #write(write: { op: 'add' | 'replace' | 'delete'; route: Route }): Failure[] {
    const key = routeKey(write.route);
    const via = write.route.via;
    this.written.push(`${write.op} ${write.route.to}`);
    const failure = (error: string): Failure[] => [{ key, error, detail: '' }];
    const refused = this.refuse(write);
    if (refused) return failure(refused);
    if (write.op === 'delete') this.routes.delete(key);
    else if (via.type === 'link' && !this.links.has(via.link)) return failure('ENODEV');
    else if (write.op === 'add' && (this.routes.has(key) || this.foreign.has(key))) return failure('EEXIST');
    else this.routes.set(key, write.route);
    return [];
  }
  strangerSets(route: Route, tell = true): void {
    this.routes.set(routeKey(route), route);
    if (tell) this.listener.route?.(familyOf(route.to), route, false);
  }
  strangerDeletes(route: Route, tell = true): void {
    if (this.routes.delete(routeKey(route)) && tell) this.listener.route?.(familyOf(route.to), route, true);
  }
  linkGoes(name: string): void {
    const index = this.links.get(name) ?? 0;
    this.links.delete(name);
    for (const [key, route] of this.routes)
      if (route.via.type === 'link' && route.via.link === name) this.routes.delete(key);
    this.listener.link?.({ link: link(name, index, false), gone: true });
  }
  linkComes(name: string, index: number): void {
    this.links.set(name, index);
    this.listener.link?.({ link: link(name, index, true), gone: false });
  }
}
const link = (name: string, index: number, up: boolean): Link => ({
  index,
  name,
  adminUp: up,
  up,
  mac: '',
  mtu: 1500,
  linkKind: 'veth',
});
const route = (to: string | Prefix, name = 'cali1'): Route => ({
  to: prefix(to),
  metric: 1024,
  table: 254,
  via: { type: 'link', link: name },
});
const A = route('10.65.0.1/32');

let kernel: FakeKernel;
let clock: FakeClock;
let routes: RouteReconciler;
let woken: number;

beforeEach(() => {
  kernel = new FakeKernel();
  clock = new FakeClock();
  woken = 0;
  routes = createRouteReconciler({
    netlink: kernel.netlink(),
    clock,
    log: silentLog,
    metrics: createMetrics(),
    onDirty: () => woken++,
    isWorkloadLink: (name) => name.startsWith('cali'),
  });
});
const want = (...all: Route[]) => routes.update(new Map(all.map((r) => [routeKey(r), r])));
const drop = (...all: Route[]) => routes.update(new Map(all.map((r) => [routeKey(r), undefined])));
async function apply(): Promise<void> {
  await routes.applyDeletes();
  await routes.applyUpdates();
}

describe('failures', () => {
  test('an address that moved to a workload without an interface is not left with the former one', async () => {
    await routes.readBack();
    want(A, route('10.65.0.2/32'));
    await apply();
    const moved = route('10.65.0.1/32', 'cali2');
    want(moved);
    await apply();
    expect([...kernel.routes.keys()]).toEqual(['10.65.0.2/32 254 1024']);
    expect(routes.problem(routeKey(A))).toMatchObject({ error: 'ENODEV' });
    kernel.linkComes('cali2', 11);
    await apply();
    expect(kernel.routes.get(routeKey(A))).toEqual(moved);
    // Answers that were lost say nothing of what was written.
    kernel.refuse = () => 'ENOBUFS';
    want(A);
    await apply();
    expect(kernel.routes.get(routeKey(A))).toEqual(moved);
  });
  test('a refused route is retried later and later, and others are not held up', async () => {
    await routes.readBack();
    kernel.refuse = ({ route: { to } }) => (to === A.to ? 'ENETUNREACH' : null);
    want(A, route('10.65.0.2/32'));
    await apply();
    expect([...kernel.routes.keys()]).toEqual(['10.65.0.2/32 254 1024']);
    expect(routes.problem(routeKey(A))).toMatchObject({ error: 'ENETUNREACH', served: false });
    const delays: number[] = [];
    let last = clock.now();
    for (let i = 0; i < 10; i++) {
      const tries = kernel.written.length;
      while (kernel.written.length === tries) {
        clock.advance(25);
        await apply();
      }
      delays.push(clock.now() - last);
      last = clock.now();
    }
    expect(delays[0]).toBeLessThanOrEqual(125);
    expect(delays[9]).toBeGreaterThan(7_000);
    expect(Math.max(...delays)).toBeLessThanOrEqual(10_025);
    kernel.refuse = () => null;
    clock.advance(10_000);
    expect(woken).toBeGreaterThan(0);
    await apply();
    expect([routes.isProgrammed(routeKey(A)), [...routes.problems()]]).toEqual([true, []]);
  });
  test('lost answers lead to a read-back, so that what was written is not written again', async () => {
    await routes.readBack();
    kernel.refuse = () => {
      kernel.routes.set(routeKey(A), A);
      return 'ENOBUFS';
    };
    want(A);
    await apply();
    expect(routes.isProgrammed(routeKey(A))).toBe(false);
    await apply();
    expect([routes.isProgrammed(routeKey(A)), kernel.written]).toEqual([true, ['add 10.65.0.1/32']]);
  });
  test('a route of ours that was not known shows itself by EEXIST, and is found', async () => {
    await routes.readBack();
    kernel.strangerSets(A, false);
    want(A);
    await apply();
    await apply();
    expect([routes.isProgrammed(routeKey(A)), kernel.written.length]).toEqual([true, 1]);
  });
  test('a read-back that fails stays needed', async () => {
    kernel.listFails = true;
    await expect(routes.readBack()).rejects.toThrow('no');
    want(A);
    await expect(apply()).rejects.toThrow('no');
    expect(kernel.written).toEqual([]);
    kernel.listFails = false;
    await apply();
    expect(routes.isProgrammed(routeKey(A))).toBe(true);
  });
});

describe('facts in an awkward order', () => {
  test('an event that comes during a read-back is newer than what was read', async () => {
    await routes.readBack();
    want(A);
    await apply();
    kernel.duringList = () => kernel.strangerDeletes(A);
    await routes.readBack();
    expect(routes.inSync).toBe(false);
    kernel.duringList = () => undefined;
    await apply();
    expect(kernel.routes.has(routeKey(A))).toBe(true);
  });
  test('an interface that goes takes its routes along without an event for each', async () => {
    await routes.readBack();
    want(A);
    await apply();
    kernel.linkGoes('cali1');
    expect([routes.inSync, woken]).toEqual([false, 1]);
    await apply();
    expect(routes.problem(routeKey(A))?.error).toBe('ENODEV');
    kernel.linkComes('cali1', 11);
    await apply();
    expect(routes.isProgrammed(routeKey(A))).toBe(true);
  });
  test('IPv6 knows no metric 0, and the key is the same whoever names it', async () => {
    await routes.readBack();
    const six: Route = { to: prefix('fd00::/64'), metric: 0, table: 254, via: { type: 'blackhole' } };
    want(six);
    await apply();
    expect([...kernel.routes.keys()]).toEqual(['fd00::/64 254 1024']);
    expect(routes.isProgrammed(routeKey({ ...six, metric: 1024 }))).toBe(true);
    drop(six);
    await apply();
    expect([...kernel.routes.keys()]).toEqual([]);
  });
});

describe('grace', () => {
  test('a route to a workload interface that nobody wants yet lives five seconds, others do not', async () => {
    const blackhole: Route = { ...route('10.66.0.0/26'), via: { type: 'blackhole' } };
    kernel.strangerSets(A, false);
    kernel.strangerSets(blackhole, false);
    await routes.readBack();
    await apply();
    expect([...kernel.routes.keys()]).toEqual([routeKey(A)]);
    clock.advance(4_900);
    await apply();
    expect(kernel.routes.size).toBe(1);
    clock.advance(200);
    expect(woken).toBe(1);
    await apply();
    expect(kernel.routes.size).toBe(0);
  });
  test('one that could not be removed is no problem any more when it goes by itself', async () => {
    await routes.readBack();
    want(A);
    await apply();
    drop(A);
    kernel.refuse = () => 'EINVAL';
    await apply();
    expect([...routes.problems()]).toHaveLength(1);
    kernel.strangerDeletes(A);
    expect([...routes.problems()]).toEqual([]);
  });
  test('once it was wanted there is no grace', async () => {
    await routes.readBack();
    kernel.strangerSets(A);
    want(A);
    await apply();
    drop(A);
    await apply();
    expect(kernel.routes.size).toBe(0);
  });
});

describe('tracked flows', () => {
  const settle = async () => {
    await new Promise<void>((resolve) => setImmediate(resolve));
    clock.advance(0);
  };
  test('are forgotten when an address goes, moves or is told again because it had gone, not when it comes', async () => {
    kernel.links.set('cali2', 11);
    await routes.readBack();
    want(A, route('10.65.0.2/32'));
    await apply();
    await settle();
    expect(kernel.forgotten).toEqual([]);
    want(route('10.65.0.1/32', 'cali2'));
    await apply();
    await settle();
    expect(kernel.forgotten).toEqual(['10.65.0.1']);
    drop(route('10.65.0.2/32'));
    await apply();
    await settle();
    expect(kernel.forgotten).toEqual(['10.65.0.1', '10.65.0.2']);
    want(route('10.65.0.1/32', 'cali2'));
    await apply();
    await settle();
    expect(kernel.forgotten).toEqual(['10.65.0.1', '10.65.0.2', '10.65.0.1']);
  });
  test('also when the interface went before the endpoint did', async () => {
    await routes.readBack();
    want(A);
    await apply();
    kernel.linkGoes('cali1');
    drop(A);
    await apply();
    await settle();
    expect(kernel.forgotten).toEqual(['10.65.0.1']);
  });
});

const MOVES = ['want', 'drop', 'apply', 'set', 'delete', 'goes', 'comes', 'lost', 'wait', 'refuse', 'allow'] as const;
type Move = (typeof MOVES)[number];

test('whatever strangers do and however events get lost, in the end the kernel holds what is wanted (I7)', async () => {
  const prefixes = ['10.65.0.1/32', '10.65.0.2/32', 'fd00::1/128'].map((text) => prefix(text));
  const names = ['cali1', 'cali2', 'eth0'];
  const step = fc.record({
    what: fc.constantFrom(...MOVES),
    to: fc.constantFrom(...prefixes),
    name: fc.constantFrom(...names),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      kernel = new FakeKernel();
      clock = new FakeClock();
      routes = createRouteReconciler({
        netlink: kernel.netlink(),
        clock,
        log: silentLog,
        metrics: createMetrics(),
        onDirty: () => undefined,
        isWorkloadLink: (name) => name.startsWith('cali'),
      });
      const desired = new Map<string, Route>();
      let index = 100;
      await routes.readBack();
      const moves: Record<Move, (one: Route, name: string) => void | Promise<void>> = {
        want: (one) => {
          desired.set(routeKey(one), one);
          want(one);
        },
        drop: (one) => {
          desired.delete(routeKey(one));
          drop(one);
        },
        apply,
        set: (one) => kernel.strangerSets(one),
        delete: (one) => kernel.strangerDeletes(one),
        goes: (_, name) => kernel.linkGoes(name),
        comes: (_, name) => kernel.linkComes(name, index++),
        wait: () => clock.advance(3_000),
        refuse: ({ to }) => {
          kernel.refuse = (w) => (w.route.to === to ? 'EINVAL' : null);
        },
        allow: () => {
          kernel.refuse = () => null;
        },
        lost: (one) => {
          kernel.strangerDeletes(one, false);
          kernel.listener.overrun();
        },
      };
      for (const { what, to, name } of steps) await moves[what](route(to, name), name);
      kernel.refuse = () => null;
      for (const name of names) if (!kernel.links.has(name)) kernel.linkComes(name, index++);
      for (let i = 0; i < 4; i++) {
        await apply();
        clock.advance(11_000);
      }
      const sorted = (map: ReadonlyMap<string, Route>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
      expect(sorted(kernel.routes)).toEqual(sorted(desired));
      expect([routes.inSync, [...routes.problems()]]).toEqual([true, []]);
      routes.close();
      expect(clock.pending).toBe(0);
    }),
    { numRuns: 300 },
  );
});
