import { type Addr, type Clock, covers, FAMILIES, hasCode, parsePrefix, prefixAddr } from '#core';
import { parseWorkloadEndpointName } from '../endpoint-name.ts';
import { IpamAccess } from '../ipam/access.ts';
import { ownerOf } from '../ipam/affinity.ts';
import { Ipam } from '../ipam/index.ts';
import { type AffinityOwner, IPAM_PREFIX, kindPrefix, parseKey, resourceKey } from '../keys.ts';
import type { IPPool, Kind } from '../model/index.ts';
import type { KeyValue, Store } from '../store.ts';
import { openEntry } from './read.ts';
import type { Resources } from './resources.ts';

/** What deletions that concern more than their own key work with. */
export interface CascadeContext {
  readonly store: Store;
  readonly resources: Resources;
  readonly clock: Clock;
}

/** How often a lost race is run again. */
const ATTEMPTS = 10;

/** Handles of the addresses that a node has for itself (calico-datastore.md 3.7). */
const TUNNELS = [
  'ipip-tunnel-addr',
  'vxlan-tunnel-addr',
  'vxlan-v6-tunnel-addr',
  'wireguard-tunnel-addr',
  'wireguard-v6-tunnel-addr',
];

/**
 * Removes what belongs to a node that is about to be deleted: addresses of its endpoints and tunnels, the endpoints, its blocks, and the
 * resources that concern it alone (calico-datastore.md 1.8). The Node itself stays, so that a deletion cut short can be run again.
 */
export async function removeBelongings(context: CascadeContext, node: string): Promise<void> {
  const { store } = context;
  const ipam = new Ipam(context);
  const endpoints: KeyValue[] = [];
  for await (const entry of entriesOf(store, 'WorkloadEndpoint'))
    if (nodeOfEndpoint(entry) === node) endpoints.push(entry);
  await releaseAddresses(ipam, node, endpoints);
  for (const entry of endpoints) await remove(store, entry);
  const owner: AffinityOwner = { type: 'host', name: node };
  const access = new IpamAccess(store, context.clock);
  for (const family of FAMILIES)
    for (const { cidr } of await access.affinities(owner, family))
      await ipam.releaseBlock(owner, cidr, { mustBeEmpty: false });
  for (const kind of ['BGPPeer', 'HostEndpoint'] as const)
    for await (const entry of entriesOf(store, kind))
      if (openEntry<typeof kind>(entry).resource?.spec.node === node) await remove(store, entry);
  const alone = [
    resourceKey('FelixConfiguration', `node.${node}`),
    resourceKey('BGPConfiguration', `node.${node}`),
    // Older clients kept a key for each node.
    `${IPAM_PREFIX}host/${node}`,
  ];
  for (const key of alone) {
    const entry = await store.get(key);
    if (entry) await remove(store, entry);
  }
}

/** Takes a pool out of use and gives its blocks back; addresses in use keep their blocks, which then are nobody's. */
export async function vacatePool(context: CascadeContext, entry: KeyValue): Promise<void> {
  const { resources, store, clock } = context;
  const { resource: pool, invalid } = openEntry<'IPPool'>(entry);
  const cidr = pool ? parsePrefix(pool.spec.cidr) : undefined;
  if (!pool || !cidr?.ok) return;
  // One that is not valid gives no addresses as it is.
  if (!invalid) await disable(resources, pool);
  const ipam = new Ipam(context);
  const access = new IpamAccess(store, clock);
  const config = await access.config();
  for await (const found of access.blocks(config)) {
    const owner = 'at' in found ? ownerOf(found.at.value.affinity) : null;
    if (owner && covers(cidr.value, found.cidr)) await ipam.releaseBlock(owner, found.cidr, { mustBeEmpty: false });
  }
}

/** Until the pool says so, whoever else changes it at the same time. */
async function disable(resources: Resources, first: IPPool): Promise<void> {
  for (let pool = first, attempt = 1; !pool.spec.disabled; attempt++) {
    try {
      await resources.update<'IPPool'>({ ...pool, spec: { ...pool.spec, disabled: true } });
      return;
    } catch (error) {
      if (!hasCode(error, 'CONFLICT') || attempt === ATTEMPTS) throw error;
      pool = await resources.get('IPPool', pool.metadata.name);
    }
  }
}

/** Frees what the node's endpoints and tunnels have, unless IPAM says that it is another node's by now. */
async function releaseAddresses(ipam: Ipam, node: string, endpoints: readonly KeyValue[]): Promise<void> {
  for (const tunnel of TUNNELS)
    try {
      await ipam.releaseByHandle(`${tunnel}-${node}`);
    } catch (error) {
      if (!hasCode(error, 'NOT_FOUND')) throw error;
    }
  const wanted = new Set<Addr>(endpoints.flatMap(addressesOf));
  const { pools, homeless } = await ipam.usage();
  const held = [...pools.flatMap((pool) => pool.blocks), ...homeless].flatMap((block) => block.allocations);
  for (const { address, handle, attributes } of held) {
    if (!wanted.has(address) || (attributes.node ?? node) !== node) continue;
    try {
      await ipam.release([{ address, handle }]);
    } catch (error) {
      // Somebody else has been given it in the meantime.
      if (!hasCode(error, 'CONFLICT')) throw error;
    }
  }
}

function addressesOf(endpoint: KeyValue): Addr[] {
  const nets = openEntry<'WorkloadEndpoint'>(endpoint).resource?.spec.ipNetworks;
  return (Array.isArray(nets) ? nets : []).flatMap((net) => {
    const parsed = parsePrefix(String(net));
    return parsed.ok ? [prefixAddr(parsed.value)] : [];
  });
}

/** The node of a stored endpoint, by its name when its text cannot be read. */
function nodeOfEndpoint(entry: KeyValue): string | undefined {
  const { resource } = openEntry<'WorkloadEndpoint'>(entry);
  if (typeof resource?.spec.node === 'string') return resource.spec.node;
  const key = parseKey(entry.key);
  return key?.type === 'resource' ? parseWorkloadEndpointName(key.name)?.node : undefined;
}

async function* entriesOf(store: Store, kind: Kind): AsyncGenerator<KeyValue> {
  for await (const page of store.list(kindPrefix(kind))) yield* page;
}

async function remove(store: Store, { key }: KeyValue): Promise<void> {
  await store.txn([], [{ op: 'delete', key }]);
}
