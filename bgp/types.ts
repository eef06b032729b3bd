import type { Addr, Family, Milliseconds, Prefix } from '#core';

/** The names that INTERFACES.md gives families in configuration and output. */
export type FamilyName = 'ipv4' | 'ipv6';

/** RFC 4271 §8.2.2, in the spelling of INTERFACES.md. */
export type SessionState = 'Idle' | 'Connect' | 'Active' | 'OpenSent' | 'OpenConfirm' | 'Established';

/** Who asked for the session; shown by `tsnetctl bgp peers`. */
export type PeerType = 'NodeMesh' | 'NodePeer' | 'GlobalPeer' | 'LocalWorkload' | 'Static';

/** What the whole speaker is. */
export interface SpeakerConfig {
  asNumber: number;
  /** RFC 4271 BGP Identifier. */
  routerId: Addr;
  /** RFC 4456 §7; given when the speaker reflects. */
  clusterId?: Addr;
  listen: readonly { address: Addr; port: number }[];
  /** Seconds; 0, or at least 3. */
  holdTime: number;
  /** Seconds that peers keep our routes while we restart. */
  restartTime: number;
  /** True when kernel routes of an earlier run are still in place: the Restart bit and per-peer deferral (RFC 4724 §4.1). */
  restarting: boolean;
  /** Delay between connection attempts, before jitter. */
  connectRetry: Milliseconds;
  /** Priority of routes without a local preference of our making (Calico: 1024). */
  normalPriority: Record<Family, number>;
}

/** One neighbour, whole. A change of any field has the effect that bgp/reset.ts names for it. */
export interface PeerConfig {
  /** Unique and stable: `10.0.0.1`, or `10.0.0.1:1790` where the port differs from 179, or the range of a dynamic group. */
  name: string;
  type: PeerType;
  /** The resource that asked for it, for people: `BGPPeer(tor-1)`. */
  resource: string;
  address: Addr;
  port: number;
  /** Remote AS numbers that are accepted; more than one only for dynamic neighbours. */
  asNumbers: readonly number[];
  /** Accept any neighbour from this range; `address` is then the network address. */
  range?: Prefix;
  maxPeers?: number;
  /** AS shown to this peer instead of ours. */
  localAs?: number;
  localAddress?: Addr;
  passive: boolean;
  families: readonly Family[];
  /** TCP-MD5 key (RFC 2385). */
  password?: string;
  /** The password is wanted but not there: the session stays down with this reason. */
  missingPassword?: string;
  /** GTSM (RFC 5082): the peer is at most this many hops away. */
  ttlSecurity?: number;
  routeReflectorClient: boolean;
  addPath: { receive: boolean; send: boolean };
  gracefulRestart: { restartTime: number; longLivedSeconds?: number } | null;
  holdTime?: number;
  keepaliveTime?: number;
  nextHop: 'auto' | 'self' | 'keep';
  /**
   * Our own address per family, for next hop self of a family that is not the session's (RFC 2545, RFC 8950 aside). Absent: the address of
   * that family on the interface of the session's local address, from the connected networks.
   */
  nextHopSelf?: Partial<Record<Family, Addr>>;
  maxPrefixes?: number;
  maxPrefixesOut?: number;
  allowOwnAs: number;
  bfd?: { interval: Milliseconds; multiplier: number; multihop: boolean };
  role?: 'provider' | 'rs' | 'rs-client' | 'customer' | 'peer';
  /** RFC 8212: nothing in or out without rules. */
  requirePolicy: boolean;
  /** A gateway through which the peer is reached; the caller installs the route. */
  reachableBy?: Addr;
  importPolicy: RoutePolicy;
  exportPolicy: RoutePolicy;
  /** Names for `bgp peers`. */
  filterNames: readonly string[];
}

/**
 * Ordered rules as values, so that two peers with equal ones are recognised and share their encoding.
 * The first rule that matches decides; none: `otherwise`.
 */
export interface RoutePolicy {
  rules: readonly RouteRule[];
  otherwise: 'accept' | 'reject';
}

export interface RouteRule {
  /** Shown as the reason of a rejection: `BGPFilter(only-pods) exportV4[1]`, `pool default-ipv4-ippool`. */
  name: string;
  match: {
    family?: Family;
    /** The route's prefix lies in (or equals, or not) this network, with its length in the range. */
    prefix?: { net: Prefix; op: 'Equal' | 'NotEqual' | 'In' | 'NotIn'; minLength: number; maxLength: number };
    /** Where the route came from. */
    source?: 'local' | 'ibgp' | 'ebgp' | 'remote';
    /** Out interface of a local or resolved route; `*` is a wildcard. */
    interface?: string;
    peerType?: 'eBGP' | 'iBGP';
    /** `65000:1` or `65000:1:2`. */
    community?: string;
    asPathPrefix?: readonly number[];
    priority?: number;
    /** Only routes with a priority better (smaller) than this. */
    priorityBelow?: number;
  };
  /** `next`: the operations are applied and evaluation goes on. */
  action: 'accept' | 'reject' | 'next';
  operations: readonly RouteOperation[];
}
export type RouteOperation =
  | { op: 'addCommunity'; value: string }
  | { op: 'prependAsPath'; asNumbers: readonly number[] }
  | { op: 'setPriority'; value: number }
  | { op: 'setLocalPref'; value: number };

/** A route that this speaker originates. */
export interface LocalRoute {
  prefix: Prefix;
  /** Kernel metric; becomes LOCAL_PREF 2147483647 − priority (reference/bgp.md 7.6). */
  priority: number;
  /** Why it is there: `block`, `address outside a block`, `service`, `network`. */
  reason: string;
  /** Interface, for filters. */
  interface?: string;
}

/** The winners for one prefix, ready for the kernel: several next hops are equal-cost. */
export interface BestChange {
  prefix: Prefix;
  /** null: no route any more. */
  best: { nextHops: readonly NextHop[]; priority: number; source: Addr; ebgp: boolean } | null;
}
/** Best changes of one family in columns: equal answers are the same object, and nothing is printed. Valid during the call. */
export interface BestBatch {
  readonly family: Family;
  readonly count: number;
  /** One word a prefix in IPv4, four in IPv6, network order. */
  readonly addr: Uint32Array;
  readonly length: Uint8Array;
  readonly best: readonly BestChange['best'][];
}
/** Where packets go: NEXT_HOP itself where that is on a connected network, else the gateway by which it is reached. */
export interface NextHop {
  address: Addr;
  /** Where the address does not say which: link-local ones, and gateways that another route names. */
  interface?: string;
  /** The address counts as connected to the interface although no network says so. */
  onlink?: boolean;
}

/** A directly connected network of this machine: next hops and single-hop checks resolve against these. */
export interface ConnectedNetwork {
  prefix: Prefix;
  interface: string;
  local: Addr;
}

/** Where a route leads that BGP did not learn: next hops without a connected network are found by these. */
export interface ResolvingRoute {
  /** A hop without address: the destinations are on that interface themselves. None at all: packets are dropped. */
  hops: readonly { address?: Addr; interface?: string; onlink?: boolean }[];
}

/** `tsnetctl bgp peers` (INTERFACES.md); the very values, before any formatting. */
export interface PeerStatus {
  address: string;
  port: number;
  asNumber: number;
  localAsNumber: number;
  localAddress: string | null;
  localPort: number | null;
  type: PeerType;
  resource: string;
  state: SessionState;
  /** RFC 3339; when the state was entered. */
  since: string;
  passive: boolean;
  families: FamilyName[];
  md5: boolean;
  ttlSecurity: number | null;
  routeReflectorClient: boolean;
  clusterId: string | null;
  allowedOwnAs: number;
  filters: string[];
  nextHop: 'auto' | 'self' | 'keep';
  holdTime: number | null;
  keepaliveTime: number | null;
  restartTime: number | null;
  addPath: { receive: boolean; send: boolean };
  bfd: { state: string } | null;
  /** `limit`: the most that may be received, where there is a limit. */
  prefixes: Partial<Record<FamilyName, { received: number; accepted: number; advertised: number; limit?: number }>>;
  messages: Record<string, { in: number; out: number }>;
  /** What was wrong in its UPDATEs: routes treated as withdrawn (RFC 7606), weaker faults, paths not kept because there are too many of one prefix. */
  faults: { withdrawn: number; noted: number; refused: number };
  flaps: number;
  lastError: string | null;
  /** Why it is not Established, for a person; null when it is. */
  reason: string | null;
}

/** `tsnetctl bgp routes` (INTERFACES.md). */
export interface RouteInfo {
  prefix: Prefix;
  best: boolean;
  source: string; // 'Local' or the peer's address
  nextHops: string[];
  asPath: (number | { set: number[] })[];
  origin: 'IGP' | 'EGP' | 'INCOMPLETE';
  localPref: number | null;
  med: number | null;
  communities: string[];
  largeCommunities: string[];
  originatorId: string | null;
  clusterList: string[];
  stale: boolean;
  pathId: number | null;
  /** Filled by who owns the kernel; null where no kernel is programmed. */
  inKernel: boolean | null;
  /** Why not best, not accepted or not advertised. */
  reason: string | null;
}

export interface RouteQuery {
  /** Only this prefix (exact) and, with `longer`, those inside it. */
  prefix?: Prefix;
  longer?: boolean;
  /** Routes received from this peer, rejected ones included. */
  received?: Addr;
  /** Routes advertised to this peer; rejected ones with their reason when a prefix is given. */
  advertised?: Addr;
  limit?: number;
  /** Resume after this prefix: listing never copies the table. */
  after?: Prefix;
}

/**
 * A BGP speaker. Whole states go in through narrow doors; callers never compute differences, and calling twice with the same value
 * does nothing.
 */
export interface Speaker {
  configure(config: SpeakerConfig): void;
  setPeers(all: readonly PeerConfig[]): void;
  setLocalRoutes(all: readonly LocalRoute[]): void;
  /** Before the first call of this or the next every next hop is taken to be connected. */
  setConnected(all: readonly ConnectedNetwork[]): void;
  /** Changes of this machine's routes beside those of BGP; null: gone. */
  noteRoutes(changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void;
  start(): Promise<void>;
  peers(): PeerStatus[];
  routes(query: RouteQuery): RouteInfo[];
  /**
   * Asks the peer for all its routes once more (RFC 2918).
   * @throws OperationalError NOT_FOUND no such peer; UNAVAILABLE it is not established, or does not know route refresh.
   */
  refresh(peer: Addr): void;
  /** An MRT TABLE_DUMP_V2 (RFC 6396) of the table, made in slices. */
  dumpMrt(): Promise<Uint8Array>;
  /**
   * `restart`: close TCP without NOTIFICATION, so that peers keep our routes (RFC 4724). `shutdown`: GSHUT (RFC 8326), then Cease with the text
   * (RFC 9003), and routes are gone.
   */
  stop(mode: 'restart' | 'shutdown', text?: string): Promise<void>;
}

/** What the speaker tells its owner; called in batches, never from inside one of the owner's own calls. */
export interface SpeakerEvents {
  /** Left out: nobody keeps a kernel in step, and best changes are not even collected. */
  onBestChanges?(changes: readonly BestChange[]): void;
  /** The same for owners with a great many routes. */
  onBestBatch?(batch: BestBatch): void;
  onPeerState?(peer: PeerStatus): void;
  /** Every peer has sent its End-of-RIB or is not waited for: stale kernel routes may go. */
  onRestartComplete?(): void;
}
