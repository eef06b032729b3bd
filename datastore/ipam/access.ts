import { type Clock, OperationalError, type Prefix, prefix } from '#core';
import {
  decodeAffinity,
  decodeBlock,
  decodeHandle,
  decodeIpamConfig,
  encodeAffinity,
  encodeBlock,
  encodeHandle,
} from '../ipam-codec.ts';
import {
  type AffinityOwner,
  affinityKey,
  affinityPrefix,
  blockKey,
  handleKey,
  IPAM_BLOCKS_PREFIX,
  IPAM_CONFIG_KEY,
  parseKey,
} from '../keys.ts';
import type { AffinityState, IpamAffinity, IpamBlock, IpamConfig, IpamHandle } from '../model/index.ts';
import type { Store } from '../store.ts';
import { thaw } from './block.ts';

/** A value with the revision that a compare-and-swap needs; `mod` 0n: it does not exist. */
export interface At<T> {
  readonly value: T;
  readonly mod: bigint;
}

/** Tries of one compare-and-swap before giving up: only an endless writer elsewhere can use them up. */
export const ATTEMPTS = 100;

/**
 * IPAM's keys, typed. Every write is a compare-and-swap of one key; there are no multi-key transactions, because other clients of the same keys
 * use none, and the order of writes is what gives safety (calico-datastore.md 3.6).
 */
export class IpamAccess {
  readonly store: Store;
  readonly clock: Clock;

  constructor(store: Store, clock: Clock) {
    this.store = store;
    this.clock = clock;
  }

  async config(): Promise<IpamConfig> {
    const entry = await this.store.get(IPAM_CONFIG_KEY);
    return readable(IPAM_CONFIG_KEY, decodeIpamConfig(entry?.value ?? null));
  }

  /** The block, with what has cooled down already freed. */
  async block(cidr: Prefix, config: IpamConfig): Promise<At<IpamBlock> | null> {
    const key = blockKey(cidr);
    const entry = await this.store.get(key);
    if (!entry) return null;
    const block = readable(key, decodeBlock(entry.value));
    return { value: thaw(block, this.clock.date(), config.cooldownSeconds), mod: entry.modRevision };
  }
  /** False: somebody else was faster. */
  putBlock(block: IpamBlock, mod: bigint): Promise<boolean> {
    return this.#swap(blockKey(prefix(block.cidr)), mod, encodeBlock(block));
  }
  deleteBlock(cidr: Prefix, mod: bigint): Promise<boolean> {
    return this.#swap(blockKey(cidr), mod, null);
  }
  /** All blocks, those that cannot be read as `unreadable`. */
  async *blocks(
    config: IpamConfig,
  ): AsyncGenerator<{ cidr: Prefix; at: At<IpamBlock> } | { cidr: Prefix; unreadable: string }> {
    for await (const page of this.store.list(IPAM_BLOCKS_PREFIX))
      for (const entry of page) {
        const key = parseKey(entry.key);
        if (key?.type !== 'block') continue;
        const decoded = decodeBlock(entry.value);
        if (!decoded.ok) yield { cidr: key.cidr, unreadable: decoded.error };
        else {
          const value = thaw(decoded.value, this.clock.date(), config.cooldownSeconds);
          yield { cidr: key.cidr, at: { value, mod: entry.modRevision } };
        }
      }
  }

  async affinity(owner: AffinityOwner, cidr: Prefix): Promise<At<IpamAffinity> | null> {
    const key = affinityKey(owner, cidr);
    const entry = await this.store.get(key);
    return entry && { value: readable(key, decodeAffinity(entry.value, owner, cidr)), mod: entry.modRevision };
  }
  putAffinity(owner: AffinityOwner, cidr: Prefix, state: AffinityState, mod: bigint): Promise<boolean> {
    return this.#swap(affinityKey(owner, cidr), mod, encodeAffinity({ owner: { ...owner }, cidr, state }));
  }
  deleteAffinity(owner: AffinityOwner, cidr: Prefix, mod: bigint): Promise<boolean> {
    return this.#swap(affinityKey(owner, cidr), mod, null);
  }
  /** The owner's affinities in key order. */
  async affinities(owner: AffinityOwner, family: 4 | 6): Promise<{ cidr: Prefix; state: AffinityState }[]> {
    const found: { cidr: Prefix; state: AffinityState }[] = [];
    for await (const page of this.store.list(affinityPrefix(owner, family)))
      for (const entry of page) {
        const key = parseKey(entry.key);
        if (key?.type !== 'affinity' || key.owner.name !== owner.name) continue;
        const decoded = decodeAffinity(entry.value, owner, key.cidr);
        if (decoded.ok) found.push({ cidr: key.cidr, state: decoded.value.state });
      }
    return found;
  }

  async handle(id: string): Promise<At<IpamHandle> | null> {
    const key = handleKey(id);
    const entry = await this.store.get(key);
    return entry && { value: readable(key, decodeHandle(entry.value)), mod: entry.modRevision };
  }
  /** Adds to the handle's count for a block; a negative number takes away, and an empty handle goes. */
  async countHandle(id: string, cidr: Prefix, change: number): Promise<void> {
    await this.retry(`handle ${id}`, async () => {
      const at = await this.handle(id);
      const block = { ...at?.value.block };
      const count = Math.max(0, (block[cidr] ?? 0) + change);
      if (count > 0) block[cidr] = count;
      else delete block[cidr];
      if (Object.keys(block).length > 0) return this.#swap(handleKey(id), at?.mod ?? 0n, encodeHandle({ block }));
      return at ? this.#swap(handleKey(id), at.mod, null) : true;
    });
  }

  /** Repeats until the attempt says true. @throws OperationalError CONFLICT when others never leave room for a write */
  async retry(what: string, attempt: () => Promise<boolean>): Promise<void> {
    for (let i = 0; i < ATTEMPTS; i++) if (await attempt()) return;
    throw new OperationalError(
      'CONFLICT',
      `${what} is changed by others all the time; gave up after ${ATTEMPTS} attempts`,
    );
  }

  async #swap(key: string, mod: bigint, value: string | null): Promise<boolean> {
    const write = value === null ? ({ op: 'delete', key } as const) : ({ op: 'put', key, value } as const);
    return (await this.store.txn([{ key, mod }], [write])).ok;
  }
}

function readable<T>(key: string, decoded: { ok: true; value: T } | { ok: false; error: string }): T {
  if (decoded.ok) return decoded.value;
  throw new OperationalError(
    'VALIDATION',
    `${key} cannot be read: ${decoded.error}; tsnetctl ipam check explains more`,
  );
}
