import { type Addr, type Cancel, type Family, isHostPrefix, type Prefix } from '#core';
import type { Chain, Hook, PrintedRule, SetType, Table } from '#policy';

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
/** To one address. */
export const isHostRoute = (r: Pick<Route, 'to'>): boolean => isHostPrefix(r.to);
/** IPv6 has no metric 0: the kernel stores IP6_RT_PRIO_USER in its place. */
export const kernelMetric = (r: Pick<Route, 'to' | 'metric'>): number =>
  r.metric === 0 && r.to.includes(':') ? 1024 : r.metric;
/** As the kernel keys routes: destination, table, metric. */
export const routeKey = (r: Pick<Route, 'to' | 'table' | 'metric'>): string => `${r.to} ${r.table} ${kernelMetric(r)}`;

/** One change of the kernel's routes. `add` fails where any route stands at the key; `replace` is for a key that holds our route. */
export interface RouteWrite {
  readonly op: 'add' | 'replace' | 'delete';
  readonly route: Route;
}

/** A write that the kernel refused: which one, and why; the others of the batch were done. */
export interface Failure {
  readonly key: string;
  /** An errno name such as `ENODEV`, or the command's message. */
  readonly error: string;
  /** The kernel's own words (NETLINK_EXT_ACK) or the interface that is missing; empty if there are none. */
  readonly detail: string;
}

/** Changes of many routes of one family that lead few ways: a route is its destination in the columns, and the rest of one in `like`. */
export interface RouteColumns {
  readonly family: Family;
  readonly count: number;
  /** One word a route in IPv4, four in IPv6, network order; no host bits. */
  readonly addr: Uint32Array;
  readonly length: Uint8Array;
  readonly op: readonly RouteWrite['op'][];
  readonly like: readonly Route[];
}
/** A refused change of `RouteColumns`. */
export interface ColumnFailure extends Omit<Failure, 'key'> {
  readonly index: number;
}

/** A permanent neighbour entry, or, without `mac`, a proxy entry: the kernel answers ARP or NDP for the address on that link. */
export interface Neighbour {
  readonly link: string;
  readonly address: Addr;
  readonly mac?: string;
}
export const neighbourKey = (n: Neighbour): string => `${n.link} ${n.address} ${n.mac ? 'permanent' : 'proxy'}`;

/** Frames to `mac` leave the VXLAN device `link` inside UDP to `destination`. */
export interface FdbEntry {
  readonly link: string;
  readonly mac: string;
  readonly destination: Addr;
}

export const fdbKey = (entry: Pick<FdbEntry, 'link' | 'mac'>): string => `${entry.link} ${entry.mac}`;

/** A VXLAN device as it should be; what cannot be changed in place is made anew. */
export interface VxlanDevice {
  readonly name: string;
  readonly vni: number;
  readonly port: number;
  readonly mac: string;
  readonly mtu: number;
  /** Source of the outer packets; its family is the family of the underlay. */
  readonly local: Addr;
  /** The interface that holds `local`; absent: the kernel chooses by route. */
  readonly parent?: string;
}

/** A token bucket (tc-tbf(8)): what is over the rate waits, and what does not fit into the queue either is dropped. */
export interface TokenBucket {
  /** Bytes a second. */
  readonly rate: number;
  /** Bytes that may go at once after a pause. */
  readonly burst: number;
  /** Bytes that wait at most. */
  readonly limit: number;
  /** How fast a burst may go: bytes a second, and bytes at once; no packet may be larger than those. */
  readonly peak?: { readonly rate: number; readonly burst: number };
}
/** A token bucket as the kernel tells it: bursts as the time they take, in ticks of 64 ns. */
export interface KernelBucket {
  readonly rate: number;
  readonly peakRate: number;
  readonly limit: number;
  readonly burstTicks: number;
  readonly peakTicks: number;
}
/** What orders the packets of an interface: those that it sends (`root`), or, `ingress`, those that come in. */
export interface Qdisc {
  readonly link: string;
  readonly kind: string;
  readonly at: 'root' | 'ingress';
  /** `us`: it has our handle; `kernel`: what stands there when nobody has asked. At `ingress` there is one handle, so nobody's. */
  readonly owner: 'us' | 'kernel' | 'stranger';
  readonly bucket?: KernelBucket;
}
/** A filter of what comes in by an interface. */
export interface IngressFilter {
  readonly kind: string;
  readonly isOurs: boolean;
  /** The interface that it sends packets to; empty: that is gone, and packets are dropped. */
  readonly to?: string;
}
/** One change of what limits the traffic of an interface. */
export type TrafficWrite =
  /** Refused where a stranger's qdisc stands, unless `force`. */
  | { readonly op: 'set bucket'; readonly link: string; readonly bucket: TokenBucket; readonly force?: boolean }
  | { readonly op: 'delete bucket'; readonly link: string }
  | { readonly op: 'add ingress'; readonly link: string }
  | { readonly op: 'delete ingress'; readonly link: string }
  | { readonly op: 'redirect'; readonly link: string; readonly to: string }
  | { readonly op: 'delete redirect'; readonly link: string };
export const trafficKey = (write: TrafficWrite): string => `${write.op} ${write.link}`;

/** Which way the kernel would send a packet. */
export interface Lookup {
  readonly link: string;
  readonly gateway?: Addr;
  readonly source?: Addr;
}

export type LinkEvent = { readonly link: Link; readonly gone: boolean };

/** Only what has a listener is listened to. */
export interface NetlinkListener {
  link?(event: LinkEvent): void;
  address?(address: InterfaceAddress, gone: boolean): void;
  /** A route of protocol 80 was changed by somebody else, or replaced by a stranger's (then `gone`). */
  route?(family: Family, route: Route, gone: boolean): void;
  /** A route of the main table of another protocol. A listener has this or `route`, not both: each sees only its own. */
  foreign?(family: Family, route: Route, gone: boolean): void;
  /** Somebody else changed a qdisc or a filter of the interface. */
  traffic?(link: string): void;
  /** A neighbour or forwarding entry of the interface that is not the kernel's own may have changed. A listener has this or routes. */
  neighbour?(link: string): void;
  /** Forwarding, proxying or the reverse path check of the interface was switched, by whomever; '': of the node. */
  setting?(link: string): void;
  /** Some events were lost: everything must be read again. */
  overrun(): void;
}

/** Everything that rtnetlink gives: one socket for requests, one for events, in the namespace of the process. */
export interface Netlink {
  /** Our own routes (protocol 80) of the family, all tables. */
  listRoutes(family: Family): Promise<Route[]>;
  /** Routes of the main table that are not ours. */
  listForeignRoutes(family: Family): Promise<Route[]>;
  /** All changes in order, in one stream of batches; failures are attributed by sequence number. A delete of what is not there is no failure. */
  writeRoutes(writes: readonly RouteWrite[]): Promise<Failure[]>;
  /** The same for learned routes by the hundred thousand: nothing is parsed or printed for each. */
  writeRouteColumns(writes: RouteColumns): Promise<ColumnFailure[]>;
  /** `ip route get`; null: unreachable. */
  lookup(to: Addr): Promise<Lookup | null>;
  listLinks(): Promise<Link[]>;
  listAddresses(): Promise<InterfaceAddress[]>;
  writeAddresses(
    writes: readonly { op: 'add' | 'delete'; link: string; address: Addr; length: number }[],
  ): Promise<Failure[]>;
  /** Administrative changes of a link that exists. */
  changeLink(name: string, change: { up?: boolean; mtu?: number; mac?: string }): Promise<Failure[]>;
  createVxlan(device: VxlanDevice): Promise<Failure[]>;
  deleteLink(name: string): Promise<Failure[]>;
  /** The device's settings if it is a VXLAN device; null if there is no such device or it is something else. */
  readVxlan(name: string): Promise<VxlanDevice | null>;
  /** Permanent and proxy entries of the family. */
  listNeighbours(family: Family): Promise<Neighbour[]>;
  writeNeighbours(writes: readonly { op: 'set' | 'delete'; neighbour: Neighbour }[]): Promise<Failure[]>;
  /** Permanent forwarding entries of a VXLAN device, the default destination (all-zero MAC) included. */
  listFdb(link: string): Promise<FdbEntry[]>;
  writeFdb(writes: readonly { op: 'set' | 'delete'; entry: FdbEntry }[]): Promise<Failure[]>;
  /** What stands at the root and at the ingress of every interface. */
  listQdiscs(): Promise<Qdisc[]>;
  /** Filters of what comes in by the interface, which has a qdisc `ingress` or `clsact`; the first come first. */
  listIngressFilters(link: string): Promise<IngressFilter[]>;
  /** All changes in order; failures by `trafficKey`. A delete of what is not there is no failure. */
  writeTraffic(writes: readonly TrafficWrite[]): Promise<Failure[]>;
  /** An `ifb` device, up: what is handed to it comes back as if it had just come in. */
  createIfb(name: string, mtu: number): Promise<Failure[]>;
  /** Removes tracked flows from or to the addresses; resolves with their number. */
  forgetFlows(addresses: ReadonlySet<Addr>): Promise<number>;
  /** Events since the call. */
  watch(listener: NetlinkListener): Cancel;
  close(): void;
}

/** A rule of ours in one of the kernel's own chains. */
export interface HookState {
  /** 1-based. */
  readonly position: number;
  readonly hash: string;
  /** The rule as the kernel prints it, to delete it by: by its place, a stranger's could be hit that came between. */
  readonly spec: string;
}

/** What the kernel holds of one table and family. */
export interface TableState {
  /** Chains that begin with `cali-`: what tells each of their rules (`PrintedRule.hash`), in order; null: nothing does, so it is a stranger's or a damaged one. */
  readonly chains: ReadonlyMap<string, readonly (string | null)[]>;
  /** Our rules in the kernel's own chains, by chain. */
  readonly hooks: ReadonlyMap<string, readonly HookState[]>;
  /** Rule count of the kernel's own chains, ours included. */
  readonly lengths: ReadonlyMap<string, number>;
  /** Verdict maps by the chain that looks into them: interface to chain. Absent where the backend has none. */
  readonly maps?: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export const EMPTY_TABLE: TableState = { chains: new Map(), hooks: new Map(), lengths: new Map() };

/** iptables or nftables, behind the same values. */
export interface RuleBackend {
  readonly name: 'nft' | 'legacy' | 'nftables';
  /** The chain as this backend writes it. Throws an OperationalError VALIDATION for a value that cannot stand in a rule. */
  print(family: Family, table: Table, chain: Chain): readonly PrintedRule[];
  /** Whether the chain stands as it should. Throws as `print` does. */
  holds(family: Family, table: Table, chain: Chain, state: TableState): boolean;
  /** All tables of the family, of one moment; a table that is not there is empty. */
  read(family: Family): Promise<Readonly<Record<Table, TableState>>>;
  /**
   * A text that is another one whenever anything in the tables of the family is, counters aside, and costs much less than to read them. Undefined: it cannot
   * be told, now or with this backend at all, and only `read` says. One at a time for a family.
   */
  fingerprint(family: Family): Promise<string | undefined>;
  /**
   * Applies one change of a table, and says how many rules that took and what the table holds now. For packets it is atomic; new chains, to which
   * nothing leads yet, may be made ahead of the rest, and stay when that is refused.
   * Rejects with an OperationalError: EXEC naming the line that was refused, VALIDATION for a value that cannot stand in a rule, TIMEOUT.
   */
  write(family: Family, table: Table, change: TableChange): Promise<{ rules: number; after: TableState }>;
}
export interface TableChange {
  /** Chains to make or rewrite, whole; the backend writes only rules whose hash differs. */
  readonly update: readonly Chain[];
  readonly remove: readonly string[];
  /** Hooks to put right; undefined leaves them. */
  readonly hooks?: readonly Hook[];
  /** State the change is computed against. */
  readonly base: TableState;
  /** A trial: if it is refused nothing of it may be left, not even chains that nothing leads to, and nothing but it may be the reason. */
  readonly atOnce?: boolean;
}

export interface SetState {
  readonly name: string;
  readonly type: SetType;
  /** undefined: the backend has no bound of its own. */
  readonly maxElements: number | undefined;
  /** Members now. */
  readonly entries: number;
}
/** One set to be written. */
export type SetWrite =
  | {
      /** Makes the set with exactly these members, or gives the one that is there this type and these members, without a moment between. */
      readonly op: 'create';
      readonly name: string;
      readonly type: SetType;
      readonly family: Family;
      readonly members: ReadonlySet<string>;
      readonly maxElements: number;
      /** What is there under the name, as far as is known. */
      readonly current: Pick<SetState, 'type'> | undefined;
    }
  | {
      readonly op: 'change';
      readonly name: string;
      readonly added: ReadonlySet<string>;
      readonly removed: ReadonlySet<string>;
    };

/** ipset, or nftables sets. Names are kernel names. To do again what was done already is right. */
export interface SetBackend {
  list(): Promise<SetState[]>;
  /** Tells the members of those that are there, one set after the other: there may be a million, and nobody needs them all at once. */
  members(names: readonly string[], tell: (name: string, members: ReadonlySet<string>) => void): Promise<void>;
  /**
   * Resolves with those that were refused, where the others were done; what was done of a refused one is not known.
   * Rejects if it is refused as a whole, or with TIMEOUT.
   */
  write(writes: readonly SetWrite[]): Promise<Failure[]>;
  destroy(name: string): Promise<void>;
}
