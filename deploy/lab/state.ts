import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LabOptions, WorkloadPlan } from './plan.ts';

/**
 * What the lab has to remember so that another process can act on it, and so that `down` finds everything after a crash. One small file a fact:
 * two processes that add something at once do not overwrite each other.
 */

const ROOT = '/run/tsnet-lab';

export interface DaemonRecord {
  readonly name: string;
  readonly netns: string;
  readonly pid: number;
  /** Start time in clock ticks (proc(5) stat, field 22): together with the pid it names one process for ever. */
  readonly started: string;
  readonly command: readonly string[];
}

export class LabState {
  readonly directory: string;
  constructor(lab: string) {
    this.directory = join(ROOT, lab);
  }
  static labs(): string[] {
    return entries(ROOT);
  }
  create(options: LabOptions): void {
    for (const part of ['daemons', 'workloads', 'log', 'run'])
      mkdirSync(join(this.directory, part), { recursive: true });
    this.#write('lab.json', options);
  }
  get exists(): boolean {
    return entries(this.directory).includes('lab.json');
  }
  options(): LabOptions {
    return JSON.parse(readFileSync(join(this.directory, 'lab.json'), 'utf8'));
  }
  /** A path for something that a daemon needs: a socket, a configuration, its data. */
  path(...parts: string[]): string {
    return join(this.directory, 'run', ...parts);
  }
  log(daemon: string): string {
    return join(this.directory, 'log', `${daemon}.log`);
  }
  /** Empty when the daemon has never run. */
  logText(daemon: string): string {
    return existsSync(this.log(daemon)) ? readFileSync(this.log(daemon), 'utf8') : '';
  }
  saveDaemon(record: DaemonRecord): void {
    this.#write(join('daemons', `${record.name}.json`), record);
  }
  forgetDaemon(name: string): void {
    rmSync(join(this.directory, 'daemons', `${name}.json`), { force: true });
  }
  daemons(): DaemonRecord[] {
    return this.#readAll('daemons');
  }
  saveWorkload(workload: WorkloadPlan): void {
    this.#write(join('workloads', `${workload.name}.json`), workload);
  }
  forgetWorkload(name: string): void {
    rmSync(join(this.directory, 'workloads', `${name}.json`), { force: true });
  }
  workloads(): WorkloadPlan[] {
    return this.#readAll<WorkloadPlan>('workloads').sort(
      (a, b) => a.node.localeCompare(b.node) || a.ordinal - b.ordinal,
    );
  }
  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #write(file: string, value: unknown): void {
    const path = join(this.directory, file);
    writeFileSync(`${path}.new`, JSON.stringify(value));
    renameSync(`${path}.new`, path); // a crash leaves the old file or the new one, never half of one
  }
  #readAll<T>(part: string): T[] {
    return entries(join(this.directory, part))
      .filter((file) => file.endsWith('.json'))
      .map((file) => JSON.parse(readFileSync(join(this.directory, part, file), 'utf8')));
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return []; // no directory: nothing recorded
  }
}
