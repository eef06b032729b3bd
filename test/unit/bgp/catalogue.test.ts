import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

/** catalogue.txt lists what malformed and hostile input leads to; here it is held complete, and against the tests. */

const root = join(import.meta.dirname, '../../..');
const list = readFileSync(join(import.meta.dirname, 'catalogue.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => line.split(' | '));
const ids = list.map(([id]) => id);

/** How many entries each part has: none may get lost when the list is edited. */
const ENTRIES: Readonly<Record<string, number>> = { H: 16, O: 43, U: 66, P: 30, N: 6, R: 9, F: 30 };

const tests = (dir: string): string[] =>
  readdirSync(join(root, dir)).flatMap((name) => {
    const path = `${dir}/${name}`;
    if (statSync(join(root, path)).isDirectory()) return tests(path);
    return name.endsWith('.test.ts') && name !== 'catalogue.test.ts' ? [path] : [];
  });
/** In names of tests, in rows of tables, and in comments beside an expectation; not as names of variables. */
const words = (source: string): string[] => source.match(/(['`])(?:(?!\1).)*\1|\/\/.*/g) ?? [];
const named = new Map<string, string>();
for (const path of ['test/unit/bgp', 'test/kernel/bgp'].flatMap(tests))
  for (const text of words(readFileSync(join(root, path), 'utf8')))
    for (const id of text.match(/\b[HOUPNRF]\d{1,2}\b/g) ?? []) named.set(id, path);

describe('the catalogue', () => {
  test('has every entry once, in order, with an input and a reaction', () => {
    const all = Object.entries(ENTRIES).flatMap(([part, count]) =>
      Array.from({ length: count }, (_, i) => `${part}${i + 1}`),
    );
    expect(ids).toEqual(all);
    expect(list.filter((fields) => fields.length !== 3 || fields.some((field) => field.trim() === ''))).toEqual([]);
  });
  test('has a test for every entry: name the id where its reaction is asserted', () => {
    expect(ids.filter((id) => !named.has(id))).toEqual([]);
  });
  test('is all that the tests name: a new entry needs a line in catalogue.txt', () => {
    expect([...named].filter(([id]) => !ids.includes(id))).toEqual([]);
  });
});
