import { type Family, hasCode, type Milliseconds, OperationalError } from '#core';
import { type Chain, type Hook, nftChain, type PrintedRule, printNftRules, type Table } from '#policy';
import type { Command, Runner } from './runner.ts';
import type { HookState, RuleBackend, TableChange, TableState } from './types.ts';

/** Our table, one in each family; nothing of anybody else is in it, so our rules need no place among others. */
export const NFT_TABLE = 'tsnet';
const TIMEOUT: Milliseconds = 30_000;

export const nftTable = (family: Family): string => `${family === 4 ? 'ip' : 'ip6'} ${NFT_TABLE}`;

export interface NftOptions {
  readonly runner: Runner;
  /** Words before each command, such as `ip netns exec NAME`. */
  readonly prefix?: readonly string[];
  readonly timeout?: Milliseconds;
  /** The program, for tests that put something else in its place. */
  readonly program?: string;
}

/** Runs nft; resolves with its output, or with null if the table is not there. */
export function nftCommand({ runner, prefix = [], timeout = TIMEOUT, program = 'nft' }: NftOptions) {
  return async (args: readonly string[], stdin?: string): Promise<string | null> => {
    const argv = [...prefix, program, ...args] as unknown as Command['argv'];
    const result = await runner.run({ argv, timeout, ...(stdin !== undefined && { stdin }) });
    if (result.ended === 'timeout') throw new OperationalError('TIMEOUT', 'nft did not end in time and was killed');
    if (result.ended === 'output') throw new OperationalError('EXEC', 'nft wrote more than is believable');
    if (result.code === 0) return result.stdout;
    const message = result.stderr.trim();
    if (stdin === undefined && /No such file or directory/.test(message)) return null;
    throw new OperationalError('EXEC', `nft failed (${result.code ?? 'killed'}): ${reason(message, stdin)}`);
  };
}

/** The first error, with the line that it names. */
function reason(message: string, stdin: string | undefined): string {
  const line = /^\S+?:(\d+):/m.exec(message)?.[1];
  const culprit = line && stdin?.split('\n')[Number(line) - 1];
  const first = message.split('\n').slice(0, 2).join('; ').slice(0, 400);
  return culprit ? `${first} at '${culprit.slice(0, 300)}'` : first;
}

/** nftables: chains of all tables in one table of ours, a change in one transaction. */
export function createNftables(options: NftOptions): RuleBackend {
  const nft = nftCommand(options);

  /** Handles of the rules of chains that are changed in the middle: they are asked for, because only the kernel gives them. */
  async function handles(family: Family, table: Table, names: readonly string[]): Promise<Map<string, Listed>> {
    const found = new Map<string, Listed>();
    for (const name of names) {
      const text = await nft(['-a', 'list', 'chain', ...nftTable(family).split(' '), nftChain(table, name)]);
      found.set(name, parseTable(text ?? '').get(nftChain(table, name)) ?? { rules: [], handles: [] });
    }
    return found;
  }

  return {
    name: 'nftables',
    print: (family, table, { name, rules }) => printNftRules(table, name, rules, family),
    async read(family) {
      const listed = parseTable((await nft(['-t', 'list', 'table', ...nftTable(family).split(' ')])) ?? '');
      const state = (table: Table) => stateOf(listed, table);
      return { raw: state('raw'), mangle: state('mangle'), nat: state('nat'), filter: state('filter') };
    },
    async write(family, table, change) {
      const plan = new Plan(family, table, change);
      const known = await handles(family, table, plan.inner);
      const text = plan.text(known);
      if (text !== '') await nft(['-f', '-'], text);
      return { rules: plan.rules, after: plan.after };
    },
  };
}

interface Listed {
  readonly rules: (string | null)[];
  readonly handles: string[];
}

/** What `nft list table` prints: chains, the hash comment of each rule, and its handle where it was asked for. */
export function parseTable(text: string): Map<string, Listed> {
  const chains = new Map<string, Listed>();
  let chain: Listed | undefined;
  for (const line of text.split('\n')) {
    const name = /^\tchain (\S+) \{/.exec(line)?.[1];
    if (name !== undefined) {
      chain = { rules: [], handles: [] };
      chains.set(name, chain);
    } else if (line === '\t}') chain = undefined;
    else if (chain && RULE.test(line)) {
      chain.rules.push(/ comment "cali:([A-Za-z0-9_-]{16})[^"]*"(?: # handle \d+)?$/.exec(line)?.[1] ?? null);
      chain.handles.push(/ # handle (\d+)$/.exec(line)?.[1] ?? '');
    }
  }
  return chains;
}
/** A line inside a chain that is neither what the chain is nor the rest of a long line. */
const RULE = /^\t\t(?!type \S+ hook |comment "|\t)/;

function stateOf(listed: ReadonlyMap<string, Listed>, table: Table): TableState {
  const chains = new Map<string, readonly (string | null)[]>();
  const hooks = new Map<string, readonly HookState[]>();
  const lengths = new Map<string, number>();
  for (const [name, { rules }] of listed) {
    if (!name.startsWith(`${table}-`)) continue;
    const own = name.slice(table.length + 1);
    if (own.startsWith('cali-')) chains.set(own, rules);
    else {
      lengths.set(own, rules.length);
      hooks.set(
        own,
        rules.map((hash, i) => ({ position: i + 1, hash: hash ?? '', spec: '' })),
      );
    }
  }
  return { chains, hooks, lengths };
}

const PRIORITY: Record<Table, Readonly<Record<string, number>>> = {
  raw: { PREROUTING: -300, OUTPUT: -300 },
  mangle: { PREROUTING: -150, INPUT: -150, FORWARD: -150, OUTPUT: -150, POSTROUTING: -150 },
  nat: { PREROUTING: -100, OUTPUT: -100, INPUT: 100, POSTROUTING: 100 },
  filter: { INPUT: 0, FORWARD: 0, OUTPUT: 0 },
};

/** The base chain that stands for a chain of the kernel in iptables, at the same place on a packet's way. */
function baseChain(table: Table, chain: string): string {
  const priority = PRIORITY[table][chain];
  if (priority === undefined) throw new OperationalError('VALIDATION', `table ${table} has no chain ${chain}`);
  const type = table === 'nat' ? 'nat' : table === 'mangle' && chain === 'OUTPUT' ? 'route' : 'filter';
  return `{ type ${type} hook ${chain.toLowerCase()} priority ${priority}; policy accept; }`;
}

interface Target {
  readonly name: string;
  readonly have: readonly (string | null)[] | undefined;
  readonly want: readonly PrintedRule[];
  readonly base: string;
}

/** The lines of one change. A rule whose hash stands in its place is not mentioned, so its counter survives. */
class Plan {
  readonly after: TableState;
  rules = 0;
  /** Chains of which a rule is replaced or deleted, so that their handles are needed. */
  readonly inner: string[] = [];
  readonly #family: Family;
  readonly #table: Table;
  readonly #targets: Target[] = [];
  readonly #gone: string[] = [];

  constructor(family: Family, table: Table, { update, remove, hooks, base }: TableChange) {
    this.#family = family;
    this.#table = table;
    this.after = { chains: new Map(base.chains), hooks: new Map(base.hooks), lengths: new Map(base.lengths) };
    for (const chain of update) this.#updateChain(chain, base);
    if (hooks) this.#updateHooks(hooks, base);
    const chains = this.after.chains as Map<string, unknown>;
    for (const name of remove) if (chains.delete(name)) this.#gone.push(name);
    for (const { name, have, want } of this.#targets)
      if (have?.some((hash, i) => hash !== want[i]?.hash)) this.inner.push(name);
  }

  #updateChain({ name, rules }: Chain, base: TableState): void {
    const want = printNftRules(this.#table, name, rules, this.#family);
    this.#targets.push({ name, have: base.chains.get(name), want, base: '' });
    (this.after.chains as Map<string, readonly string[]>).set(
      name,
      want.map((r) => r.hash),
    );
  }

  #updateHooks(hooks: readonly Hook[], base: TableState): void {
    const after = this.after.hooks as Map<string, readonly HookState[]>;
    const wanted = hooks.filter((h) => h.table === this.#table);
    for (const { chain, insert, append } of wanted) {
      const want = printNftRules(this.#table, chain, [...insert, ...append], this.#family);
      const have = base.hooks.get(chain)?.map((h) => h.hash);
      this.#targets.push({ name: chain, have, want, base: baseChain(this.#table, chain) });
      after.set(
        chain,
        want.map(({ hash }, i) => ({ position: i + 1, hash, spec: '' })),
      );
    }
    for (const chain of base.hooks.keys())
      if (!wanted.some((h) => h.chain === chain) && after.delete(chain)) this.#gone.push(chain);
  }

  text(handles: ReadonlyMap<string, Listed>): string {
    const where = nftTable(this.#family);
    const declare: string[] = [];
    const body: string[] = [];
    for (const { name, have, want, base } of this.#targets) {
      const chain = `${where} ${nftChain(this.#table, name)}`;
      if (!have) declare.push(`add chain ${chain} ${base}`.trim());
      body.push(...delta(chain, have ?? [], want, this.#fresh(name, have, handles)));
    }
    this.rules = body.length;
    const gone = this.#gone.map((name) => `${where} ${nftChain(this.#table, name)}`);
    const lines = [
      ...declare,
      ...gone.map((chain) => `flush chain ${chain}`),
      ...body,
      ...gone.map((chain) => `delete chain ${chain}`),
    ];
    return lines.length === 0 ? '' : `add table ${where}\n${lines.join('\n')}\n`;
  }

  /** Handles of a chain, if it still is what it was taken for. */
  #fresh(name: string, have: Target['have'], handles: ReadonlyMap<string, Listed>): readonly string[] {
    const listed = handles.get(name);
    if (!listed) return [];
    if (listed.rules.length === have?.length && listed.rules.every((hash, i) => (hash ?? '') === (have[i] ?? '')))
      return listed.handles;
    throw new OperationalError('EXEC', `chain ${name} of table ${this.#table} was changed by somebody else`);
  }
}

function delta(
  chain: string,
  have: readonly (string | null)[],
  want: readonly PrintedRule[],
  handles: readonly string[],
): string[] {
  const lines: string[] = [];
  for (const [i, { hash, text }] of want.entries()) {
    if (i >= have.length) lines.push(`add rule ${chain} ${text}`);
    // Not `replace`: nft 1.0 aborts at one that holds a set with ranges.
    else if (have[i] !== hash)
      lines.push(`insert rule ${chain} handle ${handles[i]} ${text}\ndelete rule ${chain} handle ${handles[i]}`);
  }
  for (let i = want.length; i < have.length; i++) lines.push(`delete rule ${chain} handle ${handles[i]}`);
  return lines;
}

/** Takes our tables away, where another backend is in use; resolves with their number. A machine without nft has none. */
export async function removeNftables(options: NftOptions): Promise<number> {
  const nft = nftCommand(options);
  let removed = 0;
  for (const family of [4, 6] as const) {
    const table = nftTable(family).split(' ');
    const text = await nft(['-t', 'list', 'table', ...table]).catch((error: unknown) => {
      if (hasCode(error, 'EXEC')) return null;
      throw error;
    });
    if (text === null) continue;
    await nft(['delete', 'table', ...table]);
    removed++;
  }
  return removed;
}
