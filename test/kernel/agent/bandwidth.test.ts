import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  BandwidthReconciler,
  bandwidthLimits,
  createInterfaceMonitor,
  createNetlink,
  IFB_PREFIX,
  type InterfaceMonitor,
  ifbOf,
  type LocalEndpoint,
  type Netlink,
  type TokenBucket,
} from '#agent';
import { createMetrics, realClock, silentLog } from '#core';
import type { QosControls } from '#datastore';
import { sameBucket } from '../../../agent/kernel/netlink/token-bucket.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** Two workloads at one host: what they send and receive through token buckets, counted by the kernel. */

let ns: Namespace;
let netlink: Netlink;
let monitor: InterfaceMonitor;
let bandwidth: BandwidthReconciler;
let applied: Promise<unknown> = Promise.resolve();
const inside = (w: string) => `${ns.name}-${w}`;
const ADDRESS = { 4: { host: '10.0.9.1', a: '10.65.0.1' }, 6: { host: 'fd00:9::1', a: 'fd00:65::1' } } as const;

const apply = () => {
  applied = applied.then(() => bandwidth.apply());
  return applied;
};
const reconciler = (given: Netlink) =>
  new BandwidthReconciler({
    netlink: given,
    clock: realClock,
    log: silentLog,
    metrics: createMetrics(),
    onDirty: () => void apply(),
  });
const endpoint = (interfaceName: string, qosControls: QosControls) =>
  ({ id: `default/${interfaceName}`, interfaceName, resource: { spec: { qosControls } } }) as unknown as LocalEndpoint;
const wishes = (all: Record<string, QosControls>) =>
  bandwidthLimits(
    Object.entries(all).map(([name, controls]) => endpoint(name, controls)),
    monitor.links,
  );
async function want(all: Record<string, QosControls>): Promise<void> {
  const { limits, problems } = wishes(all);
  bandwidth.set(limits, problems);
  await apply();
}

beforeAll(async () => {
  ns = enterNamespace('bandwidth');
  ns.sh('ip addr add 10.0.9.1/32 dev lo; ip -6 addr add fd00:9::1/128 dev lo');
  for (const [w, n] of [
    ['a', 1],
    ['b', 2],
  ] as const)
    ns.sh(`set -e; w=${inside(w)}
      ip netns add $w
      ip link add cali${w} type veth peer name eth0 netns $w
      ip link set cali${w} up; ip addr add 169.254.1.1/32 dev cali${w}; ip -6 addr add fe80::1/64 dev cali${w} nodad
      ip -n $w link set lo up; ip -n $w link set eth0 up
      ip -n $w addr add 10.65.0.${n}/32 dev eth0; ip -n $w -6 addr add fd00:65::${n}/128 dev eth0 nodad
      ip -n $w route add 169.254.1.1 dev eth0; ip -n $w route add default via 169.254.1.1
      ip -n $w -6 route add default via fe80::1 dev eth0
      ip route add 10.65.0.${n}/32 dev cali${w}; ip -6 route add fd00:65::${n}/128 dev cali${w}`);
  netlink = createNetlink();
  bandwidth = reconciler(netlink);
  monitor = createInterfaceMonitor({
    ...{ netlink, clock: realClock, log: silentLog, refresh: 0 },
    onChange: () => {
      bandwidth.onLinks(monitor.links);
      void apply();
    },
  });
  await monitor.start();
});
beforeEach(() => want({}));
afterAll(async () => {
  monitor?.close();
  bandwidth?.close();
  await applied;
  netlink?.close();
  for (const w of ['a', 'b']) execFileSync('ip', ['netns', 'del', inside(w)]);
  ns?.leave();
});

interface Shown {
  kind: string;
  handle: string;
  dev: string;
  root?: boolean;
  packets: number;
  bytes: number;
  drops: number;
  backlog: number;
  qlen: number;
}
const shown = (link: string): Shown | undefined =>
  (JSON.parse(ns.sh(`tc -s -j qdisc show dev ${link}`)) as Shown[]).find((q) => q.root);
/** Everything that limits, but for numbers that the kernel gives. */
const text = () =>
  ns.sh(`tc qdisc show; ip -o link show type ifb | cut -d: -f2
    for l in a b; do tc filter show dev cali$l ingress | sed 's/fh .*//; s/index .*//'; done`);
/** Datagrams of 1000 bytes, each from a socket of its own: one socket would be held back by what waits in the queue. */
const pour = (where: string, to: string, count: number) =>
  ns.sh(
    `${where} bash -c 'for i in $(seq ${count}); do printf %0${to.includes(':') ? 938 : 958}d 0 > /dev/udp/${to}/9; done' 2>&1 || true`,
  );
/** 1000 bytes a second: while a test runs only what the burst holds goes. */
const SLOW = { Bandwidth: 8000, Burst: 160_000 };
const only = (direction: 'ingress' | 'egress', controls: object): QosControls =>
  Object.fromEntries(Object.entries(controls).map(([name, value]) => [`${direction}${name}`, value]));

describe.each([4, 6] as const)('IPv%i', (family) => {
  const { host, a } = ADDRESS[family];

  test('what a workload receives goes by the burst, then by the rate; the rest is dropped', async () => {
    await want({ calia: only('ingress', SLOW) });
    expect(shown('calia')).toMatchObject({ kind: 'tbf', handle: 'ca11:' });
    pour('', a, 200);
    const { bytes, packets, drops, qlen } = shown('calia')!;
    expect(packets + drops + qlen).toBeGreaterThanOrEqual(200);
    // The burst is 20 000 bytes, and as much may wait.
    expect(bytes).toBeGreaterThanOrEqual(19_000);
    expect(bytes).toBeLessThan(60_000);
    expect(drops).toBeGreaterThan(100);
    expect(text()).not.toContain(IFB_PREFIX);
  });

  test('what a workload sends does too, and comes through to the host and back', async () => {
    await want({ calia: only('egress', SLOW) });
    expect(shown(ifbOf('calia'))).toMatchObject({ kind: 'tbf', handle: 'ca11:' });
    expect(shown('calia')?.kind).toBe('noqueue');
    ns.sh(`ip netns exec ${inside('a')} ping -c 1 -W 5 ${host}`);
    pour(`ip netns exec ${inside('a')}`, host, 200);
    const { bytes, packets, drops, qlen } = shown(ifbOf('calia'))!;
    expect(packets + drops + qlen).toBeGreaterThanOrEqual(200);
    expect(bytes).toBeLessThan(60_000);
    expect(drops).toBeGreaterThan(100);
  });

  test('a limit that is not reached drops nothing', async () => {
    await want({ calia: { ingressBandwidth: 1e9, egressBandwidth: 1e9 } });
    expect(ns.sh(`ping -q -c 200 -l 200 -s 900 -w 5 ${a}`)).toContain(' 200 received');
    expect([shown('calia')?.drops, shown(ifbOf('calia'))?.drops]).toEqual([0, 0]);
    expect(shown('calia')?.packets).toBeGreaterThanOrEqual(200);
    expect(shown(ifbOf('calia'))?.packets).toBeGreaterThanOrEqual(200);
  });
});

const BOTH: QosControls = {
  ...{ ingressBandwidth: 50_000_000, ingressBurst: 800_000, ingressPeakrate: 80_000_000, ingressMinburst: 3000 },
  egressBandwidth: 20_000_000,
};

test('a restart writes nothing; a change is made in place, and only where it is', async () => {
  await want({ calia: BOTH, calib: BOTH });
  expect(bandwidth.problems).toEqual([]);
  const before = text();
  expect(before).toContain('peakrate 80Mbit');
  const refuse = () => Promise.reject(new Error('must not be written'));
  const again = reconciler({
    ...netlink,
    writeTraffic: (writes) => (writes.length > 0 ? refuse() : Promise.resolve([])),
    createIfb: refuse,
    deleteLink: refuse,
  });
  again.set(wishes({ calia: BOTH, calib: BOTH }).limits);
  expect(await again.apply()).toBe(0);
  again.close();
  expect(text()).toBe(before);
  pour('', ADDRESS[4].a, 10);
  const counted = shown('calia')!.packets;
  expect(counted).toBeGreaterThanOrEqual(10);
  await want({ calia: { ...BOTH, ingressBandwidth: 60_000_000 }, calib: BOTH });
  expect(text()).toBe(before.replace(/rate 50Mbit burst \S+/, /rate 60Mbit burst \S+/.exec(text())![0]));
  expect(shown('calia')!.packets).toBeGreaterThanOrEqual(counted);
});

test('what a stranger takes away or bends is put right by the news of it', async () => {
  await want({ calia: BOTH });
  const right = text();
  for (const harm of [
    'tc qdisc del dev calia root',
    'tc qdisc change dev calia root handle ca11: tbf rate 1mbit burst 10k limit 10k',
    'tc qdisc del dev calia ingress',
    'tc filter del dev calia ingress pref 51729',
    `tc qdisc del dev ${ifbOf('calia')} root`,
    `tc qdisc replace dev ${ifbOf('calia')} root handle 7: bfifo limit 1000`,
    `ip link del ${ifbOf('calia')}`,
  ]) {
    ns.sh(harm);
    await until(harm, () => text() === right);
  }
  ns.sh(`ip netns exec ${inside('a')} ping -c 1 -W 5 ${ADDRESS[4].host}`);
});

test('an interface that is made anew gets its limits; one that goes leaves nothing', async () => {
  const both = { calia: BOTH, calix: BOTH };
  const settle = async () => {
    await until('the monitor', () => monitor.links.has('calix') === ns.sh('ip -o link').includes(' calix@'));
    await want(both);
  };
  for (const _ of [1, 2]) {
    ns.sh('ip link add calix type veth peer name calixp; ip link set calix up');
    await settle();
    expect(text()).toMatch(/tbf ca11: dev calix root/);
    expect(text()).toContain(ifbOf('calix'));
    ns.sh('ip link del calix');
    await settle();
    expect(text()).not.toContain(ifbOf('calix'));
  }
});

test('the limits of a bandwidth plugin stay as they are; the endpoint and the field are named', async () => {
  ns.sh(`set -e; ip link add bwp0 type ifb; ip link set bwp0 up
    tc qdisc add dev calia root handle 1: tbf rate 5mbit burst 20k latency 25ms
    tc qdisc add dev calia ingress
    tc filter add dev calia ingress protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev bwp0`);
  const before = text();
  await want({ calia: BOTH });
  expect(text()).toBe(before);
  expect(bandwidth.problems).toEqual([
    expect.stringMatching(
      /^WorkloadEndpoint default\/calia: qosControls.ingressBandwidth: .*qdisc tbf at the root of calia/,
    ),
    expect.stringMatching(/^WorkloadEndpoint default\/calia: qosControls.egressBandwidth: .*filter of kind u32/),
  ]);
  await want({});
  expect(text()).toBe(before);
  await want({ calia: BOTH });
  // When it has gone, ours take its place.
  ns.sh('tc qdisc del dev calia root; tc qdisc del dev calia ingress; ip link del bwp0');
  await until('our limits', () => /tbf ca11: dev calia root/.test(text()) && text().includes(ifbOf('calia')));
  await until('no problem', () => bandwidth.problems.length === 0);
});

test('a program at the ingress keeps its place before our redirect', async () => {
  ns.sh(`tc qdisc add dev calia clsact; tc filter add dev calia ingress bpf bytecode '1,6 0 0 0'`);
  const before = text();
  await want({ calia: BOTH });
  expect(bandwidth.problems).toEqual([]);
  ns.sh(`ip netns exec ${inside('a')} ping -c 1 -W 5 ${ADDRESS[4].host}`);
  expect(shown(ifbOf('calia'))?.packets).toBeGreaterThan(0);
  await want({});
  expect(text()).toBe(before);
  ns.sh('tc qdisc del dev calia clsact');
});

test("Felix's redirect and device give way to ours", async () => {
  ns.sh(`set -e; ip link add ${IFB_PREFIX}felix type ifb; ip link set ${IFB_PREFIX}felix up
    tc qdisc add dev ${IFB_PREFIX}felix root handle 1: tbf rate 5mbit burst 20k latency 25ms
    tc qdisc add dev calia ingress
    tc filter add dev calia ingress protocol all pref 1 u32 match u32 0 0 action mirred egress redirect dev ${IFB_PREFIX}felix`);
  await want({ calia: BOTH });
  expect(bandwidth.problems).toEqual([]);
  expect(text()).not.toContain(`${IFB_PREFIX}felix`);
  ns.sh(`ip netns exec ${inside('a')} ping -c 1 -W 5 ${ADDRESS[4].host}`);
  expect(shown(ifbOf('calia'))?.packets).toBeGreaterThan(0);
});

test('without controls nothing of ours stays', async () => {
  await want({ calia: BOTH, calib: BOTH });
  await want({});
  expect(text()).not.toMatch(/tbf|ingress|bwcali|u32/);
});

test('every bucket that the kernel takes is found equal when it is read back', async () => {
  // Whoever tidies up would take it away.
  bandwidth.close();
  monitor.close();
  await applied;
  const byte = fc.nat({ max: 0xffff_fffe }).map((n) => n + 1);
  const rate = fc.oneof(fc.integer({ min: 125, max: 1e6 }), fc.integer({ min: 125, max: 1.25e14 }));
  const bucket: fc.Arbitrary<TokenBucket> = fc.record(
    { rate, burst: byte, limit: byte, peak: fc.record({ rate: fc.constant(1.26e14), burst: byte }) },
    { requiredKeys: ['rate', 'burst', 'limit'] },
  );
  await fc.assert(
    fc.asyncProperty(bucket, async (wanted) => {
      expect(await netlink.writeTraffic([{ op: 'set bucket', link: 'calib', bucket: wanted }])).toEqual([]);
      const found = (await netlink.listQdiscs()).find((q) => q.link === 'calib' && q.at === 'root');
      expect(found?.owner).toBe('us');
      expect(sameBucket(wanted, found!.bucket!)).toBe(true);
    }),
    { numRuns: 200 },
  );
});
