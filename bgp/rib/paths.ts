import { grown, grownSize } from './prefixes.ts';

const MIN = 64;

/**
 * Paths of one family in columns: who announces which prefix with which attributes. The paths of a prefix are a chain that begins at
 * `PrefixTable.head`. Row 0 is no path.
 */
export class PathTable {
  prefix = new Uint32Array(MIN);
  /** Index of the source; 0 is this speaker. */
  source = new Uint16Array(MIN);
  /** Attribute set as received. */
  received = new Uint32Array(MIN);
  /** Attribute set after import; 0: not accepted. */
  attr = new Uint32Array(MIN);
  /** Next path of the prefix; of a free row the next free one. */
  next = new Uint32Array(MIN);
  /** The run of the source's session that announced it; older than the current one: stale (RFC 4724). */
  run = new Uint8Array(MIN);
  /** RFC 7911 path identifiers as received; made when the first session has them. */
  #pathId: Uint32Array | null = null;
  #free = 0;
  #next = 1;
  #count = 0;

  get count(): number {
    return this.#count;
  }
  /** Rows run from 1 to below this; a free one has prefix 0. */
  get end(): number {
    return this.#next;
  }
  pathIdOf(row: number): number {
    return this.#pathId === null ? 0 : this.#pathId[row];
  }

  add(prefix: number, source: number, pathId: number): number {
    const row = this.#take();
    this.prefix[row] = prefix;
    this.source[row] = source;
    if (pathId !== 0 && this.#pathId === null) this.#pathId = new Uint32Array(this.prefix.length);
    if (this.#pathId !== null) this.#pathId[row] = pathId;
    this.#count++;
    return row;
  }
  /** Frees a row that is out of its chain. */
  remove(row: number): void {
    this.prefix[row] = 0;
    this.received[row] = 0;
    this.attr[row] = 0;
    this.next[row] = this.#free;
    this.#free = row;
    if (--this.#count === 0) this.#shrink();
  }

  #take(): number {
    if (this.#free !== 0) {
      const row = this.#free;
      this.#free = this.next[row];
      this.next[row] = 0;
      return row;
    }
    if (this.#next === this.prefix.length) this.#resize(grownSize(this.prefix.length));
    return this.#next++;
  }
  #resize(size: number): void {
    this.prefix = grown(this.prefix, size);
    this.source = grown(this.source, size);
    this.received = grown(this.received, size);
    this.attr = grown(this.attr, size);
    this.next = grown(this.next, size);
    this.run = grown(this.run, size);
    if (this.#pathId !== null) this.#pathId = grown(this.#pathId, size);
  }
  /** An empty table gives its memory back. */
  #shrink(): void {
    if (this.prefix.length <= MIN * 16) return;
    const empty = new PathTable();
    this.prefix = empty.prefix;
    this.source = empty.source;
    this.received = empty.received;
    this.attr = empty.attr;
    this.next = empty.next;
    this.run = empty.run;
    this.#pathId = null;
    this.#free = 0;
    this.#next = 1;
  }
}
