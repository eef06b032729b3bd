import { grown } from './prefixes.ts';

const MIN = 64;
const NONE: readonly never[] = [];

/**
 * Entries with path identifiers (RFC 7911): one for each path of a prefix that is or was advertised. The identifier on the wire is the row of the
 * path, so that it is the same in every group. A row may come again as another path: of another prefix it is another entry, of the same
 * prefix it replaces what the peers had under that identifier.
 */
export class PathEntries {
  prefix = new Uint32Array(MIN);
  pathId = new Uint32Array(MIN);
  readonly #byPrefix = new Map<number, number[]>();
  readonly #free: number[] = [];
  #next = 1;

  of(prefix: number): readonly number[] {
    return this.#byPrefix.get(prefix) ?? NONE;
  }
  /** 0: there is none. */
  find(prefix: number, row: number): number {
    for (const entry of this.of(prefix)) if (this.pathId[entry] === row) return entry;
    return 0;
  }
  findOrAdd(prefix: number, row: number): number {
    const known = this.find(prefix, row);
    if (known !== 0) return known;
    const entry = this.#free.pop() ?? this.#next++;
    if (entry >= this.prefix.length) {
      this.prefix = grown(this.prefix, this.prefix.length * 2);
      this.pathId = grown(this.pathId, this.pathId.length * 2);
    }
    this.prefix[entry] = prefix;
    this.pathId[entry] = row;
    const list = this.#byPrefix.get(prefix);
    if (list) list.push(entry);
    else this.#byPrefix.set(prefix, [entry]);
    return entry;
  }
  /** @returns the prefix that it was of. */
  remove(entry: number): number {
    const prefix = this.prefix[entry];
    const list = this.#byPrefix.get(prefix);
    if (list && list.length > 1) list.splice(list.indexOf(entry), 1);
    else this.#byPrefix.delete(prefix);
    this.#free.push(entry);
    return prefix;
  }
}
