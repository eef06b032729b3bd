import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Addr, addr, addrPlus, covers, hostPrefix, isHostPrefix, type Prefix, prefixAddr, prefixOf } from '#core';
import type { Chain } from '#policy';
import { MessageWriter } from '../../../../agent/kernel/netlink/message.ts';
import { elementsOf, MemberReader, shapeOf, typeOf } from '../../../../agent/kernel/nftables/keys.ts';
import { Members } from '../../../../agent/kernel/nftables/members.ts';
import { Plan } from '../../../../agent/kernel/nftables/plan.ts';
import type { Transaction } from '../../../../agent/kernel/nftables/transaction.ts';
import { EMPTY_TABLE, type TableChange } from '../../../../agent/kernel/types.ts';
import { atOnce } from '../../../../agent/slices.ts';

const drop = { match: [], action: { do: 'drop' } } as const;
const accept = { match: [], action: { do: 'accept' } } as const;
const leave = { match: [], action: { do: 'return' } } as const;

const change = (update: readonly Chain[], base: TableChange['base'] = EMPTY_TABLE, remove: string[] = []) =>
  new Plan(4, 'filter', { update, remove, base });
/** What the transaction says it does, hashes left out. */
const stepsOf = (t: Transaction): string[] =>
  Array.from({ length: t.length }, (_, i) => t.describe(0, i + 1).replace(/cali:.{16}/, 'cali:#'));
const NONE = new Map<string, never>();
const made = (plan: Plan, listed: Parameters<Plan['transaction']>[0] = NONE): Transaction =>
  atOnce(plan.transaction(listed));

describe('rules', () => {
  const first = change([{ name: 'cali-x', rules: [accept, drop] }]);
  const listed = (hashes: readonly (string | null)[]) =>
    new Map([['cali-x', hashes.map((hash, i) => ({ chain: 'filter-cali-x', handle: BigInt(7 + i), hash }))]]);

  test('a new chain is made and filled; equal rules are not mentioned; the end is deleted by handle', () => {
    expect(stepsOf(made(first, NONE))).toEqual([
      'add table',
      'add chain filter-cali-x',
      'rule filter-cali-x accept comment "cali:#"',
      'rule filter-cali-x counter drop comment "cali:#"',
    ]);
    expect(stepsOf(made(change([{ name: 'cali-x', rules: [accept, drop] }], first.after)))).toEqual([]);
    const hashes = first.after.chains.get('cali-x')!;
    const second = change([{ name: 'cali-x', rules: [accept, leave] }], first.after);
    expect(second.inner).toEqual(['cali-x']);
    expect(stepsOf(made(second, listed(hashes)))).toEqual(['add table', 'rule filter-cali-x return comment "cali:#"']);
    const third = change([{ name: 'cali-x', rules: [accept] }], first.after);
    expect(stepsOf(made(third, listed(hashes)))).toEqual(['add table', 'delete rule filter-cali-x handle 8']);
    expect(third.rules).toBe(1);
    const gone = made(change([], first.after, ['cali-x', 'cali-none']));
    expect(stepsOf(gone)).toEqual(['add table', 'flush chain filter-cali-x', 'delete chain filter-cali-x']);
  });

  test('a chain that a stranger changed meanwhile is not written by handles that may be another rule by now', () => {
    const second = change([{ name: 'cali-x', rules: [leave] }], first.after);
    expect(() => made(second, listed(['somethingelse000']))).toThrow('changed by somebody else');
    expect(() => made(second, listed([]))).toThrow('changed by somebody else');
  });

  test('a dispatch that gains and loses an interface changes two elements and no rule', () => {
    const dispatch = (...pairs: [string, string][]): Chain => ({
      name: 'cali-d',
      rules: [{ match: [], action: { do: 'map', side: 'in', targets: new Map(pairs) } }, drop],
    });
    const before = change([dispatch(['cali1', 'cali-a'], ['cali2', 'cali-b'], ['cali3', 'cali-c'])]);
    expect(stepsOf(made(before, NONE))).toContain('add 3 elements of filter-cali-d');
    const after = change([dispatch(['cali1', 'cali-a'], ['cali2', 'cali-c'], ['cali4', 'cali-b'])], before.after);
    expect(after.inner).toEqual([]);
    expect(stepsOf(made(after, NONE))).toEqual([
      'add table',
      'delete 2 elements of filter-cali-d',
      'add 2 elements of filter-cali-d',
    ]);
    expect(after.after.maps.get('cali-d')?.get('cali2')).toBe('cali-c');
    const plain = change([{ name: 'cali-d', rules: [drop] }], before.after);
    expect(plain.after.maps.size).toBe(0);
    const flushed = made(change([], before.after, ['cali-d']));
    expect(stepsOf(flushed).slice(1)).toEqual([
      'flush chain filter-cali-d',
      'delete set filter-cali-d',
      'delete chain filter-cali-d',
    ]);
  });

  test('values that nobody could mean are refused before anything is sent', () => {
    const hostile = ['a"; flush ruleset #', 'a\nflush ruleset', '{ 1 }', 'x y', '@x', '$x', ''];
    for (const value of hostile)
      for (const rule of [
        { match: [{ m: 'in', iface: value }], action: { do: 'drop' } },
        { match: [{ m: 'src', net: value }], action: { do: 'drop' } },
        { match: [], action: { do: 'jump', chain: value } },
        { match: [], action: { do: 'snat', to: value } },
        { match: [], action: { do: 'map', side: 'in', targets: new Map([[value, 'cali-y']]) } },
        { match: [], action: { do: 'map', side: 'in', targets: new Map([['cali1', value]]) } },
      ] as const)
        expect(() => made(change([{ name: 'cali-x', rules: [rule] }]))).toThrow('cannot stand in a rule');
  });

  test('a comment is cut to what the kernel keeps and stays inside its message', () => {
    const rule = { ...drop, comments: ['a" flush \n ruleset', 'x'.repeat(300)] };
    const transaction = made(change([{ name: 'cali-x', rules: [rule] }]));
    const w = new MessageWriter(64);
    const last = atOnce(transaction.encode(w, 10));
    expect(last).toBe(10 + transaction.length);
    const text = w.bytes.subarray(0, w.length).toString('latin1');
    expect(text).toMatch(/cali:.{16} a' flush _ ruleset; x{50,}\0/);
    expect(/cali:[^\0]*/.exec(text)![0].length).toBeLessThanOrEqual(127);
  });
});

describe('sets', () => {
  const through = (members: string[], type: 'hash:net' | 'hash:ip' | 'hash:ip,port', family: 4 | 6): string[] => {
    const reader = new MemberReader(type, family);
    for (const { key, isEnd = false } of elementsOf(members, type, family).reverse())
      reader.add({ key, isEnd, chain: undefined });
    return [...reader.members].sort();
  };

  test('members come back from the kernel as they went', () => {
    const four = ['0.0.0.0/1', '128.0.0.0/9', '192.0.2.1', '192.0.2.2', '255.255.255.255', '198.51.100.3-198.51.100.9'];
    expect(through(four, 'hash:net', 4)).toEqual([...four].sort());
    const six = ['2001:db8::/32', 'fd00::1', 'fd00::2', 'ff00::/8'];
    expect(through(six, 'hash:net', 6)).toEqual([...six].sort());
    const ports = ['10.0.0.1,132:7', '10.0.0.1,200:1', '10.0.0.1,tcp:80', '10.0.0.1,udp:65535'];
    expect(through(ports, 'hash:ip,port', 4)).toEqual(['10.0.0.1,200:1', '10.0.0.1,sctp:7', ...ports.slice(2)]);
    expect(through(['fd00::1,tcp:80'], 'hash:ip,port', 6)).toEqual(['fd00::1,tcp:80']);
    expect(through(['10.0.0.1'], 'hash:ip', 4)).toEqual(['10.0.0.1']);
    for (const type of ['hash:net', 'hash:ip', 'hash:ip,port'] as const) expect(typeOf(shapeOf(type, 6))).toBe(type);
  });

  test('the end that nft puts before the first interval is no member', () => {
    const reader = new MemberReader('hash:net', 4);
    for (const [key, isEnd] of [
      [[0, 0, 0, 0], true],
      [[10, 0, 0, 0], false],
      [[11, 0, 0, 0], true],
    ] as const)
      reader.add({ key: Uint8Array.from(key), isEnd, chain: undefined });
    expect([...reader.members]).toEqual(['10.0.0.0/8']);
  });

  test('a network inside another is held back, and comes forth when the outer one goes', () => {
    const members = new Members('hash:net');
    const apply = (added: string[], removed: string[]) => {
      const made = atOnce(members.change(new Set(added), new Set(removed)));
      members.confirm(made);
      return made;
    };
    expect(apply(['10.0.0.0/8', '10.0.0.1', '192.0.2.1'], [])).toEqual({
      add: ['10.0.0.0/8', '192.0.2.1'],
      remove: [],
    });
    expect(apply([], ['10.0.0.0/8'])).toEqual({ add: ['10.0.0.1'], remove: ['10.0.0.0/8'] });
    expect(apply(['10.0.0.0/24'], [])).toEqual({ add: ['10.0.0.0/24'], remove: ['10.0.0.1'] });
    expect(members.all).toEqual(new Set(['10.0.0.1', '192.0.2.1', '10.0.0.0/24']));
  });

  test.each([4, 6] as const)('what is written is what no other member covers, after any changes, IPv%i', (family) => {
    const bits = family === 4 ? 32 : 128;
    const [low, high] = family === 4 ? ['10.0.0.0', '10.0.0.255'] : ['fd00::', 'fd00::ff'];
    const network = fc
      .record({
        top: fc.boolean(),
        length: fc.integer({ min: bits - 9, max: bits }),
        host: fc.integer({ min: 0, max: 3 }),
      })
      .map(({ top, length, host }) => {
        const net = prefixOf(addrPlus(addr(top ? high : low), top ? -host : host), length);
        return isHostPrefix(net) ? prefixAddr(net) : net;
      });
    let covered = 0;
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(network, { maxLength: 6 }), { maxLength: 8 }),
        fc.boolean(),
        (steps, many) => {
          // So many beside them that all is put in order anew.
          const others = many ? Array.from({ length: 100 }, (_, i) => addrPlus(addr(low), 1000 + i)) : [];
          const members = new Members('hash:net');
          for (const step of steps) {
            const wanted = new Set<string>([...step, ...others]);
            const removed = new Set([...members.all].filter((m) => !wanted.has(m)));
            const added = new Set([...wanted].filter((m) => !members.all.has(m)));
            members.confirm(atOnce(members.change(added, removed)));
            const nets = [...wanted].map((m) => (m.includes('/') ? (m as Prefix) : hostPrefix(m as Addr)));
            const free = nets.filter((net) => !nets.some((other) => other !== net && covers(other, net)));
            expect([...members.written].sort()).toEqual(
              free.map((net) => (isHostPrefix(net) ? prefixAddr(net) : net)).sort(),
            );
            covered += nets.length - free.length;
          }
        },
      ),
      { numRuns: 100 },
    );
    expect(covered).toBeGreaterThan(100);
  });

  test('members that are none, or of the other family, are refused', () => {
    for (const member of ['10.0.0.1 }', 'x\ny', '', 'fd00::1', '10.0.0.0/33', '10.0.0.1-'])
      expect(() => elementsOf([member], 'hash:net', 4)).toThrow('cannot stand in a set');
    for (const member of ['10.0.0.1,tcp:80 }', '10.0.0.1,tcp:65536', '10.0.0.1,256:1', 'fd00::1,tcp:80', '10.0.0.1'])
      expect(() => elementsOf([member], 'hash:ip,port', 4)).toThrow('cannot stand in a set');
  });
});
