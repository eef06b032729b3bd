import { assertNever, type Prefix } from '#core';
import { type Route, routeKey } from './kernel/types.ts';

/**
 * Kinds of route, the stronger first. The workloads' gateway address is nobody's to claim. A workload on
 * this node beats everything else; a block that is this node's own (blackhole under the workloads) beats what others claim about the same prefix; an overlay that the datastore asks for beats what a peer says; the way to a
 * peer that a resource states (`reachableBy`) must not follow what peers say. Last come routes that an earlier run learned: they stay until the
 * peers have told their tables again (RFC 4724).
 */
export const ROUTE_CLASSES = ['gateway', 'workload', 'blackhole', 'vxlan', 'peer', 'bgp', 'inherited'] as const;
export type RouteClass = (typeof ROUTE_CLASSES)[number];
/** What BGP learned; no other route loses to these. */
const LEARNED: readonly RouteClass[] = ['bgp', 'inherited'];

/** One offer for a prefix. */
export interface Candidate {
  readonly class: RouteClass;
  /** Who offers it, unique within class and prefix: an endpoint's id, a node, a peer's address. */
  readonly owner: string;
  readonly route: Route;
  /** Among candidates of one class the greater wins; equal: the smaller owner. */
  readonly rank?: number;
}

/** Why a candidate is not the one in the kernel. */
export type LossReason =
  | { readonly why: 'class'; readonly winner: RouteClass; readonly owner: string }
  | { readonly why: 'rank'; readonly owner: string };

export interface Choice {
  readonly winner: Candidate;
  readonly losers: readonly { readonly candidate: Candidate; readonly reason: LossReason }[];
}

/** One line for a person. */
export function lossText(reason: LossReason): string {
  switch (reason.why) {
    case 'class':
      return `a ${reason.winner} route of ${reason.owner} is preferred`;
    case 'rank':
      return `${reason.owner} offers the same prefix and is preferred`;
    default:
      return assertNever(reason);
  }
}

/**
 * Who wins a prefix. Callers say what they offer; the changes of the winners come out, ready for the reconciler. The result
 * depends only on the offers that stand, not on their order (I7).
 */
export class RouteTable {
  readonly #offers = new Map<Prefix, Candidate[]>();
  /** The keys that the winners of a prefix occupy in the kernel now: one. */
  readonly #won = new Map<Prefix, Route>();
  /** Prefixes for which a class has offers. */
  readonly #byClass = new Map<RouteClass, Set<Prefix>>(ROUTE_CLASSES.map((name) => [name, new Set()]));
  /** Prefixes of which something changed since changes were last taken for the kernel, and since those of the ground were. */
  readonly #dirty = new Set<Prefix>();
  readonly #groundDirty = new Set<Prefix>();
  /** Prefixes whose winner was gone for a moment since then, so that what stood behind it may be another one. */
  readonly #left = new Set<Prefix>();
  /** Winners that BGP did not learn. */
  readonly #ground = new Map<Prefix, Route>();

  offer(candidate: Candidate): void {
    const offers = this.#offers.get(candidate.route.to);
    if (!offers) this.#offers.set(candidate.route.to, [candidate]);
    else {
      const at = offers.findIndex((o) => o.class === candidate.class && o.owner === candidate.owner);
      // What is offered again as it was changes nothing.
      if (at >= 0 && isSame(offers[at], candidate)) return;
      if (at < 0) offers.push(candidate);
      else offers[at] = candidate;
    }
    this.#byClass.get(candidate.class)?.add(candidate.route.to);
    this.#touch(candidate.route.to);
  }
  withdraw(to: Prefix, routeClass: RouteClass, owner: string): void {
    const offers = this.#offers.get(to);
    const at = offers?.findIndex((o) => o.class === routeClass && o.owner === owner) ?? -1;
    if (!offers || at < 0) return;
    const won = this.#won.get(to);
    if (won && sameLinkRoute(won, offers[at].route)) this.#left.add(to);
    offers.splice(at, 1);
    if (offers.length === 0) this.#offers.delete(to);
    if (!offers.some((o) => o.class === routeClass)) this.#byClass.get(routeClass)?.delete(to);
    this.#touch(to);
  }
  /** Makes the offers of a class exactly these. */
  replaceClass(routeClass: RouteClass, all: Iterable<Omit<Candidate, 'class'>>): void {
    const keep = new Map<string, Omit<Candidate, 'class'>>();
    for (const candidate of all) keep.set(`${candidate.route.to} ${candidate.owner}`, candidate);
    for (const to of [...(this.#byClass.get(routeClass) ?? [])])
      for (const { class: of, owner } of [...(this.#offers.get(to) ?? [])])
        if (of === routeClass && !keep.has(`${to} ${owner}`)) this.withdraw(to, of, owner);
    for (const candidate of keep.values()) this.offer({ ...candidate, class: routeClass });
  }

  #touch(to: Prefix): void {
    this.#dirty.add(to);
    this.#groundDirty.add(to);
  }

  /**
   * What changed for the kernel since the last call, by `routeKey`; undefined: no longer desired. A route that was withdrawn and is offered again is
   * told again.
   */
  takeChanges(): Map<string, Route | undefined> {
    const changes = new Map<string, Route | undefined>();
    for (const to of this.#dirty) {
      const before = this.#won.get(to);
      const now = best(this.#offers.get(to))?.route;
      if (before === now || (before && now && sameLinkRoute(before, now) && !this.#left.has(to))) continue;
      if (before) changes.set(routeKey(before), undefined);
      if (now) {
        changes.set(routeKey(now), now);
        this.#won.set(to, now);
      } else this.#won.delete(to);
    }
    this.#dirty.clear();
    this.#left.clear();
    return changes;
  }

  /** Which winners that BGP did not learn changed since the last call; null: gone. BGP need not wait for the kernel to know them. */
  takeGround(): ReadonlyMap<Prefix, Route | null> {
    const changes = new Map<Prefix, Route | null>();
    for (const to of this.#groundDirty) {
      const winner = best(this.#offers.get(to));
      const now = winner && !LEARNED.includes(winner.class) ? winner.route : undefined;
      if (this.#ground.get(to) === now) continue;
      if (now) this.#ground.set(to, now);
      else this.#ground.delete(to);
      changes.set(to, now ?? null);
    }
    this.#groundDirty.clear();
    return changes;
  }

  /** Winner and losers of a prefix; null: nobody offers it. */
  explain(to: Prefix): Choice | null {
    const offers = this.#offers.get(to);
    const winner = best(offers);
    if (!offers || !winner) return null;
    const losers = offers
      .filter((candidate) => candidate !== winner)
      .map((candidate) => ({ candidate, reason: reasonOf(candidate, winner) }));
    return { winner, losers };
  }
  get size(): number {
    return this.#offers.size;
  }
  /** How many prefixes each class offers, those included that a stronger class wins. */
  get counts(): ReadonlyMap<RouteClass, number> {
    return new Map([...this.#byClass].map(([name, prefixes]) => [name, prefixes.size]));
  }
}

/** Offers of workloads are renewed at every event of their interface; most of the time nothing has changed. */
const sameLinkRoute = (a: Route, b: Route): boolean =>
  a.via.type === 'link' &&
  b.via.type === 'link' &&
  a.via.link === b.via.link &&
  a.source === b.source &&
  routeKey(a) === routeKey(b);

const isSame = (a: Candidate, b: Candidate): boolean =>
  a.rank === b.rank && (a.route === b.route || JSON.stringify(a.route) === JSON.stringify(b.route));

function best(offers: readonly Candidate[] | undefined): Candidate | undefined {
  return offers?.reduce((a, b) => (compare(b, a) < 0 ? b : a));
}

/** Negative: `a` is preferred. */
function compare(a: Candidate, b: Candidate): number {
  const byClass = ROUTE_CLASSES.indexOf(a.class) - ROUTE_CLASSES.indexOf(b.class);
  if (byClass !== 0) return byClass;
  const byRank = (b.rank ?? 0) - (a.rank ?? 0);
  return byRank !== 0 ? byRank : a.owner < b.owner ? -1 : 1;
}

const reasonOf = (loser: Candidate, winner: Candidate): LossReason =>
  loser.class === winner.class
    ? { why: 'rank', owner: winner.owner }
    : { why: 'class', winner: winner.class, owner: winner.owner };
