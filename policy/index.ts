/**
 * policy: from resources to chains and sets, as a pure calculation.
 *
 * What it is for. It answers two questions without touching anything: which rules apply to this node's endpoints, in which order; and what
 * do they look like as chains and sets of packet filter. The same calculation explains a verdict and compares two versions of a cluster.
 *
 * The way in. `Update`s from the datastore, one at a time, in any order, and the facts about local interfaces that host endpoints need.
 *
 * The way out. `flush()` gives what differs from the flush before: sets with members added and removed, chains whole or gone, hooks.
 * Chains are values (types.ts); `render/` makes them, and its printers are the only place where they become text.
 *
 * What it refuses to do. No I/O, no clock, no log: the result follows from the current inputs alone, whatever order they came in
 * (invariant I7). It never buffers an endpoint to wait for something: what is missing is rendered closed (I3).
 */
export * from './engine.ts';
export {
  type EndpointRef,
  type Evaluation,
  evaluateEndpoint,
  type Missed,
  type Step,
  selectsEndpoint,
} from './evaluate/evaluate.ts';
export * from './evaluate/flow.ts';
export { evaluateForwarding, evaluateHost } from './evaluate/host.ts';
export type { Unknown, Way } from './evaluate/interfaces.ts';
export { type Packet, protocolNumberOf } from './evaluate/match.ts';
export * from './evaluate/settings.ts';
export * from './evaluate/staged.ts';
export * from './evaluate/world.ts';
export * from './graph.ts';
export { isBare } from './render/bare.ts';
export * from './render/config.ts';
export * from './render/iptables-text.ts';
export * from './render/marks.ts';
export * from './render/names.ts';
export * from './render/nft-text.ts';
export * from './render/renderer.ts';
export { exactInterface, hex, ifaceRef, integer, logPrefix, type PrintedRule, rateOf } from './render/values.ts';
export * from './resolved.ts';
export * from './types.ts';
