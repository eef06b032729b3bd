import type { GlobalNetworkPolicySpec, NetworkPolicySpec, StagedAction } from '#datastore';
import { type EndpointRef, endpointOf, labelsOf, lookAt, refText } from './evaluate.ts';
import { fromKubernetes, kubernetesPolicyName } from './kubernetes-policy.ts';
import type { Packet } from './match.ts';
import {
  type Candidate,
  type Direction,
  globalCandidate,
  isIn,
  type ListName,
  namespacedCandidate,
  selects,
  typesOf,
} from './order.ts';
import { type PolicyResources, World } from './world.ts';

/** One end of a flow, and the direction in which policy of it is asked. */
export interface EndAsked {
  readonly ref: EndpointRef;
  readonly direction: Direction;
}

/** A staged policy that would concern the flow. */
export interface StagedPolicy {
  /** `StagedKind/name` or `StagedKind/namespace/name`. */
  readonly policy: string;
  readonly stagedAction: StagedAction;
  /** The enforced policy whose place it would take, or that it would delete; null: there is none. */
  readonly instead: string | null;
  /** Why it cannot be enforced as it is, and is left out of the verdict; null: nothing is wrong with it. */
  readonly problem: string | null;
  readonly at: readonly StagedEffect[];
}

/** What its own rules say at one end, whatever other policies say. */
export interface StagedEffect {
  readonly where: string;
  readonly direction: Direction;
  readonly rule: number | null;
  /** null: none of its rules decides, or it is to delete. */
  readonly action: 'Allow' | 'Deny' | 'Pass' | null;
  readonly reason: string;
}

/** A staged policy and what it stands for. */
interface Change {
  readonly policy: string;
  readonly stagedAction: StagedAction;
  readonly kind: 'NetworkPolicy' | 'GlobalNetworkPolicy';
  /** Of the enforced policy. */
  readonly id: string;
  /** What would be enforced; null: nothing, because it is to delete or `problem` says why. */
  readonly next: Candidate | null;
  readonly before: Candidate | null;
  readonly problem: string | null;
}

/**
 * The cluster as it would be if its staged policies were enforced (calico-datastore.md 2.6): Set adds a policy or takes the place of the one of the
 * same name, Delete removes that, Learn and Ignore change nothing. Steps call a policy that is staged by its staged name.
 */
export function worldIfEnforced(resources: PolicyResources): World {
  const enforced = {
    NetworkPolicy: new Map(resources.NetworkPolicy),
    GlobalNetworkPolicy: new Map(resources.GlobalNetworkPolicy),
  };
  const names = new Map<string, string>();
  for (const { policy, stagedAction, kind, id, next } of changesOf(resources)) {
    const policies: Map<string, { spec: NetworkPolicySpec }> = enforced[kind];
    if (stagedAction === 'Delete') policies.delete(id);
    if (stagedAction !== 'Set' || !next) continue;
    policies.set(id, { spec: next.spec });
    names.set(next.id, policy);
  }
  return new World({ ...resources, ...enforced } as PolicyResources, names);
}

/** The staged policies that select one of the ends, or would take the place of one that does, and what each says by itself. */
export function stagedPolicies(world: World, ends: readonly EndAsked[], packet: Packet): StagedPolicy[] {
  return [...changesOf(world.resources)].flatMap((change) => {
    const at = ends.flatMap((end) => effectAt(world, change, end, packet) ?? []);
    const { policy, stagedAction, before, problem } = change;
    // What cannot be read may have been meant for an end.
    if (at.length === 0 && problem === null) return [];
    return [{ policy, stagedAction, instead: before?.id ?? null, problem, at }];
  });
}

function effectAt(world: World, change: Change, { ref, direction }: EndAsked, packet: Packet): StagedEffect | null {
  const endpoint = endpointOf(world, ref);
  if (!endpoint) return null;
  const labels = labelsOf(world, ref, endpoint);
  const lists: readonly ListName[] =
    ref.kind === 'WorkloadEndpoint' ? ['normal'] : ['normal', 'forward', 'preDNAT', 'untracked'];
  const concerns = (one: Candidate | null): one is Candidate =>
    one !== null &&
    typesOf(one.spec).includes(direction) &&
    lists.some((list) => isIn(list, one)) &&
    selects(one, labels);
  const effect = (rule: number | null, action: StagedEffect['action'], reason: string): StagedEffect => ({
    where: refText(ref),
    direction,
    rule,
    action,
    reason,
  });
  const { next, before, stagedAction } = change;
  if (concerns(next)) {
    for (const { rule, action, why } of lookAt(
      world,
      next.spec,
      typesOf(next.spec),
      next.namespace,
      direction,
      packet,
    )) {
      if (action === null && why !== null) return effect(null, null, why);
      if (action !== null && action !== 'Log' && why === null) return effect(rule, action, 'the rule matches');
    }
    return effect(null, null, 'none of its rules matches');
  }
  if (!concerns(before)) return null;
  if (stagedAction === 'Delete') return effect(null, null, `${before.id} would be gone`);
  return stagedAction === 'Set' && next
    ? effect(null, null, `it would no longer select this, as ${before.id} does`)
    : null;
}

function* changesOf(resources: PolicyResources): Iterable<Change> {
  const { StagedGlobalNetworkPolicy, StagedNetworkPolicy, StagedKubernetesNetworkPolicy } = resources;
  for (const [id, { spec, metadata }] of StagedGlobalNetworkPolicy ?? [])
    yield change(resources, 'GlobalNetworkPolicy', `StagedGlobalNetworkPolicy/${id}`, id, metadata.name, spec);
  for (const [id, { spec, metadata }] of StagedNetworkPolicy ?? [])
    yield change(resources, 'NetworkPolicy', `StagedNetworkPolicy/${id}`, id, metadata.name, spec);
  for (const [id, { spec }] of StagedKubernetesNetworkPolicy ?? []) {
    const [namespace, name] = id.split('/');
    const policy = `StagedKubernetesNetworkPolicy/${id}`;
    const known = kubernetesPolicyName(name);
    const { stagedAction } = spec;
    const converted = fromKubernetes(spec);
    const whole = converted.ok ? { ...converted.value, stagedAction } : { stagedAction };
    const problem = converted.ok || stagedAction === 'Delete' ? null : `spec.${converted.error}`;
    yield change(resources, 'NetworkPolicy', policy, `${namespace}/${known}`, known, whole, problem);
  }
}

function change(
  resources: PolicyResources,
  kind: Change['kind'],
  policy: string,
  id: string,
  name: string,
  { stagedAction: given, ...spec }: (GlobalNetworkPolicySpec | NetworkPolicySpec) & { stagedAction?: StagedAction },
  problem: string | null = null,
): Change {
  const make = kind === 'NetworkPolicy' ? namespacedCandidate : globalCandidate;
  const own = enforcedId(resources, kind, id, name);
  const stagedAction = given ?? 'Set';
  const before = resources[kind]?.get(own);
  return {
    policy,
    stagedAction,
    kind,
    id: own,
    next: stagedAction === 'Delete' || problem !== null ? null : make(own, spec),
    before: before ? make(own, before.spec) : null,
    problem,
  };
}

/** Clients find a policy under its name, and else under the key of an older client that has this name (calico-datastore.md 1.3). */
function enforcedId(resources: PolicyResources, kind: Change['kind'], id: string, name: string): string {
  const policies = resources[kind];
  const at = id.slice(0, id.indexOf('/') + 1);
  for (const candidate of [`${at}${name}`, `${at}default.${name}`])
    if (policies?.get(candidate)?.metadata.name === name) return candidate;
  return id;
}
