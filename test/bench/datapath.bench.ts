import { execFileSync, spawn } from 'node:child_process';
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
 * of 1 000 endpoints, on each backend, as a share of conntrack alone. Rounds go through the variants in turn, and a share is taken within
 * its round; the median is printed, and the lowest and highest, which say how much the machine was busy with other things. Root, gcc.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/datapath.bench.ts [rounds [seconds]]
 */

const ENDPOINTS = 1000;
const ROUNDS = Number(process.argv[2] ?? 7);
const SECONDS = process.argv[3] ?? '1';
const [C, R, S] = ['c', 'r', 's'].map((x) => `tsn-dp${x}-${process.pid}`);
const VARIANTS = ['conntrack only', 'nft', 'legacy', 'nftables'] as const;

const sh = (line: string): string => execFileSync('sh', ['-c', line], { encoding: 'utf8' });
const interfaces = Array.from(
  { length: ENDPOINTS },
  (_, i) => `cali${createHash('sha1').update(String(i)).digest('hex').slice(0, 11)}`,
).sort();
const [clientLink, serverLink] = interfaces.slice(-2);

function update(kind: string, id: string, spec: object): Update {
  const [namespace, name] = id.includes('/') ? id.split('/') : [undefined, id];
  const value = { apiVersion: 'projectcalico.org/v3', kind, metadata: { name, namespace }, spec };
  return { kind, id, revision: 1n, value } as unknown as Update;
}

/** Five policies of four rules on every endpoint; the last rule of the last one accepts. */
function* cluster(): Iterable<Update> {
  for (const [i, interfaceName] of interfaces.entries()) {
    const ipNetworks = [`10.201.${i >> 8}.${i & 255}/32`];
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
let socket: NftSocket | undefined;
function socketIn(namespace: string): NftSocket {
  socket ??= insideNamespace(namespace, () => new NftSocket().open());
  return socket;
}
async function load(variant: (typeof VARIANTS)[number]): Promise<void> {
  sh(`ip netns exec ${R} nft flush ruleset`);
  for (const table of ['filter', 'raw'])
    sh(`ip netns exec ${R} sh -c 'iptables-legacy -t ${table} -F; iptables-legacy -t ${table} -X'`);
  if (variant === 'conntrack only') {
    const chain = 'chain f { type filter hook forward priority 0; ct state established accept; }';
    sh(`ip netns exec ${R} nft 'table ip t { ${chain}; }'`);
    return;
  }
  const prefix = ['ip', 'netns', 'exec', R];
  const backend = variant === 'nftables' ? createNftables(socketIn(R)) : createIptables({ runner, prefix, variant });
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

function namespaces(): void {
  for (const name of [C, R, S]) sh(`ip netns add ${name}; ip -n ${name} link set lo up`);
  for (const [name, link, net] of [
    [C, clientLink, 1],
    [S, serverLink, 2],
  ] as const)
    sh(`ip link add ${link} netns ${R} type veth peer name eth0 netns ${name}
      ip -n ${R} addr add 10.200.${net}.1/24 dev ${link}; ip -n ${R} link set ${link} up
      ip -n ${name} addr add 10.200.${net}.2/24 dev eth0; ip -n ${name} link set eth0 up
      ip -n ${name} route add default via 10.200.${net}.1`);
  sh(`ip netns exec ${R} sysctl -qw net.ipv4.ip_forward=1
    ip netns exec ${C} sysctl -qw net.ipv4.ip_local_port_range="1024 65000" net.ipv4.tcp_tw_reuse=1`);
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1];

async function main(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'tsn-dp-'));
  const program = join(dir, 'load');
  sh(`gcc -O2 -o ${program} ${new URL('load.c', import.meta.url).pathname}`);
  namespaces();
  const server = spawn('ip', ['netns', 'exec', S, program, 'serve', '7000'], { stdio: 'ignore', detached: true });
  const shares = { tcp: new Map<string, number[]>(), udp: new Map<string, number[]>() };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const base = { tcp: 0, udp: 0 };
      for (const variant of VARIANTS) {
        await load(variant);
        for (const kind of ['tcp', 'udp'] as const) {
          const rate = Number(sh(`ip netns exec ${C} ${program} ${kind} 10.200.2.2 7000 ${SECONDS}`));
          if (variant === 'conntrack only') base[kind] = rate;
          else shares[kind].set(variant, [...(shares[kind].get(variant) ?? []), rate / base[kind]]);
        }
      }
    }
    for (const variant of VARIANTS.slice(1))
      for (const kind of ['udp', 'tcp'] as const) {
        const list = shares[kind].get(variant)!;
        const range = `${Math.min(...list).toFixed(3)}…${Math.max(...list).toFixed(3)}`;
        console.log(`${variant} ${kind}: ${median(list).toFixed(3)} of conntrack alone (${range}, ${ROUNDS} rounds)`);
      }
  } finally {
    process.kill(-server.pid!, 'SIGKILL');
    for (const name of [C, R, S]) sh(`ip netns del ${name}`);
    rmSync(dir, { recursive: true });
    runner.close();
    socket?.close();
  }
}
await main();
