import { expect, test } from 'vitest';
import { wildcard } from '#core';

test.each([
  ['eth*', 'eth0', true],
  ['eth*', 'meth0', false],
  ['*', '', true],
  ['a.b', 'axb', false],
  ['a*c', 'abbc', true],
  ['a*c', 'abcd', false],
])('%s and %j', (pattern, text, matches) => expect(wildcard(pattern).test(text)).toBe(matches));
