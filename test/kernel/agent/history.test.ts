import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AnyResource, prepare } from '#datastore';
import { cluster } from '../../scenarios/random.ts';
import { resource } from '../../scenarios/scenario.ts';
import { insideNamespace, until } from '../namespace.ts';
import { AgentProcess } from './agent-process.ts';
import { kernelState } from './kernel-state.ts';

/**
 * After a random history of changes, restarts and strangers' deeds the kernel is as a fresh agent makes it that sees only the end (I7), and nothing is left over.
 * A longer run: HISTORY_RUNS=30 HISTORY_SEED=7.
 */

const SEED = Number(process.env.HISTORY_SEED ?? 20261126);
const RUNS = Number(process.env.HISTORY_RUNS ?? 3);
const STEPS = 5;
/** For both to come to rest. */
const PATIENCE = 40_000;
const pick = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const some = <T extends object>(fields: { [F in keyof T]: fc.Arbitrary<T[F]> }) =>
  fc.record(fields, { requiredKeys: [] });

const failsafes = pick([], [{ protocol: 'tcp', port: 22 }], [{ protocol: 'UDP', port: 0, net: '10.0.0.0/8' }]);
const felix = fc
  .tuple(
    pick('NFT', 'Legacy'),
    some({
      nftablesMode: pick('Enabled', 'Disabled', 'Disabled', 'Auto'),
      chainInsertMode: pick('insert', 'append'),
      defaultEndpointToHostAction: pick('Drop', 'Return', 'Accept'),
      iptablesFilterAllowAction: pick('Accept', 'Return'),
      iptablesMangleAllowAction: pick('Accept', 'Return'),
      iptablesFilterDenyAction: pick('Drop', 'Reject'),
      iptablesMarkMask: pick(0xffff0000, 0xff000000),
      failsafeInboundHostPorts: failsafes,
      failsafeOutboundHostPorts: failsafes,
      disableConntrackInvalidCheck: fc.boolean(),
      workloadSourceSpoofing: pick('Any', 'Disabled'),
      serviceLoopPrevention: pick('Drop', 'Reject', 'Disabled'),
      vxlanEnabled: fc.boolean(),
      vxlanPort: pick(4789, 4790),
      vxlanVNI: pick(4096, 4097),
      vxlanMTU: pick(0, 1400),
      natPortRange: pick('1000:2000', '0'),
      natOutgoingAddress: pick('10.9.0.1'),
      natOutgoingExclusions: pick('IPPoolsOnly', 'IPPoolsAndHostIPs'),
      iptablesNATOutgoingInterfaceFilter: pick('eth0', 'eth+'),
      interfacePrefix: pick('cali', 'cali,tap', 'calired'),
      deviceRouteSourceAddress: pick('10.9.0.1'),
      floatingIPs: pick('Enabled', 'Disabled'),
      logActionRateLimit: pick('10/second', '1/day'),
    }),
  )
  .map(([iptablesBackend, spec]) => resource('FelixConfiguration', 'default', { ...spec, iptablesBackend }));
const pool = fc
  .record({
    six: fc.boolean(),
    natOutgoing: fc.boolean(),
    disabled: fc.boolean(),
    vxlanMode: pick('Never', 'Always', 'CrossSubnet'),
  })
  .map(({ six, ...spec }) =>
    resource('IPPool', six ? 'six' : 'four', { ...spec, cidr: six ? 'fd00::/64' : '10.0.0.0/16' }),
  );
const there = fc.record({ i: fc.nat(2), tunnel: fc.boolean(), mac: fc.boolean() }).map(({ i, tunnel, mac }) =>
  resource('Node', `there${i}`, {
    bgp: { ipv4Address: `10.9.${i}.9/24`, ipv6Address: `fd09::${i}9/64` },
    ...(tunnel && { ipv4VXLANTunnelAddr: `10.0.${i}.9`, ipv6VXLANTunnelAddr: `fd00::${i}:9` }),
    ...(mac && { vxlanTunnelMACAddr: `66:00:00:00:00:0${i}` }),
  }),
);
const bgp = some({
  serviceClusterIPs: pick([{ cidr: '10.96.0.0/16' }], [{ cidr: 'fd96::/112' }, { cidr: '10.96.0.0/16' }]),
  ipv4NormalRoutePriority: pick(1024, 2000),
}).map((spec) => resource('BGPConfiguration', 'default', spec));
const more = some({
  qosControls: some({
    ingressBandwidth: pick(1_000_000, 5_000_000),
    egressBandwidth: pick(1_000_000),
    ingressPacketRate: pick(10, 100),
    egressPacketRate: pick(10),
    ingressPacketBurst: pick(0, 20),
    ingressMaxConnections: pick(0, 5),
    egressMaxConnections: pick(7),
    dscp: pick<number | string>(10, 'EF'),
  }),
  allowSpoofedSourcePrefixes: pick(['203.0.113.0/24'], ['fd77::5/64'], ['0.0.0.0/0']),
  floats: fc.boolean(),
});

/** One moment of a cluster. */
const moment = fc
  .tuple(
    cluster,
    fc.array(more, { minLength: 6, maxLength: 6 }),
    fc.array(fc.oneof(pool, there, bgp), { maxLength: 6 }),
    felix,
    fc.boolean(),
  )
  .map(([all, extra, others, configuration, ownTunnel]): ReadonlyMap<string, AnyResource> => {
    const own = resource('Node', 'here', {
      bgp: { ipv4Address: '10.9.0.1/24', ipv6Address: 'fd09::1/64' },
      ...(ownTunnel && { ipv4VXLANTunnelAddr: '10.0.9.9', ipv6VXLANTunnelAddr: 'fd00::9:9' }),
    });
    let n = 0;
    const dressed = all.map((r): AnyResource => {
      if (r.kind !== 'WorkloadEndpoint') return r;
      const { floats, ...rest } = extra[n++ % extra.length];
      const [address] = r.spec.ipNetworks ?? [];
      const nats =
        floats && address ? { ipNATs: [{ internalIP: address.split('/')[0], externalIP: `10.9.5.${n}` }] } : {};
      const workload = { pod: r.metadata.name, containerID: `c${n}` };
      const spec = { ...r.spec, ...rest, ...nats, ...workload };
      const name = `here-k8s-${r.metadata.name}-eth0`;
      return JSON.parse(JSON.stringify({ ...r, metadata: { ...r.metadata, name }, spec }));
    });
    const listed = [own, ...dressed, ...others, configuration];
    // What a person may not write would leave what the file said before in force.
    return new Map(
      listed.filter((r) => prepare(r).ok).map((r) => [`${r.kind}_${r.metadata.namespace ?? ''}_${r.metadata.name}`, r]),
    );
  });

type Deed = 'restart' | 'kill' | 'links' | 'rules' | 'sets' | 'routes' | 'settle' | 'none';
interface Step {
  readonly moment: ReadonlyMap<string, AnyResource>;
  /** Of each resource: whether it is taken in this step already. */
  readonly share: number;
  readonly deed: Deed;
  readonly links: readonly string[];
}
const LINKS = [
  'calired0',
  'calired1',
  'calired2',
  'calired3',
  'caliblue0',
  'caliblue1',
  'caliblue2',
  'caliblue3',
  'eth1',
];
const history: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.record({
    moment,
    share: pick(0.3, 0.7, 1),
    deed: pick<Deed>('restart', 'kill', 'links', 'rules', 'sets', 'routes', 'settle', 'none', 'none'),
    links: fc.subarray(LINKS),
  }),
  { minLength: STEPS, maxLength: STEPS },
);

const root = mkdtempSync(join(tmpdir(), 'tsn-history-'));
const sh = (namespace: string, line: string): string =>
  execFileSync('ip', ['netns', 'exec', namespace, 'sh', '-c', line], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'pipe'],
  });

/** A machine with an agent that reads a directory. */
class Machine {
  readonly name: string;
  readonly directory: string;
  readonly #links = new Set<string>();
  agent: AgentProcess | undefined;

  constructor(name: string) {
    this.name = `tsn-${name}-${process.pid}`;
    this.directory = join(root, name);
    mkdirSync(this.directory);
    execFileSync('ip', ['netns', 'add', this.name]);
    sh(
      this.name,
      `ip link set lo up; sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0
       ip link add eth0 address 02:00:00:00:00:01 type veth peer name p; ip link set p up; ip link set eth0 up
       ip addr add 10.9.0.1/24 dev eth0; ip addr add fd09::1/64 dev eth0 nodad`,
    );
  }
  links(wanted: readonly string[]): void {
    const lines = [...this.#links].filter((l) => !wanted.includes(l)).map((l) => `ip link del ${l}`);
    for (const l of wanted)
      if (!this.#links.has(l))
        lines.push(`ip link add ${l} type veth peer name q${l}; ip link set q${l} up; ip link set ${l} up`);
    if (lines.length > 0) sh(this.name, lines.join('\n'));
    this.#links.clear();
    for (const l of wanted) this.#links.add(l);
  }
  start(): void {
    this.agent = insideNamespace(
      this.name,
      () =>
        new AgentProcess({
          NODENAME: 'here',
          TSNET_DIRECTORY: this.directory,
          TSNET_NO_BGP: 'true',
          IP: '10.9.0.1/24',
          IP6: 'fd09::1/64',
        }),
    );
  }
  write(resources: ReadonlyMap<string, AnyResource>, isTaken: (key: string) => boolean, before: Set<string>): void {
    for (const key of before)
      if (!resources.has(key) && isTaken(key)) {
        rmSync(join(this.directory, `${key}.json`), { force: true });
        before.delete(key);
      }
    for (const [key, value] of resources)
      if (isTaken(key)) {
        writeFileSync(join(this.directory, `${key}.json`), JSON.stringify(value));
        before.add(key);
      }
  }
  async stop(kill = false): Promise<void> {
    if (kill) process.kill(this.agent!.pid, 'SIGKILL');
    await this.agent?.stop();
    this.agent = undefined;
  }
  remove(): void {
    execFileSync('ip', ['netns', 'del', this.name]);
  }
}

const DEEDS: Partial<Record<Deed, string>> = {
  rules: `nft delete table ip tsnet; nft delete table ip6 tsnet; nft flush table ip filter; nft flush table ip6 raw
    iptables-legacy -F cali-FORWARD; iptables-legacy -D INPUT -j cali-INPUT`,
  sets: 'ipset flush; for f in ip ip6; do for s in $(nft -j list sets | tr , "\\n" | grep -o "cali[a-z0-9:_-]*" | head -3); do nft flush set $f tsnet $s; done; done',
  routes:
    'ip route flush proto 80; ip -6 route flush proto 80; ip link del vxlan.calico; tc qdisc del dev calired0 root',
};

beforeAll(() => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: join(import.meta.dirname, '../../..'), stdio: 'inherit' });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Numbers that decide what a step takes; the same for the same seed. */
function chance(text: string): number {
  let value = 2166136261;
  for (const c of text) value = Math.imul(value ^ c.charCodeAt(0), 16777619);
  return ((value ^ (value >>> 15)) >>> 0) / 2 ** 32;
}

/** Until what both kernels hold is the same, and not nothing. */
async function alike(a: Machine, b: Machine): Promise<void> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const [one, other] = [kernelState(a.name), kernelState(b.name)];
    if (one === other && one.includes('cali-')) return;
    if (performance.now() > end) {
      const logs = [a, b].map(({ agent }) => `\n${agent?.log}`).join('\n');
      expect(`${one}`, `${a.directory} ${logs}`).toBe(other);
      throw new Error(`no rules at all: ${logs}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

const histories = fc.sample(history, { seed: SEED, numRuns: RUNS });
test.each(histories.map((steps, i) => [i, steps] as const))(
  'history %i ends as if it had not been',
  async (i, steps) => {
    const old = new Machine(`old${i}`);
    const fresh = new Machine(`new${i}`);
    try {
      const written = new Set<string>();
      // Or the agent registers its node in a file of its own, and of two files with one resource the first that was seen counts.
      old.write(steps[0].moment, (key) => key === 'Node__here', written);
      old.start();
      for (const [n, step] of steps.entries()) {
        const isLast = n === steps.length - 1;
        old.write(step.moment, (key) => isLast || chance(`${i} ${n} ${key}`) < step.share, written);
        if (step.deed === 'links' || isLast) old.links(step.links);
        const line = DEEDS[step.deed];
        if (line) sh(old.name, `(${line}) 2>&1; true`);
        if (step.deed === 'restart' || step.deed === 'kill') {
          await old.stop(step.deed === 'kill');
          old.start();
        }
        if (step.deed === 'settle') await until('rules', () => kernelState(old.name).includes('cali-'));
      }
      fresh.links(steps.at(-1)!.links);
      cpSync(old.directory, fresh.directory, { recursive: true, filter: (file) => !file.includes('.tsnet') });
      fresh.start();
      await alike(old, fresh);
    } finally {
      for (const machine of [old, fresh]) {
        await machine.stop();
        machine.remove();
      }
    }
  },
);
