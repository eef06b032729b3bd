/**
 * datastore: what the cluster wants, and the only room that knows where that is kept.
 *
 * What it is for. Calico's resources and IPAM keys are read, validated, defaulted and written exactly as the rest of the ecosystem does
 * (shared/reference/calico-datastore.md), from etcd, from a directory of YAML files, or from memory.
 *
 * The way in. `openStore` gives a `Store`: keys, values, compare-and-swap, watch. `model/` has one file a kind: type, schema, defaults.
 *
 * The way out. A syncer turns a snapshot and a watch into `Update`s for whoever has to act on them, says `in-sync` once a snapshot is
 * complete, and names every object that it had to treat as absent. A resource client gives programs get, list, create, apply and delete
 * with resourceVersion. `ipam/` assigns and releases addresses.
 *
 * What it refuses to do. It never repairs an invalid object, never guesses at existence from event types, never lets one bad key
 * stop the others, and never forgets an event: after any doubt it takes a fresh snapshot and works out what is gone.
 */
export { parseAsNumber } from './as-number.ts';
export { ValidationError } from './client/errors.ts';
export { type ClusterFacts, initialiseCluster } from './client/initialise.ts';
export {
  type Applied,
  createResources,
  type OfKind,
  type ResourceList,
  type Resources,
  type WriteOptions,
} from './client/resources.ts';
export { type Scanned, type ScanOptions, type Stored, scanKind, scanOne } from './client/scan.ts';
export type { ResourceEvent } from './client/watch.ts';
export { decodeResource, encodeResource } from './codec.ts';
export { makeDirectory } from './directory/make-directory.ts';
export { parseDuration } from './duration.ts';
export {
  type EndpointIdentity,
  parseWorkloadEndpointName,
  workloadEndpointName,
  workloadEndpointPrefix,
} from './endpoint-name.ts';
export { felixSpec } from './felix-spec.ts';
export * from './ipam/index.ts';
export * from './ipam-codec.ts';
export * from './keys.ts';
export { MemoryStore } from './memory.ts';
export * from './model/index.ts';
export { type EtcdConfig, openStore, type StoreConfig, type StoreContext } from './open.ts';
export * from './source.ts';
export * from './store.ts';
export { declareSyncMetrics, type SyncMetrics } from './sync/sync-metrics.ts';
export { type Syncer, type SyncerOptions, startSyncer } from './sync/syncer.ts';
export { unknownFields } from './unknown-fields.ts';
export * from './update.ts';
export { describeErrors, type FieldError, isKind, prepare, type Strictness, validate } from './validate.ts';
