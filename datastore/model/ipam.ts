/** State of a host's claim on a block (calico-datastore.md 3.2); the empty text of very old data counts as confirmed. */
export type AffinityState = 'pending' | 'confirmed' | 'pendingDeletion' | '';

/** `/calico/ipam/v2/host/<node>/ipv<4|6>/block/<cidr>`, or `virtual` in place of `host`. */
export interface IpamAffinity {
  owner: { type: 'host' | 'virtual'; name: string };
  cidr: string;
  state: AffinityState;
}

export interface IpamAttribute {
  handle_id?: string | null;
  secondary?: Record<string, string> | null;
  alternateOwnerAttrs?: Record<string, string>;
  releasedAt?: string;
}

/** `/calico/ipam/v2/assignment/ipv<4|6>/block/<cidr>` (calico-datastore.md 3.3). Sequence numbers exceed 2^53, hence bigint. */
export interface IpamBlock {
  cidr: string;
  /** `host:<node>`, `virtual:<name>`, or null: nobody's. */
  affinity: string | null;
  affinity_claim_time?: string;
  /** 2^(bits − prefix length) entries: null is free, else an index into `attributes`. */
  allocations: (number | null)[];
  /** Free ordinals as a queue: taken from the front, given back at the end. */
  unallocated: number[];
  attributes: IpamAttribute[];
  sequenceNumber: bigint;
  sequenceNumberForAllocation: Record<string, bigint>;
  deleted: boolean;
}

/** `/calico/ipam/v2/handle/<id>`: block CIDR → number of its addresses that carry this handle. */
export interface IpamHandle {
  block: Record<string, number>;
}

/** `/calico/ipam/v2/config`, with its defaults filled in. */
export interface IpamConfig {
  /** A node takes addresses from its own blocks only. */
  strictAffinity: boolean;
  autoAllocateBlocks: boolean;
  /** 0: no limit of its own; 20 blocks a request, node and family. */
  maxBlocksPerHost: number;
  /** How long a released address stays unused; seconds. */
  cooldownSeconds: number;
}
