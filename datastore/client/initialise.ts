import { randomBytes, randomUUID } from 'node:crypto';
import type { Clock } from '#core';
import { decodeResource, encodeResource } from '../codec.ts';
import { parseKey, resourceKey } from '../keys.ts';
import { type AnyResource, API_VERSION, BUILT_IN_TIERS, type ClusterInformation } from '../model/index.ts';
import type { Store } from '../store.ts';

export interface ClusterFacts {
  /** Words to be added to the comma-separated `clusterType`, such as `tsnet`, `bgp`. */
  readonly clusterTypes?: readonly string[];
}

/**
 * Makes sure that what the ecosystem expects of every cluster is there (calico-datastore.md 1.8): ClusterInformation with a GUID and
 * `datastoreReady`, and the built-in tiers. Existing values stay: `datastoreReady: false` is an operator's decision. `calicoVersion` stays as found or
 * empty, because calicoctl refuses to work with another version than its own. Safe to run by many at once.
 */
export async function initialiseCluster(store: Store, clock: Clock, facts: ClusterFacts): Promise<void> {
  await initialiseInformation(store, clock, facts);
  for (const [name, spec] of Object.entries(BUILT_IN_TIERS)) {
    const key = resourceKey('Tier', name);
    if (await store.get(key)) continue;
    const tier: AnyResource = { ...envelope('Tier', name, clock), spec: { ...spec } };
    await store.txn([{ key, mod: 0n }], [{ op: 'put', key, value: encodeResource(tier) }]);
  }
}

const envelope = <K extends 'Tier' | 'ClusterInformation'>(kind: K, name: string, clock: Clock) => ({
  kind,
  apiVersion: API_VERSION as typeof API_VERSION,
  metadata: {
    name,
    uid: randomUUID(),
    creationTimestamp: `${clock.date().toISOString().slice(0, 19)}Z`,
  },
});

async function initialiseInformation(store: Store, clock: Clock, facts: ClusterFacts): Promise<void> {
  const key = resourceKey('ClusterInformation', 'default');
  const parsed = parseKey(key);
  for (;;) {
    const entry = await store.get(key);
    const stored = entry && parsed?.type === 'resource' ? decodeResource(entry, parsed) : null;
    // An object that cannot be read is somebody's problem to solve, not ours to overwrite.
    if (stored && !stored.ok) return;
    const before = (stored?.value.resource as ClusterInformation) ?? null;
    const next = completed(before ?? { ...envelope('ClusterInformation', 'default', clock), spec: {} }, facts);
    if (before && JSON.stringify(before.spec) === JSON.stringify(next.spec)) return;
    const mod = entry?.modRevision ?? 0n;
    const done = await store.txn([{ key, mod }], [{ op: 'put', key, value: encodeResource(next) }]);
    if (done.ok) return;
  }
}

function completed(info: ClusterInformation, { clusterTypes = [] }: ClusterFacts): ClusterInformation {
  const { spec } = info;
  const types = (spec.clusterType ?? '').split(',').filter((type) => type !== '');
  const missing = clusterTypes.filter((type) => !types.includes(type));
  return {
    ...info,
    spec: {
      ...spec,
      clusterGUID: spec.clusterGUID || randomBytes(16).toString('hex'),
      ...(types.length + missing.length > 0 && { clusterType: [...types, ...missing].join(',') }),
      datastoreReady: spec.datastoreReady ?? true,
    },
  };
}
