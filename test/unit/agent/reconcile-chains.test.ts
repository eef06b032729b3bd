import { describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, type Family, silentLog } from '#core';
import { printChain, type Table } from '#policy';
import { EMPTY_TABLE, type RuleBackend, type TableState } from '../../../agent/kernel/types.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';

/** When the kernel is read to see whether a stranger has changed something. */

type Tables = Record<Table, TableState>;
const empty = (): Tables => ({ raw: EMPTY_TABLE, mangle: EMPTY_TABLE, nat: EMPTY_TABLE, filter: EMPTY_TABLE });

/** A kernel that holds what is written to it, unless it lies. */
class FakeKernel implements RuleBackend {
  readonly name = 'legacy';
  readonly held = { 4: empty(), 6: empty() };
  reads: Family[] = [];
  isLying = false;
  tells = true;

  print: RuleBackend['print'] = (family, _table, chain) => printChain(chain, family);
  holds: RuleBackend['holds'] = (family, _table, chain, state) => {
    const have = state.chains.get(chain.name);
    return JSON.stringify(have) === JSON.stringify(printChain(chain, family).map(({ hash }) => hash));
  };
  read: RuleBackend['read'] = async (family) => {
    this.reads.push(family);
    return { ...this.held[family] };
  };
  fingerprint: RuleBackend['fingerprint'] = async (family) =>
    this.tells ? JSON.stringify([...this.held[family].filter.chains]) : undefined;
  write: RuleBackend['write'] = async (family, table, { update, base }) => {
    const chains = new Map(base.chains);
    for (const chain of update)
      chains.set(
        chain.name,
        printChain(chain, family).map(({ hash }) => hash),
      );
    const after = { ...base, chains };
    if (!this.isLying) this.held[family][table] = after;
    return { rules: update.length, after };
  };
  /** What a stranger leaves of a chain. */
  flush(family: Family, name: string): void {
    const { filter } = this.held[family];
    this.held[family].filter = { ...filter, chains: new Map([...filter.chains, [name, []]]) };
  }
}

function bench() {
  const kernel = new FakeKernel();
  const parts = { clock: new FakeClock(), log: silentLog, metrics: createMetrics() };
  const chains = new ChainReconciler({ ...parts, backend: kernel, families: [4, 6] });
  const want = (name: string, family: Family) => ({
    ...{ family, table: 'filter' as const, name },
    chain: { name, rules: [{ match: [], action: { do: 'drop' as const } }] },
  });
  return {
    kernel,
    apply: () => chains.apply(),
    want: (name: string, families: readonly Family[] = [4, 6]) =>
      chains.update({ chains: families.map((family) => want(name, family)), hooks: undefined }),
    /** What `check` says, and which families it reads for that. */
    check: async () => {
      kernel.reads = [];
      return [await chains.check(), ...kernel.reads];
    },
  };
}

describe('a look at rules', () => {
  test('reads a family again only when it is not as it was read last', async () => {
    const { kernel, apply, want, check } = bench();
    want('cali-a');
    await apply();
    expect(await check()).toEqual([false, 4, 6]);
    expect(await check()).toEqual([false]);
    await apply();
    expect(await check()).toEqual([false]);
    kernel.flush(6, 'cali-a');
    expect(await check()).toEqual([true, 6]);
    // It is not repaired yet, and nothing else has happened.
    expect(await check()).toEqual([false]);
    expect((await apply()).written).toBe(1);
    expect(await check()).toEqual([false, 6]);
    expect(await check()).toEqual([false]);
  });

  test('reads what was written, also where the kernel looks as before: the program may have lied', async () => {
    const { kernel, apply, want, check } = bench();
    want('cali-a');
    await apply();
    await check();
    kernel.isLying = true;
    want('cali-b', [4]);
    await apply();
    expect(await check()).toEqual([true, 4]);
    kernel.isLying = false;
    await apply();
    expect([...kernel.held[4].filter.chains.keys()]).toEqual(['cali-a', 'cali-b']);
  });

  test('always reads where nothing else can tell', async () => {
    const { kernel, apply, want, check } = bench();
    want('cali-a');
    await apply();
    kernel.tells = false;
    expect(await check()).toEqual([false, 4, 6]);
    expect(await check()).toEqual([false, 4, 6]);
    kernel.flush(4, 'cali-a');
    expect(await check()).toEqual([true, 4, 6]);
  });
});
