import { randomUUID } from 'node:crypto';
import { addrPlus, bitsOf, familyOf, OperationalError, type Prefix, prefixAddr, prefixLength } from '#core';
import { encodeResource, type IPPool, resourceKey, type Write } from '#datastore';
import type { Session } from '../session.ts';
import { poolOf, withIpam } from './ipam.ts';

/** What one transaction of etcd takes, with the deletion. */
const MOST = 64;

interface SplitOptions {
  readonly cidr?: string;
  readonly name?: string;
}

/**
 * `ipam split N`: puts N pools of equal size in the place of one, in one transaction, so that there is no moment without a pool. Blocks
 * and addresses stay as they are: they belong to whichever pool covers them.
 */
export async function split(session: Session, text: string, options: SplitOptions): Promise<number> {
  const number = /^[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  if (number < 2 || number > MOST || (number & (number - 1)) !== 0)
    throw new OperationalError('CONFIG', `the number of pools must be 2, 4, 8, 16, 32 or ${MOST}, not '${text}'`);
  return withIpam(session, async ({ resources, store }) => {
    const pool = await poolOf(resources, options);
    const children = childrenOf(pool, number, session.io.clock.date());
    const key = resourceKey('IPPool', pool.metadata.name);
    const keys = children.map((child) => resourceKey('IPPool', child.metadata.name));
    const writes: Write[] = [
      { op: 'delete', key },
      ...children.map((child, i): Write => ({ op: 'put', key: keys[i], value: encodeResource(child) })),
    ];
    const mod = BigInt(pool.metadata.resourceVersion ?? '0');
    const done = await store.txn([{ key, mod }, ...keys.map((name) => ({ key: name, mod: 0n }))], writes);
    if (!done.ok) {
      const taken = done.now.findIndex((now, i) => i > 0 && now !== null);
      const why =
        taken > 0
          ? `IPPool(${children[taken - 1].metadata.name}) exists already`
          : 'the pool was changed meanwhile; try again';
      throw new OperationalError('CONFLICT', `IPPool(${pool.metadata.name}) was not split: ${why}`);
    }
    for (const child of children)
      session.io.stdout.write(`IPPool(${child.metadata.name}) created: ${child.spec.cidr}\n`);
    session.io.stdout.write(`IPPool(${pool.metadata.name}) deleted\n`);
    return 0;
  });
}

function childrenOf(pool: IPPool, number: number, now: Date): IPPool[] {
  const cidr = pool.spec.cidr as Prefix;
  const length = prefixLength(cidr) + Math.log2(number);
  const bits = bitsOf(familyOf(cidr));
  const blockSize = pool.spec.blockSize ?? (bits === 32 ? 26 : 122);
  if (length > blockSize)
    throw new OperationalError(
      'VALIDATION',
      `${cidr} cannot be split into ${number}: each would be smaller than a block of /${blockSize}`,
    );
  const size = 2n ** BigInt(bits - length);
  return Array.from({ length: number }, (_, i) => ({
    ...pool,
    metadata: {
      name: `split-${pool.metadata.name}-${i}`,
      uid: randomUUID(),
      creationTimestamp: `${now.toISOString().slice(0, 19)}Z`,
      ...(pool.metadata.labels && { labels: pool.metadata.labels }),
      ...(pool.metadata.annotations && { annotations: pool.metadata.annotations }),
    },
    spec: { ...pool.spec, cidr: `${addrPlus(prefixAddr(cidr), size * BigInt(i))}/${length}` },
  }));
}
