import type { Labels } from '#core';
import type { GlobalNetworkPolicy, HostEndpoint, NetworkPolicy, Rule, WorkloadEndpoint } from '#datastore';
import { mismatch, type Packet, ruleProblem } from './match.ts';
import {
  type Candidate,
  type Direction,
  globalCandidate,
  type ListName,
  matchingTiers,
  namespacedCandidate,
  selects,
  typesOf,
} from './order.ts';
import type { World } from './world.ts';

/** A rule that was looked at and did not match, or a policy without a rule that could. */
export interface Missed {
  readonly tier: string | null;
  readonly policy: string;
  readonly rule: number | null;
  /** What the rule would have done. */
  readonly action: Rule['action'] | null;
  readonly reason: string;
}

/** One thing that had a say, or could have had. */
export interface Step {
  /** `WorkloadEndpoint/namespace/name`, `HostEndpoint/name`, or `Node/name` where any host endpoint of it says the same. */
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
  /** What was looked at since the step before, and why it had no say. */
  readonly missed: readonly Missed[];
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

export const refText = ({ kind, id }: EndpointRef): string => `${kind}/${id}`;

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
  const walk = new Walk(world, { where: refText(ref), direction, list }, packet);
  if (!endpoint) return walk.end('Deny', 'there is no such endpoint');
  const tiers = matchingTiers(world, refText(ref), labelsOf(world, ref, endpoint), list);
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
  return walk.end('Deny', nothingAllows(tiers.length > 0, (endpoint.spec.profiles ?? []).length > 0));
}

const nothingAllows = (hasPolicy: boolean, hasProfile: boolean): string =>
  `${hasPolicy ? 'no policy decides' : 'no policy selects it'}, and ${hasProfile ? 'no profile allows it' : 'it has no profile'}`;

type Place = Pick<Step, 'where' | 'direction' | 'list'>;

/** A step that is no policy's. */
export const ownStep = (place: Place, action: Step['action'], reason: string): Step => ({
  ...place,
  tier: null,
  policy: null,
  rule: null,
  action,
  reason,
  missed: [],
});

/** One pass over the lists of an endpoint, noting what had a say. */
class Walk {
  readonly steps: Step[] = [];
  readonly #world: World;
  readonly #place: Place;
  readonly #packet: Packet;
  #missed: Missed[] = [];

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
    for (const candidate of policies) {
      const policy = this.#world.nameOf(candidate.id);
      const action = this.#rules(candidate.spec, typesOf(candidate.spec), candidate.namespace, { tier, policy });
      if (action === 'Pass') return undefined;
      if (action) return action;
    }
    const none = `no rule of ${few(policies.map(({ id }) => this.#world.nameOf(id)))} matches`;
    const isLast = list === 'normal' || list === 'forward';
    if (defaultAction === 'Deny' && isLast) {
      this.#note({ tier, policy: null }, null, 'Deny', `${none}, and the tier's default is to deny`);
      return 'Deny';
    }
    const why = isLast ? "the tier's default is to pass" : `${list} policy has no default`;
    this.#note({ tier, policy: null }, null, 'Pass', `${none}, and ${why}`);
    return undefined;
  }

  /** undefined: the packet goes on to the next profile. */
  profile(name: string): 'Allow' | 'Deny' | undefined {
    const by = { tier: null, policy: `Profile/${name}` };
    const profile = this.#world.resources.Profile?.get(name);
    if (!profile) {
      this.#miss(by, null, null, 'there is no such profile');
      return undefined;
    }
    const action = this.#rules(profile.spec, ['ingress', 'egress'], '', by);
    return action === 'Pass' ? undefined : action;
  }

  end(action: 'Allow' | 'Deny', reason: string): Evaluation {
    this.#note({ tier: null, policy: null }, null, action, reason);
    return { verdict: action, steps: this.steps };
  }

  #rules(
    spec: Rules,
    directions: readonly Direction[],
    namespace: string,
    by: Pick<Missed, 'tier' | 'policy'>,
  ): 'Allow' | 'Deny' | 'Pass' | undefined {
    for (const seen of lookAt(this.#world, spec, directions, namespace, this.#place.direction, this.#packet)) {
      const { rule, action, why } = seen;
      if (why !== null || rule === null || action === null) this.#miss(by, rule, action, why ?? '');
      else {
        this.#note(by, rule, action, 'the rule matches');
        if (action !== 'Log') return action;
      }
    }
    return undefined;
  }

  #miss(
    { tier, policy }: Pick<Missed, 'tier' | 'policy'>,
    rule: number | null,
    action: Missed['action'],
    reason: string,
  ): void {
    if (this.#world.tellsMissed) this.#missed.push({ tier, policy, rule, action, reason });
  }

  #note(by: Pick<Step, 'tier' | 'policy'>, rule: number | null, action: Step['action'], reason: string): void {
    this.steps.push({ ...this.#place, ...by, rule, action, reason, missed: this.#missed });
    this.#missed = [];
  }
}

/** Names in a sentence at most. */
const FEW = 8;
const few = (names: readonly string[]): string =>
  names.length > FEW ? `${names.slice(0, FEW).join(', ')} and ${names.length - FEW} more` : names.join(', ');

export type Rules = Partial<Record<Direction, readonly Rule[]>>;

/** What one rule says of the packet; `why` null: it matches. A policy without rules that count is one line without rule. */
export interface Seen {
  readonly rule: number | null;
  readonly action: Rule['action'] | null;
  readonly why: string | null;
}

/**
 * The rules of one direction, each with what it says. A policy of which any rule of its directions cannot be read has none: it keeps its place
 * and allows nothing.
 */
export function* lookAt(
  world: World,
  rules: Rules,
  directions: readonly Direction[],
  namespace: string,
  direction: Direction,
  packet: Packet,
): Iterable<Seen> {
  const problem = problemIn(rules, directions);
  if (problem !== null) {
    yield { rule: null, action: null, why: problem };
    return;
  }
  const own = rules[direction] ?? [];
  if (own.length === 0) yield { rule: null, action: null, why: `it has no ${direction} rules` };
  for (const [i, rule] of own.entries())
    yield { rule: i, action: rule.action, why: mismatch(world, rule, namespace, packet) };
}

const problems = new WeakMap<Rules, string | null>();

/** Why none of the rules counts; null: they do. */
function problemIn(rules: Rules, directions: readonly Direction[]): string | null {
  const known = problems.get(rules);
  if (known !== undefined) return known;
  const found = directions
    .flatMap((one) => (rules[one] ?? []).map((rule, i) => ({ place: `${one} rule ${i}`, problem: ruleProblem(rule) })))
    .find(({ problem }) => problem !== null);
  const problem = found ? `${found.place} cannot be read, so none of its rules counts: ${found.problem}` : null;
  problems.set(rules, problem);
  return problem;
}

/** Whether a policy, whose id is the resource's name, applies to an endpoint that is there. */
export function selectsEndpoint(world: World, policy: NetworkPolicy | GlobalNetworkPolicy, ref: EndpointRef): boolean {
  const endpoint = endpointOf(world, ref);
  if (!endpoint) return false;
  const { name, namespace } = policy.metadata;
  const candidate =
    policy.kind === 'NetworkPolicy'
      ? namespacedCandidate(`${namespace}/${name}`, policy.spec)
      : globalCandidate(name, policy.spec);
  return selects(candidate, labelsOf(world, ref, endpoint));
}

/** null: it does not exist, or counts as absent because it has no address. */
export function endpointOf({ resources }: World, { kind, id }: EndpointRef): WorkloadEndpoint | HostEndpoint | null {
  if (kind === 'HostEndpoint') return resources.HostEndpoint?.get(id) ?? null;
  const endpoint = resources.WorkloadEndpoint?.get(id);
  return endpoint?.spec.ipNetworks?.length ? endpoint : null;
}

export const labelsOf = (world: World, { id }: EndpointRef, endpoint: WorkloadEndpoint | HostEndpoint): Labels =>
  endpoint.kind === 'WorkloadEndpoint' ? world.workloadLabels(id, endpoint) : world.hostLabels(endpoint);
