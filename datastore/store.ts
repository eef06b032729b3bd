import type { Cancel } from '#core';
import type { InvalidObject } from './update.ts';

/** A text in UTF-8 that lies in a buffer with others. */
export interface Span {
  readonly buffer: Buffer;
  readonly from: number;
  readonly to: number;
}

/** A key with its raw value; `modRevision` is the revision of its last change, the token of compare-and-swap. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly modRevision: bigint;
  /** The value as it came, from stores that make a text of it only when it is asked for. */
  readonly raw?: Span;
}

/** `mod: 0n` means "must not exist". */
export interface Compare {
  readonly key: string;
  readonly mod: bigint;
}
export type Write =
  | { readonly op: 'put'; readonly key: string; readonly value: string; readonly ttlSeconds?: number }
  | { readonly op: 'delete'; readonly key: string };

export type TxnResult =
  | { readonly ok: true; readonly revision: bigint }
  /** The compare failed; what each compared key holds now, in order (null: absent). */
  | { readonly ok: false; readonly now: readonly (KeyValue | null)[] };

export interface WatchEvent {
  readonly key: string;
  /** null: deleted. */
  readonly value: string | null;
  readonly revision: bigint;
}
/**
 * What a watch yields. `compacted`: the start revision is gone, take a new snapshot. `progress`: everything up to the
 * revision has been delivered. A watch that loses its connection resumes after its last delivered revision by itself, and says so with
 * `disconnected`/`connected`, so that status can be shown; no event is ever skipped in between. `rewound`: the store came back at a lower
 * revision than already seen (restored from a backup): take a new snapshot.
 */
export type WatchMessage =
  | { readonly type: 'events'; readonly events: readonly WatchEvent[] }
  | { readonly type: 'progress'; readonly revision: bigint }
  | { readonly type: 'compacted' }
  | { readonly type: 'rewound' }
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly reason: string };

/** Told what is wrong with a source that people edit, and (null) when it is right again. */
export type FaultListener = (where: string, invalid: InvalidObject | null) => void;

/**
 * The narrow door to whatever holds the cluster's keys: etcd, a directory of files, or memory. All three pass the same suite
 * (test/unit/datastore/store-suite.ts). Every call has a deadline and rejects with an OperationalError whose code is UNAVAILABLE, TIMEOUT,
 * UNAUTHENTICATED, PERMISSION or COMPACTED.
 */
export interface Store {
  readonly type: 'etcdv3' | 'directory' | 'memory';
  get(key: string): Promise<KeyValue | null>;
  /** All keys under the prefix at one revision, in key order, in pages so that neither side blocks. */
  list(prefix: string): AsyncIterable<readonly KeyValue[]> & { readonly revision: Promise<bigint> };
  /** All compares must hold, then all writes happen at one revision. */
  txn(compares: readonly Compare[], writes: readonly Write[]): Promise<TxnResult>;
  /** Events of keys under the prefix after `fromRevision` (exclusive), until the signal aborts. */
  watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<WatchMessage>;
  /** For stores that people edit: what they wrote that cannot be used, now and from then on. */
  watchFaults?(listen: FaultListener): Cancel;
  /** Reachability, for status and for `tsnetctl`. */
  status(): Promise<{ revision: bigint; version?: string }>;
  close(): Promise<void>;
}
