import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Log, messageOf } from '#core';

/** Where CNI plugins look for the MTU of a new workload (calico-datastore.md 1.8). */
export const MTU_FILE = '/var/lib/calico/mtu';

/** Tells CNI plugins the MTU that workloads are to have: decimal digits, replaced whole, and only when it differs. */
export class MtuFile {
  readonly #path: string;
  readonly #log: Log;
  #failed = false;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }
  set(mtu: number): void {
    try {
      if (this.#read() === String(mtu)) return;
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o755 });
      const next = `${this.#path}.${process.pid}`;
      writeFileSync(next, String(mtu), { mode: 0o644 });
      renameSync(next, this.#path);
      this.#log.info({ mtu, file: this.#path }, 'MTU for workloads');
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.warn({ error: messageOf(error) }, 'the MTU for workloads could not be written');
      this.#failed = true;
    }
  }
  #read(): string | null {
    try {
      return readFileSync(this.#path, 'utf8').trim();
    } catch {
      // Missing, or unreadable: then writing says what is wrong.
      return null;
    }
  }
}
