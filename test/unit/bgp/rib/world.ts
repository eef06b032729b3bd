import { type Addr, addr, type Family, type Prefix } from '#core';
import { originate } from '../../../../bgp/attributes.ts';
import { AdjOut, type Member } from '../../../../bgp/rib/adj-out.ts';
import { AttributeTable } from '../../../../bgp/rib/attributes.ts';
import { GroupExporter, type OutboundProfile } from '../../../../bgp/rib/export.ts';
import { CompiledPolicy } from '../../../../bgp/rib/policy.ts';
import { Rib } from '../../../../bgp/rib/rib.ts';
import { type Source, Sources } from '../../../../bgp/rib/source.ts';
import { blockOf, prefixText } from '../../../../bgp/rib/text.ts';
import type { RoutePolicy } from '../../../../bgp/types.ts';
import { nextFrame } from '../../../../bgp/wire/frame.ts';
import { DEFAULT_OPTIONS } from '../../../../bgp/wire/negotiate.ts';
import type { DecodeContext, NlriBlock, PathAttributes } from '../../../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../../../bgp/wire/update.ts';

/** A table with sources and peers, without sessions. */

export const OPEN: RoutePolicy = { rules: [], otherwise: 'accept' };

export const profile = (change: Partial<OutboundProfile> = {}): OutboundProfile => ({
  family: 4,
  ebgp: true,
  localAs: 65000,
  client: false,
  clusterId: 1,
  nextHop: 'auto',
  self: addr('192.0.2.1'),
  selfLinkLocal: null,
  extendedNextHop: false,
  fourOctetAs: true,
  maxMessage: 4096,
  addPath: 0,
  role: null,
  drain: false,
  longLived: false,
  ...change,
});

export const path = (asNumbers: readonly number[], change: Partial<PathAttributes> = {}): PathAttributes =>
  originate(change.nextHop ?? addr('198.51.100.1'), {
    asPath: asNumbers.length === 0 ? [] : [{ type: 'sequence', asNumbers }],
    ...change,
  });

export class World {
  readonly attributes = new AttributeTable();
  readonly sources = new Sources();
  readonly rib: Rib;

  constructor(family: Family = 4) {
    this.rib = new Rib({
      family,
      attributes: this.attributes,
      sourceOf: (index) => this.sources.get(index),
      isReachable: () => true,
    });
  }
  source(change: Partial<Source> = {}): Source {
    const index = this.sources.take();
    const address = change.address ?? (`10.0.0.${index}` as Addr);
    const source: Source = {
      index,
      address,
      order: String(index).padStart(5, '0'),
      ebgp: true,
      asNumber: 65000 + index,
      routerId: index,
      client: false,
      isDirect: false,
      ...change,
    };
    this.sources.set(source);
    return source;
  }
  announce(source: Source, prefix: string, value: PathAttributes, pathId = 0, run = 0, accepted = value): void {
    const received = this.attributes.intern(value);
    const attr = this.attributes.intern(accepted);
    this.rib.announce(source.index, run, this.#block(prefix, pathId), received, attr);
    this.attributes.release(received);
    this.attributes.release(attr);
  }
  withdraw(source: Source, prefix: string, pathId = 0): void {
    this.rib.withdraw(source.index, this.#block(prefix, pathId));
  }
  group(change: Partial<OutboundProfile> = {}, policy: RoutePolicy = OPEN): AdjOut {
    const { prefixes, paths, attributes } = this.rib;
    const exporter = new GroupExporter(profile({ family: this.rib.family, ...change }), new CompiledPolicy(policy), {
      prefixes,
      paths,
      attributes,
      sourceOf: (index) => this.sources.get(index),
      interfaceOf: () => null,
    });
    const bestOf = (prefix: number, most: number) => this.rib.bestOf(prefix, most);
    const out = new AdjOut({ prefixes, paths, attributes, exporter, addPath: exporter.profile.addPath, bestOf });
    this.rib.attach(out);
    this.rib.fill(out, 1, Number.MAX_SAFE_INTEGER);
    return out;
  }
  bestOf(prefix: string): Source | null {
    const block = blockOf(prefix as Prefix);
    const id = this.rib.prefixes.find(block.addr, 0, block.length[0]);
    const row = id === 0 ? 0 : this.rib.prefixes.best[id];
    return row === 0 ? null : this.sources.get(this.rib.paths.source[row]);
  }
  #block(prefix: string, pathId: number): NlriBlock {
    const block = blockOf(prefix as Prefix);
    return pathId === 0 ? block : { ...block, pathId: Uint32Array.of(pathId) };
  }
}

/** The far end of a group: what the peer knows, from the bytes alone. */
export class FarEnd {
  readonly routes = new Map<string, PathAttributes>();
  readonly member: Member;
  readonly #out: AdjOut;
  readonly #decoder: UpdateDecoder;
  /** Withdrawals of what was not there. */
  redundant = 0;

  constructor(out: AdjOut, source: number, family: Family = 4, change: Partial<DecodeContext> = {}) {
    this.#out = out;
    this.member = out.join(source);
    this.#decoder = new UpdateDecoder({
      ebgp: true,
      peerAs: 65000,
      fourOctetAs: true,
      families: [family],
      addPathReceive: { 4: out.addPath > 0, 6: out.addPath > 0 },
      extendedNextHop: false,
      maxMessage: 4096,
      routeRefresh: true,
      enhancedRouteRefresh: true,
      options: DEFAULT_OPTIONS,
      ...change,
    });
  }
  /** Takes chunks until there is none, or only so many. */
  pull(most = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < most; i++) {
      const chunk = this.#out.next(this.member);
      if (!chunk) return;
      const skip = chunk.skip.get(this.member.source) ?? [chunk.common, chunk.common];
      this.#read(chunk.bytes, 0, skip[0]);
      this.#read(chunk.bytes, skip[1], chunk.common);
      const only = chunk.only.get(this.member.source);
      if (only) this.#read(chunk.bytes, only[0], only[1]);
    }
  }
  #read(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end; ) {
      const length = nextFrame(bytes, at, end, 4096);
      if (typeof length !== 'number' || length === 0) throw new Error('no frame');
      const update = this.#decoder.decode(bytes, at, at + length);
      if (!update.ok || update.value.fault) throw new Error('malformed');
      for (const block of update.value.withdrawn)
        for (const key of keysOf(block)) if (!this.routes.delete(key)) this.redundant++;
      for (const { nlri, attributes } of update.value.announced)
        for (const key of keysOf(nlri)) this.routes.set(key, attributes);
      at += length;
    }
  }
}

function keysOf(block: NlriBlock): string[] {
  return Array.from({ length: block.count }, (_, i) =>
    block.pathId ? `${prefixText(block, i)} ${block.pathId[i]}` : prefixText(block, i),
  );
}
