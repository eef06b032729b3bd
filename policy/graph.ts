import type { Profile, Update, UpdateOf } from '#datastore';
import { Item } from './labels/item.ts';
import { ActiveRules, scanPolicy, scanProfile } from './resolve/active-rules.ts';
import { type Contents, hostContents, networkSetContents, workloadContents } from './resolve/contents.ts';
import { LocalEndpoints } from './resolve/local-endpoints.ts';
import type { TierPlace } from './resolve/order.ts';
import { type Policy, policyId, readPolicy } from './resolve/policies.ts';
import { type MemberItem, SetRegistry } from './resolve/set-registry.ts';
import type { ActivePolicy, ActiveProfile, PolicyId, ResolvedChanges } from './resolved.ts';

export interface PolicyGraphOptions {
  /** Endpoints whose spec.node is this are local. */
  readonly node: string;
}

/** How much there is of what, for metrics. */
export interface PolicyGraphCounts {
  readonly endpoints: number;
  readonly localEndpoints: number;
  readonly policies: number;
  readonly activePolicies: number;
  readonly activeProfiles: number;
  readonly sets: number;
}

/** From updates of resources to what has to be rendered for this node. See `createPolicyGraph`. */
export interface PolicyGraph {
  /** Takes in one fact; kinds that have no part in policy are passed over. */
  onUpdate(update: Update): void;
  /** Does some of the work that `flush` would do, about `limit` objects' worth; true if nothing is left. */
  settle(limit: number): boolean;
  /** Some of what differs from what was drained before, about `limit` objects' worth; null: nothing does. Everything must be settled. */
  drain(limit: number): ResolvedChanges | null;
  /** Does all work and gives all that differs from what was drained before. */
  flush(): ResolvedChanges;
  /** Policies and profiles that could not be used as they are, by id or name, with the reason. */
  readonly problems: ReadonlyMap<string, string>;
  readonly counts: PolicyGraphCounts;
}

const NOTHING: ResolvedChanges = {
  sets: new Map(),
  added: new Map(),
  removed: new Map(),
  policies: new Map(),
  profiles: new Map(),
  endpoints: new Map(),
};

type Labelled = 'WorkloadEndpoint' | 'HostEndpoint' | 'NetworkSet' | 'GlobalNetworkSet';

/**
 * The calculation graph.
 *
 *      labels ──▶ local endpoints × policy selectors ──▶ lists per endpoint ──▶ policies and profiles in use
 *        │                                                                              │
 *        └──────▶ all endpoints and network sets × selectors of their rules ◀───────────┘
 *                             │
 *                             ▼ members, counted
 *
 * Each arrow is a change noted and worked off in `settle`, upstream first, so many updates before that cost one pass. What comes out, all drained, follows
 * from the resources present then, whatever order they came in.
 */
export function createPolicyGraph({ node }: PolicyGraphOptions): PolicyGraph {
  return new Graph(node);
}

class Graph implements PolicyGraph {
  readonly #node: string;
  readonly #sets = new SetRegistry();
  readonly #policies = new Map<PolicyId, Policy>();
  readonly #profiles = new Map<string, Profile['spec']>();
  readonly #tiers = new Map<string, TierPlace>();
  readonly #items: Record<Labelled, Map<string, MemberItem>> = {
    WorkloadEndpoint: new Map(),
    HostEndpoint: new Map(),
    NetworkSet: new Map(),
    GlobalNetworkSet: new Map(),
  };
  readonly #unreadable = new Map<PolicyId, string>();
  readonly #activePolicies: ActiveRules<ActivePolicy>;
  readonly #activeProfiles: ActiveRules<ActiveProfile>;
  readonly #locals: LocalEndpoints;

  constructor(node: string) {
    this.#node = node;
    this.#activePolicies = new ActiveRules(this.#sets, (id) => {
      const policy = this.#policies.get(id);
      return policy && scanPolicy(id, policy);
    });
    this.#activeProfiles = new ActiveRules(this.#sets, (name) => {
      const profile = this.#profiles.get(name);
      return profile && scanProfile(name, profile);
    });
    this.#locals = new LocalEndpoints(this.#tiers, this.#activePolicies, this.#activeProfiles);
  }

  onUpdate(update: Update): void {
    switch (update.kind) {
      case 'WorkloadEndpoint':
        this.#onWorkload(update);
        break;
      case 'HostEndpoint':
        this.#onHost(update);
        break;
      case 'NetworkSet':
      case 'GlobalNetworkSet':
        this.#setItem(update, update.value && networkSetContents(update.id, update.value));
        break;
      case 'NetworkPolicy':
      case 'GlobalNetworkPolicy':
        this.#onPolicy(update);
        break;
      case 'Profile':
        this.#onProfile(update);
        break;
      case 'Tier':
        this.#onTier(update);
        break;
      default:
        // Staged policies among them: they are never enforced.
        break;
    }
  }

  settle(limit: number): boolean {
    return (
      this.#locals.settle(limit) &&
      this.#activePolicies.settle(limit) &&
      this.#activeProfiles.settle(limit) &&
      this.#sets.items.settle(limit)
    );
  }

  drain(limit: number): ResolvedChanges | null {
    const parts = [this.#sets, this.#activePolicies, this.#activeProfiles, this.#locals];
    if (!parts.some((part) => part.hasNews)) return null;
    const budget = { left: limit };
    return {
      ...this.#sets.drain(budget),
      policies: this.#activePolicies.drain(budget),
      profiles: this.#activeProfiles.drain(budget),
      endpoints: this.#locals.drain(budget),
    };
  }

  flush(): ResolvedChanges {
    this.settle(Number.POSITIVE_INFINITY);
    return this.drain(Number.POSITIVE_INFINITY) ?? NOTHING;
  }

  get problems(): ReadonlyMap<string, string> {
    return new Map([...this.#unreadable, ...this.#activePolicies.problems, ...this.#activeProfiles.problems]);
  }

  get counts(): PolicyGraphCounts {
    return {
      endpoints: this.#items.WorkloadEndpoint.size + this.#items.HostEndpoint.size,
      localEndpoints: this.#locals.size,
      policies: this.#policies.size,
      activePolicies: this.#activePolicies.size,
      activeProfiles: this.#activeProfiles.size,
      sets: this.#sets.size,
    };
  }

  #onWorkload(update: UpdateOf<'WorkloadEndpoint'>): void {
    const contents = update.value && workloadContents(update.id, update.value);
    this.#setItem(update, contents);
    if (contents && update.value?.spec.node === this.#node) this.#locals.setEndpoint(update.id, update.value, contents);
    else this.#locals.removeEndpoint(update.kind, update.id);
  }

  #onHost(update: UpdateOf<'HostEndpoint'>): void {
    const contents = update.value && hostContents(update.value);
    this.#setItem(update, contents);
    if (contents && update.value?.spec.node === this.#node) this.#locals.setEndpoint(update.id, update.value, contents);
    else this.#locals.removeEndpoint(update.kind, update.id);
  }

  #setItem({ kind, id }: { kind: Labelled; id: string }, contents: Contents | null): void {
    const items = this.#items[kind];
    const known = items.get(id);
    if (!contents) {
      if (known) this.#sets.items.removeItem(known);
      items.delete(id);
      return;
    }
    const item: MemberItem = known ?? new Item();
    if (!known) items.set(id, item);
    const { nets, ports, labels, parents } = contents;
    this.#sets.items.setItem(item, labels, parents, { nets, ports });
  }

  #onPolicy({ kind, id, value }: UpdateOf<'NetworkPolicy'> | UpdateOf<'GlobalNetworkPolicy'>): void {
    const key = policyId(kind, id);
    const read = value && readPolicy(id, value);
    if (read && !read.ok) this.#unreadable.set(key, read.error);
    else this.#unreadable.delete(key);
    const before = this.#policies.get(key);
    const policy = read?.ok ? read.value : undefined;
    if (policy) this.#policies.set(key, policy);
    else this.#policies.delete(key);
    this.#activePolicies.touch(key);
    if (!before || !policy || !samePlace(before, policy)) this.#locals.setPolicy(key, policy);
  }

  #onProfile({ id, value }: UpdateOf<'Profile'>): void {
    if (value) this.#profiles.set(id, value.spec);
    else this.#profiles.delete(id);
    this.#activeProfiles.touch(id);
    const labels = Object.entries(value?.spec.labelsToApply ?? {}).flat();
    this.#locals.setProfileLabels(id, labels);
    this.#sets.items.setParent(id, labels);
  }

  #onTier({ id, value }: UpdateOf<'Tier'>): void {
    if (value)
      this.#tiers.set(id, {
        order: value.spec.order ?? Number.POSITIVE_INFINITY,
        defaultAction: value.spec.defaultAction ?? 'Deny',
      });
    else this.#tiers.delete(id);
    this.#locals.reorder();
  }
}

/** Whether only rules differ: then no endpoint's lists do. */
const samePlace = (a: Policy, b: Policy): boolean =>
  a.selector.text === b.selector.text && JSON.stringify(a.place) === JSON.stringify(b.place);
