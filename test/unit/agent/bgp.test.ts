import { beforeEach, describe, expect, test } from 'vitest';
import type { LocalRoute, PeerConfig, PeerStatus, ResolvingRoute, RouteInfo, Speaker, SpeakerEvents } from '#bgp';
import { addr, FakeClock, prefix, silentLog } from '#core';
import { Bgp } from '../../../agent/bgp.ts';
import type { BgpIntent } from '../../../agent/bgp-intent/index.ts';
import { type Route, routeKey } from '../../../agent/kernel/types.ts';
import { RouteTable } from '../../../agent/routes.ts';

const speaker: BgpIntent['speaker'] = {
  asNumber: 64512,
  routerId: addr('10.0.0.1'),
  listen: [],
  holdTime: 90,
  restartTime: 120,
  connectRetry: 5000,
  normalPriority: { 4: 1024, 6: 1024 },
};
const block = prefix('10.65.1.0/26');
const local = (to: string, reason = 'block'): LocalRoute => ({ prefix: prefix(to), priority: 1024, reason });
const intent = (change: Partial<BgpIntent> = {}): BgpIntent => ({
  speaker,
  peers: [],
  localRoutes: [local(block)],
  blackholes: [block],
  problems: [],
  ...change,
});
const learned = (to: string, gateway: string, priority = 1024) => ({
  prefix: prefix(to),
  best: { nextHops: [{ address: addr(gateway) }], priority, source: addr(gateway), ebgp: false },
});

const ACCEPT = { key: '', of: () => null };
let clock: FakeClock;
let table: RouteTable;
let kernel: Set<string>;
let events: Required<SpeakerEvents>;
let advertised: string[];
let restarting: boolean[];
let noted: Map<string, ResolvingRoute | null>;
let bgp: Bgp;

/** What the kernel holds after an apply of everything that the table wants. */
function applyRoutes(): Map<string, Route | undefined> {
  const changes = table.takeChanges();
  for (const [key, route] of changes) route ? kernel.add(key) : kernel.delete(key);
  return changes;
}

beforeEach(() => {
  clock = new FakeClock();
  table = new RouteTable();
  kernel = new Set();
  advertised = [];
  restarting = [];
  noted = new Map();
  const fake: Partial<Speaker> = {
    configure: (config) => restarting.push(config.restarting),
    setPeers: () => {},
    setLocalRoutes: (all) => {
      advertised = all.map((r) => r.prefix);
    },
    setConnected: () => {},
    noteRoutes: (changes) => {
      for (const [to, route] of changes) noted.set(to, route);
    },
    start: async () => {},
    stop: async () => {},
    routes: () => [{ prefix: block, best: true, source: 'Local', reason: null } as RouteInfo],
  };
  bgp = new Bgp({
    createSpeaker: (given) => {
      events = given as Required<SpeakerEvents>;
      return fake as Speaker;
    },
    routes: table,
    clock,
    log: silentLog,
    onDirty: () => {},
    isProgrammed: (key) => kernel.has(key),
  });
});

describe('blackhole, then advertise; withdraw, then remove (I10)', () => {
  test('a block is advertised only when its blackhole stands', async () => {
    await bgp.set(intent(), ACCEPT);
    bgp.advertise();
    expect(advertised).toEqual([]);
    applyRoutes();
    bgp.advertise();
    expect(advertised).toEqual([block]);
    expect(bgp.routes({})[0].inKernel).toBe(true);
  });
  test('what has no blackhole needs none', async () => {
    await bgp.set(intent({ localRoutes: [local('10.9.9.9/32', 'address outside a block')], blackholes: [] }), ACCEPT);
    bgp.advertise();
    expect(advertised).toEqual(['10.9.9.9/32']);
  });
  test('a block that goes is withdrawn before its blackhole is removed', async () => {
    await bgp.set(intent(), ACCEPT);
    applyRoutes();
    bgp.advertise();
    await bgp.set(intent({ localRoutes: [], blackholes: [] }), ACCEPT);
    bgp.withdraw();
    expect(advertised).toEqual([]);
    expect([...kernel]).toHaveLength(1);
    applyRoutes();
    expect([...kernel]).toEqual([]);
  });
  test('withdrawing leaves what is still wanted alone, and adds nothing', async () => {
    await bgp.set(intent(), ACCEPT);
    applyRoutes();
    bgp.advertise();
    await bgp.set(
      intent({ localRoutes: [local(block), local('10.65.2.0/26')], blackholes: [block, prefix('10.65.2.0/26')] }),
      ACCEPT,
    );
    bgp.withdraw();
    expect(advertised).toEqual([block]);
  });
});

describe('learned routes', () => {
  test('come with next hops and metric, change, and go', () => {
    events.onBestChanges([learned('10.65.2.0/26', '10.0.0.2')]);
    expect([...applyRoutes().values()]).toEqual([
      { to: '10.65.2.0/26', metric: 1024, table: 254, via: { type: 'gateway', hops: [{ gateway: '10.0.0.2' }] } },
    ]);
    events.onBestChanges([learned('10.65.2.0/26', '10.0.0.3', 512)]);
    expect([...applyRoutes().values()]).toEqual([undefined, expect.objectContaining({ metric: 512 })]);
    events.onBestChanges([{ prefix: prefix('10.65.2.0/26'), best: null }]);
    expect([...applyRoutes().values()]).toEqual([undefined]);
  });
  test('stay out of the kernel when the verdict says so, also afterwards, with the reason', async () => {
    events.onBestChanges([learned('10.96.0.0/16', '10.0.0.2')]);
    await bgp.set(intent(), { key: 'services', of: (to) => (to.startsWith('10.96.') ? 'service range' : null) });
    expect([...applyRoutes().keys()]).toEqual([`${block} 254 1024`]);
    await bgp.set(intent(), ACCEPT);
    expect([...applyRoutes().keys()]).toEqual(['10.96.0.0/16 254 1024']);
  });
  test('lose against the own block', async () => {
    await bgp.set(intent(), ACCEPT);
    events.onBestChanges([learned(block, '10.0.0.2')]);
    expect([...applyRoutes().values()]).toEqual([expect.objectContaining({ via: { type: 'blackhole' } })]);
  });
});

describe('after a restart', () => {
  const old: Route = {
    to: prefix('10.65.2.0/26'),
    metric: 1024,
    table: 254,
    via: { type: 'gateway', hops: [{ gateway: addr('10.0.0.2') }] },
  };
  beforeEach(() => {
    kernel.add(routeKey(old));
    bgp.inherit([old, { ...old, to: prefix('10.65.1.1/32'), via: { type: 'link', link: 'calia' } }]);
  });
  test('learned routes of the run before stay until the peers have told theirs', async () => {
    await bgp.set(intent({ blackholes: [] }), ACCEPT);
    expect(restarting).toEqual([true]);
    applyRoutes();
    expect([...kernel]).toEqual([routeKey(old)]);
    events.onRestartComplete();
    applyRoutes();
    expect([...kernel]).toEqual([]);
    expect(bgp.isRestarting).toBe(false);
  });
  test('a peer that confirms the route keeps it without a change', () => {
    applyRoutes();
    events.onBestChanges([learned('10.65.2.0/26', '10.0.0.2')]);
    events.onRestartComplete();
    applyRoutes();
    expect([...kernel]).toEqual([routeKey(old)]);
  });
  test('they do not stay for ever', () => {
    applyRoutes();
    clock.advance(120_000);
    applyRoutes();
    expect([...kernel]).toEqual([]);
  });
});

test('the way to a peer that a resource states', async () => {
  const peer = { resource: 'BGPPeer(tor)', address: addr('192.0.2.1'), reachableBy: addr('10.0.0.254') } as PeerConfig;
  await bgp.set(intent({ peers: [peer], localRoutes: [], blackholes: [] }), ACCEPT);
  expect([...applyRoutes().values()]).toEqual([
    { to: '192.0.2.1/32', metric: 1024, table: 254, via: { type: 'gateway', hops: [{ gateway: '10.0.0.254' }] } },
  ]);
});

test('a session is logged when it comes up, when it goes down, and when the reason changes; not at each state', () => {
  const lines: string[] = [];
  const note = (level: string) => (fields: { reason?: string }) => lines.push(`${level} ${fields.reason ?? 'up'}`);
  const log = { ...silentLog, info: note('info'), warn: note('warn') } as never;
  let told: SpeakerEvents = events;
  new Bgp({
    createSpeaker: (given) => {
      told = given;
      return {} as Speaker;
    },
    routes: table,
    clock,
    log,
    onDirty: () => {},
    isProgrammed: () => true,
  });
  const state = (name: PeerStatus['state'], reason: string | null = null) =>
    told.onPeerState?.({ address: '10.0.0.2', state: name, reason, lastError: null } as PeerStatus);
  state('Connect');
  state('Established');
  state('Idle', 'hold timer expired');
  state('Connect', 'hold timer expired');
  state('OpenSent', 'hold timer expired');
  state('Active', 'TCP: ECONNREFUSED');
  state('Established');
  expect(lines).toEqual(['info up', 'warn hold timer expired', 'warn TCP: ECONNREFUSED', 'info up']);
});

describe('what next hops are resolved by', () => {
  const hop = (gateway: string, link = 'eth0') => ({ hops: [{ address: addr(gateway), interface: link }] });
  const to = prefix('10.65.1.5/32');
  const workload = { to, metric: 1024, table: 254, via: { type: 'link' as const, link: 'cali1' } };

  test('the routes of others, and of ours those that BGP did not learn; ours first', () => {
    bgp.noteForeign(new Map([[to, hop('10.0.0.254')]]));
    expect(noted.get(to)).toEqual(hop('10.0.0.254'));
    table.offer({ class: 'workload', owner: 'default/a', route: workload });
    applyRoutes();
    bgp.noteGround(table.takeGround());
    expect(noted.get(to)).toEqual({ hops: [{ interface: 'cali1' }] });
    table.withdraw(to, 'workload', 'default/a');
    applyRoutes();
    bgp.noteGround(table.takeGround());
    expect(noted.get(to)).toEqual(hop('10.0.0.254'));
    bgp.noteForeign(new Map([[to, null]]));
    expect(noted.get(to)).toBeNull();
  });
  test('a local workload beats what a peer still says of its address while it migrates', () => {
    events.onBestChanges([learned(to, '10.0.0.2')]);
    applyRoutes();
    expect([...table.takeGround()]).toEqual([]);
    table.offer({ class: 'workload', owner: 'default/a', route: workload });
    applyRoutes();
    expect([...table.takeGround()]).toEqual([[to, workload]]);
    table.withdraw(to, 'workload', 'default/a');
    applyRoutes();
    expect([...table.takeGround()]).toEqual([[to, null]]);
  });
  test('a blackhole of ours drops, an own block included', () => {
    table.replaceClass('blackhole', [
      { owner: 'own block', route: { to: block, metric: 1024, table: 254, via: { type: 'blackhole' } } },
    ]);
    applyRoutes();
    bgp.noteGround(table.takeGround());
    expect(noted.get(block)).toEqual({ hops: [] });
  });
});
