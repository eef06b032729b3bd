import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { labelsOf, selector } from '#core';
import { added, type CompactSet, removed, sizeOf } from '../../../policy/labels/compact-set.ts';
import { Crowd } from '../../../policy/labels/crowd.ts';
import { type Entry, Item } from '../../../policy/labels/item.ts';
import { LabelIndex } from '../../../policy/labels/label-index.ts';
import { isImpossible, restrictionsOf } from '../../../policy/labels/restriction.ts';

const NAMES = ['a', 'b', 'c'];
const VALUES = ['', '1', '2'];
const leaf = fc.oneof(
  fc.constantFrom('all()', ...NAMES.map((n) => `has(${n})`)),
  fc
    .tuple(
      fc.constantFrom(...NAMES),
      fc.constantFrom('==', '!=', 'contains', 'starts with'),
      fc.constantFrom(...VALUES),
    )
    .map(([n, op, v]) => `${n} ${op} "${v}"`),
  fc
    .tuple(fc.constantFrom(...NAMES), fc.constantFrom('in', 'not in'), fc.subarray(VALUES))
    .map(([n, op, vs]) => `${n} ${op} {${vs.map((v) => `"${v}"`).join(',')}}`),
);
const { text } = fc.letrec<{ text: string }>((tie) => ({
  text: fc.oneof(
    { maxDepth: 3 },
    leaf,
    tie('text').map((t) => `!(${t})`),
    fc.tuple(tie('text'), fc.constantFrom('&&', '||'), tie('text')).map(([a, op, b]) => `(${a} ${op} ${b})`),
  ),
}));
const labels = fc.dictionary(fc.constantFrom(...NAMES), fc.constantFrom(...VALUES), {
  maxKeys: 3,
  noNullPrototype: true,
});

describe('restrictions', () => {
  test.each([
    ['all()', []],
    ['!all()', [['', []]]],
    ['has(a)', [['a', 'present']]],
    ['!has(a)', []],
    ['a == "1"', [['a', ['1']]]],
    ['a != "1"', []],
    ['!a != "1"', [['a', ['1']]]],
    ['a in {"1", "2"} && a in {"2", "3"}', [['a', ['2']]]],
    [
      'a == "1" && has(a) && has(b)',
      [
        ['a', ['1']],
        ['b', 'present'],
      ],
    ],
    ['a == "1" || a == "2"', [['a', ['1', '2']]]],
    ['a == "1" || has(a)', [['a', 'present']]],
    ['a == "1" || b == "1"', []],
    ['a == "1" || (a == "2" && b == "1")', [['a', ['1', '2']]]],
    ['a in {} || b == "1"', [['b', ['1']]]],
    ['a in {} || !all()', [['', []]]],
    [
      '!(a != "1" || !has(b))',
      [
        ['a', ['1']],
        ['b', 'present'],
      ],
    ],
    ['a starts with "x" && !(a == "y")', [['a', 'present']]],
  ])('%s', (source, expected) => {
    const found = [...restrictionsOf(selector(source).root)].map(([n, r]) => [n, r === 'present' ? r : [...r].sort()]);
    expect(found.sort()).toEqual(expected);
  });

  test('are necessary: labels that match satisfy every one of them', () => {
    fc.assert(
      fc.property(text, labels, (source, own) => {
        const parsed = selector(source);
        if (!parsed.matches(labelsOf(own))) return;
        const restrictions = restrictionsOf(parsed.root);
        expect(isImpossible(restrictions)).toBe(false);
        for (const [name, restriction] of restrictions)
          expect(restriction === 'present' ? name in own : restriction.has(own[name])).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});

test('a compact set is a set, whatever its size', () => {
  const things = Array.from({ length: 30 }, (_, id) => ({ id }));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 29 })), { maxLength: 120 }), (steps) => {
      let compact: CompactSet<{ id: number }>;
      const model = new Set<{ id: number }>();
      for (const [adds, i] of steps) {
        compact = adds ? added(compact, things[i]) : removed(compact, things[i]);
        if (adds) model.add(things[i]);
        else model.delete(things[i]);
        expect(sizeOf(compact)).toBe(model.size);
      }
      const elements = compact instanceof Set || Array.isArray(compact) ? [...compact] : [compact ?? []].flat();
      expect(new Set(elements)).toEqual(model);
    }),
  );
});

test('in a crowd everybody is met who has not left, and not many others', () => {
  const things = Array.from({ length: 40 }, (_, id) => ({ id }));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 39 }), { maxLength: 300 }), (steps) => {
      const crowd = new Crowd<{ id: number }>();
      const model = new Set<{ id: number }>();
      for (const i of steps) {
        if (model.delete(things[i])) crowd.leave((thing) => model.has(thing));
        else {
          model.add(things[i]);
          crowd.add(things[i]);
        }
        const met: { id: number }[] = [];
        crowd.each((thing) => met.push(thing));
        expect(crowd.size).toBe(model.size);
        expect([...model].every((thing) => met.includes(thing))).toBe(true);
        expect(crowd.any === undefined).toBe(model.size === 0);
        if (model.size === 0) expect(met).toEqual([]);
      }
      // Whoever left has been swept out when as many leave again.
      for (const thing of [...model].slice(1)) {
        model.delete(thing);
        crowd.leave((other) => model.has(other));
      }
      let met = 0;
      crowd.each(() => met++);
      expect(met).toBeLessThanOrEqual(10);
    }),
  );
});

type Step =
  | { do: 'item'; item: number; labels: Record<string, string>; parents: number[]; data: number }
  | { do: 'remove-item'; item: number }
  | { do: 'parent'; parent: number; labels: Record<string, string> }
  | { do: 'selector'; selector: number; text: string }
  | { do: 'remove-selector'; selector: number }
  | { do: 'settle'; limit: number };

const small = fc.integer({ min: 0, max: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('item' as const),
    item: small,
    labels,
    parents: fc.uniqueArray(fc.integer({ min: 0, max: 2 }), { maxLength: 2 }),
    data: small,
  }),
  fc.record({ do: fc.constant('remove-item' as const), item: small }),
  fc.record({ do: fc.constant('parent' as const), parent: fc.integer({ min: 0, max: 2 }), labels }),
  fc.record({ do: fc.constant('selector' as const), selector: small, text }),
  fc.record({ do: fc.constant('remove-selector' as const), selector: small }),
  fc.record({ do: fc.constant('settle' as const), limit: fc.integer({ min: 0, max: 3 }) }),
);
const flat = (record: Record<string, string>) => Object.entries(record).flat();

/** The index, and beside it what is true by looking at every pair. */
class Model {
  readonly told = new Map<string, number>();
  readonly items = new Map<number, { labels: Record<string, string>; parents: number[]; data: number }>();
  readonly parents = new Map<number, Record<string, string>>();
  readonly texts = new Map<number, string>();
  readonly #entries = new Map<number, Entry<number, number>>();
  readonly #handles = [0, 1, 2, 3, 4].map(() => new Item<number, number>());
  readonly index = new LabelIndex<number, number>(
    {
      started: (entry, item, data) => this.#tell(entry, item, undefined, data),
      stopped: (entry, item, data) => this.#tell(entry, item, data, undefined),
      replaced: (entry, item, before, after) => this.#tell(entry, item, before, after),
    },
    (a, b) => a === b,
  );

  take(s: Step): void {
    switch (s.do) {
      case 'item':
        this.items.set(s.item, s);
        this.index.setItem(this.#handles[s.item], flat(s.labels), s.parents.map(String), s.data);
        break;
      case 'remove-item':
        this.items.delete(s.item);
        this.index.removeItem(this.#handles[s.item]);
        break;
      case 'parent':
        this.parents.set(s.parent, s.labels);
        this.index.setParent(String(s.parent), flat(s.labels));
        break;
      case 'selector':
        this.take({ do: 'remove-selector', selector: s.selector });
        this.texts.set(s.selector, s.text);
        this.#entries.set(s.selector, this.index.addSelector(s.selector, selector(s.text)));
        break;
      case 'remove-selector': {
        const entry = this.#entries.get(s.selector);
        if (entry) this.index.removeSelector(entry);
        this.#entries.delete(s.selector);
        this.texts.delete(s.selector);
        break;
      }
      case 'settle':
        this.index.settle(s.limit);
        break;
    }
  }

  truth(): Map<string, number> {
    const pairs = new Map<string, number>();
    for (const [id, { labels: own, parents, data }] of this.items) {
      const all = Object.assign({}, ...parents.map((p) => this.parents.get(p) ?? {}).toReversed(), own);
      for (const [key, source] of this.texts)
        if (selector(source).matches(labelsOf(all))) pairs.set(`${key} ${id}`, data);
    }
    return pairs;
  }

  #tell(
    entry: Entry<number, number>,
    item: Item<number, number>,
    before: number | undefined,
    after: number | undefined,
  ): void {
    // A selector that is gone may still be left by items that were waiting to be worked off.
    const key = `${entry.live || before === undefined ? '' : 'gone '}${entry.key} ${this.#handles.indexOf(item)}`;
    if (key.startsWith('gone')) this.told.delete(key.slice(5));
    else {
      expect(this.told.get(key)).toBe(before);
      if (after === undefined) this.told.delete(key);
      else this.told.set(key, after);
    }
  }
}

test('the index knows who matches whom, whatever comes in whatever order', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const model = new Model();
      for (const s of steps) model.take(s);
      model.index.settle();
      expect(new Map([...model.told].sort())).toEqual(new Map([...model.truth()].sort()));
    }),
    { numRuns: 1500 },
  );
});

test('a parent that was forgotten and comes again hands its labels to children that have had it before', () => {
  const model = new Model();
  const item = (...parents: number[]): Step => ({ do: 'item', item: 0, labels: {}, parents, data: 1 });
  for (const s of [
    item(0, 1),
    item(0),
    { do: 'parent', parent: 1, labels: { a: '1' } } as const,
    item(0, 1),
    { do: 'selector', selector: 0, text: 'a == "1"' } as const,
  ])
    model.take(s);
  model.index.settle();
  expect(model.told).toEqual(new Map([['0 0', 1]]));
});
