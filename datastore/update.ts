import type { IpamAffinity, IpamBlock, Kinds } from './model/index.ts';

/** What the syncer follows: the resource kinds, and IPAM's own keys. */
export interface Watched extends Kinds {
  IpamAffinity: IpamAffinity;
  IpamBlock: IpamBlock;
}
export type WatchedKind = keyof Watched;

/**
 * One thing that is, or is no longer, as the cluster wants it. `value` null means "does not exist or is invalid";
 * existence is never read from an event type, and intermediate values may be skipped.
 */
export type UpdateOf<K extends WatchedKind> = {
  readonly kind: K;
  /**
   * Unique within the kind and taken from the key, not from the metadata: `name` or `namespace/name` for resources (a policy of an old
   * cluster keeps its key name `default.foo`), `host:<node>/<cidr>` for affinities, the CIDR for blocks.
   */
  readonly id: string;
  readonly value: Watched[K] | null;
  /** The store's revision of this fact; latency from datastore to kernel is measured from its arrival. */
  readonly revision: bigint;
};
export type Update = { [K in WatchedKind]: UpdateOf<K> }[WatchedKind];

/** `resyncing`: a snapshot is being read (again); `in-sync`: everything up to it has been delivered; `waiting`: no connection. */
export type SyncStatus = 'waiting' | 'resyncing' | 'in-sync';

/** An object that exists but cannot be used: reported by name, treated as absent (invariant I6). */
export interface InvalidObject {
  /** The datastore key, or file and line for the directory store; escaped for printing. */
  readonly where: string;
  readonly kind: string;
  readonly id: string;
  /** Which field is wrong, why, and what would be right. */
  readonly message: string;
  /** The object, or the rest of it, is used all the same. */
  readonly used?: boolean;
}

/** Where a syncer delivers: in order, in batches, updates before the status that follows them. */
export interface SyncSink {
  onUpdates(updates: readonly Update[]): void;
  onStatus(status: SyncStatus, reason?: string): void;
  /** The object became invalid (a message), or stopped being so (null). */
  onInvalid(where: string, invalid: InvalidObject | null): void;
}
