import type { Labels, Selector } from '#core';
import { Crowd } from './crowd.ts';
import type { LabelName, Pair } from './label-table.ts';

/** Where a selector is filed, so that only items that can match it look at it. */
export type Home<E, D> = Pair<E, D> | LabelName<E, D>;

/** A selector that somebody wants to have matched; `key` is theirs. */
export class Entry<E, D> {
  readonly key: E;
  readonly selector: Selector;
  /** Filed under these; empty with `anywhere` false: nothing can match. */
  homes: readonly Home<E, D>[] = [];
  anywhere = false;
  /** False from the moment it is taken out of the index. */
  live = true;
  /** Turns of the index in which it was looked at, matched, and found among the old matches: they stand in for sets made anew per turn. */
  seen = 0;
  matched = 0;
  kept = 0;

  constructor(key: E, selector: Selector) {
    this.key = key;
    this.selector = selector;
  }
}

/** A profile (or namespace) whose labels its children inherit. */
export class Parent<E, D> {
  readonly name: string;
  /** As flat name, value, name, value. */
  labels: readonly string[] = [];
  /** Interned only while there are children. */
  pairs: readonly Pair<E, D>[] = [];
  readonly children = new Crowd<Item<E, D>>();
  /** Lists of parents that begin with this one: items that inherit the same share one. */
  readonly lists: (readonly Parent<E, D>[])[] = [];
  /** False from the moment that its name no longer leads to it. */
  live = true;

  constructor(name: string) {
    this.name = name;
  }
}

/** Shared, because there may be hundreds of thousands of these. */
export const NOTHING: never[] = Object.freeze([]) as unknown as never[];

/** Something with labels that selectors match; `data` is what its owner wants to be told of, undefined once it is gone. */
export class Item<E, D> implements Labels {
  pairs: readonly Pair<E, D>[] = NOTHING;
  parents: readonly Parent<E, D>[] = NOTHING;
  data: D | undefined;
  /** The data that the listener was last told of. */
  settled: D | undefined;
  /** Its own, or `NOTHING`, which is everybody's and never changed. */
  matches: Entry<E, D>[] = NOTHING;
  dirty = false;
  seen = 0;

  /** Own labels win, then the earlier parent. */
  get(name: string): string | undefined {
    for (const pair of this.pairs) if (pair.label.name === name) return pair.value;
    for (const parent of this.parents) for (const pair of parent.pairs) if (pair.label.name === name) return pair.value;
    return undefined;
  }
}
