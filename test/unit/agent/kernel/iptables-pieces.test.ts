import { describe, expect, test } from 'vitest';
import { OperationalError } from '#core';
import type { Chain } from '#policy';
import { createIptables } from '../../../../agent/kernel/iptables.ts';
import { PIECE, piecesOf } from '../../../../agent/kernel/iptables-pieces.ts';
import type { Command, Runner } from '../../../../agent/kernel/runner.ts';
import { EMPTY_TABLE, type TableChange, type TableState } from '../../../../agent/kernel/types.ts';

const policy = (n: number): Chain => ({
  name: `cali-pi-${n}`,
  rules: Array.from({ length: 5 }, () => ({ match: [], action: { do: 'goto', chain: 'cali-allow' } })),
});
const POLICIES = Array.from({ length: 1000 }, (_, n) => policy(n));
const ENDPOINT: Chain = {
  name: 'cali-tw-cali1',
  rules: POLICIES.map(({ name }) => ({ match: [], action: { do: 'jump', chain: name } })),
};
const ALLOW: Chain = { name: 'cali-allow', rules: [{ match: [], action: { do: 'accept' } }] };
const FORWARD: Chain = { name: 'cali-FORWARD', rules: [{ match: [], action: { do: 'jump', chain: ENDPOINT.name } }] };
/** Parents before children, as a renderer tells them; `cali-FORWARD` stands already, empty. */
const CHANGE: TableChange = {
  update: [FORWARD, ENDPOINT, ...POLICIES, ALLOW],
  remove: ['cali-old'],
  hooks: [{ table: 'filter', chain: 'FORWARD', insert: [{ match: [], action: { do: 'drop' } }], append: [] }],
  base: { ...EMPTY_TABLE, chains: new Map([[FORWARD.name, []]]) },
};

const targetsOf = ({ rules }: Chain): string[] =>
  rules.flatMap(({ action }) => (action.do === 'jump' || action.do === 'goto' ? [action.chain] : []));

describe('a large change in pieces', () => {
  test('new chains go ahead, after those that they lead to; all that a packet can notice comes at once, last', () => {
    const pieces = [...piecesOf(CHANGE)];
    expect(pieces.length).toBeGreaterThan(2);
    const there = new Set(CHANGE.base.chains.keys());
    for (const { update } of pieces) {
      for (const { name } of update) there.add(name);
      for (const target of update.flatMap(targetsOf)) expect(there).toContain(target);
      const sizes = update.map(({ rules }) => rules.length);
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(PIECE + Math.max(...sizes));
    }
    for (const { update, remove, hooks } of pieces.slice(0, -1)) {
      expect(update.filter(({ name }) => CHANGE.base.chains.has(name))).toEqual([]);
      expect([remove, hooks]).toEqual([[], undefined]);
    }
    expect(pieces.at(-1)!.update).toContain(FORWARD);
    expect(pieces.at(-1)).toMatchObject({ remove: CHANGE.remove, hooks: CHANGE.hooks });
    const written = pieces.flatMap((piece) => piece.update);
    expect(new Set(written)).toEqual(new Set(CHANGE.update));
    expect(written).toHaveLength(CHANGE.update.length);
  });

  test('a small one, and one that may leave nothing behind, is whole', () => {
    const small = { ...CHANGE, update: [FORWARD, ALLOW] };
    expect([...piecesOf(small)]).toHaveLength(1);
    expect([...piecesOf({ ...CHANGE, atOnce: true })]).toHaveLength(1);
  });
});

describe('iptables', () => {
  function machine(refuse: (text: string) => boolean = () => false) {
    const texts: string[] = [];
    const run = async ({ stdin = '', lock }: Command) => {
      // Whether a program that stays can be given the lock; it cannot.
      if (!lock) texts.push(stdin);
      return { code: refuse(stdin) ? 1 : 0, stdout: '', stderr: 'line 2 failed', pid: 1 };
    };
    const keep: Runner['keep'] = () => ({ isGone: false, feed: () => new Promise(() => {}) });
    const runner: Runner = { run, keep, isOurs: () => false, close: () => {} };
    return { texts, runner };
  }
  const write = (runner: Runner, variant: 'nft' | 'legacy') =>
    createIptables({ runner, variant }).write(4, 'filter', CHANGE);

  test('the state after pieces is the one after the whole, which legacy iptables gets', async () => {
    const nft = machine();
    const legacy = machine();
    const inPieces = await write(nft.runner, 'nft');
    const whole = await write(legacy.runner, 'legacy');
    expect(nft.texts.length).toBe([...piecesOf(CHANGE)].length);
    expect(legacy.texts).toHaveLength(1);
    expect(inPieces.rules).toBe(whole.rules);
    const sorted = (state: TableState) => ({ ...state, chains: [...state.chains].sort() });
    expect(sorted(inPieces.after)).toEqual(sorted(whole.after));
    const lines = (texts: string[]) =>
      texts.flatMap((text) => text.split('\n').filter((l) => l.startsWith('-'))).sort();
    expect(lines(nft.texts)).toEqual(lines(legacy.texts));
  });

  test('what is refused ends it: nothing after that piece is written', async () => {
    const { texts, runner } = machine((text) => text.includes('cali-pi-500 '));
    await expect(write(runner, 'nft')).rejects.toThrow(OperationalError);
    expect(texts.at(-1)).toContain('cali-pi-500 ');
    expect(texts.join('')).not.toContain('cali-FORWARD');
  });
});
