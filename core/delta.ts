/**
 * Desired against actual, the one way in which tsnet computes a difference (routes, rules, sets, neighbours, adj-out).
 *
 *      desired only         both, equal        both, different       actual only
 *      ────────────         ───────────        ───────────────       ───────────
 *      pending update       nothing to do      pending update        pending delete
 *
 * The caller states what should be (`setDesired`, `deleteDesired`, `replaceDesired`) and what is (`replaceActual` after a
 * read-back, `markUpdated`, `markDeleted` after a write), in any order and any number of times; the pending sets
 * follow from the two maps alone (invariant I7), so a lost write is found again by the next read-back.
 */
export class DeltaTracker<K, V> {
  readonly #desired = new Map<K, V>();
  readonly #actual = new Map<K, V>();
  readonly #updates = new Set<K>();
  readonly #deletes = new Set<K>();
  readonly #equal: (a: V, b: V) => boolean;

  constructor(equal: (a: V, b: V) => boolean) {
    this.#equal = equal;
  }

  setDesired(key: K, value: V): void {
    this.#desired.set(key, value);
    this.#settle(key);
  }
  deleteDesired(key: K): void {
    this.#desired.delete(key);
    this.#settle(key);
  }
  /** Makes the desired side exactly `all`. */
  replaceDesired(all: ReadonlyMap<K, V>): void {
    for (const key of this.#desired.keys()) if (!all.has(key)) this.deleteDesired(key);
    for (const [key, value] of all) this.setDesired(key, value);
  }

  /** One fact about the world, as an event tells it; undefined: it is gone. */
  setActual(key: K, value: V | undefined): void {
    if (value === undefined) this.#actual.delete(key);
    else this.#actual.set(key, value);
    this.#settle(key);
  }
  /** The whole world, as a read-back tells it. */
  replaceActual(all: ReadonlyMap<K, V>): void {
    for (const key of [...this.#actual.keys()]) if (!all.has(key)) this.setActual(key, undefined);
    for (const [key, value] of all) this.setActual(key, value);
  }
  /** The desired value of the key has been written. */
  markUpdated(key: K): void {
    this.setActual(key, this.#desired.get(key));
  }
  /** The key has been removed from the world. */
  markDeleted(key: K): void {
    this.setActual(key, undefined);
  }

  desired(key: K): V | undefined {
    return this.#desired.get(key);
  }
  actual(key: K): V | undefined {
    return this.#actual.get(key);
  }
  get allDesired(): ReadonlyMap<K, V> {
    return this.#desired;
  }
  get allActual(): ReadonlyMap<K, V> {
    return this.#actual;
  }
  /** Keys to write, with the value to write and the one there now; safe to mark while iterating. */
  *pendingUpdates(): IterableIterator<{ key: K; want: V; have: V | undefined }> {
    for (const key of [...this.#updates]) {
      const want = this.#desired.get(key);
      if (want !== undefined && this.#updates.has(key)) yield { key, want, have: this.#actual.get(key) };
    }
  }
  /** Keys to remove, with the value there now; safe to mark while iterating. */
  *pendingDeletes(): IterableIterator<{ key: K; have: V }> {
    for (const key of [...this.#deletes]) {
      const have = this.#actual.get(key);
      if (have !== undefined && this.#deletes.has(key)) yield { key, have };
    }
  }
  get inSync(): boolean {
    return this.#updates.size === 0 && this.#deletes.size === 0;
  }
  get pendingCount(): number {
    return this.#updates.size + this.#deletes.size;
  }

  #settle(key: K): void {
    const want = this.#desired.get(key);
    const have = this.#actual.get(key);
    if (want !== undefined && (have === undefined || !this.#equal(want, have))) this.#updates.add(key);
    else this.#updates.delete(key);
    if (want === undefined && have !== undefined) this.#deletes.add(key);
    else this.#deletes.delete(key);
  }
}
