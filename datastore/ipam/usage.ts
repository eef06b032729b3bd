import { type Addr, bitsOf, covers, FAMILIES, familyOf, type Prefix, parsePrefix, prefixLength } from '#core';
import type { Resources } from '../client/resources.ts';
import type { IpamAccess } from './access.ts';
import { addressAt, allocationsOf, handleId, isCooling } from './block.ts';
import { reservations } from './pools.ts';

/** Counts of addresses; bigint, since an IPv6 pool may hold more than 2^53. */
export interface PoolUsage {
  readonly name: string;
  readonly cidr: Prefix;
  readonly total: bigint;
  readonly inUse: bigint;
  readonly free: bigint;
  readonly blocks: readonly BlockUsage[];
}
export interface BlockUsage {
  readonly cidr: Prefix;
  readonly affinity: string | null;
  readonly total: number;
  readonly inUse: number;
  readonly coolingDown: number;
  readonly reserved: number;
  readonly borrowed: readonly { readonly address: Addr; readonly by: string }[];
  readonly allocations: readonly {
    readonly address: Addr;
    readonly handle: string;
    readonly attributes: Readonly<Record<string, string>>;
  }[];
}
export interface IpamUsage {
  readonly pools: readonly PoolUsage[];
  /** Blocks that lie in no pool. */
  readonly homeless: readonly BlockUsage[];
  /** Blocks that cannot be read, with the reason. */
  readonly unreadable: readonly { readonly cidr: Prefix; readonly reason: string }[];
}

/** How full pools and blocks are, from one walk over all blocks. */
export async function usage(access: IpamAccess, resources: Resources): Promise<IpamUsage> {
  const config = await access.config();
  const isReserved = reservations((await resources.list('IPReservation')).items);
  const blocks: BlockUsage[] = [];
  const unreadable: { cidr: Prefix; reason: string }[] = [];
  for await (const found of access.blocks(config)) {
    if ('at' in found) blocks.push(blockUsage(found.at.value, isReserved));
    else unreadable.push({ cidr: found.cidr, reason: found.unreadable });
  }
  const pools = (await resources.list('IPPool')).items.flatMap((pool) => {
    const cidr = parsePrefix(pool.spec.cidr);
    return cidr.ok ? [poolUsage(pool.metadata.name, cidr.value, blocks)] : [];
  });
  const order = (pool: PoolUsage) => FAMILIES.indexOf(familyOf(pool.cidr));
  pools.sort((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1));
  return { pools, homeless: blocks.filter((b) => !pools.some((p) => covers(p.cidr, b.cidr))), unreadable };
}

function poolUsage(name: string, cidr: Prefix, all: readonly BlockUsage[]): PoolUsage {
  const blocks = all.filter((block) => covers(cidr, block.cidr));
  const total = 2n ** BigInt(bitsOf(familyOf(cidr)) - prefixLength(cidr));
  const inUse = blocks.reduce((sum, block) => sum + BigInt(block.inUse), 0n);
  const idle = blocks.reduce((sum, block) => sum + BigInt(block.coolingDown + block.reserved), 0n);
  return { name, cidr, total, inUse, free: total - inUse - idle, blocks };
}

function blockUsage(block: Parameters<typeof addressAt>[0], isReserved: (address: Addr) => boolean): BlockUsage {
  const held = [...allocationsOf(block)];
  const used = held.filter(({ attribute }) => !isCooling(attribute));
  const allocations = used.map(({ ordinal, attribute }) => ({
    address: addressAt(block, ordinal),
    handle: handleId(attribute.handle_id),
    attributes: attribute.secondary ?? {},
  }));
  const owner = block.affinity?.startsWith('host:') ? block.affinity.slice('host:'.length) : null;
  return {
    cidr: block.cidr as Prefix,
    affinity: block.affinity,
    total: block.allocations.length,
    inUse: used.length,
    coolingDown: held.length - used.length,
    reserved: block.unallocated.filter((ordinal) => isReserved(addressAt(block, ordinal))).length,
    borrowed: allocations.flatMap(({ address, attributes }) =>
      attributes.node && attributes.node !== owner ? [{ address, by: attributes.node }] : [],
    ),
    allocations,
  };
}
