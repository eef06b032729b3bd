/**
 * core: the words that every room shares.
 *
 * What it is for. An address, a prefix, a difference between what should be and what is, a point in time, an error, a line of log, a
 * metric: things that mean the same in the datastore, in a policy, in a BGP table and in the kernel. They live here once, so that no
 * two rooms have their own idea of "10.0.0.0/26".
 *
 * The way in and out. There is no flow here: these are values and small classes that others hold. `ip` makes addresses and prefixes
 * (branded strings that only a parser can make), `trie` finds the longest match among them, `delta` turns desired and actual into pending
 * work, `clock` is the only source of time (a real one, and a fake one for tests), `selector` says which labels match, `wildcard` which texts,
 * `result` and `errors` say how things fail, `bytes` reads
 * and writes network order within bounds, `log` and `metrics` wrap pino and prom-client so that their settings are chosen in one place.
 *
 * What it refuses to do. It imports no other room, does no I/O, starts nothing on import, and has no drawer for things without a name:
 * what only one room needs lives in that room.
 */
export * from './bytes.ts';
export * from './clock.ts';
export * from './delta.ts';
export * from './errors.ts';
export * from './ip.ts';
export * from './log.ts';
export * from './metrics.ts';
export * from './near.ts';
export * from './result.ts';
export * as selectorTree from './selector/ast.ts';
export * from './selector/predicate.ts';
export * from './selector/selector.ts';
export * from './trie.ts';
export { VERSION } from './version.ts';
export * from './wildcard.ts';
