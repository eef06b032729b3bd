import { type Addr, covers, familyOf, OperationalError, type Prefix } from '#core';
import type { Resources } from '../client/resources.ts';
import type { IpamConfig } from '../model/index.ts';
import type { IpamAccess } from './access.ts';
import { ownerOf, releaseAffinity } from './affinity.ts';
import { addressAt, allocationsOf, handleId, ordinalOf, release } from './block.ts';
import { blockOf, type Pool, selectsNode, usablePools } from './pools.ts';

/** One address to free, and what must still be true of it. */
export interface ReleaseRequest {
  readonly address: Addr;
  /** Only if this handle still holds it. */
  readonly handle?: string;
  /** Only if it is still the same allocation. */
  readonly sequence?: bigint;
}

export interface ReleaseResult {
  readonly released: readonly Addr[];
  /** Were free already. */
  readonly unallocated: readonly Addr[];
}

/**
 * Frees addresses, block by block.
 * @throws OperationalError CONFLICT when an address is no longer the allocation that the caller means; nothing of its block is freed then
 */
export async function releaseAddresses(
  access: IpamAccess,
  resources: Resources,
  requests: readonly ReleaseRequest[],
): Promise<ReleaseResult> {
  const config = await access.config();
  const pools = await allPools(resources);
  const released: Addr[] = [];
  const byBlock = new Map<Prefix, ReleaseRequest[]>();
  for (const request of requests) {
    const cidr = await homeOf(access, pools, request.address, config);
    if (cidr) byBlock.set(cidr, [...(byBlock.get(cidr) ?? []), request]);
  }
  for (const [cidr, wanted] of byBlock) {
    const freed = await releaseInBlock(access, cidr, config, (at) =>
      wanted.map((request) => checked(at.value, request)),
    );
    released.push(...freed);
    if (freed.length > 0) await giveBackUnselected(access, resources, pools, cidr, config);
  }
  return { released, unallocated: requests.map((r) => r.address).filter((a) => !released.includes(a)) };
}

type Block = Parameters<typeof ordinalOf>[0];

function checked(block: Block, { address, handle, sequence }: ReleaseRequest): number {
  const ordinal = ordinalOf(block, address) as number;
  const index = block.allocations[ordinal];
  if (index === null) return ordinal;
  const holder = handleId(block.attributes[index].handle_id);
  if (handle !== undefined && holder !== handleId(handle))
    throw new OperationalError(
      'CONFLICT',
      `address ${address} is held by handle '${holder}', not by '${handle}'; it is not released`,
    );
  if (sequence !== undefined && block.sequenceNumberForAllocation[String(ordinal)] !== sequence)
    throw new OperationalError(
      'CONFLICT',
      `address ${address} has been released and assigned anew; it is not released`,
    );
  return ordinal;
}

/** Frees the ordinals that `choose` names, in one write; the handles' counts follow after it. */
async function releaseInBlock(
  access: IpamAccess,
  cidr: Prefix,
  config: IpamConfig,
  choose: (at: NonNullable<Awaited<ReturnType<IpamAccess['block']>>>) => number[],
): Promise<Addr[]> {
  let freed: Addr[] = [];
  await access.retry(`block ${cidr}`, async () => {
    freed = [];
    const at = await access.block(cidr, config);
    const result = at && release(at.value, choose(at), access.clock.date(), config.cooldownSeconds);
    if (!at || !result) return true;
    const { next, handles, ordinals } = result;
    // A block that nobody owns goes with its last address.
    const isGone = next.affinity === null && next.allocations.every((index) => index === null);
    if (!(isGone ? await access.deleteBlock(cidr, at.mod) : await access.putBlock(next, at.mod))) return false;
    for (const [handle, count] of handles) await access.countHandle(handle, cidr, -count);
    freed = ordinals.map((ordinal) => addressAt(at.value, ordinal));
    return true;
  });
  return freed;
}

/**
 * Frees every address of a handle.
 * @throws OperationalError NOT_FOUND when there is no such handle
 */
export async function releaseByHandle(access: IpamAccess, resources: Resources, handle: string): Promise<Addr[]> {
  const at = await access.handle(handle);
  if (!at) throw new OperationalError('NOT_FOUND', `no addresses are held by handle '${handle}'`);
  const config = await access.config();
  const pools = await allPools(resources);
  const released: Addr[] = [];
  for (const cidr of Object.keys(at.value.block) as Prefix[]) {
    const ofHandle = (b: Block) =>
      [...allocationsOf(b)].filter((a) => handleId(a.attribute.handle_id) === handleId(handle)).map((a) => a.ordinal);
    const freed = await releaseInBlock(access, cidr, config, (block) => ofHandle(block.value));
    released.push(...freed);
    if (freed.length > 0) await giveBackUnselected(access, resources, pools, cidr, config);
    else await forgetCount(access, handle, cidr, config);
  }
  return released;
}

/** A count without addresses is what a crash between the two writes leaves. */
async function forgetCount(access: IpamAccess, handle: string, cidr: Prefix, config: IpamConfig): Promise<void> {
  const block = await access.block(cidr, config);
  const held = block
    ? [...allocationsOf(block.value)].some((a) => handleId(a.attribute.handle_id) === handleId(handle))
    : false;
  const count = (await access.handle(handle))?.value.block[cidr] ?? 0;
  if (!held && count > 0) await access.countHandle(handle, cidr, -count);
}

async function allPools(resources: Resources): Promise<Pool[]> {
  const { items } = await resources.list('IPPool');
  return [...usablePools(items, 4), ...usablePools(items, 6)];
}

/** The block that holds the address: by its pool, else whichever block covers it. */
async function homeOf(
  access: IpamAccess,
  pools: readonly Pool[],
  address: Addr,
  config: IpamConfig,
): Promise<Prefix | null> {
  const pool = pools.find(({ cidr }) => covers(cidr, address));
  if (pool) return blockOf(pool, address);
  for await (const { cidr } of access.blocks(config))
    if (familyOf(cidr) === familyOf(address) && covers(cidr, address)) return cidr;
  return null;
}

/** A block in a pool that no longer selects its node goes back when it has become empty. */
async function giveBackUnselected(
  access: IpamAccess,
  resources: Resources,
  pools: readonly Pool[],
  cidr: Prefix,
  config: IpamConfig,
): Promise<void> {
  const block = await access.block(cidr, config);
  const owner = ownerOf(block?.value.affinity ?? null);
  const pool = pools.find((p) => covers(p.cidr, cidr));
  if (!pool || owner?.type !== 'host') return;
  const nodes = (await resources.list('Node')).items;
  const node = nodes.find((n) => n.metadata.name === owner.name);
  if (node && !selectsNode(pool, node.metadata.labels ?? {}))
    await releaseAffinity(access, owner, cidr, config, { mustBeEmpty: true });
}
