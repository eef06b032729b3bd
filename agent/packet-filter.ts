import { type Clock, createMetrics, type Log } from '#core';
import type { StepOutcome } from './apply.ts';
import { Commits } from './kernel/commits.ts';
import { createIpset } from './kernel/ipset.ts';
import { createIptables } from './kernel/iptables.ts';
import { createNftables, NftSocket, removeNftables } from './kernel/nftables/index.ts';
import { createNftSets } from './kernel/nftables/sets.ts';
import type { Runner } from './kernel/runner.ts';
import type { RuleBackend, SetBackend } from './kernel/types.ts';
import { ChainReconciler } from './reconcile/chains.ts';
import { SetReconciler } from './reconcile/sets.ts';

export interface PacketFilterContext {
  readonly runner: Runner;
  readonly variant: 'nft' | 'legacy';
  readonly clock: Clock;
  readonly log: Log;
}

interface Backends {
  readonly rules: RuleBackend;
  readonly sets: SetBackend;
}

/**
 * iptables with ipset, or nftables: which one is known only when FelixConfiguration is, and stays for the life of the agent. Nothing is written
 * before that, because nothing is desired before that.
 */
export class PacketFilter {
  readonly rules: RuleBackend;
  readonly sets: SetBackend;
  readonly #context: PacketFilterContext;
  readonly #iptables: Backends;
  readonly #nftables: Backends;
  readonly #socket = new NftSocket();
  readonly #commits: Commits | undefined;
  #kind: 'iptables' | 'nftables' | undefined;
  #leftovers: { chains: ChainReconciler; sets: SetReconciler } | undefined;
  #isClean = false;

  constructor(context: PacketFilterContext) {
    const { runner, variant } = context;
    this.#context = context;
    if (variant === 'nft') this.#commits = new Commits();
    const rules = createIptables({ runner, variant, ...(this.#commits && { commits: this.#commits }) });
    this.#iptables = { rules, sets: createIpset({ runner }) };
    this.#nftables = { rules: createNftables(this.#socket), sets: createNftSets(this.#socket) };
    const now = () => (this.#kind === 'nftables' ? this.#nftables : this.#iptables);
    this.rules = {
      get name() {
        return now().rules.name;
      },
      print: (...args) => now().rules.print(...args),
      holds: (...args) => now().rules.holds(...args),
      read: (...args) => now().rules.read(...args),
      write: (...args) => now().rules.write(...args),
    };
    this.sets = {
      list: () => now().sets.list(),
      members: (...args) => now().sets.members(...args),
      write: (...args) => now().sets.write(...args),
      destroy: (...args) => now().sets.destroy(...args),
    };
  }

  /** What FelixConfiguration's nftablesMode says; the first call decides. `Auto` is iptables. */
  choose(mode: string | undefined): 'iptables' | 'nftables' {
    const wanted = mode === 'Enabled' ? 'nftables' : 'iptables';
    if (this.#kind === undefined && wanted === 'nftables') this.#context.log.info({}, 'rules are written to nftables');
    this.#kind ??= wanted;
    if (this.#kind !== wanted)
      this.#context.log.warn({ now: this.#kind, wanted }, 'nftablesMode takes effect when the agent starts again');
    return this.#kind;
  }

  /** Of what the kernel tells when it was changed: nothing of legacy iptables and ipset, which must be asked. */
  get news(): { readonly rules: boolean; readonly sets: boolean } {
    return { rules: this.#kind === 'nftables' || this.#context.variant === 'nft', sets: this.#kind === 'nftables' };
  }
  /** Whether a transaction of nf_tables was our own, by the process and the socket that made it. */
  isOurs(pid: number, port: number): boolean {
    return this.#context.runner.isOurs(pid) || this.#socket.isOurs(port);
  }
  close(): void {
    this.#socket.close();
    this.#commits?.stop();
  }

  /** Takes away what an earlier run wrote to the backend that is not in use; to be called when the rules in use stand. */
  async removeLeftovers(): Promise<StepOutcome> {
    if (this.#isClean) return { written: 0, failures: [] };
    if (this.#kind === 'iptables') {
      const removed = await removeNftables(this.#socket);
      this.#isClean = true;
      return { written: removed, failures: [] };
    }
    const { clock, log } = this.#context;
    this.#leftovers ??= {
      chains: new ChainReconciler({
        backend: this.#iptables.rules,
        families: [4, 6],
        clock,
        log,
        metrics: createMetrics(),
      }),
      sets: new SetReconciler({ backend: this.#iptables.sets, clock, log, metrics: createMetrics(), maxElements: 0 }),
    };
    const chains = await this.#leftovers.chains.apply();
    const sets = await this.#leftovers.sets.applyDeletes();
    const failures = [...chains.failures, ...sets.failures];
    const again = chains.again ?? sets.again;
    this.#isClean = failures.length === 0 && again === undefined;
    return { written: chains.written + sets.written, failures, ...(again !== undefined && { again }) };
  }
}
