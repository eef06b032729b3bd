import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** docs/RFCS.md says what is done and where; here it is held against the sources. */

const root = fileURLToPath(new URL('../../..', import.meta.url));
const files = (dir: string): string[] =>
  readdirSync(join(root, dir)).flatMap((name) => {
    const path = `${dir}/${name}`;
    if (statSync(join(root, path)).isDirectory()) return files(path);
    return path.endsWith('.ts') ? [path] : [];
  });
const citations = (text: string): string[] =>
  [...text.matchAll(/\bRFCs? ?(\d{4})((?:(?:,| and| or) (?:RFC )?\d{4})*)/g)].flatMap((m) => [
    m[1],
    ...(m[2].match(/\d{4}/g) ?? []),
  ]);

const rows = readFileSync(join(root, 'docs/RFCS.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| \d{4} \|/.test(line))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, rfc, , , status, where]) => ({ rfc, status, where: where.split(', ') }));

describe('docs/RFCS.md', () => {
  test('lists every RFC that bgp/ cites: add a row to docs/RFCS.md for a new one', () => {
    const listed = new Set(rows.map((row) => row.rfc));
    const missing = files('bgp').flatMap((path) =>
      citations(readFileSync(join(root, path), 'utf8'))
        .filter((rfc) => !listed.has(rfc))
        .map((rfc) => `${path}: RFC ${rfc}`),
    );
    expect([...new Set(missing)]).toEqual([]);
  });

  test('names files that are there, one of which at least cites the RFC', () => {
    const wrong = rows.flatMap(({ rfc, where }) =>
      where.filter((path) => !existsSync(join(root, path))).map((path) => `RFC ${rfc}: ${path} is not there`),
    );
    expect(wrong).toEqual([]);
    const silent = rows
      .filter(
        ({ rfc, where }) => !where.some((path) => citations(readFileSync(join(root, path), 'utf8')).includes(rfc)),
      )
      .map(({ rfc }) => `RFC ${rfc} is cited in none of its files`);
    expect(silent).toEqual([]);
  });

  test('is in order, each once, with a status that its legend knows', () => {
    const numbers = rows.map((row) => row.rfc);
    expect(numbers).toEqual([...new Set(numbers)].sort());
    const statuses = ['done', 'codec', 'part', 'named', 'no'];
    expect(rows.filter((row) => !statuses.includes(row.status))).toEqual([]);
  });
});
