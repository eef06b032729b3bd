import type { Labels } from '#core';
import type {
  GlobalNetworkPolicySpec,
  HostEndpoint,
  NetworkPolicySpec,
  Rule,
  Tier,
  WorkloadEndpoint,
} from '#datastore';
import { matches, mismatch, type Packet, policySelectorText, ruleProblem } from './match.ts';
import type { World } from './world.ts';

export type Direction = 'ingress' | 'egress';
/** The four lists of calico-datastore.md 4.3; workload endpoints have the normal one alone. */
export type ListName = 'normal' | 'forward' | 'preDNAT' | 'untracked';

/** One thing that had a say, or could have had. */
export interface Step {
  /** `WorkloadEndpoint/namespace/name` or `HostEndpoint/name`. */
  readonly where: string;
  readonly direction: Direction;
  readonly list: ListName;
  /** null: a profile, or the end of them. */
  readonly tier: string | null;
  /** `Kind/name` or `Kind/namespace/name`, also of a profile; null: the tier's or the endpoint's default. */
  readonly policy: string | null;
  /** Index from 0; null: no rule, the default. */
  readonly rule: number | null;
  readonly action: 'Allow' | 'Deny' | 'Pass' | 'Log';
  readonly reason: string;
}

/** `None`: the list has no opinion, and what comes after it decides. */
export interface Evaluation {
  readonly verdict: 'Allow' | 'Deny' | 'None';
  /** The last one decided; those before logged or passed. */
  readonly steps: readonly Step[];
}

export interface EndpointRef {
  readonly kind: 'WorkloadEndpoint' | 'HostEndpoint';
  readonly id: string;
}

/** A policy of either kind with what its kind and id say. */
interface Candidate {
  readonly id: string;
  readonly namespace: string;
  readonly tie: string;
  readonly spec: GlobalNetworkPolicySpec & NetworkPolicySpec;
}

/**
 * What policy says of a packet at one endpoint: a straight reading of calico-datastore.md 4.3 and 4.4 over the resources as they are, slow and
 * plain, sharing nothing with the graph but the reading of selectors. Staged policies are not looked at.
 */
export function evaluateEndpoint(
  world: World,
  ref: EndpointRef,
  direction: Direction,
  list: ListName,
  packet: Packet,
): Evaluation {
  const endpoint = endpointOf(world, ref);
  const where = `${ref.kind}/${ref.id}`;
  if (!endpoint) return { verdict: 'Deny', steps: [closing({ where, direction, list }, 'there is no such endpoint')] };
  const walk = new Walk(world, { where, direction, list }, packet);
  const tiers = matchingTiers(world, labelsOf(world, ref, endpoint), list);
  for (const { name, tier, policies } of tiers) {
    const verdict = walk.tier(name, tier?.spec.defaultAction ?? 'Deny', policies);
    if (verdict) return { verdict, steps: walk.steps };
  }
  if (list === 'forward' && tiers.length === 0) return walk.end('Allow', 'no policy applies to forwarded packets here');
  if (list !== 'normal') return { verdict: 'None', steps: walk.steps };
  for (const name of endpoint.spec.profiles ?? []) {
    const verdict = walk.profile(name);
    if (verdict) return { verdict, steps: walk.steps };
  }
  return walk.end('Deny', 'nothing allows it');
}

type Place = Pick<Step, 'where' | 'direction' | 'list'>;

const closing = (place: Place, reason: string): Step => ({
  ...place,
  tier: null,
  policy: null,
  rule: null,
  action: 'Deny',
  reason,
});

/** One pass over the lists of an endpoint, noting what had a say. */
class Walk {
  readonly steps: Step[] = [];
  readonly #world: World;
  readonly #place: Place;
  readonly #packet: Packet;

  constructor(world: World, place: Place, packet: Packet) {
    this.#world = world;
    this.#place = place;
    this.#packet = packet;
  }

  /** undefined: the packet goes on to the next tier. */
  tier(tier: string, defaultAction: 'Deny' | 'Pass', all: readonly Candidate[]): 'Allow' | 'Deny' | undefined {
    const { direction, list } = this.#place;
    const policies = all.filter(({ spec }) => typesOf(spec).includes(direction));
    if (policies.length === 0) return undefined;
    for (const { id, namespace, spec } of policies) {
      const action = this.#rules(readable(spec, typesOf(spec)), namespace, { tier, policy: id });
      if (action === 'Pass') return undefined;
      if (action) return action;
    }
    if (defaultAction === 'Pass' || (list !== 'normal' && list !== 'forward')) return undefined;
    const names = policies.map(({ id }) => id).join(', ');
    this.#note({ tier, policy: null }, null, 'Deny', `no rule of ${names} matches, and the tier's default is to deny`);
    return 'Deny';
  }

  /** undefined: the packet goes on to the next profile. */
  profile(name: string): 'Allow' | 'Deny' | undefined {
    const profile = this.#world.resources.Profile?.get(name);
    const action = this.#rules(readable(profile?.spec ?? {}, ['ingress', 'egress']), '', {
      tier: null,
      policy: `Profile/${name}`,
    });
    return action === 'Pass' ? undefined : action;
  }

  end(action: 'Allow' | 'Deny', reason: string): Evaluation {
    this.#note({ tier: null, policy: null }, null, action, reason);
    return { verdict: action, steps: this.steps };
  }

  #rules(spec: Rules, namespace: string, by: Pick<Step, 'tier' | 'policy'>): 'Allow' | 'Deny' | 'Pass' | undefined {
    for (const [i, rule] of (spec[this.#place.direction] ?? []).entries()) {
      if (mismatch(this.#world, rule, namespace, this.#packet) !== null) continue;
      this.#note(by, i, rule.action, 'the rule matches');
      if (rule.action !== 'Log') return rule.action;
    }
    return undefined;
  }

  #note(by: Pick<Step, 'tier' | 'policy'>, rule: number | null, action: Step['action'], reason: string): void {
    this.steps.push({ ...this.#place, ...by, rule, action, reason });
  }
}

type Rules = Partial<Record<Direction, readonly Rule[]>>;

/** A policy of which any rule cannot be read has none: it keeps its place and allows nothing. Only rules of its directions count. */
const readable = (rules: Rules, directions: readonly Direction[]): Rules =>
  directions.some((direction) => rules[direction]?.some((rule) => ruleProblem(rule) !== null)) ? {} : rules;

interface MatchingTier {
  readonly name: string;
  readonly tier: Tier | undefined;
  readonly policies: readonly Candidate[];
}

/** The tiers that have a policy for the endpoint in this list, in order, each with these policies in order. */
function matchingTiers(world: World, labels: Labels, list: ListName): MatchingTier[] {
  const byTier = new Map<string, Candidate[]>();
  for (const candidate of candidates(world)) {
    if (!isIn(list, candidate) || !matches(policySelectorText(candidate.spec, candidate.namespace), labels)) continue;
    const name = candidate.spec.tier || 'default';
    byTier.set(name, [...(byTier.get(name) ?? []), candidate]);
  }
  return [...byTier]
    .map(([name, policies]) => ({ name, tier: world.resources.Tier?.get(name), policies: policies.sort(byOrder) }))
    .sort((a, b) => {
      if (!a.tier !== !b.tier) return a.tier ? -1 : 1;
      return order(a.tier?.spec.order, b.tier?.spec.order) || Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
    });
}

function* candidates({ resources }: World): Iterable<Candidate> {
  for (const [id, { spec }] of resources.GlobalNetworkPolicy ?? [])
    yield { id: `GlobalNetworkPolicy/${id}`, namespace: '', tie: `${id}//GlobalNetworkPolicy`, spec };
  for (const [id, { spec }] of resources.NetworkPolicy ?? []) {
    const [namespace, name] = id.split('/');
    const own = { ...spec, namespaceSelector: undefined, doNotTrack: false, preDNAT: false, applyOnForward: false };
    yield { id: `NetworkPolicy/${id}`, namespace, tie: `${name}/${namespace}/NetworkPolicy`, spec: own };
  }
}

function isIn(list: ListName, { spec }: Candidate): boolean {
  const types = typesOf(spec);
  if (spec.doNotTrack) return list === 'untracked' && types.length > 0;
  if (spec.preDNAT) return list === 'preDNAT' && types.includes('ingress');
  return types.length > 0 && (list === 'normal' || (list === 'forward' && spec.applyOnForward === true));
}

/** The directions a policy counts for; where it does not say, its rules do. */
function typesOf({ types, ingress, egress, preDNAT }: Candidate['spec']): Direction[] {
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

/** null: it does not exist, or counts as absent because it has no address. */
function endpointOf({ resources }: World, { kind, id }: EndpointRef): WorkloadEndpoint | HostEndpoint | null {
  if (kind === 'HostEndpoint') return resources.HostEndpoint?.get(id) ?? null;
  const endpoint = resources.WorkloadEndpoint?.get(id);
  return endpoint?.spec.ipNetworks?.length ? endpoint : null;
}

const labelsOf = (world: World, { id }: EndpointRef, endpoint: WorkloadEndpoint | HostEndpoint): Labels =>
  endpoint.kind === 'WorkloadEndpoint' ? world.workloadLabels(id, endpoint) : world.hostLabels(endpoint);
