import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createMetrics, type Log, type Metrics, realClock, silentLog } from '#core';
import type { AnyResource } from '#datastore';
import {
  type ChainRule,
  createPolicyEngine,
  DEFAULT_RENDER_CONFIG,
  isBare,
  type Match,
  type PolicyEngine,
} from '#policy';
import { Applier, type ApplyStep } from '../../../agent/apply.ts';
import { createIpset } from '../../../agent/kernel/ipset/index.ts';
import { IpsetSocket } from '../../../agent/kernel/ipset/socket.ts';
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
      ip link set cali${w} up; ip addr add 169.254.1.1/32 dev cali${w}; ip -6 addr add fe80::1/64 dev cali${w} nodad
      ip -n ${name} link set lo up; ip -n ${name} link set eth0 up
      ip -n ${name} addr add 10.65.0.${n}/32 dev eth0; ip -n ${name} -6 addr add fd00:65::${n}/128 dev eth0 nodad
      ip -n ${name} route add 169.254.1.1 dev eth0; ip -n ${name} route add default via 169.254.1.1
      ip -n ${name} -6 route add default via fe80::1 dev eth0
      ip route add 10.65.0.${n}/32 dev cali${w}; ip -6 route add fd00:65::${n}/128 dev cali${w}`);
  }
  ns.sh('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
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
      ipNetworks: [`10.65.0.${n}/32`, `fd00:65::${n}/128`],
      profiles: ['open'],
      ...spec,
    },
    { name: w },
  );
const open = resource('Profile', 'open', { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] });
const policy = (id: string, spec: object) =>
  resource('GlobalNetworkPolicy', id, { tier: 'default', selector: "name == 'b'", types: ['Ingress'], ...spec });

const FAMILIES = [4, 6] as const;
const ADDRESS = { a: { 4: '10.65.0.1', 6: 'fd00:65::1' }, b: { 4: '10.65.0.2', 6: 'fd00:65::2' } } as const;
/** Whether an echo comes back, which must be the same in both families. */
const reach = (from: 'a' | 'b', to: 'a' | 'b', options = ''): boolean => {
  const ping = (family: 4 | 6) => `ping ${options} -c 1 -W 1 ${ADDRESS[to][family]} >/dev/null 2>&1`;
  const answers = ns.sh(
    `ip netns exec ${workload[from]} sh -c '${ping(6)} & ${ping(4)}; four=$?; wait $!; echo $four $?'`,
  );
  expect(answers).toMatch(/^(0 0|1 1)$/m);
  return answers.startsWith('0');
};

const negated = (match: Match): Match[] => [match, { ...match, negate: true } as Match];

/** New flows from a workload, one after the other, until they are stopped. */
function flows(from: 'a' | 'b', to: string) {
  const dir = mkdtempSync(join(tmpdir(), 'tsn-flows-'));
  const one = `if ping -c 1 -W 2 ${to} >/dev/null; then echo came >>${dir}/came; else echo lost >>${dir}/lost; fi`;
  ns.sh(`echo >${dir}/run; : >${dir}/came; : >${dir}/lost`);
  const loop = `while [ -e ${dir}/run ]; do ${one}; done`;
  const child = spawn('ip', ['netns', 'exec', workload[from], 'sh', '-c', loop], { stdio: 'ignore' });
  const count = (what: 'came' | 'lost') => readFileSync(join(dir, what), 'utf8').split('\n').length - 1;
  return {
    /** Resolves when some more have come or been lost. */
    more: () => {
      const enough = count('came') + 3;
      return until('flows', () => count('came') >= enough || count('lost') > 0);
    },
    /** Resolves with the number of those that were lost. */
    stop: async () => {
      const ended = once(child, 'exit');
      rmSync(join(dir, 'run'));
      await ended;
      const lost = count('lost');
      rmSync(dir, { recursive: true });
      return lost;
    },
  };
}

interface Bench {
  readonly engine: PolicyEngine;
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  /** What was logged as an error. */
  readonly log: object[];
  readonly metrics: Metrics;
  change(...resources: AnyResource[]): Promise<Awaited<ReturnType<ChainReconciler['apply']>>>;
  apply(): Promise<Awaited<ReturnType<ChainReconciler['apply']>>>;
}

function bench({ backend, sets: setBackend }: Machine): Bench {
  const dispatch = backend.name === 'nftables' ? 'map' : 'tree';
  const engine = createPolicyEngine({ node: 'node-1', config: { ...DEFAULT_RENDER_CONFIG, dispatch } });
  const logged: object[] = [];
  const log: Log = { ...silentLog, error: (fields: object) => void logged.push(fields) } as Log;
  const parts = { clock: realClock, log };
  const metrics = createMetrics();
  const chains = new ChainReconciler({ ...parts, metrics, backend, families: [4, 6] });
  const sets = new SetReconciler({
    ...parts,
    metrics: createMetrics(),
    backend: setBackend,
    maxElements: 1024,
  });
  const apply = async () => {
    expect((await sets.applyUpdates()).failures).toEqual([]);
    const outcome = await chains.apply();
    expect((await sets.applyRemovals()).failures).toEqual([]);
    await sets.applyDeletes();
    return outcome;
  };
  return {
    engine,
    chains,
    sets,
    log: logged,
    metrics,
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
  countSpoofed(family: 4 | 6): number;
  flush(chain: string): void;
  /** A stranger's rule before ours, and what the first rule then must be again. */
  readonly harm: readonly (readonly [command: string, repaired: () => boolean])[];
}

function iptablesMachine(variant: 'nft' | 'legacy'): Machine {
  // Waits for the lock of legacy iptables; the nft variant has none.
  const commandOf = (family: 4 | 6) => `${family === 4 ? 'iptables' : 'ip6tables'}-${variant} -w`;
  const iptables = commandOf(4);
  return {
    backend: createIptables({ runner, variant }),
    sets: createIpset(new IpsetSocket(realClock)),
    filter: { news: { rules: variant === 'nft', sets: false }, isOurs: (pid) => runner.isOurs(pid) },
    dump: () => ns.sh(`iptables-${variant}-save`),
    chain: (name) => ns.sh(`${iptables} -S ${name}`),
    count: (chain) => Number(/^\s*(\d+)/m.exec(ns.sh(`${iptables} -L ${chain} -v -x -n | tail -n +3`))?.[1]),
    countSpoofed: (family) =>
      Number(
        ns
          .sh(`${family === 4 ? 'iptables' : 'ip6tables'}-${variant} -t raw -L PREROUTING -v -x -n | grep rpfilter`)
          .trim()
          .split(/\s+/)[0],
      ),
    flush: (chain) => ns.sh(`${iptables} -F ${chain}`),
    harm: [
      ...FAMILIES.flatMap((family): Machine['harm'] => {
        const tool = commandOf(family);
        const forward = () => ns.sh(`${tool} -S FORWARD`).split('\n');
        const jumps = () => forward().filter((line) => line.includes('-j cali-FORWARD')).length === 1;
        const tags = () => forward().filter((line) => line.includes('--ctstatus NONE'));
        const first = () => forward()[1] === tags()[0] && tags().length === 2 && jumps();
        const toB = () =>
          ns
            .sh(`${tool} -S cali-to-wl-dispatch`)
            .match(/-o calib .*$/gm)
            ?.join();
        const dispatch = () => ns.sh(`${tool} -S cali-from-wl-dispatch`).includes('calia');
        const raw = () => ns.sh(`${tool} -t raw -S PREROUTING`).includes('rpfilter');
        const set = `$(ipset list -n | grep -m1 '^cali${family}0')`;
        const whole = () => {
          const members = ns.sh(`ipset save ${set}`).match(/^add .*$/gm) ?? [];
          return members.length === 1 && members[0].endsWith(` ${ADDRESS.a[family]}`);
        };
        return [
          [`${tool} -I FORWARD -j ACCEPT`, first],
          [`${tool} -D FORWARD 2; ${tool} -D FORWARD 2`, first],
          [`${tool} -F FORWARD`, jumps],
          [`${tool} -A FORWARD -j cali-FORWARD`, jumps],
          [`${tool} -R cali-FORWARD 1 -j ACCEPT`, () => !ns.sh(`${tool} -S cali-FORWARD`).includes('-j ACCEPT')],
          [
            `${tool} -D cali-from-wl-dispatch 1`,
            () => ns.sh(`${tool} -S cali-from-wl-dispatch`).includes('-j MARK --set-xmark'),
          ],
          // What only leads on carries no comment: another target, and a rule more that leads on, are seen all the same.
          [`${tool} -R cali-to-wl-dispatch 3 -o calib -g cali-allow`, () => toB() === '-o calib -g cali-tw-calib'],
          [`${tool} -I cali-to-wl-dispatch 3 -o calib -g cali-allow`, () => toB() === '-o calib -g cali-tw-calib'],
          [`${tool} -R FORWARD 1 -i cali+ -j ACCEPT`, first],
          [`${tool} -t raw -F`, raw],
          [`ipset flush ${set}`, whole],
          [`ipset add ${set} ${ADDRESS.b[family]}; ipset del ${set} ${ADDRESS.a[family]}`, whole],
          // What a firewall does that is started anew.
          [
            `${tool} -F; ${tool} -X; ${tool} -t raw -F; for s in $(ipset list -n | grep '^cali${family}'); do ipset destroy $s; done`,
            () => jumps() && dispatch() && raw() && whole(),
          ],
        ];
      }),
      ...(variant === 'nft'
        ? [
            [
              'nft flush ruleset',
              () =>
                FAMILIES.every((f) =>
                  ns.sh(`${f === 4 ? 'iptables' : 'ip6tables'}-nft -S FORWARD`).includes('-j cali-FORWARD'),
                ),
            ] as const,
          ]
        : []),
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
    countSpoofed: (family) => packets(list(`chain ${family === 4 ? 'ip' : 'ip6'} tsnet raw-PREROUTING`), /fib saddr/),
    flush: (chain) => ns.sh(`nft flush chain ip tsnet filter-${chain}`),
    harm: [
      ...FAMILIES.flatMap((family): Machine['harm'] => {
        const table = `${family === 4 ? 'ip' : 'ip6'} tsnet`;
        const chain = (name: string) => list(`chain ${table} ${name}`);
        const set = () => list(`sets table ${table}`);
        const name = `$(nft list sets ${table.split(' ')[0]} | grep -om1 'cali${family}0[^ ]*')`;
        const forward = () =>
          /policy accept;\n[^\n]*cali:/.test(chain('filter-FORWARD')) &&
          chain('filter-FORWARD').includes('filter-cali-FORWARD');
        return [
          [`nft insert rule ${table} filter-FORWARD accept`, forward],
          [`nft flush chain ${table} filter-FORWARD`, forward],
          [
            `nft insert rule ${table} filter-cali-FORWARD accept`,
            () => !/\baccept$/m.test(chain('filter-cali-FORWARD')),
          ],
          [`nft flush chain ${table} raw-PREROUTING`, () => chain('raw-PREROUTING').includes('fib saddr')],
          [`nft flush set ${table} ${name}`, () => set().includes(ADDRESS.a[family])],
          [
            `nft add element ${table} ${name} '{ ${ADDRESS.b[family]} }'; nft delete element ${table} ${name} '{ ${ADDRESS.a[family]} }'`,
            () => set().includes(ADDRESS.a[family]) && !set().includes(ADDRESS.b[family]),
          ],
          [
            `nft flush map ${table} filter-cali-to-wl-dispatch`,
            () => list(`map ${table} filter-cali-to-wl-dispatch`).includes('"calib" : goto filter-cali-tw-calib'),
          ],
          [
            `nft delete element ${table} filter-cali-to-wl-dispatch '{ "calib" }'
             nft add element ${table} filter-cali-to-wl-dispatch '{ "calib" : goto filter-cali-allow, "calix" : drop }'`,
            () => {
              const text = list(`map ${table} filter-cali-to-wl-dispatch`);
              return text.includes('"calib" : goto filter-cali-tw-calib') && !text.includes('calix');
            },
          ],
          [`nft delete table ${table}`, () => forward() && set().includes(ADDRESS.a[family])],
        ];
      }),
      [
        'nft flush ruleset',
        () =>
          FAMILIES.every((f) =>
            list(`chain ${f === 4 ? 'ip' : 'ip6'} tsnet filter-FORWARD`).includes('filter-cali-FORWARD'),
          ),
      ],
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
    expect(reach('a', 'b')).toBe(true);
    await b.change(
      policy('deny', { ingress: [{ action: 'Deny', source: { selector: "name == 'a'" } }, { action: 'Allow' }] }),
    );
    expect(reach('a', 'b')).toBe(false);
    expect(reach('b', 'a')).toBe(true);
  });

  test.each([
    [4, '10.65.0.9/32'],
    [6, 'fd00:65::9/128'],
  ] as const)('a workload cannot send from an address that is not its own, IPv%i', (family, forged) => {
    ns.sh(`ip -n ${workload.a} addr add ${forged} dev eth0 ${family === 6 ? 'nodad' : ''}`);
    const ping = `ping -I ${forged.split('/')[0]} -c 1 -W 1 ${ADDRESS.b[family]}`;
    expect(() => ns.sh(`ip netns exec ${workload.a} ${ping}`)).toThrow();
    expect(m.countSpoofed(family)).toBeGreaterThan(0);
    ns.sh(`ip -n ${workload.a} addr del ${forged} dev eth0`);
  });

  test('an interface without an endpoint passes nothing', async () => {
    b.engine.onUpdate(updateOf(endpoint('b', 2), false));
    await b.change();
    expect(reach('b', 'a')).toBe(false);
    expect(reach('a', 'b')).toBe(false);
  });

  test('a closed endpoint loses its established flows too', async () => {
    const flow = () => reach('a', 'b', '-e 77');
    expect(flow()).toBe(true);
    b.engine.setClosed(new Set(['WorkloadEndpoint/default/node--1-k8s-b-eth0']));
    await b.change();
    expect(flow()).toBe(false);
    b.engine.setClosed(new Set());
    await b.change();
    expect(flow()).toBe(true);
  });

  test('a second agent finds everything right and writes nothing; counters survive a change elsewhere', async () => {
    reach('a', 'b');
    const before = m.count('cali-pro-open');
    expect(before).toBeGreaterThan(0);
    const second = bench(machine());
    const outcome = await second.change(open, endpoint('a', 1), endpoint('b', 2));
    expect(outcome).toMatchObject({ written: 0, failures: [] });
    await second.change(policy('p', { ingress: [{ action: 'Allow' }] }));
    expect(m.count('cali-pro-open')).toBeGreaterThanOrEqual(before);
  });

  test.each(FAMILIES)(
    'rules that lead on, in every form, are read back as they were written, IPv%i',
    async (family) => {
      const matches: ChainRule['match'][] = [
        [],
        ...(['in', 'out'] as const).flatMap((m) =>
          ['cali+', 'cali0123456789a', 'cali0.1-_+'].flatMap((iface) => negated({ m, iface }).map((match) => [match])),
        ),
        ...negated({ m: 'mark', value: 0x10000, mask: 0x30000 }).map((match) => [match]),
        ...negated({ m: 'mark', value: 0, mask: 0x8000_0000 }).map((match) => [match]),
        ...negated({ m: 'ctstate', states: ['UNTRACKED', 'ESTABLISHED', 'RELATED', 'NEW', 'INVALID'] }).map((m) => [m]),
        [
          { m: 'out', iface: 'b' },
          { m: 'ctstate', states: ['ESTABLISHED', 'RELATED'] },
          { m: 'in', iface: 'a' },
          { m: 'mark', value: 0xffff, mask: 0xffff },
        ],
      ];
      const actions: ChainRule['action'][] = [
        { do: 'accept' },
        { do: 'return' },
        { do: 'jump', chain: 'cali-target' },
        { do: 'goto', chain: 'cali-target' },
        { do: 'mark', value: 0, mask: 0xffff_0000 },
        { do: 'mark', value: 0x8000_0000, mask: 0x8000_0000 },
      ];
      const rules = matches.flatMap((match) => actions.map((action): ChainRule => ({ match, action })));
      expect(rules.every(isBare)).toBe(true);
      const chain = { name: 'cali-leads', rules };
      const target = { name: 'cali-target', rules: [] };
      const { after } = await m.backend.write(family, 'filter', {
        update: [target, chain],
        remove: [],
        base: (await m.backend.read(family)).filter,
      });
      const read = (await m.backend.read(family)).filter;
      expect(read.chains.get('cali-leads')).toEqual(after.chains.get('cali-leads'));
      expect(m.backend.holds(family, 'filter', chain, read)).toBe(true);
      await m.backend.write(family, 'filter', { update: [], remove: ['cali-leads', 'cali-target'], base: read });
    },
  );

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
      c.name === 'cali-pi-gnp/bad' && c.chain
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
    const refused = { key: 'GlobalNetworkPolicy/bad', error: 'REFUSED' };
    expect(outcome.failures).toMatchObject([refused, refused]);
    expect(b.chains.quarantined).toMatchObject(
      FAMILIES.map((family) => ({
        ...{ chain: 'cali-pi-gnp/bad', owner: 'GlobalNetworkPolicy/bad', table: 'filter', family },
        rule: expect.stringMatching(new RegExp(`cali${family}0s[:/]none`)),
      })),
    );
    for (const family of FAMILIES)
      expect(b.log).toContainEqual(
        expect.objectContaining({ family, owner: 'GlobalNetworkPolicy/bad', chain: 'cali-pi-gnp/bad' }),
      );
    expect(await b.metrics.registry.metrics()).toMatch(/tsnet_rules_refused\{ip_version="6",table="filter"\} 1/);
    expect(reach('a', 'b')).toBe(false);
    expect(m.chain('cali-pi-gnp/good').toLowerCase()).toContain('drop');
    expect(m.dump()).not.toContain('cali-try');
    // The policy is put right.
    await b.change(policy('bad', { ingress: [{ action: 'Allow' }] }), policy('good', { selector: "name == 'c'" }));
    expect(b.chains.quarantined).toEqual([]);
    expect(reach('a', 'b')).toBe(true);
  });

  test('a set with more members than it may have closes what asks it, and opens it when it has fewer', async () => {
    const big = (count: number) =>
      resource(
        'GlobalNetworkSet',
        'big',
        {
          nets: FAMILIES.flatMap((family) => [
            `${ADDRESS.a[family]}/${family === 4 ? 32 : 128}`,
            ...Array.from({ length: count }, (_, i) =>
              family === 4 ? `198.18.${i >> 8}.${i & 255}/32` : `2001:db8::${i.toString(16)}/128`,
            ),
          ]),
        },
        { kind: 'big' },
      );
    const change = async (...resources: AnyResource[]) => {
      for (const value of resources) b.engine.onUpdate(updateOf(value));
      const changes = b.engine.flush();
      b.sets.update(changes.sets);
      b.chains.update(changes);
      const { failures } = await b.sets.applyUpdates();
      b.chains.setUnusable(b.sets.unusable);
      return [...failures, ...(await b.chains.apply()).failures].map(({ detail }) => detail);
    };
    const ask = policy('ask', { ingress: [{ action: 'Allow', source: { selector: "kind == 'big'" } }] });
    expect(await change(big(10), ask)).toEqual([]);
    expect(reach('a', 'b')).toBe(true);
    const details = await change(big(1100));
    expect(details.slice(0, 2)).toEqual(Array(2).fill('kind == "big": 1101 members; maxIpsetSize is 1024'));
    expect(b.chains.quarantined).toMatchObject(
      FAMILIES.map((family) => ({
        ...{ family, owner: 'GlobalNetworkPolicy/ask', error: details[0] },
        rule: expect.stringMatching(/^set a?s:/),
      })),
    );
    expect(reach('a', 'b')).toBe(false);
    expect(await change(big(20))).toEqual([]);
    expect(b.chains.quarantined).toEqual([]);
    expect(reach('a', 'b')).toBe(true);
  });

  test('networks join a set that rules ask, and leave: no packet that may pass is lost, and a restart writes nothing', async () => {
    const nets = (list: readonly string[]) => resource('GlobalNetworkSet', 'nets', { nets: list }, { kind: 'nets' });
    const from = (selector: string) => ({ ingress: [{ action: 'Allow', source: { selector } }] });
    const cluster = (list: readonly string[]): AnyResource[] => [
      ...[open, endpoint('a', 1), endpoint('b', 2), nets(list)],
      policy('to-b', from("name == 'a' || kind == 'nets'")),
      policy('to-a', { ...from("kind == 'nets'"), selector: "name == 'a'" }),
    ];
    const restarted = async () => {
      const { engine, sets, chains } = bench(machine());
      for (const value of cluster(now)) engine.onUpdate(updateOf(value));
      const changes = engine.flush();
      sets.update(changes.sets);
      chains.update(changes);
      const steps = [await sets.applyUpdates(), await chains.apply(), await sets.applyRemovals()];
      steps.push(await sets.applyDeletes());
      return steps.map(({ written, failures }) => [written, ...failures]);
    };
    const addresses = ['10.65.0.9/32', 'fd00:65::9/128'];
    const wide = [...addresses, '10.65.0.2/31', 'fd00:65::2/127'];
    let now: readonly string[] = addresses;
    await b.change(...cluster(now));
    expect(reach('b', 'a')).toBe(false);
    const traffic = flows('a', ADDRESS.b[4]);
    try {
      for (now of [wide, addresses, wide]) {
        await traffic.more();
        expect((await b.change(nets(now))).failures).toEqual([]);
        expect(reach('b', 'a')).toBe(now === wide);
        expect(await restarted()).toEqual([[0], [0], [0], [0]]);
      }
      await traffic.more();
    } finally {
      expect(await traffic.stop()).toBe(0);
    }
    if (kind !== 'nftables') return;
    for (const [family, other] of [
      ['ip', '203.0.113.0/24'],
      ['ip6', '2001:db8:9::/48'],
    ]) {
      const found = JSON.parse(ns.sh(`nft -j list sets ${family}`)).nftables as {
        set?: { name: string; flags?: string[]; elem?: unknown[] };
      }[];
      // Those that hold networks: the rules that ask others ask those of addresses alone.
      const intervals = found
        .filter(({ set }) => set?.flags?.includes('interval') && set.elem)
        .map(({ set }) => set!.name);
      expect(intervals).toHaveLength(2);
      for (const name of intervals)
        ns.sh(`nft flush set ${family} tsnet ${name}; nft add element ${family} tsnet ${name} '{ ${other} }'`);
    }
    expect(reach('b', 'a')).toBe(false);
    expect(await b.sets.check()).toBe(false);
    await b.apply();
    expect(reach('b', 'a')).toBe(true);
    expect(await restarted()).toEqual([[0], [0], [0], [0]]);
  });

  describe.runIf(kind === 'nftables')('a member of a set is one at each step', () => {
    const nets = (list: readonly string[]) => resource('GlobalNetworkSet', 'nets', { nets: list }, { kind: 'nets' });
    const ours = ['10.65.0.1/32', '10.65.0.2/32', 'fd00:65::1/128', 'fd00:65::2/128'];
    const all = ['10.65.0.0/30', 'fd00:65::/126'];
    const address = ['192.0.2.1/32', '2001:db8::1/128'];
    const network = ['192.0.2.0/24', '2001:db8::/64'];
    const cluster = (list: readonly string[]) => [
      ...[open, endpoint('a', 1), endpoint('b', 2), nets(list)],
      policy('to-b', { ingress: [{ action: 'Allow', source: { selector: "kind == 'nets'" } }] }),
      policy('to-a', {
        selector: "name == 'a'",
        ingress: [{ action: 'Deny', source: { notSelector: "kind == 'nets'" } }, { action: 'Allow' }],
      }),
    ];
    const stepByStep = async ({ engine, sets, chains }: Bench, resources: readonly AnyResource[]) => {
      for (const value of resources) engine.onUpdate(updateOf(value));
      const changes = engine.flush();
      sets.update(changes.sets);
      chains.update(changes);
      const steps = [() => sets.applyUpdates(), () => chains.apply()];
      for (const step of [...steps, () => sets.applyRemovals(), () => sets.applyDeletes()]) {
        expect((await step()).failures).toEqual([]);
        expect([reach('a', 'b'), reach('b', 'a')]).toEqual([true, true]);
      }
      expect(await sets.check()).toBe(true);
    };

    test('also where its address becomes part of a network, or is left of one', async () => {
      await b.change(...cluster(ours));
      for (const more of [[], network])
        for (const list of [ours, all, ours, [...ours, ...address], [...all, ...address], [...ours, ...address]])
          await stepByStep(b, [nets([...list, ...more])]);
    });

    test('also where an earlier version had all members in one set', async () => {
      const earlier = bench(machine());
      for (const value of cluster([...ours, ...network])) earlier.engine.onUpdate(updateOf(value));
      const { sets, chains, hooks } = earlier.engine.flush();
      const one = (id: string) => id.replace(/^[an](?=s:)/, '');
      const asOne = (match: Match): Match => ('set' in match ? { ...match, set: one(match.set) } : match);
      earlier.sets.update(sets.map((set) => ({ ...set, id: one(set.id), type: 'hash:net', other: undefined })));
      const rules = chains.flatMap(({ chain, ...of }) => {
        if (!chain) return [];
        const changed = chain.rules.map((rule) => ({ ...rule, match: rule.match.map(asOne) }));
        return [{ ...of, chain: { ...chain, rules: changed } }];
      });
      earlier.chains.update({ chains: rules, ...(hooks && { hooks }) });
      expect((await earlier.apply()).failures).toEqual([]);
      const setsNow = () => [...ns.sh('nft list sets').matchAll(/set (\S+) \{/g)].map(([, name]) => name).sort();
      const before = setsNow();
      await stepByStep(bench(machine()), cluster([...all, ...address]));
      const after = setsNow();
      expect(before).toHaveLength(2);
      expect(after).toHaveLength(4);
      expect(after.filter((name) => before.includes(name))).toEqual([]);
    });
  });

  test('what a stranger does to our chains, hooks and sets is repaired within a second, and his own rules stay', async () => {
    await b.change(policy('deny', { ingress: [{ action: 'Deny', source: { selector: "name == 'a'" } }] }));
    // With its retries: what a stranger does at the same moment may make a write fail.
    const step = (name: string, run: ApplyStep['run']): ApplyStep => ({ name, because: '', run });
    const applier = new Applier({
      steps: [
        step('sets', () => b.sets.applyUpdates()),
        step('chains', () => b.chains.apply()),
        step('set removals', () => b.sets.applyRemovals()),
        step('set deletes', () => b.sets.applyDeletes()),
      ],
      ...{ clock: realClock, log: silentLog, metrics: createMetrics() },
    });
    const watch = new RuleWatch({
      chains: b.chains,
      sets: b.sets,
      filter: m.filter,
      clock: realClock,
      log: silentLog,
      onDirty: () => applier.request(),
    });
    try {
      m.flush('cali-tw-calib');
      await until('repair of a chain', () => m.chain('cali-tw-calib').includes('cali-no-verdict'));
      for (const [command, repaired] of m.harm) {
        // It may be put right before it is done.
        ns.sh(`{ ${command}; } 2>&1; true`);
        await until(`repair of ${command}`, repaired);
      }
      ns.sh('nft add table ip stranger; nft add chain ip stranger his');
      m.flush('cali-wl-to-host');
      await until('repair', () => m.chain('cali-wl-to-host').includes('cali:'));
      expect(ns.sh('nft list tables')).toContain('stranger');
    } finally {
      watch.stop();
      await applier.stop();
    }
    expect(reach('a', 'b')).toBe(false);
  });
});
