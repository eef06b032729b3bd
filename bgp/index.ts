/**
 * bgp: a BGP-4 speaker as a library, and tsnet-bgpd, the program around it.
 *
 * What it is for. Sessions with other nodes and with routers, a table of routes, a decision with a reason for every loser, and
 * advertisement to hundreds of peers at the speed of the best.
 *
 * The way in. `Speaker` takes whole states: configuration, peers, local routes, connected networks. Bytes come from `transport`,
 * the one place that opens sockets; `wire/` turns them into messages or into a fault with its RFC 7606 disposition; `fsm/` is the state machine
 * of RFC 4271 §8 as a pure function; `rib/` keeps routes as integers in typed arrays.
 *
 * The way out. Best changes to the owner, UPDATEs to the peers, and the status and routes that `tsnetctl bgp` prints.
 *
 * What it refuses to do. `wire`, `fsm` and `rib` do no I/O and know no clock. A malformed message is a value, never an
 * exception. Nothing here knows what a workload, a pool or a kernel is: whoever owns the speaker says which prefixes are local.
 */
import type { BgpdHost } from './bgpd/program.ts';

export type { BgpdHost, KernelRoutes, RouteEvents } from './bgpd/program.ts';
export { type ControlHandlers, type ControlServer, callControl, serveControl } from './control.ts';
export { dumpToFile } from './dump-file.ts';
export { declarePeerMetrics } from './peer-metrics.ts';
export { readPeer, readRouteQuery } from './query.ts';
export { PrefixTable } from './rib/prefixes.ts';
export { blockOf, prefixText } from './rib/text.ts';
export { createSpeaker, type SpeakerContext } from './speaker.ts';
export * from './types.ts';

/** The program tsnet-bgpd; loaded when it is run, since nobody else needs its parsers. */
export const runBgpd = async (args: readonly string[], host: BgpdHost): Promise<void> =>
  (await import('./bgpd/program.ts')).runBgpd(args, host);
