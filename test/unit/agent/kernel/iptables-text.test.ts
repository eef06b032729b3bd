import { describe, expect, test } from 'vitest';
import { chooseVariant } from '../../../../agent/kernel/iptables.ts';
import * as restore from '../../../../agent/kernel/iptables-restore.ts';
import * as save from '../../../../agent/kernel/iptables-save.ts';
import type { Runner } from '../../../../agent/kernel/runner.ts';
import type { TableState } from '../../../../agent/kernel/types.ts';
import { atOnce } from '../../../../agent/slices.ts';

const restoreText = (...args: Parameters<typeof restore.restoreText>) => atOnce(restore.restoreText(...args));
const parseSave = (text: string) => atOnce(save.parseSave(text));
const EMPTY: TableState = { chains: new Map(), hooks: new Map(), lengths: new Map() };
const rule = (verdict: 'accept' | 'drop' | 'return') => ({ match: [], action: { do: verdict } }) as const;

describe('iptables-restore', () => {
  test('a new chain is declared and filled; what changes in the middle is replaced in its place; the end is deleted', () => {
    const first = restoreText(4, 'filter', {
      update: [{ name: 'cali-x', rules: [rule('accept'), rule('return'), rule('drop')] }],
      remove: [],
      base: EMPTY,
    });
    expect(first.rules).toBe(3);
    expect(first.text.split('\n').slice(0, 2)).toEqual(['*filter', ':cali-x - [0:0]']);
    const second = restoreText(4, 'filter', {
      update: [{ name: 'cali-x', rules: [rule('accept'), rule('drop')] }],
      remove: [],
      base: first.after,
    });
    expect(second.text).toMatch(/^\*filter\n-R cali-x 2 [^\n]*-j DROP\n-D cali-x 3\nCOMMIT\n$/);
    const third = restoreText(4, 'filter', { update: [], remove: ['cali-x', 'cali-none'], base: second.after });
    expect(third.text).toBe('*filter\n:cali-x - [0:0]\n-X cali-x\nCOMMIT\n');
  });

  test('what is saved is read back as what was written, with strangers between our rules', () => {
    const { text, after } = restoreText(4, 'filter', {
      update: [{ name: 'cali-x', rules: [rule('drop')] }],
      remove: [],
      base: EMPTY,
    });
    const line = text.split('\n').find((l) => l.startsWith('-A'))!;
    const saved = `*filter\n:FORWARD ACCEPT [0:0]\n:cali-x - [0:0]\n-A FORWARD -j DROP\n${line.replace('cali-x', 'FORWARD')}\n${line}\n-A cali-x -j LOG\nCOMMIT\n`;
    const tables = parseSave(`*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j DNAT\nCOMMIT\n${saved}`);
    const state = tables.filter;
    expect(tables.nat.lengths).toEqual(new Map([['OUTPUT', 1]]));
    expect(tables.raw.lengths.size).toBe(0);
    expect(state.chains.get('cali-x')).toEqual([after.chains.get('cali-x')![0], '-j LOG']);
    expect(state.hooks.get('FORWARD')).toMatchObject([{ position: 2, hash: after.chains.get('cali-x')![0] }]);
    expect(state.lengths.get('FORWARD')).toBe(2);
  });

  test('a rule that only leads on has no comment: its text tells it, and in a chain of the kernel where it leads, or a tag that is always true', () => {
    const established = { m: 'ctstate', states: ['RELATED', 'ESTABLISHED'] } as const;
    const lead = { match: [{ m: 'in', iface: 'cali+' }, established], action: { do: 'accept' } } as const;
    const jump = { match: [], action: { do: 'jump', chain: 'cali-x' } } as const;
    const { text, after } = restoreText(4, 'filter', {
      update: [{ name: 'cali-x', rules: [lead, rule('return'), rule('drop')] }],
      remove: [],
      hooks: [{ table: 'filter', chain: 'FORWARD', insert: [lead, jump], append: [rule('accept')] }],
      base: { ...EMPTY, lengths: new Map([['FORWARD', 0]]) },
    });
    const asked = '-i cali+ -m conntrack --ctstate RELATED,ESTABLISHED';
    const lines = text.split('\n').slice(2, -2);
    expect(lines).toMatchObject([
      `-A cali-x ${asked} -j ACCEPT`,
      '-A cali-x -j RETURN',
      expect.stringMatching(/^-A cali-x -m comment --comment "cali:.{16}" -j DROP$/),
      `-I FORWARD 1 ${asked} ! --ctstatus NONE -j ACCEPT`,
      '-I FORWARD 2 -j cali-x',
      expect.stringMatching(/^-A FORWARD -m comment --comment "cali:.{16}" -j ACCEPT$/),
    ]);
    const saved = lines.map((line) => line.replace(/^-I FORWARD \d/, '-A FORWARD')).join('\n');
    const strangers = `-A FORWARD ${asked} -j ACCEPT\n-A FORWARD -j cali`;
    const state = parseSave(`*filter\n:FORWARD ACCEPT [0:0]\n:cali-x - [0:0]\n${saved}\n${strangers}\nCOMMIT\n`).filter;
    expect(state.chains).toEqual(after.chains);
    expect(state.hooks).toEqual(after.hooks);
    expect(state.lengths.get('FORWARD')).toBe(5);
  });
});

describe('the variant', () => {
  const machine = (tables: string, saves: Record<string, string>): Runner => ({
    run: async ({ argv }) => {
      const stdout = argv[0] === 'cat' ? tables : (saves[argv[0]] ?? '');
      return { code: 0, stdout, stderr: '', pid: 1 };
    },
    keep: () => ({ isGone: false, feed: () => new Promise(() => {}) }),
    isOurs: () => false,
    close: () => {},
  });
  const some = '-A INPUT -j ACCEPT\n-A INPUT -j DROP\n';
  const OURS = [
    '-A FORWARD -i cali+ -m conntrack --ctstate RELATED,ESTABLISHED ! --ctstatus NONE -j ACCEPT',
    '-A FORWARD -j cali-FORWARD',
    '-A INPUT -m comment --comment "cali:0123456789abcdef" -j DROP',
    '',
  ].join('\n');

  test.each([
    ['no legacy table: nft, and the legacy tool is not even asked', '', {}, 'nft'],
    ['legacy holds the rules', 'filter\n', { 'iptables-legacy-save': some, 'iptables-nft-save': '' }, 'legacy'],
    ['nft holds the rules', 'filter\n', { 'iptables-legacy-save': '', 'iptables-nft-save': some }, 'nft'],
    [
      'rules of an agent that was told where to write them are no sign of what the machine uses',
      'filter\n',
      { 'iptables-legacy-save': OURS, 'iptables-nft-save': some },
      'nft',
    ],
    [
      'the hint of kubelet counts more than rules',
      'filter\n',
      { 'iptables-legacy-save': some, 'iptables-nft-save': ':KUBE-IPTABLES-HINT - [0:0]\n' },
      'nft',
    ],
  ] as const)('%s', async (_, tables, saves, expected) => {
    expect(await chooseVariant(machine(tables, saves), 'auto')).toBe(expected);
    expect(await chooseVariant(machine(tables, saves), 'legacy')).toBe('legacy');
  });
});
