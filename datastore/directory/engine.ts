import { join, resolve } from 'node:path';
import { type Clock, type Milliseconds, messageOf, OperationalError, sleep } from '#core';
import type { Write } from '../store.ts';
import type { InvalidObject } from '../update.ts';
import { withLock } from './lock.ts';
import { makeDirectory } from './make-directory.ts';
import { type FileContents, readResourceFile, resourceFiles } from './read.ts';
import { fingerprint, loadState, modified, type State, saveState } from './state.ts';
import { belongsInFile, newFileFor, writeResource } from './write.ts';

/** A file that nobody has written for this long is whole. */
const SETTLED: Milliseconds = 200;
const MOST_LOOKS = 4;
const UNWRITABLE = new Set(['EROFS', 'EACCES', 'EPERM', 'ENOSPC', 'EDQUOT']);

interface Faulty {
  readonly print: string;
  readonly contents: FileContents;
}

/** Files and state of one directory, and the turns in which they are brought together. */
export class DirectoryEngine {
  readonly #root: string;
  readonly #clock: Clock;
  readonly #statePath: string;
  #writable = true;
  /** Files with faults, as last read; they are not in the state, so that every program reports them. */
  readonly #faulty = new Map<string, Faulty>();
  folders: readonly string[] = [];

  constructor(root: string, clock: Clock) {
    this.#root = root;
    this.#clock = clock;
    this.#statePath = join(root, '.tsnet', 'state.json');
  }

  /** Makes the directory ready; one that cannot be written is only read. True if it had to be made. Rejects with CONFIG when there is none. */
  async prepare(): Promise<boolean> {
    const own = join(this.#root, '.tsnet');
    try {
      const made = makeDirectory(own, 0o700);
      return made !== undefined && made !== resolve(own);
    } catch (error) {
      this.#writable = false;
      if ((await fingerprint(this.#root).catch(() => null)) === null)
        throw new OperationalError('CONFIG', `directory ${this.#root} does not exist and cannot be made`, {
          cause: error,
        });
      return false;
    }
  }

  get faults(): InvalidObject[] {
    return [...this.#faulty.values()].flatMap(({ contents }) => contents.faults);
  }

  /** How the state looks from outside; another value means that another program wrote. */
  statePrint(): Promise<string | null> {
    return fingerprint(this.#statePath);
  }
  load(): Promise<State> {
    return loadState(this.#statePath);
  }

  /** Whether files, state or time have moved on since this state was read. */
  async stale(state: State, print: string | null): Promise<boolean> {
    if ((await this.statePrint()) !== print) return true;
    const now = this.#clock.date().getTime();
    for (const { until } of state.keys.values()) if (until !== null && until <= now) return true;
    return (await this.#changedFiles(state)).length > 0;
  }

  /** One turn: what others wrote, what people edited, and then what the caller wants, are in force when it ends. */
  async turn<T>(
    act: (state: State, write: (writes: readonly Write[]) => Promise<void>) => Promise<T>,
  ): Promise<{ state: State; print: string | null; result: T }> {
    const inside = async () => {
      const state = await this.load();
      if (state.pending.length > 0) await this.#perform(state, state.pending);
      await this.#takeIn(state, this.#writable);
      const result = await act(state, (writes) => this.#write(state, writes));
      return { state, print: await this.statePrint(), result };
    };
    return this.#writable ? withLock(join(this.#root, '.tsnet', 'lock'), this.#clock, inside) : inside();
  }

  /**
   * What is in force now, for who only reads. A file system that is full or read-only keeps nobody from that: `unwritable` then says why
   * what was read could not be kept.
   */
  async look(): Promise<{ state: State; print: string | null; unwritable?: string }> {
    try {
      return await this.turn(async () => {});
    } catch (error) {
      if (!UNWRITABLE.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      const state = await this.load();
      await this.#takeIn(state, false);
      return { state, print: await this.statePrint(), unwritable: messageOf(error) };
    }
  }

  async #write(state: State, writes: readonly Write[]): Promise<void> {
    if (!this.#writable) throw new OperationalError('PERMISSION', `directory ${this.#root} cannot be written`);
    for (const { key } of writes) {
      const file = state.keys.get(key)?.file;
      const faults = file ? this.#faulty.get(file)?.contents.faults : undefined;
      if (faults)
        throw new OperationalError(
          'CONFLICT',
          `${file} has errors and is left alone until they are gone: ${faults[0].where} ${faults[0].message}`,
        );
    }
    state.pending = writes;
    await saveState(this.#statePath, state);
    await this.#perform(state, writes);
  }

  async #perform(state: State, writes: readonly Write[]): Promise<void> {
    const mod = state.revision + 1n;
    let changed = false;
    for (const write of writes) {
      const before = state.keys.get(write.key);
      if (write.op === 'delete') {
        if (!before) continue;
        if (before.file !== null) await writeResource(this.#root, before.file, write.key, null, state);
        state.keys.delete(write.key);
      } else {
        const { key, value } = write;
        const inFile = belongsInFile(key, value);
        const file = inFile ? (before?.file ?? (await newFileFor(this.#root, key))) : null;
        if (file !== null) await writeResource(this.#root, file, key, value, state);
        const until = write.ttlSeconds ? this.#clock.date().getTime() + write.ttlSeconds * 1000 : null;
        state.keys.set(key, { value, mod, file, until });
      }
      changed = true;
    }
    if (changed) state.revision = mod;
    state.pending = [];
    await saveState(this.#statePath, state);
  }

  /** Files that are new, look different from when they were read, or are gone. */
  async #changedFiles(state: State): Promise<{ file: string; print: string | null }[]> {
    const { files, folders } = await resourceFiles(this.#root);
    this.folders = folders;
    const changed: { file: string; print: string | null }[] = [];
    for (const file of files) {
      const print = await fingerprint(join(this.#root, file));
      const known = state.files.get(file) ?? this.#faulty.get(file)?.print;
      if (print !== known) changed.push({ file, print });
    }
    const present = new Set(files);
    for (const file of [...state.files.keys(), ...this.#faulty.keys(), ...filesOf(state)])
      if (!present.has(file) && !changed.some((c) => c.file === file)) changed.push({ file, print: null });
    return changed;
  }

  /** Brings what people did to the files, and what time did to leases, into the state, at one revision. */
  async #takeIn(state: State, keep: boolean): Promise<void> {
    const mod = state.revision + 1n;
    let changed = false;
    const files = await this.#changedFiles(state);
    for (const { file, print } of files) changed = (await this.#takeInFile(state, file, print, mod)) || changed;
    // What was in two files may be in one now.
    if (files.length > 0)
      for (const [file, { print, contents }] of [...this.#faulty])
        if (contents.doubles) changed = (await this.#takeInFile(state, file, print, mod)) || changed;
    const now = this.#clock.date().getTime();
    for (const [key, { until }] of state.keys)
      if (until !== null && until <= now) changed = state.keys.delete(key) || changed;
    if (changed) state.revision = mod;
    if (keep && (changed || files.length > 0)) await saveState(this.#statePath, state);
  }

  /**
   * Reads a file. Many programs empty a file before they write it anew: what a file that was just touched no longer holds is believed
   * only once it has been left alone for a moment.
   */
  async #readSettled(state: State, file: string): Promise<FileContents> {
    for (let looks = 1; ; looks++) {
      const contents = await readResourceFile(this.#root, file);
      if (looks >= MOST_LOOKS || !removes(state, file, contents)) return contents;
      const age = this.#clock.date().getTime() - (await modified(join(this.#root, file)));
      if (age < 0 || age >= SETTLED) return contents;
      await sleep(this.#clock, SETTLED - age);
    }
  }

  async #takeInFile(state: State, file: string, print: string | null, mod: bigint): Promise<boolean> {
    this.#faulty.delete(file);
    state.files.delete(file);
    const contents = print === null ? GONE : await this.#readSettled(state, file);
    const read = withoutDoubles(contents, state, file);
    const { entries, faults, broken, torn } = read;
    if (print !== null && faults.length > 0) this.#faulty.set(file, { print, contents: read });
    else if (print !== null) state.files.set(file, print);
    let changed = false;
    // A file that cannot be read as a whole says nothing about what is gone; a document that is wrong keeps its last good content.
    if (!torn)
      for (const [key, entry] of state.keys)
        if (entry.file === file && !entries.has(key) && !broken.has(key)) changed = state.keys.delete(key) || changed;
    for (const [key, value] of entries) {
      const before = state.keys.get(key);
      if (before?.value === value && before.file === file) continue;
      state.keys.set(key, { value, mod: before?.value === value ? before.mod : mod, file, until: null });
      changed = true;
    }
    return changed;
  }
}

const removes = (state: State, file: string, { torn, entries, broken }: FileContents): boolean =>
  !torn && [...state.keys].some(([key, entry]) => entry.file === file && !entries.has(key) && !broken.has(key));

const GONE: FileContents = { entries: new Map(), faults: [], broken: new Set(), torn: false, doubles: false };

const filesOf = (state: State): Set<string> => {
  const files = new Set<string>();
  for (const { file } of state.keys.values()) if (file !== null) files.add(file);
  return files;
};

/** What stands in another file already stays there; here it is a fault. */
function withoutDoubles(contents: FileContents, state: State, file: string): FileContents {
  const entries = new Map<string, string>();
  const faults = [...contents.faults];
  for (const [key, value] of contents.entries) {
    const other = state.keys.get(key)?.file;
    if (!other || other === file || !state.files.has(other)) entries.set(key, value);
    else
      faults.push({
        where: `${file}:1:1`,
        kind: 'unknown',
        id: key,
        message: `${key} is in ${other} already; it counts there`,
      });
  }
  return { ...contents, entries, faults, doubles: entries.size < contents.entries.size };
}
