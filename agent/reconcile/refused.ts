import { type Family, messageOf, OperationalError } from '#core';
import type { Chain, ChainRule, Table } from '#policy';
import type { RuleBackend, TableState } from '../kernel/types.ts';

/** A chain with a rule that the kernel refuses. Until that changes, its closed form stands in its place. */
export interface Refusal {
  readonly chain: string;
  /** The rule as text; for a value that cannot be printed, the reason. */
  readonly rule: string;
  readonly owner: string;
  readonly error: string;
}

/** Chains that carry suspects for the length of one write; nothing leads to them, so no packet meets a half-known rule. */
const TRY = 'cali-try-';

/**
 * Finds which chains of a refused write are at fault, by writing them under other names: all, then halves, then single ones, then their
 * rules. Live chains stay as they are meanwhile. Resolves with null when even a plain RETURN is refused, which every table takes (nat takes no DROP):
 * then no rule is to blame.
 */
export async function findRefused(
  backend: RuleBackend,
  family: Family,
  table: Table,
  base: TableState,
  suspects: readonly Chain[],
): Promise<{ refused: Map<Chain, Refusal>; base: TableState } | null> {
  const known = new Set(base.chains.keys());
  // Targets that do not exist yet are made empty: nothing live leads to a new chain before the write that is being examined.
  const targets = suspects.filter((c) => !known.has(c.name)).map((c): Chain => ({ name: c.name, rules: [] }));
  let state = base;

  async function attempt(bodies: readonly (readonly ChainRule[])[]): Promise<string | null> {
    const trials = bodies.map((rules, i): Chain => ({ name: `${TRY}${i}`, rules }));
    const missing = targets.filter((c) => !state.chains.has(c.name));
    const stale = [...state.chains.keys()].filter((name) => name.startsWith(TRY));
    try {
      const { after } = await backend.write(family, table, {
        update: [...missing, ...trials],
        remove: [],
        base: state,
        atOnce: true,
      });
      state = after;
      const remove = [...stale, ...trials.map((c) => c.name)];
      state = (await backend.write(family, table, { update: [], remove, base: state, atOnce: true })).after;
      return null;
    } catch (error) {
      if (error instanceof OperationalError && error.code !== 'TIMEOUT') return messageOf(error);
      throw error;
    }
  }

  if ((await attempt([[{ match: [], action: { do: 'return' } }]])) !== null) return null;
  const refused = new Map<Chain, Refusal>();
  await search(
    suspects,
    (chains) => attempt(chains.map((c) => c.rules)),
    async (chain, error) => {
      await search(
        chain.rules,
        (rules) => attempt([rules]),
        async (rule, ruleError) => {
          if (refused.has(chain)) return;
          refused.set(chain, {
            chain: chain.name,
            rule: textOf(backend, family, table, chain, rule),
            owner: chain.owner ?? chain.name,
            error: ruleError,
          });
        },
      );
      if (!refused.has(chain))
        refused.set(chain, { chain: chain.name, rule: '', owner: chain.owner ?? chain.name, error });
    },
  );
  return { refused, base: state };
}

/** Reports every single member for which `attempt` fails alone, halving as long as a part of the list fails. */
async function search<T>(
  list: readonly T[],
  attempt: (part: readonly T[]) => Promise<string | null>,
  report: (member: T, error: string) => Promise<void>,
): Promise<void> {
  if (list.length === 0) return;
  const error = await attempt(list);
  if (error === null) return;
  if (list.length === 1) return report(list[0], error);
  const middle = list.length >> 1;
  await search(list.slice(0, middle), attempt, report);
  await search(list.slice(middle), attempt, report);
}

function textOf(backend: RuleBackend, family: Family, table: Table, chain: Chain, rule: ChainRule): string {
  try {
    return backend
      .print(family, table, { name: chain.name, rules: [rule] })[0]
      .text.replace(/ ?(-m comment --)?comment "[^"]*"/, '');
  } catch (error) {
    return messageOf(error);
  }
}

/** What stands in place of a refused chain. */
export const closedForm = (chain: Chain): Chain => ({
  name: chain.name,
  ...(chain.owner !== undefined && { owner: chain.owner }),
  rules: chain.closed ?? [
    { match: [], action: { do: 'drop' }, comments: ['closed: the kernel refused a rule of this chain'] },
  ],
});
