import { type Addr, FAMILIES, type Family } from '#core';
import { addrToId } from './attributes.ts';
import { MrtDump, type MrtPath } from './mrt.ts';
import type { Neighbours } from './neighbours.ts';
import type { Rib } from './rib/rib.ts';
import type { SpeakerConfig } from './types.ts';

/** Prefixes between two looks at the clock. */
const SLICE = 512;

/**
 * Every path of the table as received, and what this speaker originates as a peer of its own address. Stops after each slice; what changes meanwhile is in the
 * dump as it was or as it is, each prefix whole.
 */
export function* dumpTable(
  ribs: Readonly<Record<Family, Rib>>,
  neighbours: Neighbours,
  { routerId, asNumber }: SpeakerConfig,
  date: Date,
): Generator<void, Uint8Array> {
  const time = Math.floor(date.getTime() / 1000);
  const collector = addrToId(routerId);
  const peers: { identifier: number; address: Addr; asNumber: number }[] = [
    { identifier: collector, address: routerId, asNumber },
  ];
  const index = new Map<number, number>([[0, 0]]);
  for (const { index: source, config, negotiated } of neighbours.all) {
    const peerAs = negotiated?.peerAs ?? config.asNumbers[0];
    index.set(
      source,
      peers.push({ identifier: negotiated?.peerId ?? 0, address: config.address, asNumber: peerAs }) - 1,
    );
  }
  const dump = new MrtDump(time, collector, '', peers);
  for (const family of FAMILIES) {
    const { prefixes } = ribs[family];
    for (let id = 1; id < prefixes.end; id++) {
      if (id % SLICE === 0) yield;
      const entries = prefixes.isHeld(id) ? pathsOf(ribs[family], id, neighbours, index, time) : [];
      if (entries.length > 0) dump.add(prefixes, id, entries);
    }
  }
  return dump.done();
}

function pathsOf(
  { family, prefixes, paths, attributes }: Rib,
  id: number,
  neighbours: Neighbours,
  index: ReadonlyMap<number, number>,
  since: number,
): MrtPath[] {
  const entries: MrtPath[] = [];
  for (let row = prefixes.head[id]; row !== 0; row = paths.next[row]) {
    const source = paths.source[row];
    const peer = index.get(source);
    // Paths of a peer that was removed are on their way out; one that has come since the dump began is not in its list.
    if (peer === undefined) continue;
    const withId = neighbours.get(source)?.negotiated?.addPathReceive[family] ?? false;
    const pathId = withId ? paths.pathIdOf(row) : null;
    entries.push({ peer, since, attributes: attributes.valueOf(paths.received[row]), pathId });
  }
  return entries;
}
