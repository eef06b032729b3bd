import { FAMILIES, type Family, OperationalError } from '#core';
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
import { closedFamilies, idleFamilies } from './idle.ts';
import { type HooksByFamily, Library, plain } from './library.ts';
import { codePoints } from './mangle-table.ts';
import { type Direction, policyChain, profileChain, renderPolicy, renderProfile } from './policy-chains.ts';
import { PolicySets, type SetsChanged } from './policy-sets.ts';
import { clusterSets, diffSets, type WantedSet } from './sets.ts';
import { isSameToLayout, tableLayout } from './tables.ts';
import { Workloads } from './workloads.ts';

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

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
  /** Another number whenever the selector of a known policy changed, because the groups follow from selectors. */
  readonly selectors: number;
}

/** From resolved policy to chains and sets. Each call answers with what differs from the answers before. */
export interface Renderer {
  apply(changes: ResolvedChanges, interfaces: readonly HostInterface[]): PolicyChanges;
  /** A new configuration; everything is rendered again, and what comes out equal is not in the answer. */
  configure(config: RenderConfig): PolicyChanges;
  setFacts(facts: ClusterFacts): PolicyChanges;
  /** Keys of endpoints to close: those of which the kernel refused a rule. Their established flows stop too. */
  close(ids: ReadonlySet<string>): PolicyChanges;
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
  readonly #hosts = new Map<string, ResolvedHost>();
  readonly #sets: PolicySets;
  readonly #library = new Library();
  readonly #workloads = new Workloads(this.#library);
  #clusterMembers: ReadonlyMap<string, WantedSet> = new Map();
  #idle: ReadonlySet<Family> = new Set();
  #hooksBefore = '';
  #selectors = 0;
  /** Whether what `tableLayout` declares may be another one. */
  #isLayoutDue = true;

  constructor(config: RenderConfig) {
    this.#config = config;
    this.#sets = new PolicySets(config);
  }

  apply(changes: ResolvedChanges, interfaces: readonly HostInterface[]): PolicyChanges {
    if (interfaces !== this.#interfaces) this.#isLayoutDue = true;
    this.#interfaces = interfaces;
    for (const [id, policy] of changes.policies) this.#setPolicy(id, policy);
    for (const [name, profile] of changes.profiles) this.#setProfile(name, profile);
    const endpoints = new Map<string, boolean>();
    for (const [key, endpoint] of changes.endpoints) {
      if (!isSameToLayout(this.#workloads.all.get(key), endpoint)) this.#isLayoutDue = true;
      this.#workloads.set(key, endpoint?.kind === 'workload' ? endpoint : null);
      put(this.#hosts, key, endpoint?.kind === 'host' ? endpoint : null);
      endpoints.set(key, endpoint !== null);
    }
    return this.#flush(endpoints, (sets) => sets.apply(changes));
  }

  configure(next: RenderConfig): PolicyChanges {
    if (next.families.join() !== this.#config.families.join())
      throw new OperationalError('CONFIG', 'a change of the IP families needs a new renderer');
    this.#config = next;
    for (const policy of this.#policies.values()) this.#declarePolicy(policy);
    for (const profile of this.#profiles.values()) this.#declareProfile(profile);
    this.#workloads.touchAll();
    this.#isLayoutDue = true;
    return this.#flush(new Map(), (sets) => sets.configure(next));
  }
  setFacts(next: ClusterFacts): PolicyChanges {
    this.#facts = next;
    this.#isLayoutDue = true;
    return this.#flush(new Map());
  }
  close(ids: ReadonlySet<string>): PolicyChanges {
    this.#closed = ids;
    this.#isLayoutDue = true;
    return this.#flush(new Map());
  }

  /** Chains that ask these sets ask them by another name now. */
  #rename(sets: ReadonlySet<SetId>): void {
    if (sets.size === 0) return;
    for (const policy of this.#policies.values()) if (asks(policy, sets)) this.#declarePolicy(policy);
    for (const profile of this.#profiles.values()) if (asks(profile, sets)) this.#declareProfile(profile);
  }
  #setPolicy(id: PolicyId, policy: ActivePolicy | null): void {
    const before = this.#policies.get(id);
    put(this.#policies, id, policy);
    if (before?.selector !== policy?.selector) {
      this.#workloads.touchPolicy(id);
      this.#selectors++;
      if (this.#hosts.size > 0) this.#isLayoutDue = true;
    }
    if (policy) this.#declarePolicy(policy);
    else this.#withdraw((direction) => policyChain(id, direction));
  }
  #declarePolicy(policy: ActivePolicy): void {
    const config = this.#config;
    for (const family of config.families)
      for (const direction of DIRECTIONS)
        this.#library.keep(family, policyChain(policy.id, direction), (table) =>
          renderPolicy(policy, direction, family, table, config, this.#sets.nameOf),
        );
  }

  #setProfile(name: string, profile: ActiveProfile | null): void {
    const isNews = this.#profiles.has(name) !== (profile !== null);
    put(this.#profiles, name, profile);
    if (isNews) {
      this.#workloads.touchProfile(name);
      if (this.#hosts.size > 0) this.#isLayoutDue = true;
    }
    if (profile) this.#declareProfile(profile);
    else this.#withdraw((direction) => profileChain(name, direction));
  }
  #declareProfile(profile: ActiveProfile): void {
    const config = this.#config;
    for (const family of config.families)
      for (const direction of DIRECTIONS)
        this.#library.keep(family, profileChain(profile.name, direction), (table) =>
          renderProfile(profile, direction, family, table, config, this.#sets.nameOf),
        );
  }
  #withdraw(name: (direction: Direction) => string): void {
    for (const family of this.#config.families)
      for (const direction of DIRECTIONS) this.#library.withdraw(family, name(direction));
  }

  #flush(endpoints: PolicyChanges['endpoints'], change?: (sets: PolicySets) => SetsChanged): PolicyChanges {
    const changed = [this.#noteIdle(), ...(change ? [change(this.#sets)] : [])];
    const state = this.#state();
    for (const { renamed } of changed) this.#rename(renamed);
    this.#workloads.declare(state);
    const hooks = this.#isLayoutDue ? this.#layOut(state) : undefined;
    const sets = [...changed.flatMap(({ changes }) => changes), ...(this.#isLayoutDue ? this.#clusterSets() : [])];
    this.#isLayoutDue = false;
    const chains = this.#library.settle(this.#config.families, hooks);
    return { sets, chains, ...(hooks && { hooks }), endpoints };
  }

  #noteIdle(): SetsChanged {
    const idle = idleFamilies(this.#facts.pools, this.#workloads.all.values(), this.#hosts.values());
    if (FAMILIES.some((family) => idle.has(family) !== this.#idle.has(family))) this.#isLayoutDue = true;
    this.#idle = idle;
    return this.#sets.setIdle(idle);
  }

  /** The hooks if they are other ones than before. */
  #layOut(state: RenderState): HooksByFamily | undefined {
    const hooks = tableLayout(state, this.#workloads.byInterface, this.#library);
    const text = JSON.stringify(hooks, plain);
    if (text === this.#hooksBefore) return undefined;
    this.#hooksBefore = text;
    return hooks;
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

function put<K, V>(map: Map<K, V>, key: K, value: V | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}
