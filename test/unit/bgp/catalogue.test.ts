import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/** The catalogue of malformed and hostile input has an id for every entry; here they are counted. */

const ENTRIES: Readonly<Record<string, number>> = { H: 16, O: 43, U: 66, P: 30, N: 6, R: 9, F: 30 };

/**
 * Entries that the codec alone cannot answer: what the table does with a route (RTE), and what the session does with a message or its absence.
 * They are tested where that is built; an id leaves this list when its test is there.
 */
const NOT_OF_THE_CODEC = [
  ...[
    'U30',
    'U40',
    'U41',
    'U42',
    'U43',
    'U57',
    'U60',
    'U62',
    'U63',
    'P8',
    'P11',
    'P12',
    'P17',
    'P18',
    'P26',
    'P27',
    'P29',
  ],
  ...['N4', 'N5', 'R6', 'R7', 'R8', 'R9'],
  ...Array.from({ length: 30 }, (_, i) => `F${i + 1}`),
];

const here = fileURLToPath(new URL('.', import.meta.url));
const tests = (dir: string): string[] =>
  readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) return tests(path);
    return name.endsWith('.test.ts') && name !== 'catalogue.test.ts' ? [path] : [];
  });

test('every entry of the catalogue has a test that names it, or belongs to another level', () => {
  const named = new Set(tests(here).flatMap((path) => readFileSync(path, 'utf8').match(/\b[HOUPNRF]\d{1,2}\b/g) ?? []));
  const open = Object.entries(ENTRIES)
    .flatMap(([letter, count]) => Array.from({ length: count }, (_, i) => `${letter}${i + 1}`))
    .filter((id) => !named.has(id) && !NOT_OF_THE_CODEC.includes(id));
  expect(open).toEqual([]);
});
