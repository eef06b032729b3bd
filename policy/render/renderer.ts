import { FAMILIES, type Family, OperationalError } from '#core';
import type { Budget } from '../budget.ts';
import type {
  ActivePolicy,
  ActiveProfile,
  PolicyId,
  ResolvedChanges,
  ResolvedHost,
  ResolvedWorkload,
} from '../resolved.ts';
import type { PolicyChanges, SetChange, SetId } from '../types.ts';
import { type ClusterFacts, type HostInterface, NO_FACTS, type RenderConfig } from './config.ts';
import { renderTierEnd, tierEndChain } from './endpoint-chains.ts';
import { Groups } from './groups.ts';
import { closedFamilies, idleFamilies } from './idle.ts';
import { type HooksByFamily, Library } from './library.ts';
import { codePoints } from './mangle-table.ts';
import { PendingSets } from './pending-sets.ts';
import { type Direction, denyAction, policyChain, profileChain, renderPolicy, renderProfile } from './policy-chains.ts';
import { PolicySets, type SetsChanged } from './policy-sets.ts';
import { clusterSets, diffSets, type WantedSet } from './sets.ts';
import { asText } from './standing.ts';
import { isSameToLayout, tableLayout } from './tables.ts';
import { Workloads } from './workloads.ts';

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];
/** To lay out the way to so many interfaces costs as much as an object by itself. */
const INTERFACES = 16;

/** What the calculation knows now; the layout of the tables follows from it alone. */
export interface RenderState {
  readonly config: RenderConfig;
  readonly facts: ClusterFacts;
  readonly interfaces: readonly HostInterface[];
  readonly policies: ReadonlyMap<PolicyId, ActivePolicy>;
  readonly profiles: ReadonlyMap<string, ActiveProfile>;
  readonly workloads: ReadonlyMap<string, ResolvedWorkload>;
  readonly hosts: ReadonlyMap<string, ResolvedHost>;
  /** Ids of endpoints that must pass nothing, established flows included. */
  readonly closed: ReadonlySet<string>;
  /** Families in which nothing of a workload passes. */
  readonly closedFamilies: ReadonlySet<Family>;
  /** Follow from the selectors, too. */
  readonly groups: Pick<Groups, 'of'>;
  /** Another number whenever the selector of a known policy changed, because the groups follow from selectors. */
  readonly selectors: number;
}

/** From resolved policy to chains and sets. What it is told is noted, and worked off by `settle`. */
export interface Renderer {
  take(changes: ResolvedChanges): void;
  /**
   * If it is another configuration everything is rendered again; what comes out equal is not told.
   * @throws OperationalError CONFIG for other families, or, once there are sets, another form of dispatch
   */
  configure(config: RenderConfig): void;
  setFacts(facts: ClusterFacts): void;
  setInterfaces(interfaces: readonly HostInterface[]): void;
  /** Keys of endpoints to close: those of which the kernel refused a rule. Their established flows stop too. */
  close(ids: ReadonlySet<string>): void;
  /** Does about `limit` objects' worth of the work; true if nothing is left. */
  settle(limit: number): boolean;
  /** Does all that is left, and tells what differs from what was told before. */
  flush(): PolicyChanges;
}

export function createRenderer(initial: RenderConfig): Renderer {
  return new TableRenderer(initial);
}

class TableRenderer implements Renderer {
  #config: RenderConfig;
  #facts = NO_FACTS;
  #interfaces: readonly HostInterface[] = [];
  #closed: ReadonlySet<string> = new Set();
  readonly #policies = new Map<PolicyId, ActivePolicy>();
  readonly #profiles = new Map<string, ActiveProfile>();
  /** How many policies each tier has, and the configuration that its end was declared for. */
  readonly #tiers = new Map<string, { policies: number; config?: RenderConfig }>();
  readonly #hosts = new Map<string, ResolvedHost>();
  /** Policies and profiles to be declared, anew or for the first time. */
  readonly #duePolicies = new Set<PolicyId>();
  readonly #dueProfiles = new Set<string>();
  readonly #sets: PolicySets;
  readonly #pendingSets = new PendingSets();
  /** Sets that have other names than before, so that the chains that ask them are other ones. */
  #renamed = new Set<SetId>();
  readonly #library = new Library();
  readonly #workloads = new Workloads(this.#library);
  #clusterMembers: ReadonlyMap<string, WantedSet> = new Map();
  #idle: ReadonlySet<Family> = new Set();
  #hooks: HooksByFamily | undefined;
  /** The hooks as text: as laid out last, and as told last. */
  #laidOut = '';
  #told = '';
  #selectors = 0;
  readonly #groups = new Groups((id) => this.#policies.get(id)?.selector ?? '');
  /** Whether what `tableLayout` declares may be another one. */
  #isLayoutDue = true;
  /** Whether the families that are in use may be other ones. */
  #isUseDue = true;

  constructor(config: RenderConfig) {
    this.#config = config;
    this.#sets = new PolicySets(config);
  }

  take(changes: ResolvedChanges): void {
    // Of a family without use no set need be put that would be taken away again.
    this.#noteUse();
    this.#putSets(this.#sets.apply(changes));
    for (const [id, policy] of changes.policies) this.#setPolicy(id, policy);
    for (const [name, profile] of changes.profiles) this.#setProfile(name, profile);
    for (const [key, endpoint] of changes.endpoints) {
      if (!isSameToLayout(this.#workloads.all.get(key), endpoint)) this.#isLayoutDue = true;
      this.#isUseDue = true;
      this.#workloads.set(key, endpoint?.kind === 'workload' ? endpoint : null);
      put(this.#hosts, key, endpoint?.kind === 'host' ? endpoint : null);
    }
  }
  configure(next: RenderConfig): void {
    if (next.families.join() !== this.#config.families.join())
      throw new OperationalError('CONFIG', 'a change of the IP families needs a new renderer');
    if (isEqual(next, this.#config)) return;
    this.#sets.configure(next);
    this.#config = next;
    for (const id of this.#policies.keys()) this.#duePolicies.add(id);
    for (const name of this.#profiles.keys()) this.#dueProfiles.add(name);
    this.#workloads.touchAll();
    this.#isLayoutDue = true;
  }
  setFacts(next: ClusterFacts): void {
    if (isEqual(next, this.#facts)) return;
    this.#facts = next;
    this.#isLayoutDue = true;
    this.#isUseDue = true;
  }
  setInterfaces(next: readonly HostInterface[]): void {
    if (isEqual(next, this.#interfaces)) return;
    this.#interfaces = next;
    this.#isLayoutDue = true;
  }
  close(ids: ReadonlySet<string>): void {
    this.#closed = ids;
    this.#isLayoutDue = true;
  }

  settle(limit: number): boolean {
    const budget = { left: limit };
    this.#noteUse();
    this.#rename();
    if (!declareDue(this.#duePolicies, budget, (id) => this.#declarePolicy(id))) return false;
    if (!declareDue(this.#dueProfiles, budget, (name) => this.#declareProfile(name))) return false;
    if (!this.#workloads.declare(this.#state(), budget)) return false;
    if (this.#isLayoutDue) this.#layOut(budget);
    return this.#library.settle(this.#config.families, budget);
  }
  flush(): PolicyChanges {
    this.settle(Number.POSITIVE_INFINITY);
    const isNews = this.#laidOut !== this.#told;
    this.#told = this.#laidOut;
    return {
      sets: this.#pendingSets.take(),
      chains: this.#library.take(this.#config.families),
      ...(isNews && this.#hooks && { hooks: this.#hooks }),
    };
  }

  #putSets({ changes, renamed }: SetsChanged): void {
    for (const change of changes) this.#pendingSets.put(change);
    for (const id of renamed) this.#renamed.add(id);
  }
  /** Chains that ask these sets ask them by other names now. */
  #rename(): void {
    if (this.#renamed.size === 0) return;
    for (const [id, policy] of this.#policies) if (asks(policy, this.#renamed)) this.#duePolicies.add(id);
    for (const [name, profile] of this.#profiles) if (asks(profile, this.#renamed)) this.#dueProfiles.add(name);
    this.#renamed = new Set();
  }
  #setPolicy(id: PolicyId, policy: ActivePolicy | null): void {
    const before = this.#policies.get(id);
    put(this.#policies, id, policy);
    if (before?.selector !== policy?.selector) {
      this.#workloads.touchPolicy(id);
      this.#selectors++;
      this.#groups.forget();
      if (this.#hosts.size > 0) this.#isLayoutDue = true;
    }
    if (before?.tier !== policy?.tier) this.#moveTier(before?.tier, policy?.tier);
    if (policy) this.#duePolicies.add(id);
    else this.#withdraw((direction) => policyChain(id, direction));
  }
  #declarePolicy(id: PolicyId): void {
    const [config, policy] = [this.#config, this.#policies.get(id)];
    if (!policy) return;
    this.#declareTierEnd(policy.tier);
    for (const family of config.families)
      for (const direction of DIRECTIONS)
        this.#library.keep(family, policyChain(policy.id, direction), (table) =>
          renderPolicy(policy, direction, family, table, config, this.#sets.namesOf),
        );
  }

  #moveTier(from: string | undefined, to: string | undefined): void {
    if (to !== undefined) {
      const tier = this.#tiers.get(to) ?? { policies: 0 };
      this.#tiers.set(to, tier);
      tier.policies++;
    }
    if (from === undefined || --this.#tiers.get(from)!.policies > 0) return;
    this.#tiers.delete(from);
    for (const family of this.#config.families) this.#library.withdraw(family, tierEndChain(from));
  }
  #declareTierEnd(name: string): void {
    const [config, tier] = [this.#config, this.#tiers.get(name)!];
    if (tier.config === config) return;
    tier.config = config;
    for (const family of config.families)
      this.#library.keep(family, tierEndChain(name), (table) => renderTierEnd(name, denyAction(config, table)));
  }

  #setProfile(name: string, profile: ActiveProfile | null): void {
    const isNews = this.#profiles.has(name) !== (profile !== null);
    put(this.#profiles, name, profile);
    if (isNews) {
      this.#workloads.touchProfile(name);
      if (this.#hosts.size > 0) this.#isLayoutDue = true;
    }
    if (profile) this.#dueProfiles.add(name);
    else this.#withdraw((direction) => profileChain(name, direction));
  }
  #declareProfile(name: string): void {
    const [config, profile] = [this.#config, this.#profiles.get(name)];
    if (!profile) return;
    for (const family of config.families)
      for (const direction of DIRECTIONS)
        this.#library.keep(family, profileChain(profile.name, direction), (table) =>
          renderProfile(profile, direction, family, table, config, this.#sets.namesOf),
        );
  }
  #withdraw(name: (direction: Direction) => string): void {
    for (const family of this.#config.families)
      for (const direction of DIRECTIONS) this.#library.withdraw(family, name(direction));
  }

  #noteUse(): void {
    if (!this.#isUseDue) return;
    this.#isUseDue = false;
    const idle = idleFamilies(this.#facts.pools, this.#workloads.all.values(), this.#hosts.values());
    if (FAMILIES.some((family) => idle.has(family) !== this.#idle.has(family))) this.#isLayoutDue = true;
    this.#idle = idle;
    this.#putSets(this.#sets.setIdle(idle));
  }

  #layOut(budget: Budget): void {
    this.#isLayoutDue = false;
    budget.left -= 1 + this.#workloads.byInterface.size / INTERFACES;
    const hooks = tableLayout(this.#state(), this.#workloads.byInterface, this.#library);
    const text = asText(hooks);
    if (text !== this.#laidOut) this.#library.lead(hooks);
    this.#laidOut = text;
    this.#hooks = hooks;
    for (const change of this.#clusterSets()) this.#pendingSets.put(change);
  }

  #hasCodePoints(): boolean {
    return FAMILIES.some((family) => codePoints(this.#workloads.all.values(), this.#hosts.values(), family).length > 0);
  }

  #clusterSets(): SetChange[] {
    const wanted = clusterSets(this.#config, this.#facts, this.#hasCodePoints());
    const changes = diffSets(this.#clusterMembers, wanted);
    this.#clusterMembers = wanted;
    return changes;
  }

  #state(): RenderState {
    return {
      config: this.#config,
      facts: this.#facts,
      interfaces: this.#interfaces,
      policies: this.#policies,
      profiles: this.#profiles,
      workloads: this.#workloads.all,
      hosts: this.#hosts,
      closed: this.#closed,
      closedFamilies: closedFamilies(this.#idle, this.#config),
      groups: this.#groups,
      selectors: this.#selectors,
    };
  }
}

const asks = ({ ingress, egress }: ActivePolicy | ActiveProfile, sets: ReadonlySet<SetId>): boolean =>
  [...ingress, ...egress].some(({ source, destination }) =>
    [source, destination].some((entity) =>
      [entity.sets, entity.notSets, entity.portSets, entity.notPortSets].some((ids) => ids.some((id) => sets.has(id))),
    ),
  );

/** Declares what is due as far as the budget goes; true if all is done. */
function declareDue<K>(due: Set<K>, budget: Budget, declare: (key: K) => void): boolean {
  for (const key of due) {
    if (budget.left <= 0) return false;
    budget.left--;
    due.delete(key);
    declare(key);
  }
  return true;
}

const isEqual = (a: unknown, b: unknown): boolean => asText(a) === asText(b);

function put<K, V>(map: Map<K, V>, key: K, value: V | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}
