import type { Addr, Cancel, Family, Prefix } from '#core';
import type { Chain, Hook, SetType, Table } from '#policy';

/** rtm_protocol of every route that tsnet owns (INTERFACES.md). */
export const ROUTE_PROTOCOL = 80;
/** The IPv4 address that every workload has as its gateway; it exists nowhere and is answered by proxy ARP. */
export const WORKLOAD_GATEWAY = '169.254.1.1';

export interface Link {
  readonly index: number;
  readonly name: string;
  /** IFF_UP: what an administrator asked for. */
  readonly adminUp: boolean;
  /** Ready to carry packets (operstate up, or unknown as for dummy devices). */
  readonly up: boolean;
  readonly mac: string;
  readonly mtu: number;
  /** rtnl link kind: veth, vxlan, dummy, …; empty for physical devices. */
  readonly linkKind: string;
}
export interface InterfaceAddress {
  readonly index: number;
  readonly address: Addr;
  readonly length: number;
  readonly scope: 'global' | 'link' | 'host' | 'site';
}

/** Where a route leads. A blackhole with a gateway cannot be said. */
export type Via =
  | { readonly type: 'link'; readonly link: string } // scope link, on the interface of that name
  | {
      readonly type: 'gateway';
      readonly hops: readonly { readonly gateway: Addr; readonly link?: string; readonly onlink?: boolean }[];
    }
  | { readonly type: 'blackhole' };

export interface Route {
  readonly to: Prefix;
  readonly metric: number;
  readonly via: Via;
  readonly source?: Addr;
  /** Routing table; 254 (main) unless said otherwise. */
  readonly table: number;
}
/** As the kernel keys routes: destination, table, metric. */
export const routeKey = (r: Pick<Route, 'to' | 'table' | 'metric'>): string => `${r.to} ${r.table} ${r.metric}`;

/** A write that the kernel refused: which one, and why; the others of the batch were done. */
export interface Failure {
  readonly key: string;
  /** Negative errno name, e.g. `ENODEV`, or the command's message. */
  readonly error: string;
}

export type LinkEvent = { readonly link: Link; readonly gone: boolean };

/** Everything that rtnetlink gives: one socket for requests, one for events, in the namespace of the process. */
export interface Netlink {
  /** Our own routes (protocol 80) of the family, all tables. */
  listRoutes(family: Family): Promise<Route[]>;
  /** Replaces and deletes in one stream of batches; failures are attributed by sequence number. */
  writeRoutes(updates: readonly Route[], deletes: readonly Route[]): Promise<Failure[]>;
  listLinks(): Promise<Link[]>;
  listAddresses(): Promise<InterfaceAddress[]>;
  /** Events since the call; `overrun` means that some were lost and everything must be read again. */
  watch(listener: {
    link(event: LinkEvent): void;
    address(address: InterfaceAddress, gone: boolean): void;
    /** A route of protocol 80 was changed by somebody else, or by us. */
    route(family: Family, route: Route, gone: boolean): void;
    overrun(): void;
  }): Cancel;
  close(): void;
}

/** What the kernel holds of one table and family. */
export interface TableState {
  /** Chains that begin with `cali-`: the hash comments of their rules, in order; null where a rule has none (a stranger's or a damaged one). */
  readonly chains: ReadonlyMap<string, readonly (string | null)[]>;
  /** Our rules in the kernel's own chains, by chain: position (1-based) and hash. */
  readonly hooks: ReadonlyMap<string, readonly { readonly position: number; readonly hash: string }[]>;
  /** Rule count of the kernel's own chains, ours included. */
  readonly lengths: ReadonlyMap<string, number>;
}

/** iptables or nftables, behind the same values. */
export interface RuleBackend {
  readonly name: 'nft' | 'legacy' | 'nftables';
  read(family: Family, table: Table): Promise<TableState>;
  /** Applies one atomic change of a table. Rejects with an OperationalError (EXEC) naming the line that was refused. */
  write(family: Family, table: Table, change: TableChange): Promise<void>;
}
export interface TableChange {
  /** Chains to make or rewrite, whole; the backend writes only rules whose hash differs. */
  readonly update: readonly Chain[];
  readonly remove: readonly string[];
  /** Hooks to put right; undefined leaves them. */
  readonly hooks?: readonly Hook[];
  /** State the change is computed against. */
  readonly base: TableState;
}

export interface SetState {
  readonly name: string;
  readonly type: SetType;
  readonly maxElements: number;
}
/** ipset, or nftables sets. Names are kernel names. */
export interface SetBackend {
  list(): Promise<SetState[]>;
  members(name: string): Promise<Set<string>>;
  create(name: string, type: SetType, family: Family, members: ReadonlySet<string>, maxElements: number): Promise<void>;
  change(name: string, added: ReadonlySet<string>, removed: ReadonlySet<string>): Promise<void>;
  destroy(name: string): Promise<void>;
}
