import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface EtcdSettings {
  readonly name?: string;
  readonly clientPort?: number;
  readonly peerPort?: number;
  /** `name=peer-url,…` of all members; alone when absent. */
  readonly cluster?: string;
  readonly scheme?: 'http' | 'https';
  readonly extra?: readonly string[];
}

/** A real etcd, a child of the test, in the namespace that the test is in. */
export class EtcdServer {
  readonly url: string;
  readonly #settings: EtcdSettings;
  #data = mkdtempSync(join(tmpdir(), 'tsn-etcd-'));
  #child: ChildProcess | null = null;
  /** The last lines it wrote, for a message when it does not come up. */
  #output = '';

  constructor(settings: EtcdSettings = {}) {
    this.#settings = settings;
    this.url = `${settings.scheme ?? 'http'}://127.0.0.1:${settings.clientPort ?? 2379}`;
  }

  /** Starts it without waiting, which members of a cluster need of each other. */
  launch(): void {
    const { name = 'one', peerPort = 2380, cluster, extra = [] } = this.#settings;
    const peer = `http://127.0.0.1:${peerPort}`;
    const child = spawn(
      'etcd',
      [
        ...['--name', name, '--data-dir', this.#data],
        ...['--listen-client-urls', this.url, '--advertise-client-urls', this.url],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', cluster ?? `${name}=${peer}`],
        ...['--heartbeat-interval', '50', '--election-timeout', '500'],
        ...extra,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    child.stderr?.on('data', (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-3000);
    });
    this.#child = child;
  }

  async start(): Promise<void> {
    this.launch();
    await this.ready();
  }

  /** Waits until it answers. */
  async ready(...flags: string[]): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        this.ctl(...flags, 'endpoint', 'health');
        return;
      } catch (error) {
        if (attempt > 100 || this.#child?.exitCode != null)
          throw new Error(`etcd does not come up: ${this.#output}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Runs etcdctl against it and gives its output. */
  ctl(...args: string[]): string {
    return execFileSync('etcdctl', ['--endpoints', this.url, '--command-timeout=5s', ...args], {
      encoding: 'utf8',
      env: { ...process.env, ETCDCTL_API: '3' },
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 256 << 20,
    });
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Ends it and waits for its end; the data stay. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    if (signal !== 'SIGKILL') child.kill('SIGCONT');
    await ended;
  }

  get data(): string {
    return this.#data;
  }
  /** Goes on with other data at the next start, as after a restore. */
  set data(dir: string) {
    rmSync(this.#data, { recursive: true, force: true });
    this.#data = dir;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#data, { recursive: true, force: true });
  }
}
