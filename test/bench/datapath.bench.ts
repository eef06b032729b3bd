import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMetrics, realClock, silentLog } from '#core';
import type { Update } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { createIptables } from '../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../agent/kernel/nftables/index.ts';
import { createRunner } from '../../agent/kernel/runner.ts';
import { ChainReconciler } from '../../agent/reconcile/chains.ts';
import { insideNamespace } from '../kernel/namespace.ts';

/**
 * What policy costs a packet: UDP packets and new TCP connections per second from one workload to another through a node that holds the chains
 * of 1 000 endpoints, on each backend, as a share of conntrack alone. Every variant has three namespaces of its own (client, node, server), so that
 * a round goes through all of them within a fraction of a second, in another order each time; a share is taken within its round, and the
 * median is printed with its quartiles. `conntrack again` is the same as the baseline: what it differs from 1 by is the error of the method.
 * `reverse path` is conntrack and the check of source addresses, in two native rules of nftables, and nothing else: what no layout of chains
 * can save. Shares are of numbers per second on the clock, and per second of processor time, which other load disturbs least (load.c).
 * Root, gcc.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/datapath.bench.ts [rounds [milliseconds]]
 */

const ENDPOINTS = 1000;
const [ROUNDS = '100', MILLISECONDS = '20'] = process.argv.slice(2);
const VARIANTS = ['conntrack', 'conntrack again', 'reverse path', 'nft', 'legacy', 'nftables'] as const;
type Variant = (typeof VARIANTS)[number];

const sh = (line: string): string => execFileSync('sh', ['-c', line], { encoding: 'utf8' });
const interfaces = Array.from(
  { length: ENDPOINTS },
  (_, i) => `cali${createHash('sha1').update(String(i)).digest('hex').slice(0, 11)}`,
).sort();
const [clientLink, serverLink] = interfaces.slice(-2);
/** Four networks of 250 addresses. Client and server have the last interfaces and the last addresses of the last networks: nothing finds them early. */
const addressOf = (i: number): string => {
  if (i >= ENDPOINTS - 2) return `10.200.${i - ENDPOINTS + 5}.254`;
  return `10.200.${1 + Math.floor(i / 250)}.${3 + (i % 250)}`;
};

function update(kind: string, id: string, spec: object): Update {
  const [namespace, name] = id.includes('/') ? id.split('/') : [undefined, id];
  const value = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name, namespace }, spec };
  return { kind, id, revision: 1n, value } as unknown as Update;
}

/** Five policies of four rules on every endpoint; the last rule of the last one accepts. */
function* cluster(): Iterable<Update> {
  for (const [i, interfaceName] of interfaces.entries()) {
    const ipNetworks = [`${addressOf(i)}/32`];
    const spec = { node: 'n', orchestrator: 'k8s', endpoint: 'eth0', interfaceName, ipNetworks };
    yield update('WorkloadEndpoint', `space/w-${i}`, spec);
  }
  for (let p = 0; p < 5; p++) {
    const rules: object[] = [0, 1, 2].map((r) => ({
      action: 'Allow',
      protocol: 'TCP',
      source: { nets: [`10.${p}.${r}.0/24`] },
      destination: { ports: [1000 + p * 10 + r, 2000 + p * 10 + r] },
    }));
    if (p === 4) rules.push({ action: 'Allow' });
    const spec = {
      order: p,
      selector: `all() || has(p${p})`,
      types: ['Ingress', 'Egress'],
      ingress: rules,
      egress: rules,
    };
    yield update('GlobalNetworkPolicy', `policy-${p}`, spec);
  }
}

const runner = createRunner({ log: silentLog });

const sockets: NftSocket[] = [];
function socketIn(namespace: string): NftSocket {
  const socket = insideNamespace(namespace, () => new NftSocket().open());
  sockets.push(socket);
  return socket;
}

const ALONE = 'chain f { type filter hook forward priority 0; ct state established accept; }';
const SOURCES =
  'chain p { type filter hook prerouting priority -300; fib saddr . iif oif missing iifname "cali*" drop; }';

async function load(variant: Variant, node: string): Promise<void> {
  const prefix = ['ip', 'netns', 'exec', node];
  if (variant !== 'nft' && variant !== 'legacy' && variant !== 'nftables') {
    execFileSync(prefix[0], [
      ...prefix.slice(1),
      'nft',
      `table ip t { ${ALONE}; ${variant === 'reverse path' ? `${SOURCES};` : ''} }`,
    ]);
    return;
  }
  const backend = variant === 'nftables' ? createNftables(socketIn(node)) : createIptables({ runner, prefix, variant });
  const chains = new ChainReconciler({
    backend,
    families: [4],
    clock: realClock,
    log: silentLog,
    metrics: createMetrics(),
  });
  const dispatch = variant === 'nftables' ? 'map' : 'tree';
  const engine = createPolicyEngine({ node: 'n', config: { ...DEFAULT_RENDER_CONFIG, families: [4], dispatch } });
  for (const u of cluster()) engine.onUpdate(u);
  chains.update(engine.flush());
  const { failures } = await chains.apply();
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
}

/** Client, node and server of one variant. */
interface World {
  readonly client: string;
  readonly node: string;
  readonly server: string;
}

function build({ client, node, server }: World): void {
  for (const name of [client, node, server]) sh(`ip netns add ${name}; ip -n ${name} link set lo up`);
  for (const [name, link, net] of [
    [client, clientLink, 3],
    [server, serverLink, 4],
  ] as const)
    sh(`ip link add ${link} netns ${node} type veth peer name eth0 netns ${name}
      ip -n ${node} addr add 10.200.${net}.1/24 dev ${link}; ip -n ${node} link set ${link} up
      ip -n ${name} addr add 10.200.${net}.254/24 dev eth0; ip -n ${name} link set eth0 up
      ip -n ${name} route add default via 10.200.${net}.1`);
  sh(`ip netns exec ${node} sysctl -qw net.ipv4.ip_forward=1
    ip netns exec ${client} sysctl -qw net.ipv4.ip_local_port_range="1024 65000" net.ipv4.tcp_tw_reuse=1`);
}

function quantile(list: readonly number[], q: number): string {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) * q)].toFixed(3);
}

/** Columns of `load run`: two numbers for each variant. */
function report(kind: string, rows: readonly (readonly number[])[]): void {
  for (const [i, variant] of VARIANTS.entries()) {
    const [clock, processor] = [0, 1].map((c) => rows.map((row) => row[2 * i + c] / row[c]));
    const per = quantile(
      rows.map((row) => 1e9 / row[2 * i + 1] - 1e9 / row[1]),
      0.5,
    );
    console.log(
      `${kind} ${variant.padEnd(16)} clock ${quantile(clock, 0.5)} (${quantile(clock, 0.25)} to ${quantile(clock, 0.75)}), ` +
        `processor ${quantile(processor, 0.5)} (${quantile(processor, 0.25)} to ${quantile(processor, 0.75)}), ${Math.round(Number(per))} ns more`,
    );
  }
}

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tsn-dp-'));
  const program = join(dir, 'load');
  sh(`gcc -O2 -o ${program} ${new URL('load.c', import.meta.url).pathname}`);
  const worlds: World[] = [];
  const servers: ChildProcess[] = [];
  try {
    for (const [i, variant] of VARIANTS.entries()) {
      const [client, node, server] = ['c', 'n', 's'].map((role) => `tsn-dp${role}${i}-${process.pid}`);
      worlds.push({ client, node, server });
      build(worlds[i]);
      await load(variant, node);
      const serve = ['netns', 'exec', server, program, 'serve', '7000'];
      servers.push(spawn('ip', serve, { stdio: 'ignore', detached: true }));
    }
    const where = worlds.map(({ client }, i) => `${client}:${servers[i].pid}`).join(' ');
    for (const kind of ['udp', 'tcp']) {
      const text = sh(`${program} run ${kind} ${ROUNDS} ${MILLISECONDS} 10.200.4.254 7000 ${where}`);
      const rows = text
        .trim()
        .split('\n')
        .map((line) => line.split(' ').map(Number));
      report(kind, rows);
    }
  } finally {
    for (const { pid } of servers) process.kill(-pid!, 'SIGKILL');
    for (const name of worlds.flatMap((w) => Object.values(w))) sh(`ip netns del ${name}`);
    rmSync(dir, { recursive: true });
    for (const socket of sockets) socket.close();
    runner.close();
  }
}
await main();
