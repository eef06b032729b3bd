import { Backoff, messageOf, OperationalError, sleep } from '#core';
import { hasTieredName } from '../codec.ts';
import { type ParsedKey, parseKey, RESOURCES_PREFIX } from '../keys.ts';
import type { AnyResource } from '../model/index.ts';
import type { KeyValue, WatchEvent } from '../store.ts';
import type { SyncStatus, Update, WatchedKind } from '../update.ts';
import { decodeValue } from './decode.ts';
import { RemoteEndpoints } from './remote-endpoints.ts';
import { SyncState, watchedAs } from './state.ts';
import type { SyncerOptions } from './syncer.ts';

/** How long one piece of decoding may hold the event loop; milliseconds. */
const SLICE = 4;

/** One prefix, followed. */
export class Scope {
  readonly #prefix: string;
  readonly #kinds: ReadonlySet<WatchedKind>;
  readonly #options: SyncerOptions;
  readonly #tell: (status: SyncStatus, reason?: string) => void;
  readonly #state: SyncState;
  readonly #remote: RemoteEndpoints | null;
  readonly #backoff = new Backoff(200, 10_000);
  /** Why it cannot be followed, as far as told; with several endpoints reasons take turns. */
  readonly #said = new Set<string>();
  #away = false;
  #signal = new AbortController().signal;

  constructor(
    prefix: string,
    kinds: ReadonlySet<WatchedKind>,
    options: SyncerOptions,
    tell: (status: SyncStatus, reason?: string) => void,
  ) {
    this.#prefix = prefix;
    this.#kinds = kinds;
    this.#options = options;
    this.#tell = tell;
    this.#state = new SyncState(options.sink);
    this.#remote = options.node === undefined ? null : new RemoteEndpoints(options.node);
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    while (!signal.aborted) {
      try {
        const revision = await this.#snapshot();
        await this.#follow(revision);
      } catch (error) {
        if (signal.aborted) return;
        // What the consumer throws is no failure of the store, and not to be tried again.
        if (!(error instanceof OperationalError)) throw error;
        const reason = messageOf(error);
        // Once for each reason: the back-off goes on for as long as an outage takes.
        if (!this.#said.has(reason))
          this.#options.log.warn({ prefix: this.#prefix, reason }, 'datastore cannot be followed; trying again');
        this.#said.add(reason);
        this.#options.metrics?.disconnects.inc();
        this.#tell('waiting', reason);
        await sleep(this.#options.clock, this.#backoff.next(), signal).catch(() => {});
      }
    }
  }

  async #snapshot(): Promise<bigint> {
    const snapshot = this.#options.store.list(this.#prefix);
    // The pages reject with the same error; this one only must not go unhandled.
    snapshot.revision.catch(() => {});
    this.#state.distrust();
    let told = false;
    for await (const page of snapshot) {
      if (!told) this.#tell('resyncing');
      told = true;
      this.#signal.throwIfAborted();
      await this.#take(page, (entry) => this.#one(entry.key, entry, entry.modRevision));
    }
    const revision = await snapshot.revision;
    if (!told) this.#tell('resyncing');
    this.#state.deleteUnseen(revision);
    this.#backoff.reset();
    this.#options.metrics?.snapshots.inc();
    return revision;
  }

  async #follow(revision: bigint): Promise<void> {
    if (this.#said.size > 0) this.#options.log.info({ prefix: this.#prefix }, 'datastore is followed again');
    this.#said.clear();
    this.#away = false;
    this.#tell('in-sync');
    for await (const message of this.#options.store.watch(this.#prefix, revision, this.#signal)) {
      switch (message.type) {
        case 'events':
          await this.#take(lastOfEach(message.events), ({ key, value, revision }) =>
            this.#one(key, value === null ? null : { key, value, modRevision: revision }, revision),
          );
          break;
        case 'progress':
          break;
        case 'connected':
          this.#away = false;
          this.#tell('in-sync');
          break;
        case 'disconnected':
          // Another reason for the same absence is none more.
          if (!this.#away) this.#options.metrics?.disconnects.inc();
          this.#away = true;
          this.#tell('waiting', message.reason);
          break;
        case 'rewound':
          this.#options.log.warn({ prefix: this.#prefix }, 'datastore went back to an older revision; reading it anew');
          return;
        case 'compacted':
          this.#options.log.info({ prefix: this.#prefix }, 'history needed by the watch is gone; reading anew');
          return;
      }
    }
  }

  /** Decodes in slices of a few milliseconds and delivers each. */
  async #take<E>(entries: Iterable<E>, read: (entry: E) => Update | null): Promise<void> {
    const { clock, sink } = this.#options;
    let updates: Update[] = [];
    let until = clock.now() + SLICE;
    for (const entry of entries) {
      const update = read(entry);
      if (update) updates.push(update);
      if (clock.now() < until) continue;
      if (updates.length > 0) sink.onUpdates(updates);
      updates = [];
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#signal.aborted) return;
      until = clock.now() + SLICE;
    }
    if (updates.length > 0) sink.onUpdates(updates);
  }

  #one(key: string, entry: KeyValue | null, revision: bigint): Update | null {
    const parsed = parseKey(key);
    const target = watchedAs(parsed);
    if (!parsed || !target) {
      const unknown = entry !== null && !parsed && key.startsWith(RESOURCES_PREFIX);
      if (unknown) this.#state.invalid(key, 'unknown', key, 'is not the key of a kind that exists here');
      else this.#state.valid(key);
      return null;
    }
    const { kind, id } = target;
    if (!this.#kinds.has(kind) || !this.#state.note(key, entry && revision)) return null;
    const isPolicy = parsed.type === 'resource' && hasTieredName(parsed.kind);
    if (entry === null) {
      this.#state.valid(key);
      if (isPolicy) this.#state.policy(key, null);
      return { kind, id, value: null, revision } as Update;
    }
    const { object, message } = this.#decode(entry, parsed);
    if (message) this.#state.invalid(key, kind, id, message, object !== null);
    else this.#state.valid(key);
    if (isPolicy) this.#state.policy(key, (object as AnyResource | null)?.metadata.name ?? null);
    return { kind, id, value: object, revision } as Update;
  }

  #decode(entry: KeyValue, parsed: ParsedKey): ReturnType<typeof decodeValue> {
    if (this.#remote && entry.raw && parsed.type === 'resource' && parsed.kind === 'WorkloadEndpoint') {
      const object = this.#remote.read(entry.raw, parsed);
      if (object) return { object, message: null };
    }
    return decodeValue(entry, parsed);
  }
}

/** The state each key ends in; what it was in between need not be told. */
function lastOfEach(events: readonly WatchEvent[]): Iterable<WatchEvent> {
  return new Map(events.map((event) => [event.key, event])).values();
}
