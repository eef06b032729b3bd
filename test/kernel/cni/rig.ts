import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { realClock, silentLog } from '#core';
import { createResources, Ipam, openStore, type Resources, type Store } from '#datastore';
import { bundleCni } from '../../../scripts/bundle-cni.mjs';
import { EtcdServer } from '../datastore/etcd-server.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

export const NODE = 'node-1';

/** A node in a namespace of its own with a real etcd, the plugin as one file in an empty directory, and containers to connect. */
export class Rig {
  readonly ns: Namespace;
  readonly dir = mkdtempSync(join(tmpdir(), 'tsn-cni-'));
  readonly etcd = new EtcdServer();
  store!: Store;
  resources!: Resources;
  ipam!: Ipam;
  #containers = new Set<string>();

  constructor(what: string) {
    this.ns = enterNamespace(what);
    // Proxy ARP answers for what the node has a route to, so it needs a way out.
    this.ns.sh(
      'ip link add uplink type veth peer name wire && ip link set wire up && ip addr add 10.0.0.1/24 dev uplink && ip addr add fd00:10::1/64 dev uplink nodad && ' +
        'ip link set uplink up && ip route add default via 10.0.0.254 && ip -6 route add default via fd00:10::fe',
    );
  }

  async start(): Promise<void> {
    await bundleCni({
      entry: join(import.meta.dirname, '../../../cni/main.ts'),
      outfile: join(this.dir, 'bin/tsnet-cni'),
      conditions: ['tsnet-source'],
    });
    await this.etcd.start();
    await this.#seed();
  }

  /** Empties the cluster and makes what an agent and an operator make. */
  async #seed(): Promise<void> {
    this.store = await openStore(
      { type: 'etcdv3', endpoints: [this.etcd.url] },
      { clock: realClock, log: silentLog, brief: true },
    );
    this.resources = createResources(this.store, realClock);
    this.ipam = new Ipam({ store: this.store, resources: this.resources, clock: realClock });
    const apiVersion = 'projectcalico.org/v3';
    for (const name of [NODE, 'node-2'])
      await this.resources.create({
        apiVersion,
        kind: 'Node',
        metadata: { name },
        spec: { bgp: { ipv4Address: `10.0.0.${name.at(-1)}/24` } },
      });
    for (const [name, cidr] of [
      ['pool-4', '10.65.0.0/16'],
      ['pool-6', 'fd00:65::/64'],
      ['other', '10.66.0.0/24'],
    ])
      await this.resources.create({
        apiVersion,
        kind: 'IPPool',
        metadata: { name },
        spec: { cidr, ...(name === 'other' ? { assignmentMode: 'Manual' } : {}) },
      });
  }

  async stop(): Promise<void> {
    await this.store?.close();
    await this.etcd.remove();
    for (const name of this.#containers) execFileSync('ip', ['netns', 'del', name]);
    this.ns.leave();
    rmSync(this.dir, { recursive: true, force: true });
  }

  conf(over: object = {}): Record<string, unknown> {
    return {
      cniVersion: '1.0.0',
      name: 'net1',
      type: 'tsnet-cni',
      datastore_type: 'etcdv3',
      etcd_endpoints: this.etcd.url,
      nodename: NODE,
      mtu: 1440,
      log_level: 'info',
      ipam_lock_file: join(this.dir, 'ipam.lock'),
      run_dir: join(this.dir, 'run'),
      ipam: { type: 'calico-ipam', assign_ipv4: 'true', assign_ipv6: 'true' },
      ...over,
    };
  }

  /** Where the agent's socket would be. */
  agentSocket(): string {
    mkdirSync(join(this.dir, 'run'), { recursive: true });
    return join(this.dir, 'run/agent.sock');
  }

  /** A container: a namespace without interfaces. */
  container(id: string): Container {
    const name = `${this.ns.name}-${id}`;
    execFileSync('ip', ['netns', 'add', name]);
    this.#containers.add(name);
    execFileSync('ip', ['netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up']);
    return {
      id,
      netns: `/var/run/netns/${name}`,
      sh: (line) => execFileSync('ip', ['netns', 'exec', name, 'sh', '-c', line], { encoding: 'utf8' }),
      end: () => {
        this.#containers.delete(name);
        execFileSync('ip', ['netns', 'del', name]);
      },
    };
  }

  /** Runs the plugin as a runtime does. */
  run(command: string, container: Container | null, conf: object, over: Record<string, string> = {}): Promise<Answer> {
    const attachment = container
      ? { CNI_CONTAINERID: container.id, CNI_NETNS: container.netns, CNI_IFNAME: 'eth0' }
      : {};
    const env = {
      PATH: process.env.PATH,
      CNI_COMMAND: command,
      CNI_PATH: `${join(this.dir, 'bin')}:/usr/lib/cni`,
      ...attachment,
      ...over,
    };
    return exchange(join(this.dir, 'bin/tsnet-cni'), env, JSON.stringify(conf));
  }

  async add(container: Container, conf: object = this.conf(), over: Record<string, string> = {}): Promise<CniResult> {
    const { status, stdout, stderr } = await this.run('ADD', container, conf, over);
    if (status !== 0) throw new Error(`ADD: ${stdout}${stderr}`);
    return JSON.parse(stdout) as CniResult;
  }

  async del(container: Container, conf: object = this.conf(), over: Record<string, string> = {}): Promise<void> {
    const { status, stdout, stderr } = await this.run('DEL', container, conf, over);
    if (status !== 0 || stdout !== '') throw new Error(`DEL: ${stdout}${stderr}`);
  }

  /** What is held in the datastore: endpoints, handles, and addresses that are taken. */
  async held(): Promise<{ endpoints: string[]; handles: number; addresses: number }> {
    const { items } = await this.resources.list('WorkloadEndpoint');
    let handles = 0;
    for await (const page of this.store.list('/calico/ipam/v2/handle/')) handles += page.length;
    const { pools } = await this.ipam.usage();
    return {
      endpoints: items.map(({ metadata }) => metadata.name),
      handles,
      addresses: pools.reduce((sum, pool) => sum + Number(pool.inUse), 0),
    };
  }

  /** Interfaces of the node's workloads. */
  links(): string[] {
    return this.ns
      .sh('ip -o link')
      .split('\n')
      .flatMap((line) => line.match(/^\d+: ([^:@]+)/)?.[1] ?? [])
      .filter((name) => name.startsWith('cali'));
  }
}

export interface Container {
  readonly id: string;
  readonly netns: string;
  sh(line: string): string;
  end(): void;
}
export interface Answer {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces: { name: string; mac?: string; sandbox?: string; mtu?: number }[];
  readonly ips: { address: string; interface?: number; version?: string; gateway?: string }[];
  readonly routes?: unknown[];
}

/** Starts a program, feeds it and waits for it; several may run at once. */
export function exchange(file: string, env: Record<string, string | undefined>, input: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [], { env, stdio: 'pipe' });
    const answer = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].on('data', (chunk: Buffer) => {
        answer[name] += chunk.toString();
      });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, ...answer }));
    child.stdin.end(input);
  });
}
