import type { Budget } from '../budget.ts';
import type { PolicyId, ResolvedWorkload } from '../resolved.ts';
import type { RenderConfig } from './config.ts';
import { renderWorkload } from './endpoint-chains.ts';
import { renderGroup } from './groups.ts';
import type { Library } from './library.ts';
import type { Direction } from './policy-chains.ts';
import type { RenderState } from './renderer.ts';

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** To put so many policies in their places costs as much as a workload by itself. */
const POLICIES = 32;

/** What one interface has declared. */
interface Declared {
  readonly chains: readonly string[];
  readonly groups: readonly string[];
}

/**
 * Workloads by interface, and the declarations of their chains. Only those whose endpoint, profiles or policies' selectors changed
 * are declared anew.
 */
export class Workloads {
  /** Of two endpoints that claim one interface the smaller id has it. */
  readonly byInterface = new Map<string, ResolvedWorkload>();
  readonly #library: Library;
  readonly #known = new Map<string, ResolvedWorkload>();
  readonly #claims = new Map<string, Map<string, ResolvedWorkload>>();
  readonly #dirty = new Set<string>();
  readonly #declared = new Map<string, Declared>();
  /** Which configuration a group's chain was made for, and how many interfaces lead to it. What else it is made of is in its name. */
  readonly #groups = new Map<string, { users: number; readonly config: RenderConfig }>();

  constructor(library: Library) {
    this.#library = library;
  }

  get all(): ReadonlyMap<string, ResolvedWorkload> {
    return this.#known;
  }

  set(key: string, workload: ResolvedWorkload | null): void {
    const before = this.#known.get(key);
    if (before) this.#claim(before.endpoint.spec.interfaceName, key, null);
    if (workload) {
      this.#known.set(key, workload);
      this.#claim(workload.endpoint.spec.interfaceName, key, workload);
    } else this.#known.delete(key);
  }

  #claim(iface: string, key: string, workload: ResolvedWorkload | null): void {
    if (iface === '*') return;
    const claims = this.#claims.get(iface) ?? new Map<string, ResolvedWorkload>();
    this.#claims.set(iface, claims);
    if (workload) claims.set(key, workload);
    else claims.delete(key);
    if (claims.size === 0) this.#claims.delete(iface);
    this.#dirty.add(iface);
  }

  /** The selector of a policy is another one: it groups in another way. */
  touchPolicy(id: PolicyId): void {
    this.#touch((w) => w.tiers.some((tier) => tier.ingress.includes(id) || tier.egress.includes(id)));
  }
  /** A profile came to be, or is no more. */
  touchProfile(name: string): void {
    this.#touch((w) => w.profiles.includes(name));
  }
  touchAll(): void {
    this.#touch(() => true);
  }
  #touch(concerned: (workload: ResolvedWorkload) => boolean): void {
    for (const [iface, workload] of this.byInterface) if (concerned(workload)) this.#dirty.add(iface);
  }

  /** Declares what was touched, and withdraws what is no more, as far as the budget goes; true if all is done. */
  declare(state: RenderState, budget: Budget): boolean {
    for (const iface of this.#dirty) {
      if (budget.left <= 0) return false;
      this.#dirty.delete(iface);
      const before = this.#declared.get(iface);
      const winner = smallest(this.#claims.get(iface)?.values() ?? []);
      if (winner) {
        budget.left -= 1 + policiesOf(winner) / POLICIES;
        this.byInterface.set(iface, winner);
        this.#declared.set(iface, this.#declareOne(winner, state));
      } else {
        this.byInterface.delete(iface);
        this.#declared.delete(iface);
      }
      if (before) this.#forget(before, this.#declared.get(iface), state);
    }
    return true;
  }

  #declareOne(workload: ResolvedWorkload, state: RenderState): Declared {
    const { config, profiles } = state;
    const policy = { groups: state.groups, profileExists: (name: string) => profiles.has(name) };
    const chains: string[] = [];
    const groups: string[] = [];
    for (const direction of DIRECTIONS) {
      const rendered = renderWorkload(workload, direction, config, policy);
      chains.push(rendered.chain.name);
      for (const family of config.families)
        this.#library.keepIn('filter', family, rendered.chain.name, () => rendered.chain);
      for (const group of rendered.groups) {
        groups.push(group.chain);
        const known = this.#groups.get(group.chain);
        this.#groups.set(group.chain, { users: (known?.users ?? 0) + 1, config });
        if (known?.config === config) continue;
        const made = renderGroup(group, direction, config);
        for (const family of config.families) this.#library.keepIn('filter', family, group.chain, () => made);
      }
    }
    return { chains, groups };
  }

  #forget(before: Declared, now: Declared | undefined, { config }: RenderState): void {
    const kept = new Set(now?.chains);
    for (const family of config.families)
      for (const name of before.chains) if (!kept.has(name)) this.#library.withdraw(family, name, 'filter');
    for (const name of before.groups) {
      const group = this.#groups.get(name)!;
      if (--group.users === 0) {
        this.#groups.delete(name);
        for (const family of config.families) this.#library.withdraw(family, name, 'filter');
      }
    }
  }
}

const policiesOf = ({ tiers }: ResolvedWorkload): number =>
  tiers.reduce((sum, { ingress, egress }) => sum + ingress.length + egress.length, 0);

function smallest(workloads: Iterable<ResolvedWorkload>): ResolvedWorkload | undefined {
  let found: ResolvedWorkload | undefined;
  for (const workload of workloads) if (!found || workload.id < found.id) found = workload;
  return found;
}
