import { type FSWatcher, watch as watchFolder } from 'node:fs';
import { join } from 'node:path';
import { type Cancel, type Clock, type Log, type Milliseconds, messageOf, OperationalError } from '#core';
import type { Compare, FaultListener, KeyValue, Store, TxnResult, WatchMessage, Write } from '../store.ts';
import { KeyTable } from '../table.ts';
import type { InvalidObject } from '../update.ts';
import { DirectoryEngine } from './engine.ts';
import { emptyState, type State } from './state.ts';

/** Editors write in several steps; what they do in this time is one change. */
const SETTLE: Milliseconds = 25;
/** The directory is looked at this often even if the kernel says nothing, as on network file systems. */
const RESCAN: Milliseconds = 900;

/**
 * A directory of YAML and JSON files as a store. People edit the files; programs write through it, into files too, one for a new resource. Several programs
 * may use it at once. A file that is wrong is reported, and what it last said rightly stays in force.
 */
export class DirectoryStore implements Store {
  readonly type = 'directory';
  readonly #root: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #engine: DirectoryEngine;
  readonly #table: KeyTable;
  #state: State = emptyState();
  #print: string | null = null;
  /** Turns of this program, one after the other. */
  #turns: Promise<unknown> = Promise.resolve();
  #watching = false;
  #unwritable = false;
  #closed = false;
  #cancelRescan: Cancel = () => {};
  #cancelSettle: Cancel | null = null;
  readonly #folders = new Map<string, FSWatcher>();
  readonly #listeners = new Set<FaultListener>();
  #reported = new Map<string, InvalidObject>();

  private constructor(root: string, context: { clock: Clock; log: Log }) {
    this.#root = root;
    this.#clock = context.clock;
    this.#log = context.log;
    this.#engine = new DirectoryEngine(root, context.clock);
    this.#table = new KeyTable(context.clock);
  }

  /** Reads the directory; rejects with CONFIG when it is not there and cannot be made. */
  static async open(root: string, context: { clock: Clock; log: Log }): Promise<DirectoryStore> {
    const store = new DirectoryStore(root, context);
    if (await store.#engine.prepare())
      context.log.warn({ directory: root }, 'the directory of resources did not exist; it was made and holds nothing');
    await store.#read();
    return store;
  }

  async get(key: string): Promise<KeyValue | null> {
    await this.#refresh();
    return this.#table.get(key);
  }

  list(prefix: string): ReturnType<Store['list']> {
    const listed = this.#refresh().then(() => this.#table.list(prefix));
    const revision = listed.then((pages) => pages.revision);
    revision.catch(() => {});
    async function* pages() {
      yield* await listed;
    }
    return Object.assign(pages(), { revision });
  }

  txn(compares: readonly Compare[], writes: readonly Write[]): Promise<TxnResult> {
    return this.#turn<TxnResult>(async (state, write) => {
      const now = compares.map(({ key }) => keyValue(state, key));
      if (compares.some(({ mod }, i) => (now[i]?.modRevision ?? 0n) !== mod)) return { ok: false, now };
      await write(writes);
      return { ok: true, revision: state.revision };
    });
  }

  async *watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncGenerator<WatchMessage> {
    this.#startWatching();
    await this.#refresh();
    yield* this.#table.watch(prefix, fromRevision, signal);
  }

  watchFaults(listen: FaultListener): Cancel {
    this.#startWatching();
    this.#listeners.add(listen);
    for (const [where, invalid] of this.#reported) listen(where, invalid);
    return () => {
      this.#listeners.delete(listen);
    };
  }

  async status(): Promise<{ revision: bigint }> {
    await this.#refresh();
    return { revision: this.#table.revision };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRescan();
    this.#cancelSettle?.();
    for (const folder of this.#folders.values()) folder.close();
    this.#folders.clear();
    await this.#turns;
    this.#table.close();
  }

  /** What another program wrote is seen by the next read. */
  async #refresh(): Promise<void> {
    await this.#turns;
    const print = await this.#engine.statePrint().catch((error: unknown) => {
      throw asOperational(error, this.#root);
    });
    if (print !== this.#print) await this.#read();
  }

  #turn<T>(act: (state: State, write: (writes: readonly Write[]) => Promise<void>) => Promise<T>): Promise<T> {
    return this.#queued(async () => {
      const { state, print, result } = await this.#engine.turn(act);
      this.#adopt(state, print);
      return result;
    });
  }

  /** Takes in what others did. */
  #read(): Promise<void> {
    return this.#queued(async () => {
      const { state, print, unwritable } = await this.#engine.look();
      this.#adopt(state, print);
      if (unwritable && !this.#unwritable)
        this.#log.warn({ directory: this.#root, reason: unwritable }, 'the directory cannot be written, only read');
      this.#unwritable = unwritable !== undefined;
    });
  }

  /** One after the other; what the file system refuses is said as a store says it. */
  #queued<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(work).catch((error: unknown) => {
      throw asOperational(error, this.#root);
    });
    this.#turns = turn.catch(() => {});
    return turn;
  }

  /** Makes the state what this program sees, and tells watchers the difference. */
  #adopt(state: State, print: string | null): void {
    const before = this.#state;
    this.#state = state;
    this.#print = print;
    this.#table.adopt(state.revision, state.keys);
    if (before.revision > state.revision) this.#log.warn({ directory: this.#root }, 'the directory store was set back');
    this.#reportFaults();
    if (this.#watching) this.#watchFolders();
  }

  #reportFaults(): void {
    const now = new Map(this.#engine.faults.map((fault) => [fault.where, fault]));
    for (const [where, fault] of now) {
      if (this.#reported.get(where)?.message === fault.message) continue;
      this.#log.warn(
        { where, message: fault.message },
        'resource file has an error; its last good content stays in force',
      );
      for (const listen of this.#listeners) listen(where, fault);
    }
    for (const where of this.#reported.keys())
      if (!now.has(where)) for (const listen of this.#listeners) listen(where, null);
    this.#reported = now;
  }

  #startWatching(): void {
    if (this.#watching || this.#closed) return;
    this.#watching = true;
    this.#watchFolders();
    this.#rescanLater();
  }

  #rescanLater(): void {
    this.#cancelRescan = this.#clock.after(RESCAN, () => {
      void this.#look().then(() => {
        if (!this.#closed) this.#rescanLater();
      });
    });
  }

  /** Takes in what changed, if anything did; a directory that cannot be read now is looked at again. */
  async #look(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#turns;
      if (await this.#engine.stale(this.#state, this.#print)) await this.#read();
    } catch (error) {
      this.#log.warn(
        { directory: this.#root, reason: messageOf(error) },
        'the directory store cannot be read; what was read stays in force',
      );
    }
  }

  #soon(): void {
    if (this.#closed || this.#cancelSettle) return;
    this.#cancelSettle = this.#clock.after(SETTLE, () => {
      this.#cancelSettle = null;
      void this.#look();
    });
  }

  #watchFolders(): void {
    const wanted = new Set([...this.#engine.folders, '.tsnet']);
    for (const [folder, watcher] of this.#folders)
      if (!wanted.has(folder)) {
        watcher.close();
        this.#folders.delete(folder);
      }
    for (const folder of wanted) {
      if (this.#folders.has(folder) || this.#closed) continue;
      try {
        const watcher = watchFolder(join(this.#root, folder), () => this.#soon());
        watcher.on('error', () => watcher.close());
        this.#folders.set(folder, watcher);
      } catch {
        // Without inotify, or without the folder, the periodic look is enough.
      }
    }
  }
}

/** What the file system refused, as the door of a store says it. */
function asOperational(error: unknown, root: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof OperationalError || syscall === undefined) return error;
  const kind = code === 'EACCES' || code === 'EPERM' || code === 'EROFS' ? 'PERMISSION' : 'UNAVAILABLE';
  return new OperationalError(kind, `directory ${root}: ${messageOf(error)}`, { cause: error });
}

function keyValue(state: State, key: string): KeyValue | null {
  const entry = state.keys.get(key);
  return entry ? { key, value: entry.value, modRevision: entry.mod } : null;
}
