import { type Addr, type Clock, OperationalError, type Prefix } from '#core';
import type { Resources } from '../client/resources.ts';
import { encodeIpamConfig } from '../ipam-codec.ts';
import { type AffinityOwner, IPAM_CONFIG_KEY } from '../keys.ts';
import type { IpamConfig } from '../model/index.ts';
import type { Store } from '../store.ts';
import { IpamAccess } from './access.ts';
import { claimBlock, releaseAffinity } from './affinity.ts';
import { type Assigned, type AssignRequest, type AssignResult, assignAddress, autoAssign } from './assign.ts';
import { checkIpam, type IpamReport } from './check.ts';
import { type ReleaseRequest, type ReleaseResult, releaseAddresses, releaseByHandle } from './release.ts';
import { type IpamUsage, usage } from './usage.ts';

export type { Assigned, AssignRequest, AssignResult } from './assign.ts';
export type { Finding, IpamReport } from './check.ts';
export type { PoolUse } from './pools.ts';
export type { ReleaseRequest, ReleaseResult } from './release.ts';
export type { BlockUsage, IpamUsage, PoolUsage } from './usage.ts';

/**
 * Assigns and releases addresses beside Calico's own IPAM, on the same keys and with the same order of writes: any number of clients may work and
 * crash at once, and no address is given twice (calico-datastore.md 3).
 */
export class Ipam {
  readonly #access: IpamAccess;
  readonly #resources: Resources;
  readonly #random: () => number;

  constructor(options: { store: Store; resources: Resources; clock: Clock; random?: () => number }) {
    this.#access = new IpamAccess(options.store, options.clock);
    this.#resources = options.resources;
    this.#random = options.random ?? Math.random;
  }

  /** @throws OperationalError NOT_FOUND (node, pool), EXHAUSTED (not one address left) */
  autoAssign(request: AssignRequest): Promise<AssignResult> {
    return autoAssign(this.#access, this.#resources, request, this.#random);
  }
  /** @throws OperationalError NOT_FOUND (no pool), ALREADY_EXISTS, CONFLICT (strict affinity) */
  assign(address: Addr, request: Omit<AssignRequest, 'family' | 'count' | 'pools'>): Promise<Assigned> {
    return assignAddress(this.#access, this.#resources, address, request);
  }
  /** @throws OperationalError CONFLICT when an address is another allocation by now */
  release(requests: readonly ReleaseRequest[]): Promise<ReleaseResult> {
    return releaseAddresses(this.#access, this.#resources, requests);
  }
  /** @throws OperationalError NOT_FOUND */
  releaseByHandle(handle: string): Promise<Addr[]> {
    return releaseByHandle(this.#access, this.#resources, handle);
  }
  async claim(node: string, cidr: Prefix): Promise<boolean> {
    return (await claimBlock(this.#access, { type: 'host', name: node }, cidr, await this.config())) === 'claimed';
  }
  /** True: the owner has no claim on the block any more. */
  async releaseBlock(owner: AffinityOwner, cidr: Prefix, options: { mustBeEmpty: boolean }): Promise<boolean> {
    return releaseAffinity(this.#access, owner, cidr, await this.config(), options);
  }
  config(): Promise<IpamConfig> {
    return this.#access.config();
  }
  /** @throws OperationalError VALIDATION for combinations that Calico refuses (3.1) */
  async configure(change: Partial<IpamConfig>): Promise<IpamConfig> {
    const next = { ...(await this.config()), ...change };
    if (!next.strictAffinity && !next.autoAllocateBlocks)
      throw new OperationalError(
        'VALIDATION',
        'autoAllocateBlocks: false needs strictAffinity: true, or nobody could get an address',
      );
    if (next.maxBlocksPerHost > 0 && !next.strictAffinity)
      throw new OperationalError(
        'VALIDATION',
        'maxBlocksPerHost needs strictAffinity: true, or addresses would be borrowed past the limit',
      );
    await this.#access.store.txn([], [{ op: 'put', key: IPAM_CONFIG_KEY, value: encodeIpamConfig(next) }]);
    return next;
  }
  usage(): Promise<IpamUsage> {
    return usage(this.#access, this.#resources);
  }
  check(): Promise<IpamReport> {
    return checkIpam(this.#access, this.#resources);
  }
}
