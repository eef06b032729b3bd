import { type Clock, createMetrics, hasCode, type Log } from '#core';
import type { StepOutcome } from './apply.ts';
import { createIpset } from './kernel/ipset/index.ts';
import { IpsetSocket } from './kernel/ipset/socket.ts';
import { createIptables } from './kernel/iptables.ts';
import { createNftables, NftSocket, removeNftables } from './kernel/nftables/index.ts';
import { createNftSets } from './kernel/nftables/sets.ts';
import type { Runner } from './kernel/runner.ts';
import type { Failure, RuleBackend, SetBackend } from './kernel/types.ts';
import { ChainReconciler } from './reconcile/chains.ts';
import { SetReconciler } from './reconcile/sets.ts';

export interface PacketFilterContext {
  readonly runner: Runner;
  readonly variant: 'nft' | 'legacy';
  readonly clock: Clock;
  readonly log: Log;
  /** FelixConfiguration wants another packet filter than the one in use; told once. */
  readonly onOther: (why: string) => void;
}

interface Backends {
  readonly rules: RuleBackend;
  readonly sets: SetBackend;
}

/**
 * iptables with ipset, or nftables: which one is known only when FelixConfiguration is, and stays. Nothing is written before that, because nothing is desired
 * before that. When another one is wanted the agent begins again, as after a restart: what stands in the kernel protects until the new rules do.
 */
export class PacketFilter {
  readonly rules: RuleBackend;
  readonly sets: SetBackend;
  readonly #context: PacketFilterContext;
  #iptables: Backends;
  readonly #nftables: Backends;
  readonly #socket = new NftSocket();
  readonly #ipset: IpsetSocket;
  #kind: 'iptables' | 'nftables' | undefined;
  #isOtherTold = false;
  #leftovers: (ChainReconciler | SetReconciler)[] | undefined;
  #isClean = false;

  constructor(context: PacketFilterContext) {
    const { runner, variant } = context;
    this.#context = context;
    this.#ipset = new IpsetSocket(context.clock);
    this.#iptables = this.#useIptables(runner, variant);
    this.#nftables = { rules: createNftables(this.#socket), sets: createNftSets(this.#socket) };
    const now = () => (this.#kind === 'nftables' ? this.#nftables : this.#iptables);
    this.rules = {
      get name() {
        return now().rules.name;
      },
      print: (...args) => now().rules.print(...args),
      holds: (...args) => now().rules.holds(...args),
      read: (...args) => now().rules.read(...args),
      fingerprint: (...args) => now().rules.fingerprint(...args),
      write: (...args) => now().rules.write(...args),
    };
    this.sets = {
      list: () => now().sets.list(),
      members: (...args) => now().sets.members(...args),
      write: (...args) => now().sets.write(...args),
      destroy: (...args) => now().sets.destroy(...args),
    };
  }

  /**
   * What FelixConfiguration says; the first call decides, and one that says otherwise is told of.
   * @param mode nftablesMode; `Auto` is iptables
   * @param variant of iptables, which beats what the machine was found to use
   */
  choose(mode: string | undefined, variant?: 'nft' | 'legacy'): 'iptables' | 'nftables' {
    const kind = mode === 'Enabled' ? 'nftables' : 'iptables';
    this.#kind ??= this.#begin(kind, variant);
    const isOther =
      kind !== this.#kind || (kind === 'iptables' && this.#iptables.rules.name !== (variant ?? this.#context.variant));
    if (isOther && !this.#isOtherTold) {
      this.#isOtherTold = true;
      this.#context.onOther(`FelixConfiguration wants ${kind}${variant && kind === 'iptables' ? ` (${variant})` : ''}`);
    }
    return this.#kind;
  }
  #begin(kind: 'iptables' | 'nftables', variant: 'nft' | 'legacy' | undefined): 'iptables' | 'nftables' {
    const { runner, log } = this.#context;
    if (variant && variant !== this.#iptables.rules.name) {
      this.#iptables = this.#useIptables(runner, variant);
      log.info({ backend: variant, chosen: 'by FelixConfiguration' }, 'iptables backend');
    }
    if (kind === 'nftables') log.info({}, 'rules are written to nftables');
    return kind;
  }

  #useIptables(runner: Runner, variant: 'nft' | 'legacy'): Backends {
    const { clock } = this.#context;
    return { rules: createIptables({ runner, variant, clock }), sets: createIpset(this.#ipset) };
  }

  /** Of what the kernel tells when it was changed: nothing of legacy iptables and ipset, which must be asked. */
  get news(): { readonly rules: boolean; readonly sets: boolean } {
    return { rules: this.rules.name !== 'legacy', sets: this.#kind === 'nftables' };
  }
  /** Whether a transaction of nf_tables was our own, by the process and the socket that made it. */
  isOurs(pid: number, port: number): boolean {
    return this.#context.runner.isOurs(pid) || this.#socket.isOurs(port);
  }
  close(): void {
    this.#socket.close();
    this.#ipset.close();
  }

  /**
   * Takes away what an earlier run wrote to backends that are not in use, both variants of iptables among them; to be called when the rules in
   * use stand. Old rules would go on dropping what they do not know.
   */
  async removeLeftovers(): Promise<StepOutcome> {
    if (this.#isClean) return { written: 0, failures: [] };
    let written = this.#kind === 'iptables' ? await removeNftables(this.#socket) : 0;
    this.#leftovers ??= await this.#findLeftovers();
    const failures: Failure[] = [];
    for (const part of this.#leftovers) {
      const outcome = part instanceof ChainReconciler ? await part.apply() : await part.applyDeletes();
      written += outcome.written;
      failures.push(...outcome.failures);
      // Sets go when no rule of either variant names them any more.
      if (outcome.failures.length > 0 || outcome.again !== undefined)
        return { written, failures, ...(outcome.again !== undefined && { again: outcome.again }) };
    }
    this.#isClean = true;
    return { written, failures };
  }

  /** Reconcilers that want nothing, of everything that may be there and is not in use; in the order in which it goes. */
  async #findLeftovers(): Promise<(ChainReconciler | SetReconciler)[]> {
    const { runner, clock, log } = this.#context;
    const parts: (ChainReconciler | SetReconciler)[] = [];
    for (const variant of ['nft', 'legacy'] as const) {
      if (this.rules.name === variant || !(await hasIptables(runner, variant))) continue;
      const backend = createIptables({ runner, variant, clock, stay: false });
      parts.push(new ChainReconciler({ backend, families: [4, 6], clock, log, metrics: createMetrics() }));
    }
    if (this.#kind === 'nftables') {
      const backend = this.#iptables.sets;
      parts.push(new SetReconciler({ backend, clock, log, metrics: createMetrics(), maxElements: 0 }));
    }
    return parts;
  }
}

/** Whether machine and kernel have that variant at all. Legacy tables must not be asked for: that would make them. */
async function hasIptables(runner: Runner, variant: 'nft' | 'legacy'): Promise<boolean> {
  const harmless = variant === 'nft' ? ['-t', 'filter'] : ['--version'];
  try {
    return (await runner.run({ argv: [`iptables-${variant}-save`, ...harmless], timeout: 10_000 })).code === 0;
  } catch (error) {
    if (hasCode(error, 'EXEC')) return false;
    throw error;
  }
}
