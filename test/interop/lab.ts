import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Addr } from '#core';

/** Three network namespaces on one wire: ours, the daemon's, and between them a switch where feeders live and a capture runs. */

export type Place = 'ours' | 'theirs' | 'between';
const PLACES: readonly Place[] = ['ours', 'theirs', 'between'];

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that a test has started; its output is kept in a file. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #log: string;
  readonly #over: Promise<void>;

  constructor(name: string, child: ChildProcess, log: string) {
    this.name = name;
    this.#child = child;
    this.#log = log;
    this.#over = new Promise((resolve) => child.once('exit', () => resolve()));
  }
  get pid(): number {
    return this.#child.pid ?? 0;
  }
  get runs(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }
  get exitCode(): number | null {
    return this.#child.exitCode;
  }
  logText(): string {
    return readFileSync(this.#log, 'utf8');
  }
  /** The program alone, or with `group` also what it has started. */
  signal(signal: NodeJS.Signals, group = false): void {
    if (this.runs && this.pid > 0) process.kill(group ? -this.pid : this.pid, signal);
  }
  /** SIGKILL for it and its children: no word to the peers. */
  async kill(): Promise<void> {
    this.signal('SIGKILL', true);
    await this.#over;
  }
  /** SIGTERM, and SIGKILL when it does not listen. */
  async stop(patience = 10_000): Promise<void> {
    this.signal('SIGTERM');
    const late = setTimeout(() => this.signal('SIGKILL', true), patience);
    await this.#over;
    clearTimeout(late);
  }
}

export class Lab {
  readonly dir: string;
  readonly #id: string;
  readonly #programs: Program[] = [];

  constructor(what: string) {
    this.#id = `tsn-${what}-${process.pid}`;
    this.dir = mkdtempSync(join(tmpdir(), `${this.#id}-`));
    chmodSync(this.dir, 0o755);
    for (const place of PLACES) {
      execFileSync('ip', ['netns', 'add', this.namespace(place)]);
      this.ip(place, 'link set lo up');
    }
    this.ip('between', 'link add wire type bridge');
    this.ip('between', 'link set wire up');
    for (const place of ['ours', 'theirs'] as const) {
      this.ip('between', `link add ${place} type veth peer name wire netns ${this.namespace(place)}`);
      this.ip('between', `link set ${place} master wire up`);
    }
    for (const place of PLACES) {
      this.sh(place, 'sysctl -qw net.ipv6.conf.wire.accept_dad=0');
      this.ip(place, 'link set wire up');
    }
  }
  namespace(place: Place): string {
    return `${this.#id}-${place}`;
  }
  ip(place: Place, line: string): void {
    execFileSync('ip', ['-n', this.namespace(place), ...line.split(' ')]);
  }
  sh(place: Place, line: string): string {
    return execFileSync('ip', ['netns', 'exec', this.namespace(place), 'sh', '-c', line], { encoding: 'utf8' });
  }
  addresses(place: Place, all: Iterable<Addr>): void {
    const lines = [...new Set(all)].map((a) =>
      a.includes(':') ? `addr add ${a}/64 dev wire nodad\n` : `addr add ${a}/16 dev wire\n`,
    );
    execFileSync('ip', ['-n', this.namespace(place), '-batch', '-'], { input: lines.join('') });
  }
  /** A file of the set-up, and its path. */
  write(name: string, text: string, mode = 0o600): string {
    const path = join(this.dir, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, text, { mode });
    return path;
  }
  start(place: Place, name: string, command: readonly string[], env: Record<string, string> = {}): Program {
    const log = join(this.dir, `${name}-${this.#programs.length}.log`);
    const fd = openSync(log, 'w');
    const child = spawn('ip', ['netns', 'exec', this.namespace(place), ...command], {
      detached: true,
      stdio: ['ignore', fd, fd],
      env: { ...process.env, ...env },
    });
    closeSync(fd);
    const program = new Program(name, child, log);
    this.#programs.push(program);
    return program;
  }
  /** A command in the namespace; a failing one is an answer too. */
  run(place: Place, command: readonly string[]): Promise<Output> {
    return new Promise((resolve) => {
      execFile(
        'ip',
        ['netns', 'exec', this.namespace(place), ...command],
        { encoding: 'utf8', maxBuffer: 64 << 20, timeout: 20_000 },
        (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
      );
    });
  }
  /** The last words of every program, for a test that failed. */
  evidence(): string {
    return this.#programs.map((p) => `--- ${p.name}\n${p.logText().slice(-3000)}`).join('\n');
  }
  async down(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.kill()));
    for (const place of PLACES) execFileSync('ip', ['netns', 'del', this.namespace(place)]);
    if (!process.env.TSNET_KEEP) rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits until `look` says null; whatever else it says last is why the wait was in vain. */
export async function until(what: string, look: () => Promise<string | null>, most = 45_000): Promise<void> {
  const end = performance.now() + most;
  let why: string | null = null;
  do {
    why = await look();
    if (why === null) return;
    await new Promise((resolve) => setTimeout(resolve, 150));
  } while (performance.now() < end);
  throw new Error(`waited in vain for ${what}: ${why}`);
}
