import { randomUUID } from 'node:crypto';
import { readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { type Milliseconds, messageOf, OperationalError } from '#core';
import type { Write } from '../store.ts';

/** A key as all programs agree on it. */
export interface StateEntry {
  readonly value: string;
  readonly mod: bigint;
  /** The file that a resource is in, relative to the directory; null for keys that are no resources. */
  readonly file: string | null;
  /** When it goes away by itself; milliseconds since 1970. */
  readonly until: number | null;
}

/**
 * What all programs that use a directory agree on: revisions, and each key's last good value. Files are what people edit; this is what is in
 * force. It lies in `.tsnet/state.json` and is replaced as a whole.
 */
export interface State {
  revision: bigint;
  readonly keys: Map<string, StateEntry>;
  /** Each file that was read without a fault, and how it looked then. */
  readonly files: Map<string, string>;
  /** Writes that were begun; whoever finds them finishes them. */
  pending: readonly Write[];
}

export const emptyState = (): State => ({ revision: 1n, keys: new Map(), files: new Map(), pending: [] });

interface Stored {
  revision: string;
  keys: Record<string, { v: string; m: string; f?: string; u?: number }>;
  files: Record<string, string>;
  pending: Write[];
}

/** How a file looks from outside: changes whenever its contents do. */
export async function fingerprint(path: string): Promise<string | null> {
  try {
    const { mtimeNs, ctimeNs, size, ino } = await stat(path, { bigint: true });
    return `${mtimeNs} ${ctimeNs} ${size} ${ino}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** When the file was last written; milliseconds since the epoch, and 0 for a file that is gone. */
export async function modified(path: string): Promise<Milliseconds> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

/** Reads the state; a missing file is an empty state. Rejects with PROTOCOL when it cannot be understood. */
export async function loadState(path: string): Promise<State> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (text === null) return emptyState();
  try {
    const stored = JSON.parse(text) as Stored;
    return {
      revision: BigInt(stored.revision),
      keys: new Map(
        Object.entries(stored.keys).map(([key, { v, m, f, u }]) => [
          key,
          { value: v, mod: BigInt(m), file: f ?? null, until: u ?? null },
        ]),
      ),
      files: new Map(Object.entries(stored.files)),
      pending: stored.pending,
    };
  } catch (error) {
    const message = `${path} cannot be understood (${messageOf(error)}); remove it to have the files read anew`;
    throw new OperationalError('PROTOCOL', message, { cause: error });
  }
}

export async function saveState(path: string, state: State): Promise<void> {
  const stored: Stored = {
    revision: String(state.revision),
    keys: Object.fromEntries(
      [...state.keys].map(([key, { value, mod, file, until }]) => [
        key,
        { v: value, m: String(mod), ...(file !== null && { f: file }), ...(until !== null && { u: until }) },
      ]),
    ),
    files: Object.fromEntries(state.files),
    pending: [...state.pending],
  };
  await replaceFile(path, JSON.stringify(stored));
}

/** Readers see the old file or the new one, never a part. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const slash = path.lastIndexOf('/');
  const fresh = `${path.slice(0, slash + 1)}.new-${randomUUID()}`;
  try {
    await writeFile(fresh, text, { mode: 0o600 });
    await rename(fresh, path);
  } catch (error) {
    await unlink(fresh).catch(() => {});
    throw error;
  }
}
