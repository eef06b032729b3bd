import { overlaps, type Prefix } from '#core';
import { decodeResource } from '../codec.ts';
import { kindPrefix, parseKey, resourceKey } from '../keys.ts';
import { type AnyResource, BUILT_IN_TIERS, type IPPool, type Kind, type Kinds } from '../model/index.ts';
import type { Store } from '../store.ts';
import { type FieldError, validate } from '../validate.ts';

/** What only the rest of the store can show about a resource that is to be written: what it names must exist, what it claims must be free. */
export async function checkReferences(store: Store, resource: AnyResource, isNew: boolean): Promise<FieldError[]> {
  switch (resource.kind) {
    case 'NetworkPolicy':
    case 'GlobalNetworkPolicy':
    case 'StagedNetworkPolicy':
    case 'StagedGlobalNetworkPolicy':
      return isNew ? checkTier(store, resource.spec.tier ?? 'default') : [];
    case 'IPPool':
      return isNew ? checkOverlap(store, resource) : [];
    case 'BGPPeer':
      return checkFilters(store, resource.spec.filters ?? []);
    default:
      return [];
  }
}

async function checkTier(store: Store, tier: string): Promise<FieldError[]> {
  if (await store.get(resourceKey('Tier', tier))) return [];
  return [{ field: 'spec.tier', message: `names tier '${tier}', which does not exist; create it first` }];
}

async function checkFilters(store: Store, filters: readonly string[]): Promise<FieldError[]> {
  const found = await Promise.all(filters.map((name) => store.get(resourceKey('BGPFilter', name))));
  return filters.flatMap((name, i) =>
    found[i] ? [] : [{ field: `spec.filters[${i}]`, message: `names BGPFilter '${name}', which does not exist` }],
  );
}

async function checkOverlap(store: Store, pool: IPPool): Promise<FieldError[]> {
  for await (const other of readAll(store, 'IPPool'))
    if (other.metadata.name !== pool.metadata.name && overlaps(other.spec.cidr as Prefix, pool.spec.cidr as Prefix))
      return [
        {
          field: 'spec.cidr',
          message: `${pool.spec.cidr} overlaps ${other.spec.cidr} of IPPool(${other.metadata.name})`,
        },
      ];
  return [];
}

/** What may not change once an object exists. */
export function checkImmutable(before: AnyResource, after: AnyResource): FieldError[] {
  if (before.kind !== 'IPPool' || after.kind !== 'IPPool') return [];
  // What was never usable may be put right.
  if (validate(before, 'read').length > 0) return [];
  return (['cidr', 'blockSize'] as const)
    .filter((field) => before.spec[field] !== after.spec[field])
    .map((field) => ({
      field: `spec.${field}`,
      message: `cannot be changed from ${before.spec[field]} to ${after.spec[field]}; make a new pool instead`,
    }));
}

/** Why a resource may not be deleted, or null. */
export async function whyKept(store: Store, kind: Kind, name: string): Promise<string | null> {
  if (kind !== 'Tier') return null;
  if (Object.hasOwn(BUILT_IN_TIERS, name)) return 'it is built in';
  for (const policies of [
    'NetworkPolicy',
    'GlobalNetworkPolicy',
    'StagedNetworkPolicy',
    'StagedGlobalNetworkPolicy',
  ] as const)
    for await (const policy of readAll(store, policies))
      if (policy.spec.tier === name) return `it still has ${policies}(${policy.metadata.name})`;
  return null;
}

/** All valid resources of a kind. */
export async function* readAll<K extends Kind>(store: Store, kind: K): AsyncGenerator<Kinds[K]> {
  for await (const page of store.list(kindPrefix(kind)))
    for (const entry of page) {
      const key = parseKey(entry.key);
      if (key?.type !== 'resource') continue;
      const decoded = decodeResource(entry, key);
      if (decoded.ok) yield decoded.value.resource as Kinds[K];
    }
}
