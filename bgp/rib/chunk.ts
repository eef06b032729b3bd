import { Bug } from '#core';
import { nextHopBytes } from '../wire/attribute.ts';
import { encodeAttributes } from '../wire/attributes-out.ts';
import { type EncodedAttributes, fits, type Selection, UpdateWriter } from '../wire/pack.ts';
import type { PathAttributes } from '../wire/types.ts';
import type { Emissions } from './emissions.ts';
import type { PathEntries } from './path-entries.ts';
import { grown, type PrefixTable } from './prefixes.ts';

/** A piece of a group's log as bytes, ready for the sockets of all peers that are at its place. */
export interface Chunk {
  /** The position behind it. */
  readonly to: number;
  /** The end of the log when it was made. */
  readonly end: number;
  readonly bytes: Uint8Array;
  /** Bytes before this are for everybody but those in `skip`. */
  readonly common: number;
  /** By source: the range that this peer does not get, because it is where the routes come from. */
  readonly skip: ReadonlyMap<number, readonly [number, number]>;
  /** By source: the range for this peer alone: withdrawals of what it had from others before it announced the routes itself. */
  readonly only: ReadonlyMap<number, readonly [number, number]>;
}

export type WindowEntry = number;

/** Entries to encode, and the columns of the table they are in. */
export interface Window {
  readonly entries: readonly WindowEntry[];
  readonly prefixes: PrefixTable;
  readonly emissions: Emissions;
  /** The attributes of an emission as the peers get them; null: they cannot be told. */
  valueOf(emission: number): PathAttributes | null;
  readonly emissionOf: Uint32Array;
  readonly sourceOf: Uint16Array;
  readonly mixed: Uint8Array;
  /** Null where an entry is a prefix and has no path identifier. */
  readonly paths: PathEntries | null;
  readonly fourOctetAs: boolean;
  readonly maxMessage: number;
}

/** What goes to the same peers in the same messages. */
interface Bucket {
  readonly emission: number;
  ids: Uint32Array;
  pathIds: Uint32Array | null;
  count: number;
}

let scratch = new Uint8Array(1 << 18);

/** Withdrawals first, then announcements, those of one source next to each other. */
export function encodeWindow(w: Window, to: number, end: number): Chunk {
  const { common, bySource, corrections } = collect(w);
  const out = new Output(w);
  if (common) out.put(common);
  const skip = new Map<number, readonly [number, number]>();
  for (const [source, buckets] of bySource) {
    const from = out.at;
    for (const bucket of buckets) out.put(bucket);
    skip.set(source, [from, out.at]);
  }
  const shared = out.at;
  const only = new Map<number, readonly [number, number]>();
  for (const [source, bucket] of corrections) {
    const from = out.at;
    out.put(bucket);
    only.set(source, [from, out.at]);
  }
  return { to, end, bytes: out.done(), common: shared, skip, only };
}

/** Puts every entry into its bucket. */
function collect(w: Window) {
  const bySource = new Map<number, Bucket[]>();
  const withdrawals = new Map<number, Bucket>();
  const corrections = new Map<number, Bucket>();
  const used: number[] = [];
  const buckets: Bucket[] = [];
  let common: Bucket | null = null;
  const withdrawalOf = (source: number): Bucket => {
    let bucket = withdrawals.get(source);
    if (!bucket) {
      bucket = newBucket(0, w);
      withdrawals.set(source, bucket);
      listOf(bySource, source).unshift(bucket);
    }
    return bucket;
  };
  for (const entry of w.entries) {
    const emission = w.emissionOf[entry];
    const source = w.sourceOf[entry];
    if (emission === 0) {
      if (w.mixed[entry] === 1) {
        common ??= newBucket(0, w);
        add(common, entry, w);
      } else add(withdrawalOf(source), entry, w);
      continue;
    }
    const slots = w.emissions.bucket;
    if (slots[emission] === 0) {
      used.push(emission);
      const bucket = newBucket(emission, w);
      slots[emission] = buckets.push(bucket);
      listOf(bySource, source).push(bucket);
    }
    add(buckets[slots[emission] - 1], entry, w);
    if (w.mixed[entry] === 0) continue;
    let correction = corrections.get(source);
    if (!correction) {
      correction = newBucket(0, w);
      corrections.set(source, correction);
    }
    add(correction, entry, w);
  }
  for (const emission of used) w.emissions.bucket[emission] = 0;
  return { common, bySource, corrections };
}

function listOf(map: Map<number, Bucket[]>, source: number): Bucket[] {
  let list = map.get(source);
  if (!list) {
    list = [];
    map.set(source, list);
  }
  return list;
}

const newBucket = (emission: number, { paths }: Window): Bucket => ({
  emission,
  ids: new Uint32Array(16),
  pathIds: paths === null ? null : new Uint32Array(16),
  count: 0,
});

function add(bucket: Bucket, entry: number, { paths }: Window): void {
  if (bucket.count === bucket.ids.length) {
    bucket.ids = grown(bucket.ids, bucket.count * 4);
    if (bucket.pathIds !== null) bucket.pathIds = grown(bucket.pathIds, bucket.count * 4);
  }
  if (bucket.pathIds === null || paths === null) bucket.ids[bucket.count++] = entry;
  else {
    bucket.ids[bucket.count] = paths.prefix[entry];
    bucket.pathIds[bucket.count++] = paths.pathId[entry];
  }
}

/** Bytes that grow as buckets are written. */
class Output {
  readonly #w: Window;
  #writer: UpdateWriter;

  constructor(w: Window) {
    this.#w = w;
    this.#writer = new UpdateWriter(scratch, w.maxMessage);
  }
  get at(): number {
    return this.#writer.at;
  }
  put({ emission, ids, pathIds, count }: Bucket): void {
    const { prefixes, fourOctetAs, maxMessage } = this.#w;
    const selection: Selection = { from: prefixes, ids, pathIds };
    const value = emission === 0 ? null : this.#w.valueOf(emission);
    const attributes = value === null ? null : encoded(value, prefixes, fourOctetAs);
    // What does not fit a message cannot be told, and must not be believed either (catalogue U54).
    const announce = attributes !== null && fits(attributes, prefixes.family, pathIds !== null, maxMessage);
    for (let next = 0; next < count; ) {
      next = announce
        ? this.#writer.announce(attributes, selection, next, count)
        : this.#writer.withdraw(selection, next, count);
      if (next < count) this.#grow();
    }
  }
  done(): Uint8Array {
    return scratch.slice(0, this.#writer.at);
  }
  #grow(): void {
    scratch = grown(scratch, scratch.length * 2);
    const { at } = this.#writer;
    this.#writer = new UpdateWriter(scratch, this.#w.maxMessage);
    this.#writer.at = at;
  }
}

/** IPv4 routes with an IPv4 next hop go into the body, all others into MP_REACH_NLRI. */
function encoded(value: PathAttributes, { family }: PrefixTable, fourOctetAs: boolean): EncodedAttributes {
  const nextHop = nextHopBytes(value);
  const body = family === 4 && nextHop.length === 4;
  return { bytes: encodeAttributes(value, { fourOctetAs }, body), nextHop: body ? null : nextHop };
}

/** Withdrawals of prefixes (and path identifiers) as messages. */
export function encodeWithdrawals(
  prefixes: PrefixTable,
  ids: readonly number[],
  pathIds: readonly number[] | null,
  maxMessage: number,
): Uint8Array {
  const selection: Selection = {
    from: prefixes,
    ids: Uint32Array.from(ids),
    pathIds: pathIds === null ? null : Uint32Array.from(pathIds),
  };
  const writer = new UpdateWriter(new Uint8Array(maxMessage + ids.length * 22), maxMessage);
  for (let next = 0; next < ids.length; ) {
    const before = next;
    next = writer.withdraw(selection, next, ids.length);
    if (next === before) throw new Bug('withdrawals do not fit');
  }
  return writer.out.slice(0, writer.at);
}
