import { beforeEach, describe, expect, test } from 'vitest';
import { type BestBatch, type BestChange, blockOf, prefixText } from '#bgp';
import { type Addr, FakeClock, type Family, familyOf, type Prefix, silentLog } from '#core';
import type { ColumnFailure, NetlinkListener, Route, RouteColumns } from '../../../agent/kernel/types.ts';
import { LearnedKernel } from '../../../agent/learned-kernel.ts';

const MAIN = 254;
const route = (to: string, gateway: string, metric = 1024): Route => ({
  to: to as Prefix,
  metric,
  table: MAIN,
  via: { type: 'gateway', hops: [{ gateway: gateway as Addr }] },
});
const gatewayOf = ({ via }: Route): string => (via.type === 'gateway' ? via.hops.map((h) => h.gateway).join('+') : '');

/** A kernel with one route for each destination and metric, which strangers may hold. */
class FakeKernel {
  readonly routes = new Map<string, Route>();
  readonly foreign = new Set<string>();
  listener: NetlinkListener = { overrun: () => undefined };
  writes = 0;

  readonly netlink = {
    listRoutes: async (family: Family) => [...this.routes.values()].filter((r) => familyOf(r.to) === family),
    writeRoutes: async (all: readonly { op: string; route: Route }[]) => {
      for (const { op, route: r } of all) this.#one(op, r);
      return [];
    },
    writeRouteColumns: async (columns: RouteColumns): Promise<ColumnFailure[]> => {
      const failures: ColumnFailure[] = [];
      for (let index = 0; index < columns.count; index++) {
        const to = prefixText(columns, index);
        const error = this.#one(columns.op[index], { ...columns.like[index], to });
        if (error !== null) failures.push({ index, error, detail: '' });
      }
      return failures;
    },
    watch: (listener: NetlinkListener) => {
      this.listener = listener;
      return () => undefined;
    },
    close: () => undefined,
  };
  #one(op: string, r: Route): string | null {
    this.writes++;
    const key = `${r.to} ${r.metric}`;
    if (op === 'delete') this.routes.delete(key);
    else if (op === 'add' && (this.foreign.has(r.to) || this.routes.has(key))) return 'EEXIST';
    else {
      // A replacement takes the place of whatever is there.
      this.foreign.delete(r.to);
      this.routes.set(key, r);
    }
    return null;
  }
  put(...all: Route[]) {
    for (const r of all) this.routes.set(`${r.to} ${r.metric}`, r);
  }
  get table(): Record<string, string> {
    return Object.fromEntries([...this.routes.values()].map((r) => [`${r.to} ${r.metric}`, gatewayOf(r)]));
  }
}

function batch(prefixes: readonly string[], gateway: string | null, priority = 1024): BestBatch {
  const blocks = prefixes.map((p) => blockOf(p as Prefix));
  const best: BestChange['best'] =
    gateway === null
      ? null
      : { nextHops: [{ address: gateway as Addr }], priority, source: gateway as Addr, ebgp: true };
  return {
    family: blocks[0].family,
    count: blocks.length,
    addr: Uint32Array.from(blocks.flatMap((block) => [...block.addr])),
    length: Uint8Array.from(blocks.map((block) => block.length[0])),
    best: blocks.map(() => best),
  };
}

describe('learned routes in the kernel', () => {
  let kernel: FakeKernel;
  let clock: FakeClock;
  let learned: LearnedKernel;
  const settled = async () => {
    for (let i = 0; i < 12; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  const later = async (ms: number) => {
    clock.advance(ms);
    await settled();
  };
  beforeEach(() => {
    kernel = new FakeKernel();
    clock = new FakeClock();
    learned = new LearnedKernel({ netlink: kernel.netlink, clock, log: silentLog });
  });

  test('come, change their way or their metric, and go, in both families', async () => {
    await learned.start();
    learned.apply(batch(['20.0.0.0/24', '20.0.1.0/24'], '10.0.0.2'));
    learned.apply(batch(['2001:db8:1::/48', '2001:db8::/32'], 'fd00::2'));
    await settled();
    expect(kernel.table).toEqual({
      '20.0.0.0/24 1024': '10.0.0.2',
      '20.0.1.0/24 1024': '10.0.0.2',
      '2001:db8:1::/48 1024': 'fd00::2',
      '2001:db8::/32 1024': 'fd00::2',
    });
    learned.apply(batch(['20.0.0.0/24'], '10.0.0.3'));
    learned.apply(batch(['20.0.1.0/24'], '10.0.0.2', 512));
    learned.apply(batch(['2001:db8:1::/48', '2001:db8::/32'], null));
    await settled();
    expect(kernel.table).toEqual({ '20.0.0.0/24 1024': '10.0.0.3', '20.0.1.0/24 512': '10.0.0.2' });
  });
  test('what comes and goes before it is written is never written', async () => {
    await learned.start();
    learned.apply(batch(['20.0.9.0/24'], '10.0.0.2'));
    await settled();
    const { writes } = kernel;
    learned.apply(batch(['20.0.0.0/24'], '10.0.0.2'));
    learned.apply(batch(['20.0.0.0/24'], null));
    learned.apply(batch(['20.0.9.0/24'], null));
    learned.apply(batch(['20.0.9.0/24'], '10.0.0.2'));
    await settled();
    expect(kernel.table).toEqual({ '20.0.9.0/24 1024': '10.0.0.2' });
    expect(kernel.writes - writes).toBeLessThanOrEqual(2);
  });
  test('those of an earlier run stay until the peers have spoken', async () => {
    kernel.put(route('20.0.0.0/24', '10.0.0.9'), route('20.0.1.0/24', '10.0.0.2'), route('20.0.2.0/24', '10.0.0.2'));
    await learned.start();
    expect(learned.isRestart).toBe(true);
    learned.apply(batch(['20.0.0.0/24', '20.0.1.0/24'], '10.0.0.2'));
    learned.apply(batch(['20.0.2.0/24'], null));
    await settled();
    expect(Object.keys(kernel.table)).toHaveLength(3);
    // One is as it was, one leads elsewhere.
    expect(kernel.writes).toBe(1);
    learned.restartComplete();
    await settled();
    expect(kernel.table).toEqual({ '20.0.0.0/24 1024': '10.0.0.2', '20.0.1.0/24 1024': '10.0.0.2' });
  });
  test("a stranger's route is left alone, and its prefix is tried again", async () => {
    await learned.start();
    kernel.foreign.add('20.0.0.0/24');
    learned.apply(batch(['20.0.0.0/24', '20.0.1.0/24'], '10.0.0.2'));
    await settled();
    expect(kernel.table).toEqual({ '20.0.1.0/24 1024': '10.0.0.2' });
    kernel.foreign.clear();
    await later(30_000);
    expect(kernel.table['20.0.0.0/24 1024']).toBe('10.0.0.2');
  });
  test("a stranger's route is left alone, too, when another way is learned before the next try", async () => {
    await learned.start();
    kernel.foreign.add('20.0.0.0/24');
    learned.apply(batch(['20.0.0.0/24'], '10.0.0.2'));
    await settled();
    learned.apply(batch(['20.0.0.0/24'], '10.0.0.3'));
    await settled();
    expect(kernel.table).toEqual({});
    expect([...kernel.foreign]).toEqual(['20.0.0.0/24']);
    learned.apply(batch(['20.0.0.0/24'], null));
    await settled();
    kernel.foreign.clear();
    await later(30_000);
    expect(kernel.table).toEqual({});
  });
  test('what somebody removes, what a link takes along, and what nobody told comes back', async () => {
    await learned.start();
    learned.apply(batch(['20.0.0.0/24', '20.0.1.0/24'], '10.0.0.2'));
    await settled();
    const whole = kernel.table;
    kernel.routes.delete('20.0.0.0/24 1024');
    kernel.listener.route?.(4, route('20.0.0.0/24', '10.0.0.2'), true);
    await settled();
    expect(kernel.table).toEqual(whole);
    kernel.routes.clear();
    kernel.put(
      route('20.0.7.0/24', '10.0.0.2'),
      route('20.0.0.0/24', '10.0.0.2', 7),
      route('20.0.0.0/24', '10.0.0.2', 8),
    );
    kernel.listener.overrun();
    await later(1000);
    expect(kernel.table).toEqual(whole);
  });
  test('ten thousand next hops one after the other leave no more than the routes', async () => {
    await learned.start();
    for (let i = 0; i < 10_000; i++) learned.apply(batch(['20.0.0.0/24'], `10.1.${i >> 8}.${i & 255}`));
    learned.apply(batch(['20.0.1.0/24'], '10.0.0.2'));
    await settled();
    expect(kernel.table).toEqual({ '20.0.0.0/24 1024': '10.1.39.15', '20.0.1.0/24 1024': '10.0.0.2' });
  });
});
