import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { FELIX_FIELDS } from '../../agent/felix-fields.ts';
import { manualPages } from '../../scripts/manual.ts';

test('the generated pages say what the code says; `npm run docs` writes them', () => {
  for (const [path, text] of manualPages()) expect(readFileSync(path, 'utf8'), path).toBe(text);
});

test('every field of FelixConfiguration in the manual is one that the agent reads', () => {
  const names = readdirSync('agent').filter((name) => name.endsWith('.ts') && name !== 'felix-fields.ts');
  // What tsnetctl reads of it, too, is policy's.
  const sources = [...names.map((name) => `agent/${name}`), 'policy/evaluate/settings.ts']
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  expect(Object.keys(FELIX_FIELDS).filter((field) => !sources.includes(`.${field}`))).toEqual([]);
});
