/** Changes that are kept beside the map that they are of; with more of them a new map is made. */
const MOST = 256;

/**
 * What `base` is with some entries changed. A copy of a map of some thousand entries takes longer than a small change of rules by itself, so
 * where there are few changes they stand beside what they are of. Neither map may be changed afterwards.
 *
 * @param changes value null: the entry is gone
 */
export function revised<K, V>(base: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V | null>): ReadonlyMap<K, V> {
  const under = base instanceof RevisedMap ? (base as RevisedMap<K, V>) : undefined;
  const root = under ? under.base : base;
  const all = under ? new Map([...under.changes, ...changes]) : changes;
  const result = new RevisedMap(root, all);
  return all.size > Math.min(MOST, root.size / 4) ? new Map(result) : result;
}

class RevisedMap<K, V> implements ReadonlyMap<K, V> {
  readonly base: ReadonlyMap<K, V>;
  readonly changes: ReadonlyMap<K, V | null>;

  constructor(base: ReadonlyMap<K, V>, changes: ReadonlyMap<K, V | null>) {
    this.base = base;
    this.changes = changes;
  }

  get(key: K): V | undefined {
    const change = this.changes.get(key);
    return change === undefined ? this.base.get(key) : (change ?? undefined);
  }
  has(key: K): boolean {
    return this.get(key) !== undefined;
  }
  get size(): number {
    let size = this.base.size;
    for (const [key, value] of this.changes) size += Number(value !== null) - Number(this.base.has(key));
    return size;
  }
  *entries(): MapIterator<[K, V]> {
    for (const [key, value] of this.base) if (!this.changes.has(key)) yield [key, value];
    for (const [key, value] of this.changes) if (value !== null) yield [key, value];
  }
  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }
  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }
  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }
}
