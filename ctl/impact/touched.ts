import { type Addr, type Prefix, parseCidr, prefixOf } from '#core';
import { type EndpointRef, selectsEndpoint, type World } from '#policy';
import { type ChangedObject, idOf, versionsOf } from './changed.ts';
import type { ComparedEnd } from './compare.ts';

/**
 * The ends at least one of which is part of every flow whose verdict can differ: those that a changed policy, or a policy of a changed tier, selects
 * before or after; those with a changed profile; those that change themselves; addresses of changed sets, and of sets that inherit from a changed profile.
 */
export function touchedBy(
  changes: readonly ChangedObject[],
  ends: readonly ComparedEnd[],
  before: World,
  after: World,
): ComparedEnd[] {
  const policies = [...versionsOf(changes, 'NetworkPolicy'), ...versionsOf(changes, 'GlobalNetworkPolicy')];
  const tiers = new Set(versionsOf(changes, 'Tier').map(({ metadata }) => metadata.name));
  for (const { resources } of [before, after])
    for (const policy of [...(resources.NetworkPolicy ?? []), ...(resources.GlobalNetworkPolicy ?? [])].map(
      ([, p]) => p,
    ))
      if (tiers.has(policy.spec.tier || 'default')) policies.push(policy);
  const profiles = new Set(versionsOf(changes, 'Profile').map(({ metadata }) => metadata.name));
  const themselves = new Set(changes.map(({ kind, before: was, after: is }) => `${kind}/${idOf((is ?? was)!)}`));
  const sets = new Set(
    [
      ...(['NetworkSet', 'GlobalNetworkSet'] as const).flatMap((kind) => versionsOf(changes, kind)),
      ...[...(before.resources.NetworkSet ?? [])]
        .filter(([id]) => profiles.has(`kns.${id.slice(0, id.indexOf('/'))}`))
        .map(([, set]) => set),
    ].flatMap(({ spec }) => (spec.nets ?? []).map(firstOf)),
  );
  const selected = (world: World, ref: EndpointRef): boolean =>
    policies.some((policy) => selectsEndpoint(world, policy, ref)) ||
    (world.resources[ref.kind]?.get(ref.id)?.spec.profiles ?? []).some((name) => profiles.has(name));
  return ends.filter(({ name, before: was, after: is, addresses }) => {
    if (themselves.has(name)) return true;
    if (was.at === 'elsewhere') return addresses.some((address) => sets.has(address));
    // A node in whose place there is a host endpoint on the other side of the change is a change itself.
    return [was, is].some((flow, i) => flow.at === 'endpoint' && selected(i === 0 ? before : after, flow.ref));
  });
}

/** The address of a net itself; null for what is none. */
export function firstOf(net: string): Addr | null {
  const parsed = parseCidr(net);
  if (!parsed.ok) return null;
  const masked: Prefix = prefixOf(parsed.value.addr, parsed.value.length);
  return masked.slice(0, masked.indexOf('/')) as Addr;
}
