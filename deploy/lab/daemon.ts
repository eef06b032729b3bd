import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { inside } from './netns.ts';
import { lines } from './run.ts';
import type { DaemonRecord, LabState } from './state.ts';
import { LabError, waitFor } from './wait.ts';

export interface DaemonSpec {
  readonly name: string;
  readonly netns: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A process of the lab: started here, or found again from its record. Its output goes to a file, which survives it. */
export class Daemon {
  readonly record: DaemonRecord;
  readonly #state: LabState;
  constructor(state: LabState, record: DaemonRecord) {
    this.#state = state;
    this.record = record;
  }

  static async start(state: LabState, spec: DaemonSpec): Promise<Daemon> {
    const log = openSync(state.log(spec.name), 'a');
    const command = inside(spec.netns, spec.command);
    const child = spawn(command[0], command.slice(1), {
      detached: true, // its own process group: Ctrl-C on the terminal reaches only the lab, which then stops it in order
      stdio: ['ignore', log, log],
      cwd: spec.cwd ?? state.directory,
      env: { PATH: process.env.PATH, HOME: '/root', ...spec.env },
    });
    closeSync(log);
    child.unref();
    const failed = await new Promise<Error | null>((resolve) => {
      child.once('error', resolve);
      child.once('spawn', () => resolve(null));
    });
    if (failed || child.pid === undefined) throw new LabError(`${spec.name} does not start: ${failed?.message}`);
    const { name, netns } = spec;
    const record = { name, netns, pid: child.pid, started: startTime(child.pid) ?? '', command: spec.command };
    state.saveDaemon(record);
    return new Daemon(state, record);
  }

  /** Zombies count as gone. */
  get alive(): boolean {
    return startTime(this.record.pid) === this.record.started;
  }
  signal(signal: NodeJS.Signals): void {
    if (this.alive) process.kill(this.record.pid, signal);
  }
  /** SIGSTOP: the process stands still, its sockets stay open. */
  freeze(): void {
    this.signal('SIGSTOP');
  }
  thaw(): void {
    this.signal('SIGCONT');
  }
  /** Ends it (SIGTERM unless told otherwise) and waits until it is gone; after `timeout` it is killed, which is an error. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeout = 10_000): Promise<void> {
    this.signal(signal);
    this.thaw();
    try {
      await waitFor(`${this.record.name} to end`, () => !this.alive || 'still running', { timeout, interval: 10 });
    } catch (error) {
      this.signal('SIGKILL');
      throw error;
    } finally {
      this.#state.forgetDaemon(this.record.name);
    }
  }
  /** The end of its log, for an error message. */
  tail(count = 15): string[] {
    return lines(this.#state.logText(this.record.name))
      .slice(-count)
      .map((line) => `  ${this.record.name}: ${line.slice(0, 500)}`);
  }
  /** A condition that this process brings about: its death ends the waiting at once, its log is the evidence. */
  waitFor(what: string, check: () => true | string | Promise<true | string>, timeout = 30_000): Promise<void> {
    return waitFor(what, check, {
      timeout,
      evidence: () => this.tail(),
      hopeless: () => (this.alive ? null : `${this.record.name} has ended`),
    });
  }
}

/** proc(5) stat, field 22; null when there is no such process or only its zombie. */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : fields[19];
  } catch {
    return null;
  }
}
