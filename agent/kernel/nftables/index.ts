import { type Family, hasCode, OperationalError, realClock } from '#core';
import { type Chain, printNftChain, type Table, verdictMap } from '#policy';
import { inSlices } from '../../slices.ts';
import { errnoName } from '../netlink/libc.ts';
import { Requester } from '../netlink/request.ts';
import type { HookState, RuleBackend, TableState } from '../types.ts';
import { Plan, sameMap } from './plan.ts';
import { type KernelRule, NftReader } from './read.ts';
import { Transaction } from './transaction.ts';

/**
 * nf_tables spoken directly. The program `nft` reads what a table holds before each change of it (a second for 100 000 elements, 0.3 s for
 * 20 000 rules); told over a socket, a change costs what it changes, and what the kernel does to check it.
 */
export class NftSocket {
  #requests: Requester | undefined;

  /** Made at the first use, so that a machine that uses iptables needs nothing of this. @throws OperationalError KERNEL */
  get requests(): Requester {
    this.#requests ??= new Requester(12);
    return this.#requests;
  }
  /** At once, in the network namespace of now. */
  open(): this {
    return this.requests && this;
  }
  /** Whether a change of the ruleset came from here, by the port id in the kernel's news of it. */
  isOurs(port: number): boolean {
    return this.#requests?.port === port;
  }
  /** All or nothing. Rejects with EXEC, naming what was refused. */
  async commit(transaction: Transaction): Promise<void> {
    if (transaction.isEmpty) return;
    const { first, refused } = await this.requests.transact((w, seq) => transaction.encode(w, seq));
    if (refused.length === 0) return;
    const [{ seq, errno, message }] = refused;
    const what = transaction.describe(first, seq).slice(0, 300);
    throw new OperationalError('EXEC', `nf_tables: ${errnoName(errno)}${message && ` (${message})`} at '${what}'`);
  }
  reader(family: Family): NftReader {
    return new NftReader(this.requests, family);
  }
  close(): void {
    this.#requests?.close();
  }
}

/** nftables: chains of all tables in one table of ours, a change in one transaction. */
export function createNftables(socket: NftSocket): RuleBackend {
  return {
    name: 'nftables',
    print: (family, table, chain) => printNftChain(table, chain, family),
    holds: (family, table, chain, state) => {
      const have = state.chains.get(chain.name);
      const want = printNftChain(table, chain, family);
      return have?.length === want.length && want.every(({ hash }, i) => hash === have[i]) && holdsMap(chain, state);
    },
    read: (family) => readState(socket.reader(family)),
    // The kernel tells of every change by itself.
    fingerprint: async () => undefined,
    async write(family, table, change) {
      const plan = new Plan(family, table, change);
      const listed = new Map<string, readonly KernelRule[]>();
      for (const name of plan.inner) listed.set(name, await socket.reader(family).rules(`${table}-${name}`));
      await socket.commit(await inSlices(realClock, plan.transaction(listed)));
      return { rules: plan.rules, after: plan.after };
    },
  };
}

function holdsMap(chain: Chain, state: TableState): boolean {
  const [want, have] = [verdictMap(chain), state.maps?.get(chain.name)];
  return want && have ? sameMap(want, have) : want === have;
}

async function readState(reader: NftReader): Promise<Record<Table, TableState>> {
  const { chains, rules, maps } = await reader.ofOneMoment(async () => ({
    chains: await reader.chains(),
    rules: await reader.rules(),
    maps: await reader.verdictMaps(),
  }));
  const hashes = new Map<string, (string | null)[]>(chains.map((name) => [name, []]));
  for (const { chain, hash } of rules) hashes.get(chain)?.push(hash);
  const states = { raw: emptyState(), mangle: emptyState(), nat: emptyState(), filter: emptyState() };
  for (const [name, of] of hashes) {
    const [table, own] = split(name);
    const state = states[table as Table];
    if (state) addChain(state, own, of);
  }
  for (const [name, targets] of maps) {
    const [table, own] = split(name);
    const inOurWords = [...targets].map(([iface, chain]): [string, string] => [iface, split(chain)[1]]);
    states[table as Table]?.maps.set(own, new Map(inOurWords));
  }
  return states;
}

/** `filter-cali-FORWARD` is chain `cali-FORWARD` of table filter. */
function split(name: string): [table: string, chain: string] {
  const dash = name.indexOf('-');
  return [name.slice(0, Math.max(0, dash)), name.slice(dash + 1)];
}

interface Draft extends TableState {
  readonly chains: Map<string, readonly (string | null)[]>;
  readonly hooks: Map<string, readonly HookState[]>;
  readonly lengths: Map<string, number>;
  readonly maps: Map<string, ReadonlyMap<string, string>>;
}
const emptyState = (): Draft => ({ chains: new Map(), hooks: new Map(), lengths: new Map(), maps: new Map() });

function addChain(state: Draft, name: string, hashes: readonly (string | null)[]): void {
  if (name.startsWith('cali-')) {
    state.chains.set(name, hashes);
    return;
  }
  state.lengths.set(name, hashes.length);
  state.hooks.set(
    name,
    hashes.map((hash, i) => ({ position: i + 1, hash: hash ?? '', spec: '' })),
  );
}

/** Takes our tables away, where another backend is in use; resolves with their number. A kernel without nf_tables has none. */
export async function removeNftables(socket: NftSocket): Promise<number> {
  let removed = 0;
  for (const family of [4, 6] as const) {
    const reader = socket.reader(family);
    const isEmpty = async () => (await reader.chains()).length + (await reader.sets()).length === 0;
    const isWithout = (error: unknown) => {
      if (hasCode(error, 'KERNEL')) return true;
      throw error;
    };
    if (await isEmpty().catch(isWithout)) continue;
    const transaction = new Transaction(family);
    transaction.deleteTable();
    await socket.commit(transaction);
    removed++;
  }
  return removed;
}
