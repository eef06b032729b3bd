import type { AttributeTable } from './attributes.ts';
import type { Operation } from './policy.ts';
import { grown } from './prefixes.ts';

const MIN = 64;
const NONE: readonly never[] = [];

/**
 * What one group of peers is told of equal routes: a set of a source, and the operations of the export policy on it (its variant). Routes with one
 * emission share one attribute encoding. In columns, found by the set: nearly always a set has one emission. Id 0: not advertised.
 */
export class Emissions {
  attr = new Uint32Array(MIN);
  source = new Uint16Array(MIN);
  /** Where the window that is being encoded collects its prefixes, plus 1; 0 outside. */
  bucket = new Uint32Array(MIN);
  #refs = new Uint32Array(MIN);
  /** Next emission of the same set; of a free row the next free one. */
  #next = new Uint32Array(MIN);
  /** First emission by set. */
  #first = new Uint32Array(MIN);
  readonly #variants = new Map<number, { readonly key: string; readonly operations: readonly Operation[] }>();
  readonly #attributes: AttributeTable;
  #free = 0;
  #end = 1;
  #count = 0;

  constructor(attributes: AttributeTable) {
    this.#attributes = attributes;
  }
  get count(): number {
    return this.#count;
  }
  operationsOf(id: number): readonly Operation[] {
    return this.#variants.get(id)?.operations ?? NONE;
  }
  find(attr: number, source: number, variant: string): number {
    if (attr >= this.#first.length) return 0;
    let id = this.#first[attr];
    while (id !== 0 && (this.source[id] !== source || (this.#variants.get(id)?.key ?? '') !== variant))
      id = this.#next[id];
    return id;
  }
  /** A new emission, held by nobody. */
  add(attr: number, source: number, variant: string, operations: readonly Operation[]): number {
    if (attr >= this.#first.length) this.#first = grown(this.#first, Math.max(attr + 1, this.#first.length * 2));
    const id = this.#take();
    this.#attributes.hold(attr);
    this.attr[id] = attr;
    this.source[id] = source;
    this.#next[id] = this.#first[attr];
    this.#first[attr] = id;
    if (variant !== '') this.#variants.set(id, { key: variant, operations });
    this.#count++;
    return id;
  }
  hold(id: number): void {
    this.#refs[id]++;
  }
  /** @returns whether the emission is gone. */
  release(id: number): boolean {
    if (--this.#refs[id] > 0) return false;
    const attr = this.attr[id];
    if (this.#first[attr] === id) this.#first[attr] = this.#next[id];
    else {
      let at = this.#first[attr];
      while (this.#next[at] !== id) at = this.#next[at];
      this.#next[at] = this.#next[id];
    }
    this.#variants.delete(id);
    this.#attributes.release(attr);
    this.#next[id] = this.#free;
    this.#free = id;
    this.#count--;
    return true;
  }

  #take(): number {
    if (this.#free !== 0) {
      const id = this.#free;
      this.#free = this.#next[id];
      return id;
    }
    if (this.#end === this.attr.length) {
      const size = this.#end * 2;
      this.attr = grown(this.attr, size);
      this.source = grown(this.source, size);
      this.bucket = grown(this.bucket, size);
      this.#refs = grown(this.#refs, size);
      this.#next = grown(this.#next, size);
    }
    return this.#end++;
  }
}
