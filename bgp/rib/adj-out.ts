import type { PathAttributes } from '../wire/types.ts';
import type { AttributeTable } from './attributes.ts';
import { type Chunk, encodeWindow, type WindowEntry } from './chunk.ts';
import { Emissions } from './emissions.ts';
import { PathEntries } from './path-entries.ts';
import type { PathTable } from './paths.ts';
import { grown, grownSize, type PrefixTable } from './prefixes.ts';

const MIN = 64;
/** Entries in one chunk. */
const WINDOW = 8192;
/** Bytes of chunks that are kept for peers that come to the same place. */
const KEPT_BYTES = 4 << 20;

/** The routes that one peer has been told, as a place in the log of its group. */
export interface Member {
  readonly source: number;
  /** Index in the log of the next change to send. */
  position: number;
}

/** What the group's policy and type of session make of a path; see `export.ts`. */
export interface Exporter {
  /** The emission of the path for the prefix, 0: not advertised; the emission is to be held by the caller. */
  emit(prefix: number, row: number, emissions: Emissions): number;
  /** The emission is gone; its id may come again as another. */
  forget(emission: number): void;
  /** The attributes of the emission as the peers get them; null: they cannot be told. */
  valueOf(emission: number, emissions: Emissions): PathAttributes | null;
  readonly fourOctetAs: boolean;
  readonly maxMessage: number;
}

export interface AdjOutOptions {
  readonly prefixes: PrefixTable;
  readonly paths: PathTable;
  readonly attributes: AttributeTable;
  readonly exporter: Exporter;
  /** RFC 7911: every accepted path is sent, up to this many a prefix; 0: the best one, without path identifiers. */
  readonly addPath: number;
  /** The best paths of the prefix, at most so many. */
  bestOf(prefix: number, most: number): readonly number[];
}

/**
 * What a group of peers with the same outbound profile has been or is to be told: Adj-RIB-Out of all of them at once.
 *
 * A log holds the ids of entries in the order of their last change; an older mention of an entry is dead. A peer is a position in the log:
 * what lies behind it has been sent. So the last writer wins, a slow peer costs one number, a new peer starts at 0, and peers at the same place
 * share the encoded bytes. When half of the log is dead, it is compacted, and withdrawn entries that all peers have passed are forgotten.
 */
export class AdjOut {
  readonly emissions: Emissions;
  readonly addPath: number;
  readonly #o: AdjOutOptions;
  /** Columns by entry: a prefix id, or with add-path an id of its own. */
  #emission = new Uint32Array(MIN);
  /** Source of the last announcement; it stays in a withdrawn entry. */
  #source = new Uint16Array(MIN);
  /** 1: that source may hold a route that we sent before it had its own. */
  #mixed = new Uint8Array(MIN);
  /** Place in the log plus 1; 0: no entry. */
  #at = new Uint32Array(MIN);
  #log = new Uint32Array(MIN);
  #end = 0;
  #live = 0;
  #withdrawn = 0;
  readonly #bySource: number[] = [];
  readonly #members = new Set<Member>();
  readonly #chunks = new Map<number, Chunk>();
  #chunkBytes = 0;
  readonly #entries: PathEntries | null;

  constructor(options: AdjOutOptions) {
    this.#o = options;
    this.addPath = options.addPath;
    this.emissions = new Emissions(options.attributes);
    this.#entries = options.addPath > 0 ? new PathEntries() : null;
  }

  get members(): ReadonlySet<Member> {
    return this.#members;
  }
  /** How many routes the peer has or will have. */
  advertisedTo(member: Member): number {
    return this.#live - (this.#bySource[member.source] ?? 0);
  }
  get end(): number {
    return this.#end;
  }

  /** A peer that has been told nothing yet. */
  join(source: number): Member {
    if (this.#withdrawn > 0) this.#compact();
    const member: Member = { source, position: 0 };
    this.#members.add(member);
    return member;
  }
  leave(member: Member): void {
    this.#members.delete(member);
  }
  /** The peer is to be told everything again (route refresh). */
  restart(member: Member): void {
    if (this.#withdrawn > 0) this.#compact();
    member.position = 0;
  }
  /** The group is over: everything that is held is released. */
  clear(): void {
    this.#members.clear();
    for (let at = 0; at < this.#end; at++) {
      const entry = this.#log[at];
      if (this.#at[entry] !== at + 1) continue;
      if (this.#emission[entry] !== 0) this.#drop(entry);
      this.#forget(entry);
    }
    this.#end = 0;
  }

  /** The paths of the prefix have changed. */
  update(prefix: number) {
    const { paths, prefixes, exporter } = this.#o;
    if (this.#entries !== null) return this.#updatePaths(prefix, this.#entries);
    const best = prefixes.best[prefix];
    const emission = best === 0 ? 0 : exporter.emit(prefix, best, this.emissions);
    if (emission !== 0) this.#announce(prefix, prefix, emission, paths.source[best]);
    else if (prefix < this.#at.length && this.#emission[prefix] !== 0) this.#withdraw(prefix);
  }

  /** The next bytes for the peer, and its new position; null: it has everything. */
  next(member: Member): Chunk | null {
    if (member.position >= this.#end) return null;
    let chunk = this.#chunks.get(member.position);
    if (chunk && chunk.end !== this.#end && chunk.to === chunk.end) {
      // It went to the end of a log that has grown since; longer chunks pack better.
      if (chunk.bytes.length < 4096) chunk = undefined;
    }
    if (!chunk) {
      chunk = this.#encode(member.position);
      this.#keep(member.position, chunk);
    }
    member.position = chunk.to;
    return chunk;
  }
  /** Frees what all peers have passed, when it is much. */
  tidy(): void {
    if (this.#withdrawn === 0 || this.#withdrawn * 2 < this.#live) return;
    for (const member of this.#members) if (member.position < this.#end) return;
    this.#compact();
  }

  /** The emission of the prefix (with add-path: of that path) to the peer, 0: it is not advertised. */
  emissionFor(prefix: number, row: number, source: number): number {
    const entry = this.#entries === null ? prefix : this.#entries.find(prefix, row);
    if (entry === 0 || entry >= this.#at.length) return 0;
    return this.#source[entry] === source ? 0 : this.#emission[entry];
  }
  /** Path identifiers of the prefix that the peer may have been told (0 without add-path), withdrawn ones included that are still to be sent. */
  mayHold(prefix: number, source: number): number[] {
    const entries = this.#entries === null ? [prefix] : this.#entries.of(prefix);
    return entries
      .filter((entry) => entry < this.#at.length && this.#at[entry] !== 0)
      .filter((entry) => this.#source[entry] !== source || this.#mixed[entry] === 1)
      .map((entry) => this.#entries?.pathId[entry] ?? 0);
  }

  #updatePaths(prefix: number, entries: PathEntries): void {
    const { paths, exporter, bestOf } = this.#o;
    const kept = new Set<number>();
    for (const row of bestOf(prefix, this.addPath)) {
      const emission = exporter.emit(prefix, row, this.emissions);
      if (emission === 0) continue;
      const entry = entries.findOrAdd(prefix, row);
      kept.add(entry);
      this.#announce(entry, prefix, emission, paths.source[row]);
    }
    for (const entry of entries.of(prefix)) if (!kept.has(entry) && this.#emission[entry] !== 0) this.#withdraw(entry);
  }

  #announce(entry: number, prefix: number, emission: number, source: number): void {
    if (entry >= this.#at.length) this.#grow(entry + 1);
    const before = this.#emission[entry];
    if (before === emission) return;
    this.emissions.hold(emission);
    if (this.#at[entry] === 0) this.#o.prefixes.hold(prefix);
    else if (this.#source[entry] !== source) this.#mixed[entry] = 1;
    if (before !== 0) this.#drop(entry);
    else if (this.#at[entry] !== 0) this.#withdrawn--;
    this.#emission[entry] = emission;
    this.#source[entry] = source;
    this.#live++;
    this.#bySource[source] = (this.#bySource[source] ?? 0) + 1;
    this.#append(entry);
  }
  #withdraw(entry: number): void {
    // Before the entry has no emission: compacting would take it for one whose withdrawal everybody has had.
    this.#makeRoom();
    this.#drop(entry);
    this.#withdrawn++;
    this.#append(entry);
  }
  #drop(entry: number): void {
    const emission = this.#emission[entry];
    this.#emission[entry] = 0;
    this.#live--;
    this.#bySource[this.#source[entry]]--;
    if (this.emissions.release(emission)) this.#o.exporter.forget(emission);
  }
  /** The entry ends: nobody needs its withdrawal any more. */
  #forget(entry: number): void {
    this.#at[entry] = 0;
    this.#mixed[entry] = 0;
    const prefix = this.#entries === null ? entry : this.#entries.remove(entry);
    this.#o.prefixes.release(prefix);
  }
  #append(entry: number): void {
    this.#makeRoom();
    this.#log[this.#end++] = entry;
    this.#at[entry] = this.#end;
  }
  /** Room for one more in the log. */
  #makeRoom(): void {
    if (this.#end < this.#log.length) return;
    const entries = this.#live + this.#withdrawn;
    if (this.#end > 2 * entries + MIN) this.#compact();
    if (this.#end > this.#log.length / 2) this.#log = grown(this.#log, grownSize(this.#log.length));
  }

  #compact(): void {
    this.#chunks.clear();
    this.#chunkBytes = 0;
    const members = [...this.#members].sort((a, b) => a.position - b.position);
    const passed = members.length === 0 ? this.#end : members[0].position;
    let member = 0;
    let kept = 0;
    for (let at = 0; at < this.#end; at++) {
      while (member < members.length && members[member].position === at) members[member++].position = kept;
      const entry = this.#log[at];
      if (this.#at[entry] !== at + 1) continue;
      if (this.#emission[entry] === 0 && at < passed) {
        this.#withdrawn--;
        this.#forget(entry);
        continue;
      }
      this.#log[kept++] = entry;
      this.#at[entry] = kept;
    }
    for (; member < members.length; member++) members[member].position = kept;
    this.#end = kept;
    this.#giveBack();
  }
  /** An empty table gives its memory back. */
  #giveBack(): void {
    if (this.#end > 0 || this.#log.length <= MIN * 16) return;
    this.#log = new Uint32Array(MIN);
    this.#emission = new Uint32Array(MIN);
    this.#source = new Uint16Array(MIN);
    this.#mixed = new Uint8Array(MIN);
    this.#at = new Uint32Array(MIN);
  }
  #grow(least: number): void {
    let size = this.#at.length;
    while (size < least) size = grownSize(size);
    this.#emission = grown(this.#emission, size);
    this.#source = grown(this.#source, size);
    this.#mixed = grown(this.#mixed, size);
    this.#at = grown(this.#at, size);
  }

  #encode(from: number): Chunk {
    const window: WindowEntry[] = [];
    let at = from;
    for (; at < this.#end && window.length < WINDOW; at++) {
      const entry = this.#log[at];
      if (this.#at[entry] !== at + 1) continue;
      window.push(entry);
    }
    return encodeWindow(
      {
        entries: window,
        prefixes: this.#o.prefixes,
        emissions: this.emissions,
        valueOf: (emission) => this.#o.exporter.valueOf(emission, this.emissions),
        emissionOf: this.#emission,
        sourceOf: this.#source,
        mixed: this.#mixed,
        paths: this.#entries,
        fourOctetAs: this.#o.exporter.fourOctetAs,
        maxMessage: this.#o.exporter.maxMessage,
      },
      at,
      this.#end,
    );
  }
  #keep(position: number, chunk: Chunk): void {
    // With one member nobody else will come by.
    if (this.#members.size < 2) return;
    const before = this.#chunks.get(position);
    if (before) this.#chunkBytes -= before.bytes.length;
    this.#chunks.set(position, chunk);
    this.#chunkBytes += chunk.bytes.length;
    for (const [oldest, { bytes }] of this.#chunks) {
      if (this.#chunkBytes <= KEPT_BYTES || oldest === position) break;
      this.#chunks.delete(oldest);
      this.#chunkBytes -= bytes.length;
    }
  }
}
