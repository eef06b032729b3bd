import type { HostEndpoint, WorkloadEndpoint } from '#datastore';
import type { Budget } from '../budget.ts';
import { type Entry, Item } from '../labels/item.ts';
import { LabelIndex, type MatchListener } from '../labels/label-index.ts';
import type { PolicyId, ResolvedEndpoint, TierPolicies } from '../resolved.ts';
import type { ActiveRules } from './active-rules.ts';
import type { Contents } from './contents.ts';
import { ListCache } from './list-cache.ts';
import { type PolicyLists, sameTiers, type Tiers } from './order.ts';
import type { Policy } from './policies.ts';

type Resource = WorkloadEndpoint | HostEndpoint;
type LocalItem = Item<Policy, Local>;

/** To find which policies select one endpoint costs as much as so many objects elsewhere. */
const LOOKS = 8;

/** To list so many policies of an endpoint costs as much as an object by itself. */
const MATCHES = 128;

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
  /** What was told last: only real changes are told again. */
  told: ResolvedEndpoint | undefined;
}

/**
 * The endpoints of this node and the policies that select them: which lists each endpoint gets, and which policies and profiles are therefore
 * active.
 */
export class LocalEndpoints implements MatchListener<Policy, Local> {
  readonly #index = new LabelIndex<Policy, Local>(this, (a, b) => a === b);
  readonly #entries = new Map<PolicyId, Entry<Policy, Local>>();
  readonly #locals = new Map<string, Local>();
  /** Of the locals: `namespace/name` of a workload, `name` of a host endpoint. */
  readonly #ids = new Set<string>();
  /** How many of the locals hold a set of policies. */
  readonly #users = new Map<ReadonlySet<PolicyId>, number>();
  readonly #dirty = new Set<Local>();
  readonly #untold = new Set<Local>();
  /** Of those that are being worked off; good until a policy or a tier changes. */
  #lists = new ListCache<Local>();
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
        policies: NO_POLICIES,
        profiles: [],
        resolved: undefined,
        told: undefined,
      };
      this.#locals.set(key, local);
      this.#ids.add(id);
    }
    local.resource = resource;
    this.#dirty.add(local);
    this.#index.setItem(local.item, contents.labels, contents.parents, local);
  }

  removeEndpoint(kind: Resource['kind'], id: string): void {
    // Asked for each endpoint of the cluster.
    if (!this.#ids.has(id)) return;
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
    this.#lists = new ListCache();
    const known = this.#entries.get(id);
    if (known) this.#index.removeSelector(known);
    if (policy) this.#entries.set(id, this.#index.addSelector(policy, policy.selector));
    else this.#entries.delete(id);
  }

  /** A tier has changed, and with it perhaps every order. */
  reorder(): void {
    this.#lists = new ListCache();
    for (const local of this.#locals.values()) this.#dirty.add(local);
  }

  settle(limit: number): boolean {
    // Each of them looks at the selectors of many policies.
    if (!this.#index.settle(Math.ceil(limit / LOOKS))) return false;
    let left = limit;
    for (const local of this.#dirty) {
      if (left <= 0) return false;
      left -= 1 + local.item.matches.length / MATCHES;
      this.#dirty.delete(local);
      this.#resolve(local, this.#lists);
    }
    this.#lists = new ListCache();
    return true;
  }

  /** Whether there is something to drain. */
  get hasNews(): boolean {
    return this.#untold.size > 0;
  }
  /** What has changed since it was last drained, as far as the budget goes; everything must be settled. */
  drain(budget: Budget): Map<string, ResolvedEndpoint | null> {
    const changes = new Map<string, ResolvedEndpoint | null>();
    for (const local of this.#untold) {
      if (budget.left <= 0) break;
      budget.left--;
      this.#untold.delete(local);
      if (!sameEndpoint(local.told, local.resolved)) changes.set(local.key, local.resolved ?? null);
      local.told = local.resolved;
      // Only now: until it is told that it is gone, one with the same id takes its place.
      if (local.resource) continue;
      this.#locals.delete(local.key);
      this.#ids.delete(local.id);
    }
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

  #resolve(local: Local, cache: ListCache<Local>): void {
    const { id, resource, profiles } = local;
    const shared = cache.get(local.item.matches, this.#tiers);
    local.resolved = resource && resolved(id, resource, shared.lists);
    const used = resource?.kind === 'HostEndpoint' ? shared.hostIds : shared.workloadIds;
    const policies = resource ? used : NO_POLICIES;
    local.profiles = resource?.spec.profiles ?? [];
    this.#use(policies);
    this.#unuse(local.policies);
    local.policies = policies;
    for (const name of local.profiles) this.#profiles.use(name);
    for (const name of profiles) this.#profiles.unuse(name);
    this.#untold.add(local);
  }

  /** Policies are used by a set of them, which many endpoints share, and not by each endpoint. */
  #use(policies: ReadonlySet<PolicyId>): void {
    const users = this.#users.get(policies) ?? 0;
    this.#users.set(policies, users + 1);
    if (users === 0) for (const policy of policies) this.#policies.use(policy);
  }
  #unuse(policies: ReadonlySet<PolicyId>): void {
    const users = this.#users.get(policies) ?? 0;
    if (users > 1) this.#users.set(policies, users - 1);
    else if (this.#users.delete(policies)) for (const policy of policies) this.#policies.unuse(policy);
  }
}

const NO_POLICIES: ReadonlySet<PolicyId> = new Set();

function resolved(id: string, endpoint: Resource, lists: PolicyLists): ResolvedEndpoint {
  const profiles = endpoint.spec.profiles ?? [];
  if (endpoint.kind === 'WorkloadEndpoint') return { kind: 'workload', id, endpoint, tiers: lists.normal, profiles };
  return { kind: 'host', id, endpoint, ...lists, profiles };
}

function sameEndpoint(a: ResolvedEndpoint | undefined, b: ResolvedEndpoint | undefined): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  if (a.endpoint !== b.endpoint && JSON.stringify(a.endpoint) !== JSON.stringify(b.endpoint)) return false;
  const [before, after] = [listsOf(a), listsOf(b)];
  return before.length === after.length && before.every((list, i) => sameTiers(list, after[i]));
}

const listsOf = (endpoint: ResolvedEndpoint): (readonly TierPolicies[])[] =>
  endpoint.kind === 'workload'
    ? [endpoint.tiers]
    : [endpoint.normal, endpoint.forward, endpoint.preDnat, endpoint.untracked];
