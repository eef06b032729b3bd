import { describe, expect, test } from 'vitest';
import {
  type BandwidthLimits,
  BandwidthReconciler,
  bandwidthLimits,
  ifbOf,
  type Link,
  type LocalEndpoint,
  type Netlink,
  type NetlinkListener,
  planBandwidth,
  type Qdisc,
  type TrafficState,
} from '#agent';
import { createMetrics, FakeClock, silentLog } from '#core';
import type { QosControls } from '#datastore';
import { ticks } from '../../../agent/kernel/netlink/token-bucket.ts';

const link = (name: string, mtu = 1500, linkKind = 'veth'): [string, Link] => [
  name,
  { index: 7, name, mtu, linkKind, adminUp: true, up: true, mac: '' },
];
const endpoint = (id: string, interfaceName: string, qosControls: QosControls): LocalEndpoint =>
  ({ id, interfaceName, resource: { spec: { qosControls } } }) as unknown as LocalEndpoint;
const limitsOf = (controls: QosControls, mtu = 1500) =>
  bandwidthLimits([endpoint('default/w', 'cali1', controls)], new Map([link('cali1', mtu)]));

describe('what the fields mean', () => {
  test('bits become bytes; without a burst it is 512 MB, of which the queue has room for 256 KiB', () => {
    const { limits, problems } = limitsOf({ ingressBandwidth: 8_000_000, egressBandwidth: 8000, egressBurst: 80_000 });
    expect(problems).toEqual([]);
    expect(limits.get('cali1')).toEqual({
      owner: 'default/w',
      ingress: { rate: 1_000_000, burst: 536_870_912, limit: 25_000 + (256 << 10) },
      egress: { rate: 1000, burst: 10_000, limit: 25 + 10_000 },
    });
  });
  test('the greatest values that are valid fit into what the kernel takes', () => {
    const { limits } = limitsOf({ ingressBandwidth: 1e15, ingressBurst: 34_359_738_360, ingressPeakrate: 1.01e15 });
    expect(limits.get('cali1')?.ingress).toEqual({
      ...{ rate: 1.25e14, burst: 0xffff_ffff, limit: 0xffff_ffff },
      peak: { rate: 1.2625e14, burst: 1514 },
    });
  });
  test('a peak lets at least one packet of the interface through at once', () => {
    const { limits } = limitsOf({ egressBandwidth: 8000, egressPeakrate: 16_000, egressMinburst: 10 }, 9000);
    expect(limits.get('cali1')?.egress?.peak).toEqual({ rate: 2000, burst: 9014 });
  });
  test.each([
    [{ ingressBurst: 8000 }, 'ingressBurst: has no effect without ingressBandwidth'],
    [{ egressPeakrate: 8000 }, 'egressPeakrate: has no effect without egressBandwidth'],
    [{ egressBandwidth: 8000, egressMinburst: 9 }, 'egressMinburst: has no effect without egressPeakrate'],
    [{ egressBandwidth: 8000, egressPeakrate: 8000 }, 'egressPeakrate: 8000 is not above egressBandwidth 8000'],
    [{ ingressBandwidth: 8000, ingressBurst: 8000 }, 'ingressBurst: 1000 bytes hold no packet of 1514 bytes'],
  ])('%j is said, with endpoint and field', (controls, message) => {
    const { problems } = limitsOf(controls);
    expect(problems).toEqual([expect.stringContaining(`WorkloadEndpoint default/w: qosControls.${message}`)]);
  });
  test('an interface that is not there has no limit; of two endpoints on one the smaller id counts', () => {
    const all = [
      endpoint('b', 'cali1', { ingressBandwidth: 8000 }),
      endpoint('a', 'cali1', { ingressBandwidth: 16_000 }),
      endpoint('c', 'cali2', { ingressBandwidth: 8000 }),
    ];
    const { limits } = bandwidthLimits(all, new Map([link('cali1')]));
    expect([...limits].map(([name, l]) => [name, l.owner, l.ingress?.rate])).toEqual([['cali1', 'a', 2000]]);
  });
});

test('the time of a burst is computed as the kernel does', () => {
  // From `tc -s qdisc` of Linux 6.18: 1 Mbit/s with 10 kB, 1 kbit/s with 2^32-1 bytes (wraps).
  expect(ticks(10_000, 125_000)).toBe(1_250_000);
  expect(ticks(1514, 1e14)).toBe(0);
});

describe('what is written', () => {
  const limits = new Map<string, BandwidthLimits>([
    ['cali1', { owner: 'default/w', egress: { rate: 1000, burst: 10_000, limit: 10_000 } }],
  ]);
  const device = ifbOf('cali1');
  const state = (more: Partial<TrafficState> = {}): TrafficState => ({
    links: new Map([link('cali1')]),
    qdiscs: [],
    filters: new Map(),
    ...more,
  });
  const ingress: Qdisc = { link: 'cali1', kind: 'ingress', at: 'ingress', owner: 'stranger' };
  const ops = (plan: ReturnType<typeof planBandwidth>) => plan.changes.map((c) => `${c.op} ${c.link}`);

  test('device, then its bucket, then the way to it', () => {
    const plan = planBandwidth(limits, state());
    expect(plan.devices).toEqual([{ name: device, mtu: 1500 }]);
    expect(ops(plan)).toEqual([`set bucket ${device}`, 'add ingress cali1', 'redirect cali1']);
  });
  test('a redirect whose device is gone drops everything, and is made anew', () => {
    const filters = new Map([['cali1', [{ kind: 'u32', isOurs: true, to: '' }]]]);
    expect(ops(planBandwidth(limits, state({ qdiscs: [ingress], filters })))).toEqual([
      `set bucket ${device}`,
      'delete ingress cali1',
      'add ingress cali1',
      'redirect cali1',
    ]);
  });
  test("a stranger's empty ingress qdisc is used, and stays when it is not ours alone", () => {
    expect(ops(planBandwidth(limits, state({ qdiscs: [ingress] })))).not.toContain('add ingress cali1');
    const filters = new Map([
      [
        'cali1',
        [
          { kind: 'bpf', isOurs: false },
          { kind: 'u32', isOurs: true, to: device },
        ],
      ],
    ]);
    const plan = planBandwidth(new Map(), state({ qdiscs: [ingress], filters }));
    expect(ops(plan)).toEqual(['delete redirect cali1']);
  });
  test('of devices only ifb with our prefix go', () => {
    const links = new Map([
      link('bwcaliold', 1500, 'ifb'),
      link('bwcalinot', 1500, 'dummy'),
      link('ifb0', 1500, 'ifb'),
    ]);
    expect(planBandwidth(new Map(), state({ links })).unused).toEqual(['bwcaliold']);
  });
});

describe('the reconciler', () => {
  function rig() {
    const clock = new FakeClock();
    let listener: NetlinkListener = { overrun: () => undefined };
    let dirty = 0;
    let refuse = false;
    let looks = 0;
    const kernel: Partial<Netlink> = {
      listLinks: async () => [link('cali1')[1]],
      listQdiscs: async () => {
        looks++;
        return [];
      },
      listIngressFilters: async () => [],
      createIfb: async (name) => (refuse ? [{ key: name, error: 'EOPNOTSUPP', detail: 'Unknown device type' }] : []),
      writeTraffic: async (writes) =>
        refuse
          ? writes
              .filter((w) => w.op === 'set bucket')
              .map((w) => ({ key: `set bucket ${w.link}`, error: 'ENOENT', detail: 'Specified qdisc kind is unknown' }))
          : [],
      watch: (l) => {
        listener = l;
        return () => undefined;
      },
    };
    const reconciler = new BandwidthReconciler({
      ...{ netlink: kernel as Netlink, clock, log: silentLog, metrics: createMetrics() },
      onDirty: () => dirty++,
    });
    return {
      reconciler,
      clock,
      refuse: (on: boolean) => {
        refuse = on;
      },
      event: (name: string) => listener.traffic?.(name),
      dirty: () => dirty,
      looks: () => looks,
    };
  }
  const wanted = limitsOf({ ingressBandwidth: 8000, egressBandwidth: 8000 }).limits;

  test('writes nothing before it knows what is wanted, and looks only when something has changed', async () => {
    const r = rig();
    expect(await r.reconciler.apply()).toBe(0);
    expect(r.looks()).toBe(0);
    r.reconciler.set(wanted);
    expect(await r.reconciler.apply()).toBe(5);
    r.reconciler.set(new Map(wanted));
    await r.reconciler.apply();
    expect(r.looks()).toBe(1);
    r.event('eth0');
    expect(r.dirty()).toBe(0);
    r.event('cali1');
    expect(r.dirty()).toBe(1);
    await r.reconciler.apply();
    expect(r.looks()).toBe(2);
  });

  test('what the kernel refuses is said with endpoint and field, and tried again', async () => {
    const r = rig();
    r.refuse(true);
    r.reconciler.set(wanted);
    await r.reconciler.apply();
    const { problems } = r.reconciler;
    expect(problems).toHaveLength(3);
    expect(problems[0]).toMatch(
      /^WorkloadEndpoint default\/w: qosControls.egressBandwidth: not in force: .*EOPNOTSUPP/,
    );
    expect(problems).toContain(
      'WorkloadEndpoint default/w: qosControls.ingressBandwidth: not in force: set bucket cali1: ENOENT Specified qdisc kind is unknown',
    );
    r.refuse(false);
    r.clock.advance(60_000);
    expect(r.dirty()).toBe(1);
    await r.reconciler.apply();
    expect(r.reconciler.problems).toEqual([]);
  });
});
