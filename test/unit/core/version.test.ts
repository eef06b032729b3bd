import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VERSION } from '#core';

test('the programs say the version of the package', () => {
  expect(VERSION).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version);
});
