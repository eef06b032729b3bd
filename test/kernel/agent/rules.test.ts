import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createMetrics, realClock, silentLog } from '#core';
import type { AnyResource } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, type PolicyEngine } from '#policy';
import { createIpset } from '../../../agent/kernel/ipset.ts';
import { createIptables } from '../../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../../agent/kernel/nftables/sets.ts';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import type { RuleBackend, SetBackend } from '../../../agent/kernel/types.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';
import { RuleWatch, type WatchOptions } from '../../../agent/reconcile/watch.ts';
import { resource, updateOf } from '../../scenarios/scenario.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** Rules and sets as the kernel takes them: two workloads on one node, real packets, and strangers who change what is ours. */

let ns: Namespace;
let runner: Runner;
const workload = { a: '', b: '' };

beforeAll(() => {
  ns = enterNamespace('rules');
  runner = createRunner({ log: silentLog });
  for (const [w, n] of [
    ['a', 1],
    ['b', 2],
  ] as const) {
    const name = `${ns.name}-${w}`;
    workload[w] = name;
    ns.sh(`ip netns add ${name}
      ip link add cali${w} type veth peer name eth0 netns ${name}
      ip link set cali${w} up; ip addr add 169.254.1.1/32 dev cali${w}
      ip -n ${name} link set lo up; ip -n ${name} link set eth0 up
      ip -n ${name} addr add 10.65.0.${n}/32 dev eth0
      ip -n ${name} route add 169.254.1.1 dev eth0; ip -n ${name} route add default via 169.254.1.1
      ip route add 10.65.0.${n}/32 dev cali${w}`);
  }
  ns.sh('sysctl -qw net.ipv4.ip_forward=1');
});
afterAll(() => {
  runner?.close();
  for (const name of Object.values(workload)) if (name) ns.sh(`ip netns del ${name}`);
  ns?.leave();
});

const endpoint = (w: 'a' | 'b', n: number, spec: object = {}): AnyResource =>
  resource(
    'WorkloadEndpoint',
    `default/node--1-k8s-${w}-eth0`,
    {
      orchestrator: 'k8s',
      node: 'node-1',
      pod: w,
      endpoint: 'eth0',
      interfaceName: `cali${w}`,
      ipNetworks: [`10.65.0.${n}/32`],
      profiles: ['open'],
      ...spec,
    },
    { name: w },
  );
const open = resource('Profile', 'open', { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] });
const policy = (id: string, spec: object) =>
  resource('GlobalNetworkPolicy', id, { tier: 'default', selector: "name == 'b'", types: ['Ingress'], ...spec });

const reach = (from: 'a' | 'b', to: string): boolean => {
  try {
    ns.sh(`ip netns exec ${workload[from]} ping -c 1 -W 1 ${to} 2>&1`);
    return true;
  } catch {
    return false;
  }
};

interface Bench {
  readonly engine: PolicyEngine;
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  readonly log: string[];
  change(...resources: AnyResource[]): Promise<Awaited<ReturnType<ChainReconciler['apply']>>>;
  apply(): Promise<Awaited<ReturnType<ChainReconciler['apply']>>>;
}

function bench({ backend, sets: setBackend }: Machine): Bench {
  const dispatch = backend.name === 'nftables' ? 'map' : 'tree';
  const engine = createPolicyEngine({ node: 'node-1', config: { ...DEFAULT_RENDER_CONFIG, dispatch } });
  const parts = { clock: realClock, log: silentLog };
  const chains = new ChainReconciler({ ...parts, metrics: createMetrics(), backend, families: [4, 6] });
  const sets = new SetReconciler({
    ...parts,
    metrics: createMetrics(),
    backend: setBackend,
    maxElements: 1024,
  });
  const apply = async () => {
    expect((await sets.applyUpdates()).failures).toEqual([]);
    const outcome = await chains.apply();
    await sets.applyDeletes();
    return outcome;
  };
  return {
    engine,
    chains,
    sets,
    log: [],
    apply,
    change(...resources) {
      for (const value of resources) engine.onUpdate(updateOf(value));
      const changes = engine.flush();
      sets.update(changes.sets);
      chains.update(changes);
      return apply();
    },
  };
}

/** A backend, and how a stranger or a person looks at it. */
interface Machine {
  readonly backend: RuleBackend;
  readonly sets: SetBackend;
  readonly filter: WatchOptions['filter'];
  /** Everything of ours, as the tool prints it. */
  dump(): string;
  /** One chain of ours in table filter. */
  chain(name: string): string;
  /** Packets that met the first rule of a chain, and the strict reverse path check. */
  count(chain: string): number;
  countSpoofed(): number;
  flush(chain: string): void;
  /** A stranger's rule before ours, and what the first rule then must be again. */
  readonly harm: readonly (readonly [command: string, repaired: () => boolean])[];
}

function iptablesMachine(variant: 'nft' | 'legacy'): Machine {
  const iptables = `iptables-${variant}`;
  return {
    backend: createIptables({ runner, variant }),
    sets: createIpset({ runner }),
    filter: { news: { rules: variant === 'nft', sets: false }, isOurs: (pid) => runner.isOurs(pid) },
    dump: () => ns.sh(`${iptables}-save`),
    chain: (name) => ns.sh(`${iptables} -S ${name}`),
    count: (chain) => Number(/^\s*(\d+)/m.exec(ns.sh(`${iptables} -L ${chain} -v -x -n | tail -n +3`))?.[1]),
    countSpoofed: () =>
      Number(ns.sh(`${iptables} -t raw -L PREROUTING -v -x -n | grep rpfilter`).trim().split(/\s+/)[0]),
    flush: (chain) => ns.sh(`${iptables} -F ${chain}`),
    harm: [
      [`${iptables} -I FORWARD -j ACCEPT`, () => ns.sh(`${iptables} -S FORWARD`).split('\n')[1].includes('cali:')],
      [`${iptables} -F FORWARD`, () => ns.sh(`${iptables} -S FORWARD`).includes('-j cali-FORWARD')],
      ["ipset flush $(ipset list -n | grep -m1 '^cali40')", () => ns.sh('ipset list').includes('10.65.0.1')],
    ],
  };
}

function nftMachine(): Machine {
  const socket = new NftSocket();
  const list = (what: string) => ns.sh(`nft list ${what} 2>&1 || true`);
  const packets = (text: string, pattern: RegExp) =>
    Number(/counter packets (\d+)/.exec(text.split('\n').find((line) => pattern.test(line)) ?? '')?.[1]);
  return {
    backend: createNftables(socket),
    sets: createNftSets(socket),
    filter: { news: { rules: true, sets: true }, isOurs: (_, port) => socket.isOurs(port) },
    dump: () => list('ruleset'),
    chain: (name) => list(`chain ip tsnet filter-${name}`),
    count: (chain) => packets(list(`chain ip tsnet filter-${chain}`), /counter packets/),
    countSpoofed: () => packets(list('chain ip tsnet raw-PREROUTING'), /fib saddr/),
    flush: (chain) => ns.sh(`nft flush chain ip tsnet filter-${chain}`),
    harm: [
      [
        'nft insert rule ip tsnet filter-FORWARD accept',
        () => /policy accept;\n[^\n]*cali:/.test(list('chain ip tsnet filter-FORWARD')),
      ],
      [
        'nft flush chain ip tsnet filter-FORWARD',
        () => list('chain ip tsnet filter-FORWARD').includes('filter-cali-FORWARD'),
      ],
      [
        "nft flush set ip tsnet $(nft list sets ip | grep -om1 'cali40[^ ]*')",
        () => list('sets ip').includes('10.65.0.1'),
      ],
      [
        'nft flush map ip tsnet filter-cali-to-wl-dispatch',
        () => list('map ip tsnet filter-cali-to-wl-dispatch').includes('"calib" : goto filter-cali-tw-calib'),
      ],
      [
        `nft delete element ip tsnet filter-cali-to-wl-dispatch '{ "calib" }'
         nft add element ip tsnet filter-cali-to-wl-dispatch '{ "calib" : goto filter-cali-allow, "calix" : drop }'`,
        () => {
          const text = list('map ip tsnet filter-cali-to-wl-dispatch');
          return text.includes('"calib" : goto filter-cali-tw-calib') && !text.includes('calix');
        },
      ],
      ['nft flush ruleset', () => list('chain ip tsnet filter-FORWARD').includes('filter-cali-FORWARD')],
    ],
  };
}

describe.each(['iptables-nft', 'iptables-legacy', 'nftables'] as const)('%s', (kind) => {
  let b: Bench;
  const machine = () =>
    kind === 'nftables' ? nftMachine() : iptablesMachine(kind === 'iptables-nft' ? 'nft' : 'legacy');
  let m: Machine;
  beforeEach(async () => {
    m = machine();
    b = bench(m);
    await b.change(open, endpoint('a', 1), endpoint('b', 2));
  });
  const clean = () => {
    ns.sh('nft flush ruleset');
    for (const v of ['iptables', 'ip6tables'])
      for (const table of ['filter', 'raw', 'mangle', 'nat'])
        ns.sh(`if grep -qx ${table} /proc/net/${v === 'iptables' ? 'ip' : 'ip6'}_tables_names 2>/dev/null; then
          ${v}-legacy -t ${table} -F; ${v}-legacy -t ${table} -X; fi`);
  };
  afterAll(clean);

  test('open profiles let both speak; a deny policy stops new flows, and only those it names', async () => {
    expect(reach('a', '10.65.0.2')).toBe(true);
    await b.change(
      policy('deny', { ingress: [{ action: 'Deny', source: { selector: "name == 'a'" } }, { action: 'Allow' }] }),
    );
    expect(reach('a', '10.65.0.2')).toBe(false);
    expect(reach('b', '10.65.0.1')).toBe(true);
  });

  test('a workload cannot send from an address that is not its own', () => {
    ns.sh(`ip -n ${workload.a} addr add 10.65.0.9/32 dev eth0`);
    expect(() => ns.sh(`ip netns exec ${workload.a} ping -I 10.65.0.9 -c 1 -W 1 10.65.0.2`)).toThrow();
    expect(m.countSpoofed()).toBeGreaterThan(0);
    ns.sh(`ip -n ${workload.a} addr del 10.65.0.9/32 dev eth0`);
  });

  test('an interface without an endpoint passes nothing', async () => {
    b.engine.onUpdate(updateOf(endpoint('b', 2), false));
    await b.change();
    expect(reach('b', '10.65.0.1')).toBe(false);
    expect(reach('a', '10.65.0.2')).toBe(false);
  });

  test('a closed endpoint loses its established flows too', async () => {
    const flow = `ip netns exec ${workload.a} ping -c 1 -W 1 -e 77 10.65.0.2`;
    ns.sh(flow);
    b.engine.setClosed(new Set(['WorkloadEndpoint/default/node--1-k8s-b-eth0']));
    await b.change();
    expect(() => ns.sh(flow)).toThrow();
    b.engine.setClosed(new Set());
    await b.change();
    ns.sh(flow);
  });

  test('a second agent finds everything right and writes nothing; counters survive a change elsewhere', async () => {
    reach('a', '10.65.0.2');
    const before = m.count('cali-fw-calia');
    expect(before).toBeGreaterThan(0);
    const second = bench(machine());
    const outcome = await second.change(open, endpoint('a', 1), endpoint('b', 2));
    expect(outcome).toMatchObject({ written: 0, failures: [] });
    await second.change(policy('p', { ingress: [{ action: 'Allow' }] }));
    expect(m.count('cali-fw-calia')).toBeGreaterThanOrEqual(before);
  });

  test('a rule that the kernel refuses closes its policy; the rest of the same apply lands', async () => {
    const changes = [
      policy('bad', { order: 1, ingress: [{ action: 'Allow', protocol: 'TCP', destination: { ports: [80] } }] }),
      policy('good', { selector: "name == 'a'", ingress: [{ action: 'Deny' }] }),
    ];
    for (const value of changes) b.engine.onUpdate(updateOf(value));
    const flushed = b.engine.flush();
    b.sets.update(flushed.sets);
    // What a kernel without the match would refuse: a set that is not there.
    const spoiled = flushed.chains.map((c) =>
      c.name === 'cali-pi-gnp/bad' && c.chain && c.family === 4
        ? {
            ...c,
            chain: {
              ...c.chain,
              rules: [{ match: [{ m: 'src-set', set: 's:none' } as const], action: { do: 'accept' } as const }],
            },
          }
        : c,
    );
    b.chains.update({ ...flushed, chains: spoiled });
    const outcome = await b.apply();
    expect(outcome.failures).toMatchObject([{ key: 'GlobalNetworkPolicy/bad', error: 'REFUSED' }]);
    expect(b.chains.quarantined).toMatchObject([
      { chain: 'cali-pi-gnp/bad', owner: 'GlobalNetworkPolicy/bad', table: 'filter', family: 4 },
    ]);
    expect(b.chains.quarantined[0].rule).toMatch(/cali40s[:/]none/);
    expect(reach('a', '10.65.0.2')).toBe(false);
    expect(m.chain('cali-pi-gnp/good').toLowerCase()).toContain('drop');
    expect(m.dump()).not.toContain('cali-try');
    // The policy is put right.
    await b.change(policy('bad', { ingress: [{ action: 'Allow' }] }), policy('good', { selector: "name == 'c'" }));
    expect(b.chains.quarantined).toEqual([]);
    expect(reach('a', '10.65.0.2')).toBe(true);
  });

  test('what a stranger does to our chains, hooks and sets is repaired within a second, and his own rules stay', async () => {
    await b.change(policy('deny', { ingress: [{ action: 'Deny', source: { selector: "name == 'a'" } }] }));
    const watch = new RuleWatch({
      chains: b.chains,
      sets: b.sets,
      filter: m.filter,
      clock: realClock,
      log: silentLog,
      onDirty: () => void b.apply(),
    });
    try {
      m.flush('cali-tw-calib');
      await until('repair of a chain', () => m.chain('cali-tw-calib').includes('cali:'));
      for (const [command, repaired] of m.harm) {
        ns.sh(command);
        await until(`repair of ${command}`, repaired);
      }
      ns.sh('nft add table ip stranger; nft add chain ip stranger his');
      m.flush('cali-wl-to-host');
      await until('repair', () => m.chain('cali-wl-to-host').includes('cali:'));
      expect(ns.sh('nft list tables')).toContain('stranger');
    } finally {
      watch.stop();
    }
    expect(reach('a', '10.65.0.2')).toBe(false);
  });
});
