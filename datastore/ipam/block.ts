import { type Addr, addrMinus, addrPlus, bitsOf, covers, familyOf, type Prefix, prefixAddr, prefixLength } from '#core';
import type { IpamAttribute, IpamBlock } from '../model/index.ts';

/** What an allocation is for: the handle that frees it, and who asked (calico-datastore.md 3.7). */
export interface AllocationAttributes {
  readonly handle: string;
  readonly secondary: Readonly<Record<string, string>>;
}

/** A block with all addresses free, in order. `sequence` starts at the time of making, in nanoseconds since the epoch. */
export function newBlock(cidr: Prefix, affinity: string | null, now: Date): IpamBlock {
  const size = 2 ** (bitsOf(familyOf(cidr)) - prefixLength(cidr));
  return {
    cidr,
    affinity,
    ...(affinity !== null && { affinity_claim_time: seconds(now) }),
    allocations: Array.from({ length: size }, () => null),
    unallocated: Array.from({ length: size }, (_, ordinal) => ordinal),
    attributes: [],
    sequenceNumber: BigInt(now.getTime()) * 1_000_000n,
    sequenceNumberForAllocation: {},
    deleted: false,
  };
}

const seconds = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`;

export const addressAt = (block: IpamBlock, ordinal: number): Addr =>
  addrPlus(prefixAddr(block.cidr as Prefix), ordinal);

/** The place of an address in its block, or null if it is outside. */
export function ordinalOf(block: IpamBlock, address: Addr): number | null {
  return covers(block.cidr as Prefix, address) ? Number(addrMinus(address, prefixAddr(block.cidr as Prefix))) : null;
}

/** The attribute that a released address points to while it cools down: nothing but the time of release (3.3). */
export const isCooling = (attribute: IpamAttribute): boolean =>
  attribute.releasedAt !== undefined && !attribute.handle_id;

/** Handle that Windows nodes put on addresses they reserve; a block with only those counts as empty. */
const WINDOWS_RESERVED = 'windows-reserved-ipam-handle';

export function isEmptyBlock(block: IpamBlock): boolean {
  return block.allocations.every((index) => {
    if (index === null) return true;
    const attribute = block.attributes[index];
    return isCooling(attribute) || attribute.handle_id === WINDOWS_RESERVED;
  });
}

/** The part of a handle's id before `\r`: a historical bug appended more (3.4). */
export const handleId = (id: string | null | undefined): string => (id ?? '').split('\r')[0];

/** Ordinals by handle, and free ones, as plain facts for reports. */
export function* allocationsOf(block: IpamBlock): IterableIterator<{ ordinal: number; attribute: IpamAttribute }> {
  for (const [ordinal, index] of block.allocations.entries())
    if (index !== null) yield { ordinal, attribute: block.attributes[index] };
}

/** A copy that the caller may change. */
export const copyBlock = (block: IpamBlock): IpamBlock => ({
  ...block,
  allocations: [...block.allocations],
  unallocated: [...block.unallocated],
  attributes: block.attributes.map((a) => ({ ...a })),
  sequenceNumberForAllocation: { ...block.sequenceNumberForAllocation },
});

/**
 * Takes up to `count` free addresses from the front of the queue; reserved ones are passed over and keep their place.
 * @returns the addresses, and the block to write, or null for the block when nothing was taken.
 */
export function assignFrom(
  block: IpamBlock,
  count: number,
  attributes: AllocationAttributes,
  isReserved: (address: Addr) => boolean,
): { addresses: Addr[]; next: IpamBlock | null } {
  const next = copyBlock(block);
  const taken: number[] = [];
  const left: number[] = [];
  for (const ordinal of block.unallocated) {
    if (taken.length < count && !isReserved(addressAt(block, ordinal))) taken.push(ordinal);
    else left.push(ordinal);
  }
  if (taken.length === 0) return { addresses: [], next: null };
  next.unallocated = left;
  for (const ordinal of taken) allocate(next, ordinal, attributes);
  next.sequenceNumber++;
  return { addresses: taken.map((ordinal) => addressAt(block, ordinal)), next };
}

/** Takes one given address; null: somebody has it, or it is still cooling down. */
export function assignOne(block: IpamBlock, address: Addr, attributes: AllocationAttributes): IpamBlock | null {
  const ordinal = ordinalOf(block, address);
  if (ordinal === null || block.allocations[ordinal] !== null) return null;
  const next = copyBlock(block);
  next.unallocated = next.unallocated.filter((o) => o !== ordinal);
  allocate(next, ordinal, attributes);
  next.sequenceNumber++;
  return next;
}

function allocate(block: IpamBlock, ordinal: number, { handle, secondary }: AllocationAttributes): void {
  // The sequence number before the write, so that a late release of an earlier holder is told apart.
  block.sequenceNumberForAllocation[String(ordinal)] = block.sequenceNumber;
  const known = block.attributes.findIndex((a) => a.handle_id === handle && sameMap(a.secondary ?? {}, secondary));
  block.allocations[ordinal] =
    known >= 0 ? known : block.attributes.push({ handle_id: handle, secondary: { ...secondary } }) - 1;
}

const sameMap = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean =>
  Object.keys(a).length === Object.keys(b).length && Object.entries(a).every(([k, v]) => b[k] === v);

export interface Released {
  readonly ordinals: readonly number[];
  /** How many addresses each handle has lost. */
  readonly handles: ReadonlyMap<string, number>;
  readonly next: IpamBlock;
}

/**
 * Frees addresses: at once, or after `cooldown` seconds during which they point to an attribute that holds only the time.
 * Ordinals that are free or cooling already are left out of the result.
 */
export function release(block: IpamBlock, ordinals: Iterable<number>, now: Date, cooldown: number): Released | null {
  const next = copyBlock(block);
  const handles = new Map<string, number>();
  const freed: number[] = [];
  for (const ordinal of ordinals) {
    const index = next.allocations[ordinal];
    if (index === null || isCooling(next.attributes[index])) continue;
    const handle = handleId(next.attributes[index].handle_id);
    if (handle) handles.set(handle, (handles.get(handle) ?? 0) + 1);
    delete next.sequenceNumberForAllocation[String(ordinal)];
    freed.push(ordinal);
    if (cooldown > 0) next.allocations[ordinal] = cooling(next, now);
    else free(next, ordinal);
  }
  if (freed.length === 0) return null;
  compact(next);
  next.sequenceNumber++;
  return { ordinals: freed, handles, next };
}

function cooling(block: IpamBlock, now: Date): number {
  const releasedAt = seconds(now);
  const known = block.attributes.findIndex((a) => isCooling(a) && a.releasedAt === releasedAt);
  return known >= 0 ? known : block.attributes.push({ releasedAt }) - 1;
}

function free(block: IpamBlock, ordinal: number): void {
  block.allocations[ordinal] = null;
  block.unallocated.push(ordinal);
}

/** Frees what has cooled down; done on every load of a block, and written with the next change. */
export function thaw(block: IpamBlock, now: Date, cooldown: number): IpamBlock {
  const due = (attribute: IpamAttribute) =>
    isCooling(attribute) && Date.parse(attribute.releasedAt ?? '') + cooldown * 1000 <= now.getTime();
  if (!block.attributes.some(due)) return block;
  const next = copyBlock(block);
  for (const { ordinal, attribute } of [...allocationsOf(next)]) if (due(attribute)) free(next, ordinal);
  compact(next);
  return next;
}

/** Drops attributes that nothing refers to and rewrites the indexes. */
function compact(block: IpamBlock): void {
  const used = new Map<number, number>();
  const attributes: IpamAttribute[] = [];
  block.allocations = block.allocations.map((index) => {
    if (index === null) return null;
    let moved = used.get(index);
    if (moved === undefined) {
      moved = attributes.push(block.attributes[index]) - 1;
      used.set(index, moved);
    }
    return moved;
  });
  block.attributes = attributes;
}
