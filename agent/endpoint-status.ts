import { readdirSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DeltaTracker, type Log, messageOf } from '#core';
import { makeDirectory, type WorkloadEndpoint } from '#datastore';

/** What a CNI plugin that waits for an endpoint needs to know (calico-datastore.md 5.7). */
interface FileContent {
  readonly status: 'up';
  readonly interfaceName: string;
  readonly ipNetworks: readonly string[];
}

/** What a file is called and holds; null for what no CNI plugin waits for. */
type File = { readonly name: string; readonly text: string } | null;

/**
 * One file for each local endpoint whose policy and routes are in place: `<orchestrator> <namespace%2Fworkload> <endpoint>`. A CNI plugin
 * waits for its file before it tells the runtime that the network is ready. Files are written behind the caller's back, one after the other: on a
 * file system that orders data before a rename, a rename takes milliseconds.
 */
export class EndpointStatusFiles {
  readonly #dir: string;
  readonly #log: Log;
  readonly #files = new DeltaTracker<string, string>((a, b) => a === b);
  /** Most endpoints are the same objects as at the call before. */
  readonly #known = new WeakMap<WorkloadEndpoint, { readonly file: File }>();
  #writing: Promise<void> | undefined;

  constructor(dir: string, log: Log) {
    this.#dir = dir;
    this.#log = log;
  }

  /** Makes the directory and finds the files of an earlier run; those whose endpoint is gone leave with the first `set`. */
  start(): void {
    makeDirectory(this.#dir);
    for (const name of readdirSync(this.#dir)) this.#files.setActual(name, '');
  }

  /** The endpoints that are in place now, all of them. A file that cannot be written is tried again with the next call. */
  set(programmed: Iterable<WorkloadEndpoint>): void {
    const wanted = new Map<string, string>();
    for (const endpoint of programmed) {
      const file = this.#fileOf(endpoint);
      if (file) wanted.set(file.name, file.text);
    }
    this.#files.replaceDesired(wanted);
    if (!this.#files.inSync) this.#writing ??= this.#write();
  }
  /** Resolves when everything that was `set` has been written or refused. */
  async written(): Promise<void> {
    await this.#writing;
  }

  #fileOf(endpoint: WorkloadEndpoint): File {
    let known = this.#known.get(endpoint);
    if (!known) {
      const name = statusFileName(endpoint);
      known = { file: name ? { name, text: `${JSON.stringify(contentOf(endpoint))}\n` } : null };
      this.#known.set(endpoint, known);
    }
    return known.file;
  }

  async #write(): Promise<void> {
    try {
      while (!this.#files.inSync) {
        for (const { key } of this.#files.pendingDeletes()) {
          await rm(join(this.#dir, key), { force: true });
          this.#files.markDeleted(key);
        }
        for (const { key, want } of this.#files.pendingUpdates()) {
          const hidden = join(this.#dir, '.new');
          await writeFile(hidden, want);
          await rename(hidden, join(this.#dir, key));
          // Not what is wanted by now, which may be something else.
          this.#files.setActual(key, want);
        }
      }
    } catch (error) {
      this.#log.warn(
        { dir: this.#dir, error: messageOf(error) },
        'endpoint status files cannot be written; CNI plugins will wait in vain',
      );
    } finally {
      this.#writing = undefined;
    }
  }
}

const contentOf = (endpoint: WorkloadEndpoint): FileContent => ({
  status: 'up',
  interfaceName: endpoint.spec.interfaceName,
  ipNetworks: endpoint.spec.ipNetworks ?? [],
});

/** The three parts are path-escaped, so a name with a slash stays one file name; null for what no CNI plugin waits for. */
export function statusFileName({ metadata, spec }: WorkloadEndpoint): string | null {
  const workload = spec.pod ?? spec.containerID ?? spec.workload;
  if (!workload || !metadata.namespace) return null;
  const parts = [spec.orchestrator, `${metadata.namespace}/${workload}`, spec.endpoint].map(encodeURIComponent);
  const name = parts.join(' ');
  return name.length <= 255 && !name.startsWith('.') ? name : null;
}
