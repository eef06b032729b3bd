import { isIPv4 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addr,
  addrBytes,
  addrMinus,
  addrPlus,
  bytesToAddr,
  compareIp,
  covers,
  isSpecial,
  PrefixTrie,
  parseAddr,
  parseCidr,
  parsePrefix,
  prefix,
  prefixOf,
} from '#core';

const anyAddr = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map(bytesToAddr),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map(bytesToAddr),
);

describe('addresses', () => {
  test.each([
    ['2001:DB8::0001', '2001:db8::1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['::ffff:1.2.3.4', '::ffff:102:304'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
  ])('%s is written %s (RFC 5952)', (text, canonical) => {
    expect(addr(text)).toBe(canonical);
  });
  test.each(['', '10.0.0', '10.0.0.256', '010.0.0.1', 'fe80::1%eth0', '1::2::3', ' 10.0.0.1', 'x'])(
    '%j is refused',
    (text) => {
      expect(parseAddr(text).ok).toBe(false);
    },
  );
  test('what is an IPv4 address is what Node.js takes for one', () => {
    const octet = fc.oneof(
      fc.integer({ min: 0, max: 300 }).map(String),
      fc.constantFrom('', '00', '01', '-1', 'a', ':'),
    );
    const four = fc.array(octet, { minLength: 3, maxLength: 5 }).map((octets) => octets.join('.'));
    const text = fc.oneof(four, fc.string({ unit: fc.constantFrom(...'0129./: '), maxLength: 16 }));
    fc.assert(
      fc.property(text, (a) => {
        const { ok } = parseAddr(a);
        expect(ok && !a.includes(':')).toBe(isIPv4(a));
      }),
      { numRuns: 3000 },
    );
  });
  test('text and bytes are two forms of one value', () => {
    fc.assert(
      fc.property(anyAddr, (a) => {
        expect(parseAddr(a)).toEqual({ ok: true, value: a });
        expect(bytesToAddr(addrBytes(a))).toBe(a);
      }),
    );
  });
  test('arithmetic', () => {
    expect(addrPlus(addr('10.0.0.255'), 1)).toBe('10.0.1.0');
    expect(addrPlus(addr('fd00::ffff'), 1n)).toBe('fd00::1:0');
    expect(addrMinus(addr('fd00::1:0'), addr('fd00::'))).toBe(65536n);
    expect(() => addrPlus(addr('255.255.255.255'), 1)).toThrow(RangeError);
  });
  test('special addresses', () => {
    for (const a of ['127.0.0.1', '169.254.1.1', '224.0.0.5', '::1', 'fe80::1', 'ff02::1', '0.0.0.0', '::'])
      expect(isSpecial(addr(a)), a).toBe(true);
    for (const a of ['10.0.0.1', 'fd00::1', '192.0.2.1']) expect(isSpecial(addr(a)), a).toBe(false);
  });
});

describe('prefixes', () => {
  test.each(['10.0.0.1/24', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/08', '10.0.0.0/-1', 'fd00::1/64', '10.0.0.0/24/1'])(
    '%s is refused',
    (text) => {
      expect(parsePrefix(text).ok).toBe(false);
    },
  );
  test('a refusal names the network that was meant', () => {
    expect(parsePrefix('10.0.0.1/24')).toEqual({
      ok: false,
      error: "'10.0.0.1/24' has host bits set; the network is 10.0.0.0/24",
    });
  });
  test('host bits are kept where they mean something', () => {
    expect(parseCidr('10.0.0.11/24')).toEqual({ ok: true, value: { addr: '10.0.0.11', length: 24 } });
  });
  test('cover', () => {
    expect(covers(prefix('10.0.0.0/8'), prefix('10.1.0.0/16'))).toBe(true);
    expect(covers(prefix('10.1.0.0/16'), prefix('10.0.0.0/8'))).toBe(false);
    expect(covers(prefix('::/0'), addr('10.0.0.1'))).toBe(false);
  });
  test('order is by bytes, not by text', () => {
    const sorted = ['10.0.0.9', '10.0.0.10', 'fd00::2', 'fd00::10'].map(addr);
    expect([...sorted].reverse().sort(compareIp)).toEqual(sorted);
  });
});

test('longest match equals the best of a linear search', () => {
  const anyPrefix = fc
    .tuple(
      fc.constantFrom('10.0.0.1', '10.0.128.1', '11.1.2.3', 'fd00::1', 'fd00::8000:1'),
      fc.integer({ min: 0, max: 32 }),
    )
    .map(([a, length]) => prefixOf(addr(a), length));
  fc.assert(
    fc.property(fc.array(anyPrefix), fc.array(anyPrefix), anyAddr, (added, removed, other) => {
      const trie = new PrefixTrie<string>();
      for (const p of added) trie.set(p, p);
      for (const p of removed) trie.delete(p);
      const left = [...new Set(added)].filter((p) => !removed.includes(p));
      expect(trie.size).toBe(left.length);
      expect([...trie.entries()].map((e) => e.value).sort()).toEqual([...left].sort());
      for (const probe of [addr('10.0.0.1'), addr('fd00::1'), other]) {
        const want = left.filter((p) => covers(p, probe)).sort((a, b) => a.length - b.length || compareIp(a, b));
        const lengths = want.map((p) => Number(p.split('/')[1]));
        const got = trie.longestMatch(probe);
        expect(got ? Number(got.prefix.split('/')[1]) : -1).toBe(Math.max(-1, ...lengths));
      }
    }),
  );
});
