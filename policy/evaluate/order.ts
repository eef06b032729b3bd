import { type Labels, parseSelector, type Selector, selectorMatches } from '#core';
import type { GlobalNetworkPolicySpec, NetworkPolicySpec, Tier } from '#datastore';
import { policySelectorText } from './match.ts';
import type { World } from './world.ts';

export type Direction = 'ingress' | 'egress';
/** The four lists of calico-datastore.md 4.3; workload endpoints have the normal one alone. */
export type ListName = 'normal' | 'forward' | 'preDNAT' | 'untracked';

/** A policy of either kind with what its kind and id say. */
export interface Candidate {
  /** `Kind/name` or `Kind/namespace/name`. */
  readonly id: string;
  /** '' for a global policy. */
  readonly namespace: string;
  readonly tie: string;
  readonly spec: GlobalNetworkPolicySpec & NetworkPolicySpec;
}

export interface MatchingTier {
  readonly name: string;
  readonly tier: Tier | undefined;
  readonly policies: readonly Candidate[];
}

/**
 * The tiers that have a policy for an endpoint in this list, in order, each with these policies in order (calico-datastore.md 4.3). For each world it
 * is worked out once for each endpoint and list: a comparison asks the same ends about many packets.
 * @param where which endpoint it is
 */
export function matchingTiers(world: World, where: string, labels: Labels, list: ListName): readonly MatchingTier[] {
  const known = readOnce(world);
  const key = `${list} ${where}`;
  const tiers = known.tiers.get(key) ?? tiersFor(world, known.policies, labels, list);
  known.tiers.set(key, tiers);
  return tiers;
}

function tiersFor(world: World, policies: Read['policies'], labels: Labels, list: ListName): MatchingTier[] {
  const byTier = new Map<string, Candidate[]>();
  for (const { candidate, selector } of policies) {
    if (!isIn(list, candidate) || !selector?.matches(labels)) continue;
    const name = candidate.spec.tier || 'default';
    const policies = byTier.get(name);
    if (policies) policies.push(candidate);
    else byTier.set(name, [candidate]);
  }
  return [...byTier]
    .map(([name, policies]) => ({ name, tier: world.resources.Tier?.get(name), policies: policies.sort(byOrder) }))
    .sort((a, b) => {
      if (!a.tier !== !b.tier) return a.tier ? -1 : 1;
      return order(a.tier?.spec.order, b.tier?.spec.order) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
    });
}

/** What has been read of a world's policies. */
interface Read {
  /** A selector that cannot be read matches nothing. */
  readonly policies: readonly { readonly candidate: Candidate; readonly selector: Selector | null }[];
  readonly tiers: Map<string, readonly MatchingTier[]>;
}

const worlds = new WeakMap<World, Read>();

function readOnce(world: World): Read {
  const known = worlds.get(world);
  if (known) return known;
  const policies = [...candidates(world)].map((candidate) => {
    const parsed = parseSelector(policySelectorText(candidate.spec, candidate.namespace));
    return { candidate, selector: parsed.ok ? parsed.value : null };
  });
  const read: Read = { policies, tiers: new Map() };
  worlds.set(world, read);
  return read;
}

export const selects = ({ spec, namespace }: Candidate, labels: Labels): boolean =>
  selectorMatches(policySelectorText(spec, namespace), labels);

function* candidates({ resources }: World): Iterable<Candidate> {
  for (const [id, { spec }] of resources.GlobalNetworkPolicy ?? []) yield globalCandidate(id, spec);
  for (const [id, { spec }] of resources.NetworkPolicy ?? []) yield namespacedCandidate(id, spec);
}

export const globalCandidate = (id: string, spec: GlobalNetworkPolicySpec): Candidate => ({
  id: `GlobalNetworkPolicy/${id}`,
  namespace: '',
  tie: `${id}//GlobalNetworkPolicy`,
  spec,
});

export function namespacedCandidate(id: string, spec: NetworkPolicySpec): Candidate {
  const [namespace, name] = id.split('/');
  const own = { ...spec, namespaceSelector: undefined, doNotTrack: false, preDNAT: false, applyOnForward: false };
  return { id: `NetworkPolicy/${id}`, namespace, tie: `${name}/${namespace}/NetworkPolicy`, spec: own };
}

export function isIn(list: ListName, { spec }: Candidate): boolean {
  const types = typesOf(spec);
  if (spec.doNotTrack) return list === 'untracked' && types.length > 0;
  if (spec.preDNAT) return list === 'preDNAT' && types.includes('ingress');
  return types.length > 0 && (list === 'normal' || (list === 'forward' && spec.applyOnForward === true));
}

/** The directions a policy counts for; where it does not say, its rules do. */
export function typesOf({ types, ingress, egress, preDNAT }: Candidate['spec']): Direction[] {
  const derived = egress?.length ? (ingress?.length ? ['Ingress', 'Egress'] : ['Egress']) : ['Ingress'];
  const named = (types?.length ? types : derived).map((type) => (type === 'Ingress' ? 'ingress' : 'egress'));
  return preDNAT ? named.filter((type) => type === 'ingress') : named;
}

const byOrder = (a: Candidate, b: Candidate): number =>
  order(a.spec.order, b.spec.order) || Buffer.compare(Buffer.from(a.tie), Buffer.from(b.tie));

/** Lower first, absent last. */
function order(a: number | null | undefined, b: number | null | undefined): number {
  const [x, y] = [a ?? Number.POSITIVE_INFINITY, b ?? Number.POSITIVE_INFINITY];
  return x < y ? -1 : x > y ? 1 : 0;
}
