import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Log, messageOf } from '#core';
import { makeDirectory } from '#datastore';

/** Where CNI plugins look for the MTU of a new workload (calico-datastore.md 1.8). */
export const MTU_FILE = '/var/lib/calico/mtu';
/** Where CNI plugins look for this node's name; Calico's does nothing without it. */
export const NODE_NAME_FILE = '/var/lib/calico/nodename';

/** A fact that CNI plugins read from a file: one line without its end, replaced whole, and only when it differs. */
export class CniFile {
  readonly #path: string;
  readonly #log: Log;
  #failed = false;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }
  set(fact: string | number): void {
    const text = String(fact);
    try {
      if (this.#read() === text) return;
      makeDirectory(dirname(this.#path));
      const next = `${this.#path}.${process.pid}`;
      writeFileSync(next, text, { mode: 0o644 });
      renameSync(next, this.#path);
      this.#log.info({ file: this.#path, text }, 'told to CNI plugins');
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.warn({ file: this.#path, error: messageOf(error) }, 'CNI plugins cannot be told');
      this.#failed = true;
    }
  }
  #read(): string | null {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch {
      // Missing, or unreadable: then writing says what is wrong.
      return null;
    }
  }
}
