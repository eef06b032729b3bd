import { expect, test } from 'vitest';
import { addr, prefix } from '#core';
import { ruleFor } from '../../../bgp/transport/tcp.ts';

test('a connection is under the rule of its own address, else under that of the range it comes from, whose TTL limit counts too', () => {
  const range = { from: prefix('10.0.0.0/24'), ttlSecurity: 1 };
  const six = { from: prefix('2001:db8::/64'), ttlSecurity: 2 };
  const own = { from: addr('10.0.0.7') };
  const rules = [range, six, own];
  expect(ruleFor(rules, addr('10.0.0.7'))).toBe(own);
  expect(ruleFor(rules, addr('10.0.0.8'))).toBe(range);
  expect(ruleFor(rules, addr('2001:db8::8'))).toBe(six);
  expect(ruleFor(rules, addr('10.0.1.8'))).toBeUndefined();
});
