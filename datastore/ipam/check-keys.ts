import type { Prefix } from '#core';
import { decodeAffinity, decodeHandle } from '../ipam-codec.ts';
import { IPAM_HANDLES_PREFIX, IPAM_PREFIX, parseKey } from '../keys.ts';
import type { IpamBlock } from '../model/index.ts';
import type { KeyValue } from '../store.ts';
import type { IpamAccess } from './access.ts';
import { ownerText } from './affinity.ts';
import { allocationsOf, handleId, isCooling } from './block.ts';
import type { Finding } from './check.ts';

type Blocks = ReadonlyMap<Prefix, IpamBlock>;

/** Affinities and blocks name each other; a claim that was cut short shows in its state. */
export async function checkAffinities(access: IpamAccess, blocks: Blocks): Promise<Finding[]> {
  const findings: Finding[] = [];
  const claimed = new Map<Prefix, string[]>();
  for await (const page of access.store.list(IPAM_PREFIX))
    for (const entry of page) {
      const key = parseKey(entry.key);
      if (key?.type !== 'affinity') continue;
      const owner = ownerText(key.owner);
      claimed.set(key.cidr, [...(claimed.get(key.cidr) ?? []), owner]);
      const finding = affinityFault(entry, key, owner, blocks);
      if (finding) findings.push(finding);
    }
  for (const [cidr, block] of blocks)
    if (block.affinity !== null && !claimed.get(cidr)?.includes(block.affinity))
      findings.push({
        type: 'affinity',
        subject: `block ${cidr}`,
        message: `says that it belongs to ${block.affinity}, which has no affinity to it`,
        remedy: 'tsnetctl ipam release of its addresses; it is borrowed from until then',
      });
  return findings;
}

type AffinityKey = Extract<NonNullable<ReturnType<typeof parseKey>>, { type: 'affinity' }>;

function affinityFault(entry: KeyValue, key: AffinityKey, owner: string, blocks: Blocks): Finding | null {
  const subject = `affinity of ${owner} to ${key.cidr}`;
  const mended = 'the next assignment on that node mends it';
  const decoded = decodeAffinity(entry.value, key.owner, key.cidr);
  if (!decoded.ok)
    return {
      type: 'affinity',
      subject,
      message: `cannot be read: ${decoded.error}`,
      remedy: 'delete the key; the node claims the block again',
    };
  const { state } = decoded.value;
  if (state === 'pending' || state === 'pendingDeletion')
    return { type: 'affinity', subject, message: `is ${state}: a claim or release was cut short`, remedy: mended };
  const block = blocks.get(key.cidr);
  if (block?.affinity === owner) return null;
  const instead = block ? `belongs to ${block.affinity ?? 'nobody'}` : 'does not exist';
  return { type: 'affinity', subject, message: `is confirmed, but the block ${instead}`, remedy: mended };
}

/** Handles count what blocks hold. */
export async function checkHandles(access: IpamAccess, blocks: Blocks): Promise<Finding[]> {
  const findings: Finding[] = [];
  const real = countByHandle(blocks);
  const known = new Set<string>();
  for await (const page of access.store.list(IPAM_HANDLES_PREFIX))
    for (const entry of page) {
      const key = parseKey(entry.key);
      if (key?.type !== 'handle') continue;
      known.add(handleId(key.id));
      findings.push(...handleFaults(key.id, entry.value, real));
    }
  for (const id of real.keys())
    if (!known.has(id))
      findings.push({
        type: 'handle',
        subject: `handle '${id}'`,
        message: 'does not exist, but addresses carry it',
        remedy: 'tsnetctl ipam release of those addresses',
      });
  return findings;
}

function countByHandle(blocks: Blocks): Map<string, Map<string, number>> {
  const real = new Map<string, Map<string, number>>();
  for (const [cidr, block] of blocks)
    for (const { attribute } of allocationsOf(block)) {
      const id = handleId(attribute.handle_id);
      if (!id || isCooling(attribute)) continue;
      const counts = real.get(id) ?? new Map<string, number>();
      real.set(id, counts.set(cidr, (counts.get(cidr) ?? 0) + 1));
    }
  return real;
}

function handleFaults(id: string, value: string, real: ReadonlyMap<string, ReadonlyMap<string, number>>): Finding[] {
  const subject = `handle '${id}'`;
  const decoded = decodeHandle(value);
  if (!decoded.ok)
    return [
      {
        type: 'handle',
        subject,
        message: `cannot be read: ${decoded.error}`,
        remedy: 'delete the key; release its addresses by address',
      },
    ];
  return Object.entries(decoded.value.block).flatMap(([cidr, count]): Finding[] => {
    const is = real.get(handleId(id))?.get(cidr) ?? 0;
    if (is === count) return [];
    const remedy =
      is === 0 ? 'releasing the handle removes the count' : 'harmless: releasing the handle frees what is there';
    return [
      { type: 'handle', subject, message: `counts ${count} addresses of block ${cidr}; there are ${is}`, remedy },
    ];
  });
}
