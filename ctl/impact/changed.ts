import type { AnyResource, Kind, Kinds } from '#datastore';
import type { PolicyResources } from '#policy';

/** An object that applying files would change; null: it is not there before, or after. */
export interface ChangedObject {
  readonly kind: Kind;
  readonly before: AnyResource | null;
  readonly after: AnyResource | null;
}

/** Kinds on which verdicts depend; staged policies are never enforced. */
const KINDS_OF_POLICY = [
  'WorkloadEndpoint',
  'HostEndpoint',
  'NetworkPolicy',
  'GlobalNetworkPolicy',
  'Profile',
  'Tier',
  'NetworkSet',
  'GlobalNetworkSet',
] as const;
export type PolicyKind = (typeof KINDS_OF_POLICY)[number];

export const concernsPolicy = ({ kind }: ChangedObject): boolean =>
  (KINDS_OF_POLICY as readonly string[]).includes(kind);

/** Both versions of the changed objects of a kind. */
export function versionsOf<K extends PolicyKind>(changes: readonly ChangedObject[], kind: K): Kinds[K][] {
  return changes
    .filter((change) => change.kind === kind)
    .flatMap(({ before, after }) => [before, after].filter((one) => one !== null) as Kinds[K][]);
}

/** `name`, or `namespace/name`. */
export const idOf = ({ metadata }: AnyResource): string =>
  metadata.namespace ? `${metadata.namespace}/${metadata.name}` : metadata.name;

/**
 * The cluster after the changes. A policy that an older client wrote keeps its key, `default.<name>`, as `apply` leaves it where it is
 * (calico-datastore.md 1.3).
 */
export function afterChanges(resources: PolicyResources, changes: readonly ChangedObject[]): PolicyResources {
  const next: Record<string, Map<string, AnyResource>> = {};
  for (const kind of KINDS_OF_POLICY) next[kind] = new Map<string, AnyResource>(resources[kind]);
  for (const change of changes) {
    if (!concernsPolicy(change)) continue;
    const { kind, before, after } = change;
    const id = keyOf(next[kind], (after ?? before) as AnyResource);
    if (after) next[kind].set(id, after);
    else next[kind].delete(id);
  }
  return next as PolicyResources;
}

function keyOf(known: ReadonlyMap<string, AnyResource>, resource: AnyResource): string {
  const id = idOf(resource);
  if (known.has(id)) return id;
  const { namespace, name } = resource.metadata;
  const older = `${namespace ? `${namespace}/` : ''}default.${name}`;
  return known.get(older)?.metadata.name === name ? older : id;
}
