import type { Family } from '#core';

/** The four tables of iptables, and what the nftables backend maps them to. */
export type Table = 'raw' | 'mangle' | 'nat' | 'filter';
export const TABLES: readonly Table[] = ['raw', 'mangle', 'nat', 'filter'];

/**
 * One condition of a rule, as data; `negate` inverts it. The printers in render/ turn it into `iptables-restore` or `nft` text; nothing else does,
 * so a value from the datastore reaches a command line only through one place that escapes it.
 */
export type Match =
  | { readonly m: 'in' | 'out'; readonly iface: string; readonly negate?: boolean } // `cali+` matches a prefix
  | { readonly m: 'protocol'; readonly protocol: number; readonly negate?: boolean }
  | { readonly m: 'src' | 'dst'; readonly net: string; readonly negate?: boolean }
  | { readonly m: 'src-set' | 'dst-set'; readonly set: SetId; readonly negate?: boolean } // address
  | { readonly m: 'src-port-set' | 'dst-port-set'; readonly set: SetId; readonly negate?: boolean } // address,protocol:port
  | { readonly m: 'sports' | 'dports'; readonly ports: readonly PortRange[]; readonly negate?: boolean } // at most 15 slots
  | { readonly m: 'icmp'; readonly type: number; readonly code?: number; readonly negate?: boolean }
  | { readonly m: 'mark'; readonly value: number; readonly mask: number; readonly negate?: boolean }
  | { readonly m: 'ctstate'; readonly states: readonly CtState[]; readonly negate?: boolean }
  | { readonly m: 'ctdir-original' | 'dnatted'; readonly negate?: boolean }
  | { readonly m: 'rpf-failed' } // strict reverse path check, by mark-aware lookup
  | {
      readonly m: 'addrtype';
      readonly side: 'src' | 'dst';
      readonly type: 'LOCAL' | 'UNICAST';
      readonly limitIface?: 'in' | 'out';
      readonly negate?: boolean;
    }
  | { readonly m: 'limit'; readonly perSecond: number; readonly burst: number } // less than one a second is a fraction
  | { readonly m: 'connlimit-above'; readonly count: number; readonly side: 'src' | 'dst' };
export type CtState = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';
/** Inclusive; equal ends are one port. */
export type PortRange = readonly [from: number, to: number];

export type Action =
  | { readonly do: 'accept' | 'drop' | 'return' | 'notrack' }
  | { readonly do: 'reject'; readonly with: 'icmp-port-unreachable' | 'tcp-reset' }
  | { readonly do: 'jump' | 'goto'; readonly chain: string }
  | { readonly do: 'map'; readonly side: 'in' | 'out'; readonly targets: ReadonlyMap<string, string> } // interface → chain to go to; nftables only
  | { readonly do: 'mark'; readonly value: number; readonly mask: number } // (mark & ~mask) | value
  /** NFLOG if a group is given, else LOG. Of `prefix` stands what there is room for; `rule` stands whole after it. */
  | { readonly do: 'log'; readonly prefix: string; readonly rule: number; readonly group?: number }
  | { readonly do: 'masquerade'; readonly ports?: PortRange; readonly randomFully?: boolean }
  | { readonly do: 'snat' | 'dnat'; readonly to: string; readonly ports?: PortRange; readonly randomFully?: boolean }
  | { readonly do: 'dscp'; readonly value: number }
  | { readonly do: 'none' }; // a rule that only counts or comments

export interface ChainRule {
  readonly match: readonly Match[];
  readonly action: Action;
  /** For people, e.g. tier, policy and rule index, annotations; printed after the hash comment, escaped. */
  readonly comments?: readonly string[];
}

/** A chain of ours, whole. Its name begins with `cali-` and has at most 28 characters. */
export interface Chain {
  readonly name: string;
  readonly rules: readonly ChainRule[];
  /** What stands in the chain instead when the kernel refuses one of its rules; one that drops everything unless said otherwise. */
  readonly closed?: readonly ChainRule[];
  /** Who wants it (an endpoint's or policy's id), so that a rule the kernel refuses is reported by name. */
  readonly owner?: string;
}

/** Our rules inside a chain of the kernel: inserted at its head (or appended, by configuration), nothing else touched. */
export interface Hook {
  readonly table: Table;
  /** PREROUTING, INPUT, FORWARD, OUTPUT or POSTROUTING. */
  readonly chain: string;
  readonly insert: readonly ChainRule[];
  readonly append: readonly ChainRule[];
}

/** Name of a set without family prefix, e.g. `s:…`, `n:…`, `all-hosts-net`; the kernel name is `cali40`/`cali60` + id, cut and hashed to 31. */
export type SetId = string;
export type SetType = 'hash:ip' | 'hash:net' | 'hash:ip,port';

/** Members are canonical text: `10.0.0.1`, `10.0.0.0/8`, `10.0.0.1,tcp:80`. A set has members of one family only in the kernel of that family. */
export interface SetChange {
  readonly id: SetId;
  readonly type: SetType;
  readonly family: Family;
  /** null: the set is no longer wanted. For a new set `added` holds all members. */
  readonly members: { readonly added: ReadonlySet<string>; readonly removed: ReadonlySet<string> } | null;
  /** The set that holds, where there are any, the other members of what this one stands for; an address may go from one to the other. */
  readonly other?: SetId;
  /** For errors: the selector or port that the set stands for. */
  readonly owner: string;
}

export interface ChainChange {
  readonly table: Table;
  readonly family: Family;
  readonly name: string;
  /** null: no longer wanted. */
  readonly chain: Chain | null;
}

/** What one flush of the policy engine hands to the agent: only what differs from the flush before, each chain once. */
export interface PolicyChanges {
  readonly sets: readonly SetChange[];
  readonly chains: readonly ChainChange[];
  /** Whole, when they changed (configuration); undefined otherwise. */
  readonly hooks?: Record<Family, readonly Hook[]>;
}
