import { type FSWatcher, readdirSync, readFileSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { type Log, messageOf } from '#core';

/** Bytes of a TCP-MD5 key at most (RFC 2385, Linux TCP_MD5SIG_MAXKEYLEN). */
const LONGEST = 80;

/**
 * The passwords that `secretKeyRef` names: files `NAME/KEY` in a directory, as a mounted Kubernetes Secret or an operator puts them
 * there. Values are kept in memory only, and never logged.
 */
export class Secrets {
  readonly #dir: string;
  readonly #log: Log;
  readonly #onChange: () => void;
  #watcher: FSWatcher | undefined;
  #values = new Map<string, string>();

  constructor(dir: string, log: Log, onChange: () => void) {
    this.#dir = dir;
    this.#log = log;
    this.#onChange = onChange;
  }

  /** Reads what is there and watches for changes; a directory that does not exist holds no secrets. */
  start(): void {
    this.#values = this.#read();
    try {
      this.#watcher = watch(this.#dir, { recursive: true, persistent: false }, () => this.reload());
      this.#watcher.on('error', (error) =>
        this.#log.warn({ dir: this.#dir, error: messageOf(error) }, 'secrets are no longer watched'),
      );
    } catch {
      this.#log.debug({ dir: this.#dir }, 'no secrets directory');
    }
  }
  stop(): void {
    this.#watcher?.close();
  }
  /** Reads the directory again; also called on the agent's periodic resync, for directories that appear later. */
  reload(): void {
    const values = this.#read();
    const same = values.size === this.#values.size && [...values].every(([k, v]) => this.#values.get(k) === v);
    this.#values = values;
    if (!same) this.#onChange();
  }
  /** The secret without the newline that editors end files with, or undefined. */
  get(name: string, key: string): string | undefined {
    return this.#values.get(`${name}/${key}`);
  }

  #read(): Map<string, string> {
    const values = new Map<string, string>();
    for (const name of this.#list(this.#dir))
      for (const key of this.#list(join(this.#dir, name))) {
        const path = join(this.#dir, name, key);
        try {
          if (!statSync(path).isFile()) continue;
          const value = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
          if (value.length > 0 && Buffer.byteLength(value) <= LONGEST) values.set(`${name}/${key}`, value);
          else this.#log.warn({ path }, `a password must have 1 to ${LONGEST} bytes; it is treated as missing`);
        } catch (error) {
          this.#log.warn({ path, error: messageOf(error) }, 'a secret cannot be read; it is treated as missing');
        }
      }
    return values;
  }

  #list(dir: string): string[] {
    try {
      // `..data` and its like are how Kubernetes swaps a mounted Secret; the visible names link to it.
      return readdirSync(dir).filter((name) => !name.startsWith('.'));
    } catch {
      return [];
    }
  }
}
