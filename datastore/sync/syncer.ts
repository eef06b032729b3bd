import type { Clock, Log } from '#core';
import { IPAM_BLOCKS_PREFIX, IPAM_PREFIX, kindPrefix, RESOURCES_PREFIX } from '../keys.ts';
import { KIND_NAMES } from '../model/index.ts';
import type { Store } from '../store.ts';
import type { SyncSink, SyncStatus, WatchedKind } from '../update.ts';
import { Scope } from './scope.ts';
import type { SyncMetrics } from './sync-metrics.ts';

export interface SyncerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly sink: SyncSink;
  readonly metrics?: SyncMetrics;
  /** What to follow; all kinds and IPAM's affinities and blocks when absent. */
  readonly kinds?: readonly WatchedKind[];
  /** Of WorkloadEndpoints of other nodes than this some may come without the fields that only their own node asks for; all whole when absent. */
  readonly node?: string;
}

export interface Syncer {
  /** Ends the watches; nothing is delivered afterwards. */
  stop(): Promise<void>;
}

const ALL_KINDS: readonly WatchedKind[] = [...KIND_NAMES, 'IpamAffinity', 'IpamBlock'];

/**
 * Follows the store: a snapshot, then its changes from the next revision on, for ever. Whatever goes wrong ends in a fresh snapshot, from which
 * it works out what is gone; so the sink ends up with what the store holds, whatever happened in between.
 */
export function startSyncer(options: SyncerOptions): Syncer {
  const abort = new AbortController();
  const kinds = new Set<WatchedKind>(options.kinds ?? ALL_KINDS);
  const prefixes = prefixesFor(kinds);
  const statuses = new StatusOf(prefixes.length, options.sink);
  const scopes = prefixes.map((prefix, i) => {
    const scope = new Scope(prefix, kinds, options, (status, reason) => statuses.set(i, status, reason));
    return scope.run(abort.signal);
  });
  const cancelFaults = options.store.watchFaults?.((where, invalid) => options.sink.onInvalid(where, invalid));
  return {
    stop: async () => {
      cancelFaults?.();
      abort.abort();
      await Promise.all(scopes);
    },
  };
}

/** One watch for all resources when most kinds are wanted, else one a kind: few streams, no noise from keys of others. */
function prefixesFor(kinds: ReadonlySet<WatchedKind>): string[] {
  const resources = KIND_NAMES.filter((kind) => kinds.has(kind));
  const prefixes = resources.length > 6 ? [RESOURCES_PREFIX] : resources.map((kind) => kindPrefix(kind));
  if (kinds.has('IpamAffinity')) prefixes.push(`${IPAM_PREFIX}host/`, `${IPAM_PREFIX}virtual/`);
  if (kinds.has('IpamBlock')) prefixes.push(IPAM_BLOCKS_PREFIX);
  return prefixes;
}

/** The status of all scopes as one: the worst counts, and it is told only when it changes. */
class StatusOf {
  readonly #each: { status: SyncStatus; reason?: string }[];
  readonly #sink: SyncSink;
  #told = '';

  constructor(count: number, sink: SyncSink) {
    this.#each = Array.from({ length: count }, () => ({ status: 'waiting' }));
    this.#sink = sink;
    if (count === 0) sink.onStatus('in-sync');
  }
  set(i: number, status: SyncStatus, reason?: string): void {
    this.#each[i] = { status, reason };
    const worst =
      this.#each.find((s) => s.status === 'waiting') ??
      this.#each.find((s) => s.status === 'resyncing') ??
      this.#each[0];
    const key = `${worst.status} ${worst.reason ?? ''}`;
    if (key === this.#told) return;
    this.#told = key;
    this.#sink.onStatus(worst.status, worst.reason);
  }
}
