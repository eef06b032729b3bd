import type { HostEndpoint, WorkloadEndpoint } from '#datastore';
import { type Entry, Item } from '../labels/item.ts';
import { LabelIndex, type MatchListener } from '../labels/label-index.ts';
import type { PolicyId, ResolvedEndpoint } from '../resolved.ts';
import type { ActiveRules } from './active-rules.ts';
import type { Contents } from './contents.ts';
import { listPolicies, policiesIn, type Tiers } from './order.ts';
import type { Policy } from './policies.ts';

type Resource = WorkloadEndpoint | HostEndpoint;
type LocalItem = Item<Policy, Local>;

/** An endpoint of this node, with what was last worked out for it. */
interface Local {
  readonly key: string;
  readonly id: string;
  readonly item: LocalItem;
  /** undefined: it is gone. */
  resource: Resource | undefined;
  policies: ReadonlySet<PolicyId>;
  profiles: readonly string[];
  resolved: ResolvedEndpoint | undefined;
  /** As JSON, to tell only real changes. */
  told: string | undefined;
}

/**
 * The endpoints of this node and the policies that select them: which lists each endpoint gets, and which policies and profiles are therefore
 * active.
 */
export class LocalEndpoints implements MatchListener<Policy, Local> {
  readonly #index = new LabelIndex<Policy, Local>(this, (a, b) => a === b);
  readonly #entries = new Map<PolicyId, Entry<Policy, Local>>();
  readonly #locals = new Map<string, Local>();
  readonly #dirty = new Set<Local>();
  readonly #untold = new Set<Local>();
  readonly #tiers: Tiers;
  readonly #policies: ActiveRules<unknown>;
  readonly #profiles: ActiveRules<unknown>;

  constructor(tiers: Tiers, policies: ActiveRules<unknown>, profiles: ActiveRules<unknown>) {
    this.#tiers = tiers;
    this.#policies = policies;
    this.#profiles = profiles;
  }

  /** How many there are. */
  get size(): number {
    let count = 0;
    for (const local of this.#locals.values()) if (local.resource) count++;
    return count;
  }

  /** @param id `namespace/name` of a workload, `name` of a host endpoint. */
  setEndpoint(id: string, resource: Resource, contents: Contents): void {
    const key = `${resource.kind}/${id}`;
    let local = this.#locals.get(key);
    if (!local) {
      local = {
        key,
        id,
        item: new Item(),
        resource,
        policies: new Set(),
        profiles: [],
        resolved: undefined,
        told: undefined,
      };
      this.#locals.set(key, local);
    }
    local.resource = resource;
    this.#dirty.add(local);
    this.#index.setItem(local.item, contents.labels, contents.parents, local);
  }

  removeEndpoint(kind: Resource['kind'], id: string): void {
    const local = this.#locals.get(`${kind}/${id}`);
    if (!local?.resource) return;
    local.resource = undefined;
    this.#dirty.add(local);
    this.#index.removeItem(local.item);
  }

  setProfileLabels(name: string, labels: readonly string[]): void {
    this.#index.setParent(name, labels);
  }

  setPolicy(id: PolicyId, policy: Policy | undefined): void {
    const known = this.#entries.get(id);
    if (known) this.#index.removeSelector(known);
    if (policy) this.#entries.set(id, this.#index.addSelector(policy, policy.selector));
    else this.#entries.delete(id);
  }

  /** A tier has changed, and with it perhaps every order. */
  reorder(): void {
    for (const local of this.#locals.values()) this.#dirty.add(local);
  }

  settle(limit: number): boolean {
    this.#index.settle();
    let left = limit;
    for (const local of this.#dirty) {
      if (left-- <= 0) return false;
      this.#dirty.delete(local);
      this.#resolve(local);
    }
    return true;
  }

  drain(): Map<string, ResolvedEndpoint | null> {
    const changes = new Map<string, ResolvedEndpoint | null>();
    for (const local of this.#untold) {
      const text = local.resolved && JSON.stringify(local.resolved);
      if (text !== local.told) changes.set(local.key, local.resolved ?? null);
      local.told = text;
      // Only now: until it is told that it is gone, one with the same id takes its place.
      if (!local.resource) this.#locals.delete(local.key);
    }
    this.#untold.clear();
    return changes;
  }

  started(_entry: Entry<Policy, Local>, _item: LocalItem, local: Local): void {
    this.#dirty.add(local);
  }
  stopped(_entry: Entry<Policy, Local>, _item: LocalItem, local: Local): void {
    this.#dirty.add(local);
  }
  replaced(): void {
    // The data of a local item is the local itself; what changed in it has been marked.
  }

  #resolve(local: Local): void {
    const { policies, profiles } = local;
    local.resolved = local.resource && this.#listsOf(local, local.resource);
    local.policies = local.resolved ? policiesOf(local.resolved) : new Set();
    local.profiles = local.resolved?.profiles ?? [];
    for (const id of local.policies) if (!policies.has(id)) this.#policies.use(id);
    for (const id of policies) if (!local.policies.has(id)) this.#policies.unuse(id);
    for (const name of local.profiles) this.#profiles.use(name);
    for (const name of profiles) this.#profiles.unuse(name);
    this.#untold.add(local);
  }

  #listsOf({ id, item }: Local, endpoint: Resource): ResolvedEndpoint {
    const lists = listPolicies(
      item.matches.map((entry) => entry.key.place),
      this.#tiers,
    );
    const profiles = endpoint.spec.profiles ?? [];
    if (endpoint.kind === 'WorkloadEndpoint') return { kind: 'workload', id, endpoint, tiers: lists.normal, profiles };
    return { kind: 'host', id, endpoint, ...lists, profiles };
  }
}

const policiesOf = (endpoint: ResolvedEndpoint): Set<PolicyId> =>
  endpoint.kind === 'workload'
    ? policiesIn([endpoint.tiers])
    : policiesIn([endpoint.normal, endpoint.forward, endpoint.preDnat, endpoint.untracked]);
