import { afterEach, beforeEach, expect, test } from 'vitest';
import { LocalEndpoints, type Route, RouteTable } from '#agent';
import { createMetrics, FakeClock, silentLog } from '#core';
import type { AnyResource } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, type PolicyChanges } from '#policy';
import { Applier } from '../../../agent/apply.ts';
import { Cluster } from '../../../agent/cluster.ts';
import { type Desired, Pipeline, type PipelineOptions } from '../../../agent/pipeline.ts';
import { agentCommand, readSettings } from '../../../agent/read-settings.ts';
import { resource, updateOf } from '../../scenarios/scenario.ts';

/** The pipeline with its calculation, and a kernel that takes as long as a test wants: what each pass was given. */
interface Rig {
  readonly pipeline: Pipeline;
  readonly clock: SlowClock;
  readonly passes: { readonly changes: PolicyChanges; readonly routes: ReadonlyMap<string, Route | undefined> }[];
  /** Interfaces that are to have the settings of a workload's. */
  interfaces: readonly string[];
  /** Turns since the start that asked for a pass. */
  turns: number;
  /** Ends the pass that runs. */
  release(): Promise<void>;
}

/** Whenever somebody looks at it so much time has passed. */
class SlowClock extends FakeClock {
  pace = 0;
  override now(): number {
    this.advance(this.pace);
    return super.now();
  }
}

let rig: Rig;
const takenIn = () => new Promise<void>((resolve) => setImmediate(resolve));

beforeEach(async () => {
  const clock = new SlowClock();
  const passes: Rig['passes'] = [];
  let release = () => {};
  const applier: Applier = new Applier({
    ...{ clock, log: silentLog, metrics: createMetrics(), onBegin: () => pipeline.handOver() },
    steps: [
      {
        ...{ name: 'kernel', because: 'test' },
        run: async () => {
          await new Promise<void>((resolve) => {
            release = resolve;
          });
          return { written: 0, failures: [] };
        },
      },
    ],
  });
  let changes: PolicyChanges;
  const nothing = () => {};
  const desired: Desired = {
    policy: async (given) => {
      changes = given;
    },
    routes: (routes) => passes.push({ changes, routes }),
    interfaces: (wanted) => {
      rig.interfaces = [...wanted.keys()];
    },
    ...{ overlay: nothing, bandwidth: nothing, intervals: nothing, node: nothing },
    request: () => {
      rig.turns++;
      applier.request();
    },
  };
  const table = new RouteTable();
  const pipeline = new Pipeline({
    config: readSettings([], { NODENAME: 'here' }, agentCommand('0')),
    cluster: new Cluster('here'),
    policy: createPolicyEngine({ node: 'here', config: DEFAULT_RENDER_CONFIG }),
    endpoints: new LocalEndpoints('here', table),
    routes: table,
    interfaces: { links: new Map(), holderOf: () => null, addressesOf: () => [] },
    workloadLinks: { has: (name: string) => name.startsWith('cali'), prefixes: ['cali'] },
    ...{ bgp: undefined, tunnels: undefined, secrets: undefined, desired, clock, log: silentLog },
    filter: { choose: () => 'iptables' },
    health: { ready: nothing, notReady: nothing },
    onFirstSync: async () => {},
  } as unknown as PipelineOptions);
  rig = {
    ...{ pipeline, clock, passes, interfaces: [], turns: 0 },
    release: async () => {
      release();
      await takenIn();
    },
  };
  pipeline.onStatus('in-sync');
  while (passes.length === 0) await takenIn();
});
afterEach(async () => {
  rig.pipeline.close();
  await rig.release();
});

const workload = (n: number, address = `10.0.0.${n}`, interfaceName = `cali${n}`): AnyResource =>
  resource(
    'WorkloadEndpoint',
    `a/w${n}`,
    { node: 'here', orchestrator: 'k8s', endpoint: 'eth0', interfaceName, ipNetworks: [`${address}/32`] },
    { app: `${n}` },
  );
const policy = (n: number, edit: number): AnyResource =>
  resource('NetworkPolicy', `a/p${n}`, {
    selector: `app == '${n}'`,
    ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [1 + (edit % 60_000)] } }],
  });

test('while a pass hangs, however many turns come and go, what waits is one change for each chain, set and prefix', async () => {
  const [objects, turns] = [100, 10_000];
  rig.pipeline.onUpdates(Array.from({ length: objects }, (_, n) => updateOf(workload(n))));
  await takenIn();
  const before = rig.turns;
  for (let turn = 0; turn < turns; turn++) {
    const n = turn % objects;
    rig.pipeline.onUpdates([updateOf(policy(n, turn)), updateOf(workload(n, `10.1.${turn % 7}.${n}`))]);
    await takenIn();
  }
  expect(rig.turns - before).toBe(turns);
  expect(rig.passes).toHaveLength(1);
  await rig.release();
  expect(rig.passes).toHaveLength(2);
  const { changes, routes } = rig.passes[1];
  const chains = changes.chains.map(({ family, table, name }) => `${family} ${table} ${name}`);
  expect(new Set(chains).size).toBe(chains.length);
  // A chain of each policy, two of each endpoint, and the few that lead to them.
  expect(chains.length).toBeGreaterThan(objects * 3);
  expect(chains.length).toBeLessThan(objects * 4);
  expect(new Set(routes.keys()).size).toBe(objects);
  await rig.release();
  expect(rig.passes).toHaveLength(2);
});

test('a pass that begins while a turn is under way is given nothing; that turn asks for one that is', async () => {
  await rig.release();
  const before = rig.turns;
  rig.clock.pace = 10;
  rig.pipeline.onUpdates(Array.from({ length: 100 }, (_, n) => updateOf(workload(n))));
  await takenIn();
  expect(rig.turns).toBe(before);
  expect(await rig.pipeline.handOver()).toBeUndefined();
  expect(rig.passes).toHaveLength(1);
  while (rig.turns === before) await takenIn();
  expect(rig.passes).toHaveLength(2);
  expect(rig.passes[1].routes.size).toBe(100);
  expect(rig.passes[1].changes.chains.length).toBeGreaterThan(200);
});

test('the profile that allows all is there without being stored, and nothing that is stored takes its place', async () => {
  const name = 'projectcalico-default-allow';
  rig.pipeline.onUpdates([updateOf(resource('Profile', name, { ingress: [{ action: 'Deny' }] }))]);
  const endpoint = workload(1);
  rig.pipeline.onUpdates([updateOf({ ...endpoint, spec: { ...endpoint.spec, profiles: [name] } } as AnyResource)]);
  rig.pipeline.onUpdates([updateOf(resource('Profile', name, {}), false)]);
  while (rig.passes.length < 2) {
    await takenIn();
    await rig.release();
  }
  const chains = rig.passes[1].changes.chains.filter((chain) => /^cali-pr[io]-/.test(chain.name));
  expect(chains.map(({ name: chain, chain: made }) => [chain.slice(0, 9), made?.rules])).toMatchObject([
    ['cali-pro-', [{ match: [], action: { do: 'goto', chain: 'cali-allow' } }]],
    ['cali-pri-', [{ match: [], action: { do: 'goto', chain: 'cali-allow' } }]],
  ]);
});

test('an endpoint that names an interface of the host changes no setting of it: eth0 would answer ARP for everybody', async () => {
  rig.pipeline.onUpdates([updateOf(workload(1)), updateOf(workload(2, '10.0.0.2', 'eth0'))]);
  await takenIn();
  expect(rig.interfaces).toEqual(['cali1']);
});
