import { forEach, type Sliced } from '../slices.ts';

/**
 * The members that a set should have, and where the kernel's differ, as far as those are known. That the two are the same costs nothing:
 * all sets of a node may have a million members, which do not differ (core/delta.ts keeps both sides).
 */
export class Members {
  #own = new Set<string>();
  /** What is its own, or was given to begin with and is copied before it is changed. */
  #desired: ReadonlySet<string> = this.#own;
  /** Somebody reads what is desired now, so the next change is made to a copy. */
  #isLent = false;
  /** Desired, and not in the kernel. */
  readonly #missing = new Set<string>();
  /** In the kernel, and not desired. */
  readonly #extra = new Set<string>();
  #isKnown = false;

  get desired(): ReadonlySet<string> {
    return this.#desired;
  }
  /** undefined: what the kernel has is not known. */
  get inKernel(): number | undefined {
    return this.#isKnown ? this.#desired.size - this.#missing.size + this.#extra.size : undefined;
  }
  get missing(): ReadonlySet<string> {
    return this.#missing;
  }
  get extra(): ReadonlySet<string> {
    return this.#extra;
  }

  /** Whether these are now all that is desired, because nothing was and nothing is known; nobody may change them any more. */
  begin(all: ReadonlySet<string>): boolean {
    if (this.#isKnown || this.#desired.size > 0) return false;
    this.#desired = all;
    return true;
  }
  add(member: string): void {
    if (this.#desired.has(member)) return;
    this.#changeable().add(member);
    if (this.#isKnown && !this.#extra.delete(member)) this.#missing.add(member);
  }
  remove(member: string): void {
    if (!this.#desired.has(member)) return;
    this.#changeable().delete(member);
    if (this.#isKnown && !this.#missing.delete(member)) this.#extra.add(member);
  }

  /** What is desired now, for a write that makes exactly that: it stays as it is when members come and go, until `found` is told of it. */
  lend(): ReadonlySet<string> {
    this.#isLent = true;
    return this.#desired;
  }
  #changeable(): Set<string> {
    if (this.#isLent || this.#own !== this.#desired) this.#own = new Set(this.#desired);
    this.#desired = this.#own;
    this.#isLent = false;
    return this.#own;
  }

  /** The kernel has no such set, or one of another type. */
  forget(): void {
    this.#isKnown = false;
    this.#missing.clear();
    this.#extra.clear();
  }
  /** The kernel has exactly these. */
  *found(all: ReadonlySet<string>): Sliced {
    this.#isKnown = true;
    this.#missing.clear();
    this.#extra.clear();
    if (all === this.#desired) {
      this.#isLent = false;
      return;
    }
    yield* forEach(all, (member) => {
      if (!this.#desired.has(member)) this.#extra.add(member);
    });
    if (all.size - this.#extra.size === this.#desired.size) return;
    yield* forEach(this.#desired, (member) => {
      if (!all.has(member)) this.#missing.add(member);
    });
  }
  /** Whether the kernel, which has these, has what it is known to have. */
  matches(all: ReadonlySet<string>): boolean {
    const isThere = (member: string) =>
      this.#desired.has(member) ? !this.#missing.has(member) : this.#extra.has(member);
    return all.size === this.inKernel && [...all].every(isThere);
  }
  /** These were missing or extra and have been written; what is desired may have changed since. */
  *wrote(added: ReadonlySet<string>, removed: ReadonlySet<string>): Sliced {
    yield* forEach(added, (member) => {
      if (!this.#missing.delete(member) && !this.#desired.has(member)) this.#extra.add(member);
    });
    yield* forEach(removed, (member) => {
      if (!this.#extra.delete(member) && this.#desired.has(member)) this.#missing.add(member);
    });
  }
}
