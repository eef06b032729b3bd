import { mkdirSync } from 'node:fs';
import { Daemon } from './daemon.ts';
import { attemptIn, runIn } from './netns.ts';
import { HOST_MAC, type NodePlan } from './plan.ts';
import { AGENT, TSNETCTL } from './program.ts';
import { lines, type Output } from './run.ts';
import type { LabState } from './state.ts';
import { LabError } from './wait.ts';

/** One path of a route as `ip -j route` prints it; only what is looked at. */
export interface KernelRoute {
  readonly dst: string;
  readonly type?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly metric?: number;
}

/** A node has its own /var/lib, where the agent leaves the MTU for the CNI plugin: nothing of a lab is to be found on the machine itself. */
const OWN_VAR_LIB = 'mount --bind "$0" /var/lib && exec "$@"';

/** A node: a namespace with an agent in it. */
export class LabNode {
  readonly plan: NodePlan;
  readonly #state: LabState;
  readonly #etcd: string;
  readonly #arguments: readonly string[];
  #agent: Daemon | null;

  constructor(state: LabState, plan: NodePlan, etcd: string, agentArgs: readonly string[]) {
    this.plan = plan;
    this.#state = state;
    this.#etcd = etcd;
    this.#arguments = agentArgs;
    const record = state.daemons().find(({ name }) => name === plan.name);
    this.#agent = record ? new Daemon(state, record) : null;
  }
  get name(): string {
    return this.plan.name;
  }
  get agent(): Daemon {
    if (!this.#agent) throw new LabError(`no agent runs on ${this.name}`);
    return this.#agent;
  }
  /** Control socket, endpoint status files. */
  get runDirectory(): string {
    return this.#state.path(this.name);
  }

  /** The end of what its agent has said; nothing where no agent of the lab runs. */
  tail(count: number): string[] {
    return this.#agent?.tail(count) ?? [];
  }
  /** All that its agents have said, those before the last included. */
  logText(): string {
    return this.#state.logText(this.name);
  }

  /** Starts the agent without waiting for anything. */
  async start(moreArguments: readonly string[] = []): Promise<Daemon> {
    const own = this.#state.path(this.name, 'var-lib');
    mkdirSync(own, { recursive: true });
    this.#agent = await Daemon.start(this.#state, {
      name: this.name,
      netns: this.plan.netns,
      command: [
        ...['sh', '-c', OWN_VAR_LIB, own],
        process.execPath,
        AGENT,
        '--node-name',
        this.name,
        '--run-dir',
        this.runDirectory,
        '--secrets-dir',
        this.#state.path(this.name, 'secrets'),
        ...(this.#etcd ? ['--etcd-endpoints', this.#etcd] : []),
        ...this.#arguments,
        ...moreArguments,
      ],
    });
    return this.#agent;
  }
  /** Waits until the agent says that it is ready. */
  async ready(): Promise<void> {
    await this.agent.waitFor(`the agent on ${this.name} to be ready`, async () => {
      const { status, text } = await this.get('http://127.0.0.1:9099/readiness');
      return status === 200 || text.trim();
    });
  }
  /** HTTP from inside the node: its agent listens on the node's own loopback only. */
  async get(url: string): Promise<{ status: number; text: string }> {
    const script = `fetch(${JSON.stringify(url)}).then(async (r) =>
      process.stdout.write(JSON.stringify({ status: r.status, text: await r.text() })))`;
    const { code, stdout, stderr } = await this.exec([process.execPath, '-e', script]);
    if (code !== 0)
      throw new LabError(`${url} on ${this.name}: ${/cause: Error: (.*)/.exec(stderr)?.[1] ?? 'no answer'}`);
    return JSON.parse(stdout);
  }
  async stop(): Promise<void> {
    await this.agent.stop();
    this.#agent = null;
  }
  /** SIGKILL: no chance to clean up. */
  async kill(): Promise<void> {
    await this.agent.stop('SIGKILL');
    this.#agent = null;
  }

  exec(command: readonly string[], input?: string): Promise<Output> {
    return attemptIn(this.plan.netns, command, input);
  }
  run(command: readonly string[], input?: string): Promise<string> {
    return runIn(this.plan.netns, command, input);
  }
  /** tsnetctl on this node, with its agent's socket and the lab's etcd. */
  tsnetctl(args: readonly string[], input?: string): Promise<Output> {
    const env = Object.entries(this.environment).map(([key, value]) => `${key}=${value}`);
    return this.exec(['env', ...env, process.execPath, TSNETCTL, ...this.socketArguments, ...args], input);
  }
  /** The same, with the answer as a value. */
  async ctl(args: readonly string[]): Promise<unknown> {
    const { code, stdout, stderr } = await this.tsnetctl([...args, '-o', 'json']);
    if (code !== 0) throw new LabError(`tsnetctl ${args.join(' ')} on ${this.name}: exit ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout);
  }
  get environment(): Record<string, string> {
    return { NODENAME: this.name, ETCD_ENDPOINTS: this.#etcd, TSNET_RUN_DIR: this.runDirectory };
  }
  get socketArguments(): string[] {
    return ['--socket', `${this.runDirectory}/agent.sock`];
  }

  /** The kernel's main table, in one family; `filter` as `ip route show` takes it. */
  async routes(family: 4 | 6, ...filter: string[]): Promise<KernelRoute[]> {
    const text = await this.run(['ip', `-${family}`, '-j', 'route', 'show', ...filter]);
    return text.trim() ? JSON.parse(text) : [];
  }
  /** Routes of protocol 80 as lines, both families, sorted: to compare a before with an after. */
  async ownRoutes(): Promise<string[]> {
    const texts = await Promise.all([4, 6].map((f) => this.run(['ip', `-${f}`, 'route', 'show', 'proto', '80'])));
    return texts
      .flatMap(lines)
      .map((line) => line.trim().replaceAll(/\s+/g, ' '))
      .sort();
  }
  /** Workload interfaces that are there, by their MAC. */
  async workloadInterfaces(): Promise<string[]> {
    const links: { ifname: string; address: string }[] = JSON.parse(await this.run(['ip', '-j', 'link', 'show']));
    return links.filter((link) => link.address === HOST_MAC).map((link) => link.ifname);
  }
}
