/** In place of a revision: what is known of the key is not to be relied on. */
export const DISTRUSTED = -1;
const GONE = Number.NaN;
/** Room at first, and so many that are gone are no matter. */
const ROOM = 1024;

/**
 * A revision for each key: one of these for every object of a cluster. A snapshot comes in the order of its keys, so what it brings is two columns, keys and
 * numbers, at half a hash table's price in time and room. What comes otherwise, or has a revision that no number holds exactly, stands in a table
 * beside them; no key stands in both.
 */
export class Revisions {
  /** Ascending; some of them may be gone. */
  #keys: string[] = [];
  #revisions = new Float64Array(ROOM);
  #gone = 0;
  readonly #others = new Map<string, number | bigint>();
  /** Where the last key was found: of a snapshot read again the next one comes next. */
  #at = -1;

  /** How many keys there are. */
  get size(): number {
    return this.#keys.length - this.#gone + this.#others.size;
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  get(key: string): number | bigint | undefined {
    const at = this.#find(key);
    const revision = at < 0 ? GONE : this.#revisions[at];
    if (!Number.isNaN(revision)) return revision;
    // An empty table would have the key hashed all the same.
    return this.#others.size > 0 ? this.#others.get(key) : undefined;
  }

  set(key: string, revision: bigint): void {
    const number = revision <= Number.MAX_SAFE_INTEGER ? Number(revision) : undefined;
    const at = this.#find(key);
    if (at >= 0 && number !== undefined) {
      this.#put(at, number);
      this.#others.delete(key);
    } else if (number !== undefined && this.#isLast(key) && this.get(key) === undefined) this.#append(key, number);
    else {
      if (at >= 0) this.#put(at, GONE);
      this.#others.set(key, number ?? revision);
    }
  }

  /** Whether it was there. */
  delete(key: string): boolean {
    const at = this.#find(key);
    if (at < 0 || Number.isNaN(this.#revisions[at])) return this.#others.delete(key);
    this.#put(at, GONE);
    if (this.#gone > ROOM && this.#gone > this.#keys.length / 2) this.#sweep();
    return true;
  }

  /** All become `DISTRUSTED`. */
  distrust(): void {
    this.#sweep();
    this.#revisions.fill(DISTRUSTED, 0, this.#keys.length);
    for (const key of this.#others.keys()) this.#others.set(key, DISTRUSTED);
  }

  /** Keys that are `DISTRUSTED`. */
  distrusted(): string[] {
    const columns = this.#keys.filter((_, at) => this.#revisions[at] === DISTRUSTED);
    return [...columns, ...[...this.#others].flatMap(([key, known]) => (known === DISTRUSTED ? [key] : []))];
  }

  #isLast(key: string): boolean {
    return this.#keys.length === 0 || this.#keys[this.#keys.length - 1] < key;
  }

  #append(key: string, revision: number): void {
    const at = this.#keys.push(key) - 1;
    if (at === this.#revisions.length) {
      const larger = new Float64Array(2 * at);
      larger.set(this.#revisions);
      this.#revisions = larger;
    }
    this.#revisions[at] = revision;
  }

  #put(at: number, revision: number): void {
    this.#gone += Number(Number.isNaN(revision)) - Number(Number.isNaN(this.#revisions[at]));
    this.#revisions[at] = revision;
  }

  /** Keys that are gone are forgotten. */
  #sweep(): void {
    let count = 0;
    for (let at = 0; at < this.#keys.length; at++) {
      if (Number.isNaN(this.#revisions[at])) continue;
      this.#keys[count] = this.#keys[at];
      this.#revisions[count++] = this.#revisions[at];
    }
    this.#keys.length = count;
    this.#gone = 0;
    this.#at = -1;
  }

  /** Where the key stands in the columns; -1: nowhere. */
  #find(key: string): number {
    const keys = this.#keys;
    if (keys[this.#at + 1] === key) return ++this.#at;
    if (this.#isLast(key)) return -1;
    let [low, high] = [0, keys.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (keys[middle] < key) low = middle + 1;
      else high = middle;
    }
    if (keys[low] !== key) return -1;
    this.#at = low;
    return low;
  }
}
