/**
 * What the codec costs, as prefixes, attribute sets and messages a second on this machine. Numbers, no assertions. To run it as the speaker runs,
 * compile first: tsx wraps every inner function, which costs the decoder half its speed.
 *
 *   npm run build && npx tsc -p tsconfig.json --noEmit false --outDir dist/bench && node dist/bench/test/bench/wire.bench.js
 */
import { Parser } from 'binary-parser';
import { attributeKey, encodeAttributes } from '../../bgp/wire/attributes-out.ts';
import { nextFrame } from '../../bgp/wire/frame.ts';
import { UpdateWriter } from '../../bgp/wire/pack.ts';
import type { DecodeContext, PathAttributes } from '../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../bgp/wire/update.ts';
import type { Addr } from '../../core/index.ts';

const PREFIXES = 1_000_000;

const ctx: DecodeContext = {
  ebgp: true,
  peerAs: 65001,
  fourOctetAs: true,
  families: [4, 6],
  addPathReceive: { 4: false, 6: false },
  extendedNextHop: false,
  maxMessage: 4096,
  routeRefresh: true,
  enhancedRouteRefresh: false,
  options: { enforceFirstAs: true, acceptAsSet: false, dropMartians: true },
};

const attributesOf = (group: number): PathAttributes => ({
  origin: 0,
  asPath: [{ type: 'sequence', asNumbers: [65001, 100_000 + group, 3356] }],
  nextHop: '10.99.0.2' as Addr,
  nextHopLinkLocal: null,
  med: null,
  localPref: null,
  atomicAggregate: false,
  aggregator: null,
  communities: [65000 * 65536 + (group & 0xffff)],
  originatorId: null,
  clusterList: [],
  extendedCommunities: null,
  largeCommunities: [],
  otc: null,
  unknown: [],
  partial: [],
});

/** The best of a few runs: what the code costs when nothing else runs. */
function timed(name: string, count: number, unit: string, run: () => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const start = process.hrtime.bigint();
    run();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e6);
  }
  console.log(
    `${name.padEnd(58)} ${best.toFixed(1).padStart(8)} ms ${((count / best) * 1000).toExponential(2)} ${unit}/s`,
  );
}

for (const family of [4, 6] as const)
  for (const perSet of [1000, 100, 10, 1]) {
    const count = perSet === 1 ? PREFIXES / 10 : PREFIXES;
    const words = family === 4 ? 1 : 4;
    const from = {
      family,
      addr: new Uint32Array(count * words),
      length: new Uint8Array(count).fill(family === 4 ? 32 : 64),
    };
    for (let i = 0; i < count; i++)
      if (family === 4) from.addr[i] = 0x14000000 + i;
      else from.addr.set([0x20010db8, i, 0, 0], i * 4);
    const sets = count / perSet;
    const nextHop = family === 6 ? Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1) : null;
    const bytes = Array.from({ length: sets }, (_, i) =>
      encodeAttributes(attributesOf(i), { fourOctetAs: true }, !nextHop),
    );
    const out = new Uint8Array(count * 20 + sets * 120 + 8192);
    let end = 0;
    const label = `IPv${family}, ${count} prefixes, ${perSet} a set`;
    timed(`${label}: pack`, count, 'prefixes', () => {
      const writer = new UpdateWriter(out, 4096);
      for (let i = 0; i < sets; i++)
        writer.announce({ bytes: bytes[i], nextHop }, { from, ids: null, pathIds: null }, i * perSet, (i + 1) * perSet);
      end = writer.at;
    });
    timed(`${label}: decode`, count, 'prefixes', () => {
      const decoder = new UpdateDecoder(ctx);
      let seen = 0;
      for (let at = 0; at < end; ) {
        const length = nextFrame(out, at, end, 4096);
        if (typeof length !== 'number') throw new Error(length.reason);
        const update = decoder.decode(out, at, at + length);
        if (!update.ok || update.value.fault) throw new Error('fault');
        for (const { nlri } of update.value.announced) seen += nlri.count;
        at += length;
      }
      if (seen !== count) throw new Error(`${seen} of ${count}`);
    });
  }

const sets = Array.from({ length: 100_000 }, (_, i) => attributesOf(i));
timed('attribute sets: encode', sets.length, 'sets', () => {
  for (const set of sets) encodeAttributes(set, { fourOctetAs: true }, true);
});
timed('attribute sets: key', sets.length, 'sets', () => {
  for (const set of sets) attributeKey(set);
});

const keepalives = new Uint8Array(19 * 100_000).fill(0xff);
for (let at = 0; at < keepalives.length; at += 19) keepalives.set([0, 19, 4], at + 16);
timed('headers by hand', 100_000, 'messages', () => {
  for (let at = 0; at < keepalives.length; ) at += nextFrame(keepalives, at, keepalives.length, 4096) as number;
});
const header = new Parser()
  .endianness('big')
  .uint32('a')
  .uint32('b')
  .uint32('c')
  .uint32('d')
  .uint16('length')
  .uint8('type');
timed('headers by binary-parser', 100_000, 'messages', () => {
  for (let at = 0; at < keepalives.length; )
    at += (header.parse(keepalives.subarray(at, at + 19)) as { length: number }).length;
});
