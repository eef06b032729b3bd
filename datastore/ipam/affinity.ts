import type { Prefix } from '#core';
import type { AffinityOwner } from '../keys.ts';
import type { IpamBlock, IpamConfig } from '../model/index.ts';
import type { At, IpamAccess } from './access.ts';
import { copyBlock, isEmptyBlock, newBlock } from './block.ts';

/** `host:node-1`, as it stands in a block's `affinity`. */
export const ownerText = (owner: AffinityOwner): string => `${owner.type}:${owner.name}`;

export const ownerOf = (text: string | null): AffinityOwner | null => {
  const at = text?.indexOf(':') ?? -1;
  if (text === null || at < 0) return null;
  const type = text.slice(0, at);
  return type === 'host' || type === 'virtual' ? { type, name: text.slice(at + 1) } : null;
};

export type Claim = 'claimed' | 'taken';

/**
 * Claims a block for an owner. The creation of the block's key decides who owns it; the pending affinity before it leaves a trace that
 * can be found and repaired, wherever a crash comes in between (calico-datastore.md 3.6).
 */
export async function claimBlock(
  access: IpamAccess,
  owner: AffinityOwner,
  cidr: Prefix,
  config: IpamConfig,
): Promise<Claim> {
  let result: Claim = 'taken';
  await access.retry(`the claim on block ${cidr}`, async () => {
    const affinity = await access.affinity(owner, cidr);
    const settled = affinity?.value.state === 'confirmed' || affinity?.value.state === '';
    // A write of `pending` over another state also makes a releaser that is under way fail.
    if (!settled && !(await access.putAffinity(owner, cidr, 'pending', affinity?.mod ?? 0n))) return false;
    const existing = await access.block(cidr, config);
    if (!existing) {
      if (!(await access.putBlock(newBlock(cidr, ownerText(owner), access.clock.date()), 0n))) return false;
    } else if (existing.value.affinity !== ownerText(owner)) {
      await dropAffinity(access, owner, cidr);
      result = 'taken';
      return true;
    }
    if (!(await confirm(access, owner, cidr))) return false;
    result = 'claimed';
    return true;
  });
  return result;
}

async function confirm(access: IpamAccess, owner: AffinityOwner, cidr: Prefix): Promise<boolean> {
  const affinity = await access.affinity(owner, cidr);
  if (affinity?.value.state === 'confirmed') return true;
  return affinity !== null && access.putAffinity(owner, cidr, 'confirmed', affinity.mod);
}

async function dropAffinity(access: IpamAccess, owner: AffinityOwner, cidr: Prefix): Promise<void> {
  const affinity = await access.affinity(owner, cidr);
  // A lost race leaves an affinity without a block of ours; whoever meets it next drops it the same way.
  if (affinity) await access.deleteAffinity(owner, cidr, affinity.mod);
}

/**
 * A block of the owner's, ready to give addresses: its affinity is confirmed. Repairs what a crash left half done.
 * @returns null when the block is not the owner's after all; then the stale affinity is gone.
 */
export async function ownBlock(
  access: IpamAccess,
  owner: AffinityOwner,
  cidr: Prefix,
  config: IpamConfig,
): Promise<At<IpamBlock> | null> {
  let result: At<IpamBlock> | null = null;
  await access.retry(`block ${cidr}`, async () => {
    const affinity = await access.affinity(owner, cidr);
    const block = await access.block(cidr, config);
    if (!block) {
      if ((await claimBlock(access, owner, cidr, config)) === 'taken') return true;
      result = await access.block(cidr, config);
      return result !== null;
    }
    if (block.value.affinity !== ownerText(owner)) {
      if (affinity) await access.deleteAffinity(owner, cidr, affinity.mod);
      return true;
    }
    if (affinity?.value.state === 'confirmed' || affinity?.value.state === '') {
      result = block;
      return true;
    }
    if (!(await access.putAffinity(owner, cidr, 'pending', affinity?.mod ?? 0n))) return false;
    // Writing the block as it is makes a releaser's compare-and-swap fail.
    const touched = copyBlock(block.value);
    touched.sequenceNumber++;
    if (!(await access.putBlock(touched, block.mod))) return false;
    if (!(await confirm(access, owner, cidr))) return false;
    result = await access.block(cidr, config);
    return result !== null;
  });
  return result;
}

export interface ReleaseAffinityOptions {
  /** Leave a block that still has addresses in use as it is. */
  readonly mustBeEmpty: boolean;
  /** Only if the block has not been written since: somebody looked at it and decided by what it saw. */
  readonly sequence?: bigint;
}

/** Gives a block back: empty it goes, with addresses in use it stays without owner. True: the owner has no claim on it any more. */
export async function releaseAffinity(
  access: IpamAccess,
  owner: AffinityOwner,
  cidr: Prefix,
  config: IpamConfig,
  { mustBeEmpty, sequence }: ReleaseAffinityOptions,
): Promise<boolean> {
  let released = false;
  await access.retry(`the release of block ${cidr}`, async () => {
    const affinity = await access.affinity(owner, cidr);
    const block = await access.block(cidr, config);
    if (block?.value.affinity !== ownerText(owner)) {
      released = affinity === null || (await access.deleteAffinity(owner, cidr, affinity.mod));
      return released;
    }
    const isEmpty = isEmptyBlock(block.value);
    if ((mustBeEmpty && !isEmpty) || (sequence !== undefined && block.value.sequenceNumber !== sequence)) return true;
    if (!(await access.putAffinity(owner, cidr, 'pendingDeletion', affinity?.mod ?? 0n))) return false;
    if (!(isEmpty ? await access.deleteBlock(cidr, block.mod) : await access.putBlock(orphan(block.value), block.mod)))
      return false;
    await dropPendingDeletion(access, owner, cidr);
    released = true;
    return true;
  });
  return released;
}

function orphan(block: IpamBlock): IpamBlock {
  const next = copyBlock(block);
  next.affinity = null;
  delete next.affinity_claim_time;
  next.sequenceNumber++;
  return next;
}

/** A claimer that came in between has set the affinity back to pending: then it is its business. */
async function dropPendingDeletion(access: IpamAccess, owner: AffinityOwner, cidr: Prefix): Promise<void> {
  const affinity = await access.affinity(owner, cidr);
  if (affinity?.value.state === 'pendingDeletion') await access.deleteAffinity(owner, cidr, affinity.mod);
}
