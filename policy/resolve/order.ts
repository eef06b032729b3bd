import { selectorTree } from '#core';
import type { PolicyId, TierPolicies } from '../resolved.ts';

/** What places a policy among others, and in which lists. */
export interface PolicyPlace {
  readonly id: PolicyId;
  readonly tier: string;
  /** Infinity if absent. */
  readonly order: number;
  /** `name/namespace/kind`, the tie-break in byte order. */
  readonly tie: string;
  readonly ingress: boolean;
  readonly egress: boolean;
  readonly doNotTrack: boolean;
  readonly preDnat: boolean;
  readonly applyOnForward: boolean;
}

export interface TierPlace {
  readonly order: number;
  readonly defaultAction: 'Deny' | 'Pass';
}
export type Tiers = ReadonlyMap<string, TierPlace>;

/** The four lists of calico-datastore.md 4.3; a workload endpoint uses `normal` alone. */
export interface PolicyLists {
  readonly normal: readonly TierPolicies[];
  readonly forward: readonly TierPolicies[];
  readonly preDnat: readonly TierPolicies[];
  readonly untracked: readonly TierPolicies[];
}

/** Orders the policies that match an endpoint and splits them by list, tier and direction. */
export function listPolicies(matching: readonly PolicyPlace[], tiers: Tiers): PolicyLists {
  const sorted = [...matching].sort((a, b) => compareTiers(a.tier, b.tier, tiers) || comparePolicies(a, b));
  const tracked = sorted.filter((p) => !p.doNotTrack && !p.preDnat);
  return {
    normal: byTier(tracked, tiers),
    forward: byTier(
      tracked.filter((p) => p.applyOnForward),
      tiers,
    ),
    preDnat: byTier(
      sorted.filter((p) => p.preDnat && !p.doNotTrack).map((p) => ({ ...p, egress: false })),
      tiers,
    ),
    untracked: byTier(
      sorted.filter((p) => p.doNotTrack),
      tiers,
    ),
  };
}

/** Whether two lists say the same. */
export const sameTiers = (a: readonly TierPolicies[], b: readonly TierPolicies[]): boolean =>
  a === b ||
  (a.length === b.length &&
    a.every(
      (tier, i) =>
        tier.tier === b[i].tier &&
        tier.defaultAction === b[i].defaultAction &&
        sameIds(tier.ingress, b[i].ingress) &&
        sameIds(tier.egress, b[i].egress),
    ));

const sameIds = (a: readonly PolicyId[], b: readonly PolicyId[]): boolean =>
  a === b || (a.length === b.length && a.every((id, i) => id === b[i]));

/** Existing tiers by order, then those that are only named by policies; ties by name. */
function compareTiers(a: string, b: string, tiers: Tiers): number {
  if (a === b) return 0;
  const [ta, tb] = [tiers.get(a), tiers.get(b)];
  if (!ta !== !tb) return ta ? -1 : 1;
  return compareNumbers(ta?.order ?? 0, tb?.order ?? 0) || selectorTree.compareBytes(a, b);
}

const comparePolicies = (a: PolicyPlace, b: PolicyPlace): number =>
  compareNumbers(a.order, b.order) || selectorTree.compareBytes(a.tie, b.tie);

/** Unlike a difference, right for two infinities. */
const compareNumbers = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);

function byTier(sorted: readonly PolicyPlace[], tiers: Tiers): TierPolicies[] {
  const lists: { tier: string; defaultAction: 'Deny' | 'Pass'; ingress: PolicyId[]; egress: PolicyId[] }[] = [];
  for (const { id, tier, ingress, egress } of sorted) {
    if (!ingress && !egress) continue;
    let last = lists.at(-1);
    if (last?.tier !== tier) {
      last = { tier, defaultAction: tiers.get(tier)?.defaultAction ?? 'Deny', ingress: [], egress: [] };
      lists.push(last);
    }
    if (ingress) last.ingress.push(id);
    if (egress) last.egress.push(id);
  }
  return lists;
}
