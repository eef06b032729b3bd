import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EtcdServer } from '../kernel/datastore/etcd-server.ts';
import { enterNamespace } from '../kernel/namespace.ts';

/**
 * How long the built tsnetctl takes from its start to its end, beside an empty Node.js; commands in turn, so that what else the machine does meanwhile
 * hits all of them. Root, etcd, `npm run build` before.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/tsnetctl.bench.ts [rounds]
 */
const ROUNDS = Number(process.argv[2] ?? 20);
const BIN = join(import.meta.dirname, '../../bin/tsnetctl');

const ns = enterNamespace('ctlbench');
const etcd = new EtcdServer();
const directory = mkdtempSync(join(tmpdir(), 'tsn-bench-'));
const file = join(directory, 'nodes.yaml');
const node = (name: string) => `apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: ${name}}\nspec: {}\n`;
writeFileSync(file, Array.from({ length: 20 }, (_, i) => node(`n${i}`)).join('---\n'));
const onEtcd = { ETCD_ENDPOINTS: etcd.url };
const onDirectory = { TSNET_DIRECTORY: directory };
const COMMANDS: [what: string, command: string[], env: Record<string, string>][] = [
  ['empty Node.js', [process.execPath, '-e', '0'], {}],
  ['--version', [BIN, '--version'], {}],
  ['--help', [BIN, '--help'], {}],
  ['get nodes, directory', [BIN, 'get', 'nodes'], onDirectory],
  ['get nodes, etcd', [BIN, 'get', 'nodes'], onEtcd],
  ['get nodes -o json, etcd', [BIN, 'get', 'nodes', '-o', 'json'], onEtcd],
  ['ipam show, etcd', [BIN, 'ipam', 'show'], onEtcd],
];
const times = new Map<string, number[]>(COMMANDS.map(([what]) => [what, []]));

function run([program, ...args]: string[], more: Record<string, string>): void {
  const { status, stderr } = spawnSync(program, args, { env: { PATH: process.env.PATH, ...more }, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
}

try {
  await etcd.start();
  run([BIN, 'apply', '-f', file], onEtcd);
  for (let round = 0; round < ROUNDS; round++)
    for (const [what, command, env] of COMMANDS) {
      const start = performance.now();
      run(command, env);
      times.get(what)?.push(performance.now() - start);
    }
} finally {
  await etcd.remove();
  ns.leave();
  rmSync(directory, { recursive: true });
}
for (const [what, all] of times) {
  const sorted = all.sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)].toFixed(0).padStart(4);
  console.log(`${what.padEnd(28)} min ${at(0)} ms  p50 ${at(0.5)} ms  p95 ${at(0.95)} ms`);
}
