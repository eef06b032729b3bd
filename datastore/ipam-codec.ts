import { LosslessNumber, parse, stringify } from 'lossless-json';
import { err, messageOf, ok, parsePrefix, prefixLength, type Result } from '#core';
import type { AffinityOwner } from './keys.ts';
import type { AffinityState, IpamAffinity, IpamAttribute, IpamBlock, IpamConfig, IpamHandle } from './model/index.ts';

/** A block of more addresses than this is not one of Calico's: sizes end at 2^12 (calico-datastore.md 3.5). */
const MOST_ORDINALS = 4096;

/** Numbers stay exact: those that JavaScript cannot hold become bigint. */
const exact = (digits: string): number | bigint => {
  const number = Number(digits);
  return Number.isSafeInteger(number) || !/^-?[0-9]+$/.test(digits) ? number : BigInt(digits);
};

function parseObject(text: string): Result<Record<string, unknown>, string> {
  try {
    const value = parse(text, undefined, exact);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return ok(value as Record<string, unknown>);
    return err('the value is not a JSON object');
  } catch (error) {
    return err(`the value is not JSON: ${messageOf(error)}`);
  }
}

const STATES: readonly AffinityState[] = ['pending', 'confirmed', 'pendingDeletion', ''];

/** Reads an affinity; who and what it concerns is in the key. An empty value is very old data and counts as confirmed. */
export function decodeAffinity(value: string, owner: AffinityOwner, cidr: string): Result<IpamAffinity, string> {
  const parsed = parseObject(value === '' ? '{}' : value);
  if (!parsed.ok) return parsed;
  const state = (parsed.value.state ?? '') as AffinityState;
  if (!STATES.includes(state)) return err(`state must be pending, confirmed or pendingDeletion`);
  return ok({ owner: { ...owner }, cidr, state });
}

export const encodeAffinity = (affinity: IpamAffinity): string =>
  JSON.stringify({ state: affinity.state, deleted: false });

/** Reads a block and holds its arrays against its size, so that ordinals may be trusted. Unknown fields are kept. */
export function decodeBlock(value: string): Result<IpamBlock, string> {
  const parsed = parseObject(value);
  if (!parsed.ok) return parsed;
  const raw = parsed.value;
  const cidr = parsePrefix(String(raw.cidr));
  if (!cidr.ok) return err(`cidr: ${cidr.error}`);
  const hostBits = (cidr.value.includes(':') ? 128 : 32) - prefixLength(cidr.value);
  const size = 2 ** hostBits;
  if (size > MOST_ORDINALS) return err(`cidr: ${cidr.value} is larger than any block`);
  const attributes = (raw.attributes ?? []) as IpamAttribute[];
  const allocations = raw.allocations as (number | null)[];
  const unallocated = (raw.unallocated ?? []) as number[];
  const wrong = wrongArrays(allocations, unallocated, attributes, size);
  if (wrong) return err(wrong);
  const sequence = asBigInt(raw.sequenceNumber ?? 0);
  const perAllocation = Object.entries(raw.sequenceNumberForAllocation ?? {}).map(
    ([k, v]) => [k, asBigInt(v)] as const,
  );
  if (sequence === null || perAllocation.some(([, v]) => v === null))
    return err('sequenceNumber and sequenceNumberForAllocation must be whole numbers');
  return ok({
    ...raw,
    cidr: cidr.value,
    affinity: typeof raw.affinity === 'string' && raw.affinity !== '' ? raw.affinity : null,
    allocations,
    unallocated,
    attributes,
    sequenceNumber: sequence,
    sequenceNumberForAllocation: Object.fromEntries(perAllocation) as Record<string, bigint>,
    deleted: raw.deleted === true,
  });
}

function wrongArrays(allocations: unknown, unallocated: unknown, attributes: unknown, size: number): string | null {
  if (!Array.isArray(attributes) || attributes.some((a) => typeof a !== 'object' || a === null))
    return 'attributes must be a list of objects';
  if (!Array.isArray(allocations) || allocations.length !== size)
    return `allocations must be a list of ${size} entries`;
  const inRange = (value: unknown, end: number) => Number.isInteger(value) && Number(value) >= 0 && Number(value) < end;
  if (allocations.some((index) => index !== null && !inRange(index, attributes.length)))
    return 'allocations must be null or an index into attributes';
  if (!Array.isArray(unallocated) || unallocated.some((ordinal) => !inRange(ordinal, size)))
    return `unallocated must be a list of ordinals below ${size}`;
  return null;
}

function asBigInt(value: unknown): bigint | null {
  if (typeof value === 'bigint') return value;
  return Number.isSafeInteger(value) ? BigInt(value as number) : null;
}

/** The text to store; sequence numbers in full, and the empty map as Calico writes it. */
export function encodeBlock(block: IpamBlock): string {
  const sequences = Object.entries(block.sequenceNumberForAllocation).map(
    ([ordinal, sequence]) => [ordinal, new LosslessNumber(String(sequence))] as const,
  );
  const text = stringify({
    ...block,
    sequenceNumber: new LosslessNumber(String(block.sequenceNumber)),
    sequenceNumberForAllocation: Object.fromEntries(sequences),
  });
  return text as string;
}

/** Reads a handle: how many addresses of each block it holds. */
export function decodeHandle(value: string): Result<IpamHandle, string> {
  const parsed = parseObject(value);
  if (!parsed.ok) return parsed;
  const counts = parsed.value.block ?? {};
  const good = typeof counts === 'object' && Object.values(counts as object).every((n) => Number.isSafeInteger(n));
  return good ? ok({ block: { ...(counts as Record<string, number>) } }) : err('block must map CIDRs to counts');
}

export const encodeHandle = (handle: IpamHandle): string => JSON.stringify({ block: handle.block, deleted: false });

/** Reads the configuration of IPAM; an absent key has other defaults than an empty object (calico-datastore.md 3.1). */
export function decodeIpamConfig(value: string | null): Result<IpamConfig, string> {
  if (value === null)
    return ok({ strictAffinity: false, autoAllocateBlocks: true, maxBlocksPerHost: 0, cooldownSeconds: 0 });
  const parsed = parseObject(value);
  if (!parsed.ok) return parsed;
  const { strict_affinity, auto_allocate_blocks, maxBlocksPerHost = 0, ipCooldownSeconds = 0 } = parsed.value;
  if (!Number.isSafeInteger(maxBlocksPerHost) || !Number.isSafeInteger(ipCooldownSeconds))
    return err('maxBlocksPerHost and ipCooldownSeconds must be whole numbers');
  return ok({
    strictAffinity: strict_affinity === true,
    autoAllocateBlocks: auto_allocate_blocks === true,
    maxBlocksPerHost: maxBlocksPerHost as number,
    cooldownSeconds: ipCooldownSeconds as number,
  });
}

/** The text to store; `auto_allocate_blocks` always stands there, because its absence means false. */
export const encodeIpamConfig = (config: IpamConfig): string =>
  JSON.stringify({
    strict_affinity: config.strictAffinity,
    auto_allocate_blocks: config.autoAllocateBlocks,
    ...(config.maxBlocksPerHost > 0 && { maxBlocksPerHost: config.maxBlocksPerHost }),
    ...(config.cooldownSeconds > 0 && { ipCooldownSeconds: config.cooldownSeconds }),
  });
