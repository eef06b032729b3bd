import { type Addr, covers, type Family, familyOf, OperationalError, type Prefix } from '#core';
import type { Resources } from '../client/resources.ts';
import type { AffinityOwner } from '../keys.ts';
import type { IpamBlock, IpamConfig } from '../model/index.ts';
import type { At, IpamAccess } from './access.ts';
import { claimBlock, ownBlock, ownerOf, ownerText, releaseAffinity } from './affinity.ts';
import { type AllocationAttributes, assignFrom, assignOne, isEmptyBlock } from './block.ts';
import {
  blockOf,
  candidateBlocks,
  choosePools,
  type Pool,
  type PoolUse,
  reservations,
  selectsNode,
  usablePools,
} from './pools.ts';

/** What somebody wants addresses for. */
export interface AssignRequest extends AllocationAttributes {
  readonly node: string;
  readonly family: Family;
  readonly count: number;
  readonly use?: PoolUse;
  /** Pools by CIDR or name. */
  readonly pools?: readonly string[];
  readonly namespaceLabels?: Readonly<Record<string, string>>;
}

export interface Assigned {
  readonly address: Addr;
  /** The block that it came from; its length is what calico-ipam reports. */
  readonly block: Prefix;
}

/** Addresses, and for fewer than asked for, why there were no more. */
export interface AssignResult {
  readonly assigned: readonly Assigned[];
  readonly messages: readonly string[];
}

/** Blocks of one node and family in one request, when nothing else is configured. */
const DEFAULT_BLOCK_LIMIT = 20;
/** An empty block of another node may be taken back this long after it was claimed; milliseconds. */
const RECLAIM_AFTER = 60_000;
/** Existing blocks that one request looks at for borrowing. */
const BORROW_LOOKS = 10_000;

interface Context {
  readonly access: IpamAccess;
  readonly config: IpamConfig;
  readonly owner: AffinityOwner;
  readonly pools: readonly Pool[];
  readonly request: AssignRequest;
  readonly isReserved: (address: Addr) => boolean;
  readonly random: () => number;
  readonly assigned: Assigned[];
}

const missing = ({ request, assigned }: Context): number => request.count - assigned.length;

/**
 * Assigns addresses: from the node's own blocks, then from a block newly claimed, then, without strict affinity, borrowed from blocks of
 * others (calico-datastore.md 3.6).
 * @throws OperationalError NOT_FOUND (node, pool) or EXHAUSTED when not one address can be had
 */
export async function autoAssign(
  access: IpamAccess,
  resources: Resources,
  request: AssignRequest,
  random: () => number,
): Promise<AssignResult> {
  const use = request.use ?? 'Workload';
  // Four answers that do not depend on each other.
  const [labels, poolList, config, reserved] = await Promise.all([
    use === 'LoadBalancer' ? {} : resources.get('Node', request.node).then(({ metadata }) => metadata.labels ?? {}),
    resources.list('IPPool'),
    access.config(),
    resources.list('IPReservation'),
  ]);
  const all = usablePools(poolList.items, request.family);
  const pools = choosePools(all, { ...request, use, requested: request.pools, node: { name: request.node, labels } });
  const context: Context = {
    access,
    request,
    pools,
    random,
    config,
    owner: use === 'LoadBalancer' ? { type: 'virtual', name: 'load-balancer' } : { type: 'host', name: request.node },
    isReserved: reservations(reserved.items),
    assigned: [],
  };
  const messages: string[] = [];
  const owned = await fromOwnBlocks(context, all, labels);
  while (missing(context) > 0) {
    const problem = await fromNewBlock(context, owned);
    if (problem === null) continue;
    messages.push(problem);
    break;
  }
  if (missing(context) > 0 && !context.config.strictAffinity) await borrow(context);
  if (context.assigned.length === 0 && request.count > 0)
    throw new OperationalError(
      'EXHAUSTED',
      `no IPv${request.family} address for node ${request.node}: ${messages.join('; ') || 'all are in use'}`,
    );
  return { assigned: context.assigned, messages: missing(context) > 0 ? messages : [] };
}

/** Takes what the node's own blocks have; blocks in pools that no longer select the node are given back if empty. */
async function fromOwnBlocks(
  context: Context,
  all: readonly Pool[],
  labels: Readonly<Record<string, string>>,
): Promise<Set<Prefix>> {
  const { access, owner, pools, request, config } = context;
  const owned = new Set<Prefix>();
  for (const { cidr } of await access.affinities(owner, request.family)) {
    const home = all.find((pool) => covers(pool.cidr, cidr));
    if (home && owner.type === 'host' && !selectsNode(home, labels)) {
      await releaseAffinity(access, owner, cidr, config, { mustBeEmpty: true });
      continue;
    }
    if (!pools.some((pool) => covers(pool.cidr, cidr))) continue;
    const block = await ownBlock(access, owner, cidr, config);
    if (!block) continue;
    owned.add(cidr);
    if (missing(context) > 0) await take(context, cidr, (b) => b.affinity === ownerText(owner));
  }
  return owned;
}

/** Claims one more block and takes from it; a text says why there is none. */
async function fromNewBlock(context: Context, owned: Set<Prefix>): Promise<string | null> {
  const { access, owner, config, request } = context;
  const limit = config.maxBlocksPerHost || DEFAULT_BLOCK_LIMIT;
  if (owned.size >= limit) return `node ${request.node} has ${owned.size} blocks, the limit (maxBlocksPerHost)`;
  if (!config.autoAllocateBlocks) return 'blocks are not claimed automatically (auto_allocate_blocks is false)';
  const cidr = (await unclaimed(context, owned)) ?? (await reclaimed(context));
  if (cidr === null) return `no block is free in ${context.pools.map((p) => `${p.name} (${p.cidr})`).join(', ')}`;
  if ((await claimBlock(access, owner, cidr, config)) === 'taken') return null;
  owned.add(cidr);
  await take(context, cidr, (b) => b.affinity === ownerText(owner));
  return null;
}

/** The first candidate that is nobody's. */
async function unclaimed(context: Context, owned: ReadonlySet<Prefix>): Promise<Prefix | null> {
  const existing = new Set<Prefix>(owned);
  for await (const { cidr } of context.access.blocks(context.config)) existing.add(cidr);
  for (const pool of context.pools)
    for (const cidr of candidateBlocks(pool, context.request.node, context.random))
      if (!existing.has(cidr)) return cidr;
  return null;
}

/** An empty block of another node that has had it for a while: taken from it only if nobody has written the block since it was seen empty. */
async function reclaimed({ access, config, pools, owner }: Context): Promise<Prefix | null> {
  const old = access.clock.date().getTime() - RECLAIM_AFTER;
  for await (const found of access.blocks(config)) {
    if (!('at' in found) || !pools.some((pool) => covers(pool.cidr, found.cidr))) continue;
    const block = found.at.value;
    const holder = ownerOf(block.affinity);
    const claimed = block.affinity_claim_time ? Date.parse(block.affinity_claim_time) : 0;
    if (!holder || ownerText(holder) === ownerText(owner) || !isEmptyBlock(block) || claimed > old) continue;
    if (
      await releaseAffinity(access, holder, found.cidr, config, { mustBeEmpty: true, sequence: block.sequenceNumber })
    )
      return found.cidr;
  }
  return null;
}

/** Single addresses from blocks of others, or of nobody, in the order in which blocks would have been claimed. */
async function borrow(context: Context): Promise<void> {
  const { access, config, pools, request } = context;
  const existing = new Set<Prefix>();
  for await (const found of access.blocks(config))
    if ('at' in found && found.at.value.unallocated.length > 0) existing.add(found.cidr);
  for (const pool of pools) {
    const inPool = [...existing].filter((cidr) => covers(pool.cidr, cidr));
    let left = inPool.length;
    let looks = 0;
    for (const cidr of candidateBlocks(pool, request.node, context.random)) {
      if (missing(context) <= 0) return;
      if (left === 0 || ++looks > BORROW_LOOKS) break;
      if (!existing.has(cidr)) continue;
      left--;
      await take(context, cidr, () => true);
    }
    // A pool of many more blocks than exist is not walked to its end.
    for (const cidr of left > 0 ? inPool : []) if (missing(context) > 0) await take(context, cidr, () => true);
  }
}

/**
 * Takes addresses from one block. The handle is counted before the block is written, so a crash leaves a count too high, never an
 * address without handle.
 */
async function take(context: Context, cidr: Prefix, mayUse: (block: IpamBlock) => boolean): Promise<void> {
  const { access, config, request, isReserved } = context;
  await access.retry(`block ${cidr}`, async () => {
    const at = await access.block(cidr, config);
    if (!at || !mayUse(at.value)) return true;
    const { addresses, next } = assignFrom(at.value, missing(context), request, isReserved);
    if (!next) return true;
    if (!(await writeWithHandle(access, request.handle, cidr, addresses.length, next, at))) return false;
    for (const address of addresses) context.assigned.push({ address, block: cidr });
    return true;
  });
}

async function writeWithHandle(
  access: IpamAccess,
  handle: string,
  cidr: Prefix,
  count: number,
  next: IpamBlock,
  at: At<IpamBlock>,
): Promise<boolean> {
  await access.countHandle(handle, cidr, count);
  if (await access.putBlock(next, at.mod)) return true;
  await access.countHandle(handle, cidr, -count);
  return false;
}

/**
 * Assigns one given address; its block is claimed if it is nobody's.
 * @throws OperationalError NOT_FOUND (no pool holds it), ALREADY_EXISTS (somebody has it), CONFLICT (strict affinity, block of another node)
 */
export async function assignAddress(
  access: IpamAccess,
  resources: Resources,
  address: Addr,
  request: Omit<AssignRequest, 'family' | 'count' | 'pools'>,
): Promise<Assigned> {
  const family = familyOf(address);
  const config = await access.config();
  const pool = usablePools((await resources.list('IPPool')).items, family).find(({ cidr }) => covers(cidr, address));
  if (!pool) throw new OperationalError('NOT_FOUND', `address ${address} is in no enabled IPPool`);
  const cidr = blockOf(pool, address);
  const owner: AffinityOwner = { type: 'host', name: request.node };
  await access.retry(`block ${cidr}`, async () => {
    const at = await access.block(cidr, config);
    if (!at) {
      await claimBlock(access, owner, cidr, config);
      return false;
    }
    if (config.strictAffinity && at.value.affinity !== ownerText(owner))
      throw new OperationalError(
        'CONFLICT',
        `address ${address} lies in block ${cidr} of ${at.value.affinity ?? 'nobody'}, and strict affinity is on`,
      );
    const next = assignOne(at.value, address, request);
    if (!next) throw new OperationalError('ALREADY_EXISTS', `address ${address} is already assigned`);
    return writeWithHandle(access, request.handle, cidr, 1, next, at);
  });
  return { address, block: cidr };
}
