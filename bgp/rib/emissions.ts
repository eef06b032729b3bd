import type { PathAttributes } from '../wire/types.ts';
import type { AttributeTable } from './attributes.ts';

/**
 * What one group of peers is told of equal routes: a set of a source, and the operations of the export policy on it. Routes with one
 * emission share one attribute encoding. Id 0: not advertised.
 */
export class Emissions {
  readonly #attributes: AttributeTable;
  readonly #rows: (Emission | undefined)[] = [undefined];
  readonly #ids = new Map<number | string, number>();
  readonly #free: number[] = [];

  constructor(attributes: AttributeTable) {
    this.#attributes = attributes;
  }
  get count(): number {
    return this.#ids.size;
  }
  get(id: number): Emission {
    return this.#rows[id] as Emission;
  }
  find(attr: number, source: number, variant: string): number {
    return this.#ids.get(keyOf(attr, source, variant)) ?? 0;
  }
  /** A new emission, held by nobody. */
  add(attr: number, source: number, variant: string, value: PathAttributes): number {
    const id = this.#free.pop() ?? this.#rows.length;
    this.#attributes.hold(attr);
    this.#rows[id] = { attr, source, variant, value, refs: 0, bucket: -1 };
    this.#ids.set(keyOf(attr, source, variant), id);
    return id;
  }
  hold(id: number): void {
    this.get(id).refs++;
  }
  /** @returns whether the emission is gone. */
  release(id: number): boolean {
    const row = this.get(id);
    if (--row.refs > 0) return false;
    this.#ids.delete(keyOf(row.attr, row.source, row.variant));
    this.#attributes.release(row.attr);
    this.#rows[id] = undefined;
    this.#free.push(id);
    return true;
  }
}

export interface Emission {
  readonly attr: number;
  readonly source: number;
  readonly variant: string;
  /** As the peers of the group get it. */
  readonly value: PathAttributes;
  refs: number;
  /** Where the window that is being encoded collects its prefixes; -1 outside. */
  bucket: number;
}

const keyOf = (attr: number, source: number, variant: string): number | string =>
  variant === '' ? attr * 0x10000 + source : `${attr} ${source} ${variant}`;
