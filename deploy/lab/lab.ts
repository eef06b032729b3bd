import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { Daemon } from './daemon.ts';
import { Etcd } from './etcd.ts';
import { createFabric, cut, cuts, heal, plug } from './fabric.ts';
import { createNetns, ip, listNetns, pidsIn, removeNetns } from './netns.ts';
import { LabNode } from './node.ts';
import {
  clusterManifests,
  type Entry,
  endpointManifest,
  entryOf,
  ipamEntries,
  keyOf,
  type Manifest,
} from './objects.ts';
import {
  type Host,
  type LabOptions,
  type LabPlan,
  netnsPrefix,
  planLab,
  planWorkload,
  type WorkloadPlan,
} from './plan.ts';
import { ProbeClient } from './probe-client.ts';
import { PROBE } from './program.ts';
import { type DaemonRecord, LabState } from './state.ts';
import { type Steps, silentSteps } from './steps.ts';
import { Tor } from './tor.ts';
import { LabError } from './wait.ts';
import { attachInterface, createWorkload, detachInterface, macOf, startProbe } from './workload.ts';

/** A running cluster. Made by `createLab`, found again by `Lab.attach`, taken away by `down`. */
export class Lab {
  readonly plan: LabPlan;
  readonly state: LabState;
  readonly etcd: Etcd;
  readonly tor: Tor;
  readonly nodes: readonly LabNode[];
  readonly #probes = new Map<string, ProbeClient>();

  constructor(options: LabOptions) {
    this.plan = planLab(options);
    this.state = new LabState(this.plan.name);
    this.etcd = new Etcd(this.state, this.plan.etcd);
    this.tor = new Tor(this.state, this.plan);
    const endpoint = this.plan.agentsUseEtcd ? this.etcd.endpoint : '';
    this.nodes = this.plan.nodes.map((node) => new LabNode(this.state, node, endpoint, this.plan.agentArgs));
  }
  /** The lab of that name, which another process made. */
  static attach(name: string): Lab {
    const state = new LabState(name);
    if (!state.exists) throw new LabError(`no lab ${name} is running: start it with npm run lab`);
    return new Lab(state.options());
  }

  get workloads(): WorkloadPlan[] {
    return this.state.workloads();
  }
  node(name: string): LabNode {
    return found(this.nodes, name, 'node');
  }
  workload(name: string): WorkloadPlan {
    return found(this.workloads, name, 'workload');
  }
  /** Anything with a namespace. */
  host(name: string): Host {
    const { etcd, tor, office, fabric, nodes } = this.plan;
    const bridge: Host = { name: 'fabric', netns: fabric, addresses: ['', ''] };
    return found([...nodes, ...this.workloads, tor, office, etcd, bridge], name, 'host');
  }
  /** The program inside a workload or the office. */
  probe(name: string): ProbeClient {
    const probe = this.#probes.get(name) ?? new ProbeClient(this.state.path(`probe-${name}.sock`));
    this.#probes.set(name, probe);
    return probe;
  }
  /** A process of the lab, by the name of its log: `etcd`, `tor`, a node, `probe-<workload>`. */
  daemon(name: string): Daemon {
    return new Daemon(this.state, found(this.state.daemons(), name, 'process'));
  }

  /** Puts resources as other programs of the cluster would; gives their keys. */
  async put(...manifests: Manifest[]): Promise<string[]> {
    await this.putEntries(manifests.map((manifest) => entryOf(manifest, randomUUID(), new Date())));
    return manifests.map(keyOf);
  }
  putEntries(entries: readonly Entry[]): Promise<void> {
    return this.etcd.put(entries);
  }
  remove(manifest: Pick<Manifest, 'kind' | 'namespace' | 'name'>): Promise<void> {
    return this.etcd.delete(keyOf(manifest));
  }

  /** One more workload on the node: its namespace, its address in IPAM, its endpoint, the program inside. */
  async addWorkload(nodeName: string, app = 'web'): Promise<WorkloadPlan> {
    const node = this.node(nodeName);
    const taken = this.workloads.filter((w) => w.node === nodeName).map((w) => w.ordinal);
    const workload = planWorkload(this.plan.name, node.plan, app, Math.max(0, ...taken) + 1);
    await this.startWorkload(workload);
    return workload;
  }
  /** The reverse of `addWorkload`, as the CNI plugin's DEL: endpoint, interface, address. */
  async removeWorkload(name: string): Promise<void> {
    const workload = this.workload(name);
    await this.remove(endpointManifest(workload, ''));
    await detachInterface(workload);
    const probe = this.state.daemons().find((record) => record.name === `probe-${name}`);
    if (probe) await new Daemon(this.state, probe).stop('SIGKILL');
    this.#probes.get(name)?.close();
    this.#probes.delete(name);
    await removeNetns(workload.netns);
    this.state.forgetWorkload(name);
    await this.#writeIpam(workload.node);
  }
  async startWorkload(workload: WorkloadPlan): Promise<void> {
    const node = this.node(workload.node);
    this.state.saveWorkload(workload);
    const mac = await createWorkload(workload, node.plan);
    await this.#writeIpam(workload.node);
    await this.put(endpointManifest(workload, mac));
    this.#probes.set(workload.name, await startProbe(this.state, workload));
  }
  /** Deletes the interface of a running workload, and makes it again when asked. */
  async detach(name: string): Promise<void> {
    await detachInterface(this.workload(name));
  }
  async reattach(name: string): Promise<void> {
    const workload = this.workload(name);
    await attachInterface(workload, this.node(workload.node).plan);
    await this.put(endpointManifest(workload, await macOf(workload)));
  }
  async #writeIpam(nodeName: string): Promise<void> {
    const workloads = this.workloads.filter((w) => w.node === nodeName);
    await this.putEntries(ipamEntries(this.node(nodeName).plan, workloads, new Date()));
  }

  cut(a: string, b: string): Promise<void> {
    return cut(this.plan.fabric, this.#port(a), this.#port(b));
  }
  heal(a: string, b: string): Promise<void> {
    return heal(this.plan.fabric, this.#port(a), this.#port(b));
  }
  cuts(): Promise<string[][]> {
    return cuts(this.plan.fabric);
  }
  #port(name: string): string {
    const { nodes, tor, etcd } = this.plan;
    return found([...nodes, tor, etcd], name, 'machine on the fabric').name;
  }

  /** Brings everything up, step by step. What a failure leaves behind is removed by `down`. */
  async up(options: LabOptions, steps: Steps): Promise<void> {
    const { plan, state } = this;
    state.create(options);
    await steps.step('namespaces and the fabric between them', () => this.#createMachines());
    await steps.step(`etcd at ${plan.etcd.addresses[0]}`, () => this.etcd.start());
    await steps.step('the cluster in etcd, as Calico writes it', async () => {
      const manifests = clusterManifests(plan);
      await this.put(...manifests);
      return `${manifests.length} resources: pools, nodes, BGP, tiers, a profile, a policy`;
    });
    await steps.step(`top-of-rack router, AS ${plan.tor.asNumber}`, async () => {
      const words = await this.tor.start();
      this.#probes.set('office', await startProbe(state, plan.office));
      return words;
    });
    await steps.step('workloads', async () => {
      await Promise.all(plan.nodes.map((node) => this.#startWorkloadsOf(node.name)));
      return this.workloads.map((w) => `${w.name} ${w.addresses.join(' ')}`).join('\n');
    });
    for (const node of this.nodes) await node.start();
    for (const node of this.nodes) await steps.step(`agent on ${node.name}`, () => this.#agentReady(node));
  }
  async #agentReady(node: LabNode): Promise<string> {
    await node.ready();
    return `ready, pid ${node.agent.record.pid}`;
  }
  async #startWorkloadsOf(node: string): Promise<void> {
    for (const workload of this.plan.workloads.filter((w) => w.node === node)) await this.startWorkload(workload);
  }
  async #createMachines(): Promise<string> {
    const { fabric, nodes, tor, etcd, office } = this.plan;
    await createNetns(fabric);
    await createFabric(fabric);
    for (const machine of [etcd, tor, ...nodes]) {
      await createNetns(machine.netns);
      await plug(fabric, machine);
    }
    await createNetns(office.netns);
    for (const node of nodes.filter((n) => n.defaultRoute))
      await ip(
        node.netns,
        tor.addresses.map((address) => `route add default via ${address}`),
      );
    return `nodes: ${nodes.length}, a router, etcd`;
  }

  /** Ends what the lab started and removes its namespaces and its state; also after a crash, also half of a lab. */
  async down(): Promise<void> {
    for (const probe of this.#probes.values()) probe.close();
    const stop = (daemons: readonly DaemonRecord[]) =>
      Promise.allSettled(daemons.map((record) => new Daemon(this.state, record).stop('SIGTERM', 5_000)));
    // Agents first: with what they depend on still there, they stop as they do on a machine.
    const agent = ({ name }: DaemonRecord) => this.nodes.some((node) => node.name === name);
    await stop(this.state.daemons().filter(agent));
    await stop(this.state.daemons());
    for (const netns of await listNetns(netnsPrefix(this.plan.name))) {
      for (const pid of await pidsIn(netns)) killQuietly(pid);
      await removeNetns(netns);
    }
    this.state.remove();
  }
}

/** Brings a lab up; when a step fails, everything is taken away again unless `keep`. */
export async function createLab(options: LabOptions = {}, steps: Steps = silentSteps): Promise<Lab> {
  const lab = new Lab(options);
  if (!existsSync(PROBE)) throw new LabError(`${PROBE} is missing: npm run build`);
  if (lab.state.exists || (await listNetns(netnsPrefix(lab.plan.name))).length > 0)
    throw new LabError(`a lab ${lab.plan.name} is there already: npm run lab -- down`);
  try {
    await lab.up(options, steps);
    return lab;
  } catch (error) {
    await lab.down();
    throw error;
  }
}

function found<T extends { readonly name: string }>(all: readonly T[], name: string, what: string): T {
  const one = all.find((item) => item.name === name);
  if (!one)
    throw new LabError(`no ${what} ${JSON.stringify(name)}; there are ${all.map((item) => item.name).join(', ')}`);
  return one;
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended in between
  }
}
