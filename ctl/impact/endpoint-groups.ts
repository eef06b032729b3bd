import type { WorkloadEndpoint } from '#datastore';
import type { ClusterReader } from '../flow/cluster-reader.ts';
import type { AddressIndex } from './address-index.ts';

/** Endpoints that no selector tells apart, by one of them. */
export interface EndpointGroup {
  readonly id: string;
  readonly endpoint: WorkloadEndpoint;
  /** How many there are. */
  readonly size: number;
}

/** So many groups are kept apart. */
export const MOST_GROUPS = 1_000;

/**
 * All workload endpoints, grouped by what selectors and rules see of them but for their addresses: namespace, labels, profiles, account, ports.
 * Those that `always` names, and that have one
 * of the addresses, stand for themselves. `more`: there were more groups than are kept.
 */
export async function groupEndpoints(
  reader: ClusterReader,
  always: ReadonlySet<string>,
  addresses: AddressIndex,
): Promise<{ groups: EndpointGroup[]; more: boolean }> {
  const sizes = new Map<string, { id: string; size: number }>();
  let more = false;
  const kept = await reader.endpoints(({ metadata, spec }, id) => {
    if (!Array.isArray(spec.ipNetworks) || spec.ipNetworks.length === 0) return false;
    const labels = Object.entries(metadata.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
    const shape = [labels, spec.profiles, spec.serviceAccountName, spec.orchestrator, spec.ports];
    const isOwn = always.has(id) || addresses.isInOneOf(spec.ipNetworks);
    const key = isOwn ? id : JSON.stringify([id.slice(0, id.indexOf('/')), ...shape]);
    const known = sizes.get(key);
    if (known) {
      known.size++;
      return false;
    }
    if (sizes.size >= MOST_GROUPS && !isOwn) {
      more = true;
      return false;
    }
    sizes.set(key, { id, size: 1 });
    return true;
  });
  const groups = [...sizes.values()].flatMap(({ id, size }) => {
    const endpoint = kept.get(id);
    return endpoint ? [{ id, endpoint, size }] : [];
  });
  return { groups, more };
}
