import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PROJECT = join(import.meta.dirname, '../../..');

/** The built agent in a process of its own, in the namespace that the test is in, with a `/var/lib/calico` of its own. */
export class AgentProcess {
  readonly runDir = mkdtempSync(join(tmpdir(), 'tsn-agent-'));
  readonly #child: ChildProcess;
  /** The end of its log. */
  log = '';

  /** @param nodeFlags for Node.js itself, such as a profiler's */
  constructor(env: Record<string, string>, nodeFlags: readonly string[] = []) {
    const line = 'mkdir -p /var/lib/calico && mount -t tmpfs none /var/lib/calico && exec "$0" "$@"';
    const program = [process.execPath, ...nodeFlags, join(PROJECT, 'dist/agent/main.js')];
    this.#child = spawn('unshare', ['--mount', 'sh', '-c', line, ...program], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, TSNET_RUN_DIR: this.runDir, TSNET_SECRETS_DIR: `${this.runDir}/secrets`, ...env },
    });
    const keep = (chunk: Buffer) => {
      this.log = (this.log + chunk.toString()).slice(-20_000);
    };
    this.#child.stdout?.on('data', keep);
    this.#child.stderr?.on('data', keep);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** A file as it sees it. */
  file(path: string): string {
    return readFileSync(`/proc/${this.#child.pid}/root${path}`, 'utf8');
  }

  /** Why it is not ready, or an empty text. */
  async unready(): Promise<string> {
    try {
      const answer = await fetch('http://127.0.0.1:9099/readiness');
      return answer.ok ? '' : await answer.text();
    } catch (error) {
      return String(error);
    }
  }

  /** Waits until what it says of its readiness is as wanted. */
  async waitUnready(wanted: (reasons: string) => boolean, interval = 100, most = 60_000): Promise<void> {
    const end = performance.now() + most;
    for (let reasons = await this.unready(); !wanted(reasons); reasons = await this.unready()) {
      if (performance.now() > end || this.#child.exitCode !== null)
        throw new Error(`agent: ${reasons}; exit ${this.#child.exitCode}; log:\n${this.log}`);
      await new Promise((resolve) => setTimeout(resolve, interval));
    }
  }
  ready(): Promise<void> {
    return this.waitUnready((reasons) => reasons === '');
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once('exit', resolve));
      this.#child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.runDir, { recursive: true, force: true });
  }
}
