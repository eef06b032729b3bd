import type { Family } from '#core';
import type { NlriBlock } from '../wire/types.ts';
import type { AdjOut } from './adj-out.ts';
import type { AttributeTable } from './attributes.ts';
import { bestOf, type Candidates, decide, type Losers } from './decision.ts';
import { REACH } from './next-hops.ts';
import { PathTable } from './paths.ts';
import { grown, PrefixTable } from './prefixes.ts';
import type { Source } from './source.ts';

/** The set that a path has after import; 0: not accepted. A function where it depends on the prefix. */
export type Accepted = number | ((prefix: number) => number);

export interface RibOptions {
  readonly family: Family;
  readonly attributes: AttributeTable;
  sourceOf(index: number): Source;
  /** Whether a next hop that is neither connected nor out of reach can be used by the source. */
  isReachable(hop: number, source: number): boolean;
}

/** Paths of one prefix that one source may have. What more it announces (RFC 7911 sets no limit) would make every look at that prefix dearer, for all. */
export const MOST_KEPT = 256;

/** How many paths a source has. */
export interface PathCounts {
  received: number;
  accepted: number;
}

/**
 * The routing table of one family: every path of every source, the best of each prefix, and who has to be told. Paths not accepted by
 * import stay, so that a changed policy needs no refresh, and so that `bgp routes --received` can say why.
 */
export class Rib {
  readonly family: Family;
  readonly prefixes: PrefixTable;
  readonly paths = new PathTable();
  readonly attributes: AttributeTable;
  readonly candidates: Candidates;
  /** An array, because every change of every prefix goes through it. */
  #outs: readonly AdjOut[] = [];
  readonly #counts: PathCounts[] = [];
  #dirty: DirtySet | null = null;
  #onSettled: ((id: number) => void) | null = null;

  constructor(options: RibOptions) {
    this.family = options.family;
    this.attributes = options.attributes;
    this.prefixes = new PrefixTable(options.family);
    const { paths, attributes } = this;
    const { nextHops } = attributes;
    this.candidates = {
      paths,
      attributes,
      sourceOf: (index) => options.sourceOf(index),
      isReachable: (row) => {
        const hop = attributes.nextHop[paths.attr[row]];
        const reach = nextHops.reach[hop];
        if (reach === REACH.connected) return true;
        const source = paths.source[row];
        return source === 0 || (reach !== REACH.none && options.isReachable(hop, source));
      },
    };
  }

  /** The path counts of a source. */
  countsOf(source: number): PathCounts {
    this.#counts[source] ??= { received: 0, accepted: 0 };
    return this.#counts[source];
  }
  /** From now on `takeDirty` tells the prefixes whose best path changed. */
  trackBest(): void {
    this.#dirty ??= new DirtySet();
  }
  /** Calls back with every prefix of which a path came, changed or went; null: no more. */
  onSettled(call: ((id: number) => void) | null): void {
    this.#onSettled = call;
  }
  /** Prefixes whose best path may have changed since, at most `limit`; each is held until `release`d by the caller. */
  takeDirty(limit: number): number[] {
    return this.#dirty?.take(limit) ?? [];
  }
  get hasDirty(): boolean {
    return (this.#dirty?.size ?? 0) > 0;
  }

  /** From now on the adjacency is kept up to date; what is there already is brought by `fill`. */
  attach(out: AdjOut): void {
    this.#outs = [...this.#outs, out];
  }
  /** Tells the adjacency of what the table holds (again, after a change of its policy). Slices as `sweep` does, over prefixes. */
  fill(out: AdjOut, from: number, limit: number): number {
    const { prefixes } = this;
    const end = Math.min(prefixes.end, Math.max(1, from) + limit);
    for (let id = Math.max(1, from); id < end; id++) if (prefixes.isHeld(id)) out.update(id);
    return end >= prefixes.end ? 0 : end;
  }
  detach(out: AdjOut): void {
    this.#outs = this.#outs.filter((other) => other !== out);
  }

  /** Announces the prefixes of the block with one set; `received` is held by the caller. Returns how many were not taken: they are beyond `MOST_KEPT`. */
  announce(source: number, run: number, nlri: NlriBlock, received: number, accepted: Accepted): number {
    const { addr, length, pathId, count } = nlri;
    let refused = 0;
    for (let i = 0; i < count; i++) {
      const id = this.prefixes.intern(addr, i, length[i]);
      const attr = typeof accepted === 'number' ? accepted : accepted(id);
      if (!this.#announceOne(id, source, run, pathId === null ? 0 : pathId[i], received, attr)) refused++;
    }
    return refused;
  }
  withdraw(source: number, nlri: NlriBlock): void {
    const { addr, length, pathId, count } = nlri;
    for (let i = 0; i < count; i++) {
      const id = this.prefixes.find(addr, i, length[i]);
      if (id !== 0) this.#withdrawOne(id, source, pathId === null ? 0 : pathId[i]);
    }
  }
  /**
   * Removes the paths of rows `[from, from + limit)` that are to go; returns the row to go on from, 0 when the table is done. One pass serves any
   * number of lost peers.
   */
  sweep(goes: (source: number, run: number) => boolean, from: number, limit: number): number {
    const { paths } = this;
    const end = Math.min(paths.end, Math.max(1, from) + limit);
    for (let row = Math.max(1, from); row < end; row++) {
      const id = paths.prefix[row];
      if (id !== 0 && goes(paths.source[row], paths.run[row])) this.#unlink(id, row);
    }
    return end >= paths.end ? 0 : end;
  }
  /** Imports the paths of a source anew: its policy has changed. What `accept` gives is held once, for this call. Slices as `sweep` does. */
  reimport(
    source: number,
    accept: (prefix: number, received: number, before: number) => number,
    from: number,
    limit: number,
  ): number {
    const { paths } = this;
    const end = Math.min(paths.end, Math.max(1, from) + limit);
    for (let row = Math.max(1, from); row < end; row++) {
      const id = paths.prefix[row];
      if (id === 0 || paths.source[row] !== source) continue;
      const attr = accept(id, paths.received[row], paths.attr[row]);
      const isNew = attr !== paths.attr[row];
      if (isNew) this.#setAttr(row, attr);
      if (attr !== 0) this.attributes.release(attr);
      if (isNew) this.#settle(id, row);
    }
    return end >= paths.end ? 0 : end;
  }
  /** Decides every prefix anew, because something beside the paths has changed (next hops, stale marks). Slices as `sweep` does, over prefixes. */
  reconsider(concerns: (row: number) => boolean, from: number, limit: number): number {
    const end = Math.min(this.prefixes.end, Math.max(1, from) + limit);
    for (let id = Math.max(1, from); id < end; id++) {
      if (!this.prefixes.isHeld(id)) continue;
      for (let row = this.prefixes.head[id]; row !== 0; row = this.paths.next[row]) {
        if (!concerns(row)) continue;
        this.#settle(id, row);
        break;
      }
    }
    return end >= this.prefixes.end ? 0 : end;
  }

  /** The paths of a prefix with the step in which each loses; the best has none. */
  explain(id: number): { row: number; lost: Losers } {
    const lost: Losers = new Map();
    return { row: decide(this.prefixes.head[id], this.candidates, lost, null), lost };
  }
  /** The best paths, at most so many, the best one first. */
  bestOf(id: number, most: number): number[] {
    return bestOf(this.prefixes.head[id], most, this.candidates);
  }
  /** The paths that are as good as the best for forwarding. */
  equalPaths(id: number): number[] {
    const equal: number[] = [];
    decide(this.prefixes.head[id], this.candidates, null, equal);
    return equal;
  }
  rowOf(id: number, source: number, pathId: number): number {
    const { paths } = this;
    let row = this.prefixes.head[id];
    while (row !== 0 && (paths.source[row] !== source || paths.pathIdOf(row) !== pathId)) row = paths.next[row];
    return row;
  }

  /** False: the source has as many paths of this prefix as it may have. */
  #announceOne(id: number, source: number, run: number, pathId: number, received: number, attr: number): boolean {
    const { paths, attributes } = this;
    let row = this.rowOf(id, source, pathId);
    // Whether the path counts, or did.
    let counts = attr !== 0;
    if (row !== 0) {
      paths.run[row] = run;
      if (paths.received[row] === received && paths.attr[row] === attr) return true;
      attributes.hold(received);
      attributes.release(paths.received[row]);
      paths.received[row] = received;
      counts ||= paths.attr[row] !== 0;
      this.#setAttr(row, attr);
    } else {
      if (pathId !== 0 && this.#pathsOf(id, source) >= MOST_KEPT) return false;
      row = paths.add(id, source, pathId);
      this.prefixes.hold(id);
      attributes.hold(received);
      paths.received[row] = received;
      paths.run[row] = run;
      paths.next[row] = this.prefixes.head[id];
      this.prefixes.head[id] = row;
      this.countsOf(source).received++;
      this.#setAttr(row, attr);
    }
    if (counts) this.#settle(id, row);
    return true;
  }
  #pathsOf(id: number, source: number): number {
    const { paths } = this;
    let count = 0;
    for (let row = this.prefixes.head[id]; row !== 0; row = paths.next[row]) if (paths.source[row] === source) count++;
    return count;
  }
  #setAttr(row: number, attr: number): void {
    const { paths, attributes } = this;
    const before = paths.attr[row];
    if (attr !== 0) attributes.hold(attr);
    if (before !== 0) attributes.release(before);
    paths.attr[row] = attr;
    if ((before === 0) !== (attr === 0)) this.countsOf(paths.source[row]).accepted += attr === 0 ? -1 : 1;
  }
  #withdrawOne(id: number, source: number, pathId: number): void {
    const row = this.rowOf(id, source, pathId);
    if (row !== 0) this.#unlink(id, row);
  }
  #unlink(id: number, row: number): void {
    const { paths, prefixes } = this;
    if (prefixes.head[id] === row) prefixes.head[id] = paths.next[row];
    else {
      let at = prefixes.head[id];
      while (paths.next[at] !== row) at = paths.next[at];
      paths.next[at] = paths.next[row];
    }
    const counted = paths.attr[row] !== 0;
    this.#setAttr(row, 0);
    this.attributes.release(paths.received[row]);
    this.countsOf(paths.source[row]).received--;
    if (counted) this.#settle(id, row);
    paths.remove(row);
    prefixes.release(id);
  }

  /** The best path anew, after the path in `touched` came, changed or went. */
  #settle(id: number, touched: number): void {
    const { paths, prefixes, candidates } = this;
    const head = prefixes.head[id];
    const before = prefixes.best[id];
    const single = head !== 0 && paths.next[head] === 0;
    const best = single ? this.#only(head) : head === 0 ? 0 : decide(head, candidates, null, null);
    prefixes.best[id] = best;
    const same = best === before && best !== touched;
    const outs = this.#outs;
    for (let i = 0; i < outs.length; i++) if (!same || outs[i].addPath > 0) outs[i].update(id);
    if (this.#dirty !== null && (!same || !single) && this.#dirty.add(id)) prefixes.hold(id);
    if (this.#onSettled !== null) this.#onSettled(id);
  }
  #only(row: number): number {
    return this.paths.attr[row] !== 0 && this.candidates.isReachable(row) ? row : 0;
  }
}

/** Ids in the order in which they came, each once: a queue, and a flag by id. */
class DirtySet {
  #queue: number[] = [];
  #head = 0;
  #has = new Uint8Array(64);
  get size(): number {
    return this.#queue.length - this.#head;
  }
  /** Whether the id is new. */
  add(id: number): boolean {
    if (id >= this.#has.length) this.#has = grown(this.#has, Math.max(id + 1, this.#has.length * 2));
    if (this.#has[id] === 1) return false;
    this.#has[id] = 1;
    this.#queue.push(id);
    return true;
  }
  take(limit: number): number[] {
    const taken = this.#queue.slice(this.#head, this.#head + limit);
    for (const id of taken) this.#has[id] = 0;
    this.#head += taken.length;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    }
    return taken;
  }
}
