import {
  type Addr,
  addrPlus,
  bitsOf,
  covers,
  type Family,
  familyOf,
  labelsOf,
  OperationalError,
  type Prefix,
  parsePrefix,
  prefixAddr,
  prefixLength,
  prefixOf,
  selectorMatches,
} from '#core';
import type { IPPool, IPReservation } from '../model/index.ts';

export type PoolUse = 'Workload' | 'Tunnel' | 'LoadBalancer';

/** A pool as assignment sees it. */
export interface Pool {
  readonly name: string;
  readonly cidr: Prefix;
  readonly blockSize: number;
  readonly resource: IPPool;
}

const DEFAULT_BLOCK: Record<Family, number> = { 4: 26, 6: 122 };

/** Usable pools of the family, by name; a pool smaller than its block, or of unreadable CIDR, is none. */
export function usablePools(resources: Iterable<IPPool>, family: Family): Pool[] {
  return [...resources]
    .flatMap((resource) => {
      const cidr = parsePrefix(resource.spec.cidr);
      if (!cidr.ok || familyOf(cidr.value) !== family || resource.spec.disabled) return [];
      const blockSize = resource.spec.blockSize ?? DEFAULT_BLOCK[family];
      return blockSize < prefixLength(cidr.value)
        ? []
        : [{ name: resource.metadata.name, cidr: cidr.value, blockSize, resource }];
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface PoolRequest {
  readonly family: Family;
  readonly use: PoolUse;
  /** Pools asked for by CIDR or name; they need not select the node, nor be automatic. */
  readonly requested?: readonly string[];
  readonly node: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  /** Labels of the workload's namespace, for pools with a namespaceSelector. */
  readonly namespaceLabels?: Readonly<Record<string, string>>;
}

/**
 * The pools that a request may take addresses from.
 * @throws OperationalError NOT_FOUND for a requested pool that does not exist, EXHAUSTED when none is left, both saying why
 */
export function choosePools(all: readonly Pool[], request: PoolRequest): Pool[] {
  const asked = request.requested?.length ? request.requested.map((text) => findPool(all, text, request.family)) : null;
  const selected = asked ?? all.filter((pool) => isAutomatic(pool) && selects(pool, request));
  const usable = selected.filter((pool) =>
    (pool.resource.spec.allowedUses ?? ['Workload', 'Tunnel']).includes(request.use),
  );
  if (usable.length > 0) return usable;
  const why =
    all.length === 0
      ? `there is no enabled IPv${request.family} pool`
      : `no IPv${request.family} pool selects node ${request.node.name} for use ${request.use}`;
  throw new OperationalError(
    'EXHAUSTED',
    `${why}: create an IPPool, or look at nodeSelector, allowedUses and assignmentMode of ${all.map((p) => p.name).join(', ') || 'it'}`,
  );
}

function findPool(all: readonly Pool[], text: string, family: Family): Pool {
  const pool = all.find(({ name, cidr }) => name === text || cidr === text);
  if (pool) return pool;
  throw new OperationalError(
    'NOT_FOUND',
    `the requested pool ${text} is not an enabled IPv${family} pool; enabled are ${all.map((p) => `${p.name} (${p.cidr})`).join(', ') || 'none'}`,
  );
}

const isAutomatic = (pool: Pool): boolean => (pool.resource.spec.assignmentMode ?? 'Automatic') === 'Automatic';

/** Whether the pool hands out blocks to the node at all. */
export function selectsNode(pool: Pool, labels: Readonly<Record<string, string>>): boolean {
  return matches(pool.resource.spec.nodeSelector, labels);
}

function selects(pool: Pool, request: PoolRequest): boolean {
  return (
    selectsNode(pool, request.node.labels) &&
    matches(pool.resource.spec.namespaceSelector, request.namespaceLabels ?? {})
  );
}

function matches(selector: string | undefined, labels: Readonly<Record<string, string>>): boolean {
  return !selector || selectorMatches(selector, labelsOf(labels));
}

/** The block of the pool that holds the address. */
export const blockOf = (pool: Pool, address: Addr): Prefix => prefixOf(address, pool.blockSize);

/**
 * Every block of the pool once, from a place of the host's own on and around: hosts start at different places, so they rarely want
 * the same block. Blocks of a single address start at a random place, since a host takes them one by one.
 */
export function* candidateBlocks(pool: Pool, host: string, random: () => number): IterableIterator<Prefix> {
  const bits = bitsOf(familyOf(pool.cidr));
  const count = 2n ** BigInt(pool.blockSize - prefixLength(pool.cidr));
  const step = 2n ** BigInt(bits - pool.blockSize);
  const seed = pool.blockSize === bits ? Math.floor(random() * 0xffffffff) : fnv1(host);
  // 48 bits spread over the pool: a /26 pool of a /8 has 2^18 blocks, an IPv6 pool may have 2^74.
  const start = (BigInt(seed) * 0x9e3779b1n) % count;
  for (let i = 0n; i < count; i++)
    yield `${addrPlus(prefixAddr(pool.cidr), ((start + i) % count) * step)}/${pool.blockSize}` as Prefix;
}

/** FNV-1, 32 bits, of the UTF-8 bytes. */
function fnv1(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = (Math.imul(hash, 0x01000193) ^ byte) >>> 0;
  return hash >>> 0;
}

/** Whether an address is never to be given out. */
export function reservations(resources: Iterable<IPReservation>): (address: Addr) => boolean {
  const nets = [...resources].flatMap(({ spec }) =>
    (spec.reservedCIDRs ?? []).flatMap((text) => {
      const net = parsePrefix(text);
      return net.ok ? [net.value] : [];
    }),
  );
  return (address) => nets.some((net) => covers(net, address));
}
