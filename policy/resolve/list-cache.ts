import type { Entry } from '../labels/item.ts';
import type { PolicyId, TierPolicies } from '../resolved.ts';
import { listPolicies, type PolicyLists, type Tiers } from './order.ts';
import type { Policy } from './policies.ts';

/** Lists of policies with the ids that stand in them: `normal` alone, as a workload uses them, or all four. */
export interface SharedLists {
  readonly lists: PolicyLists;
  readonly workloadIds: ReadonlySet<PolicyId>;
  readonly hostIds: ReadonlySet<PolicyId>;
}

/**
 * The lists of endpoints that the same policies match are the same, and are made once: a thousand endpoints under ten thousand policies hold
 * one list, not a thousand. Good as long as no policy and no tier changes.
 */
export class ListCache<D> {
  readonly #byHash = new Map<number, { entries: ReadonlySet<Entry<Policy, D>>; shared: SharedLists }[]>();

  get(matches: readonly Entry<Policy, D>[], tiers: Tiers): SharedLists {
    let hash = matches.length;
    for (const entry of matches) hash ^= entry.key.hash;
    const bucket = this.#byHash.get(hash) ?? [];
    this.#byHash.set(hash, bucket);
    const known = bucket.find(({ entries }) => entries.size === matches.length && matches.every((e) => entries.has(e)));
    if (known) return known.shared;
    const shared = share(
      listPolicies(
        matches.map((entry) => entry.key.place),
        tiers,
      ),
    );
    bucket.push({ entries: new Set(matches), shared });
    return shared;
  }
}

function share(lists: PolicyLists): SharedLists {
  const { normal, forward, preDnat, untracked } = lists;
  const hostIds = idsIn([normal, forward, preDnat, untracked]);
  const workloadIds = idsIn([normal]);
  return { lists, workloadIds: workloadIds.size === hostIds.size ? hostIds : workloadIds, hostIds };
}

function idsIn(lists: readonly (readonly TierPolicies[])[]): Set<PolicyId> {
  const ids = new Set<PolicyId>();
  for (const list of lists)
    for (const { ingress, egress } of list)
      for (const direction of [ingress, egress]) for (const id of direction) ids.add(id);
  return ids;
}
