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
export * from './model/index.ts';
export * from './source.ts';
export * from './store.ts';
export * from './update.ts';
