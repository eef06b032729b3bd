import type { Addr, Family } from '#core';

/**
 * The words of the codec. A frame of bytes becomes a `Message` or a `Malformed` value; nothing here throws on input.
 *
 * The flow of an UPDATE, where the speed is needed: `nextFrame` finds a frame without copying it, `decodeMessage` fills the reusable
 * `Update` of the session with blocks of prefixes in typed arrays and with one `PathAttributes` value a group, which is the same object for
 * equal bytes as long as the session's `AttributeMemo` remembers them. On the way out `encodeAttributes` gives bytes that are worth keeping, and
 * `UpdateWriter` packs prefixes behind them, as many as a message may hold.
 */

/** AFI and SAFI as numbers (RFC 4760): capabilities may name families that tsnet does not route. */
export interface AddressFamily {
  readonly afi: number;
  readonly safi: number;
}

/** 32-bit identifiers (BGP Identifier, ORIGINATOR_ID, CLUSTER_LIST entries) are unsigned numbers; `idToAddr` prints them. */
export type RouterId = number;

// ---- faults -------------------------------------------------------------------------------------------------------------------

/**
 * What to do about malformed input, strongest first (RFC 7606 §3h):
 * `close`: log and close without an answer (a broken NOTIFICATION, RFC 4271 §6.4); `reset`: send NOTIFICATION code/subcode/data, close;
 * `treat-as-withdraw`: the routes of this UPDATE are withdrawn, the session stays; `attribute-discard`: the attribute is dropped, the route
 * stays; `ignore`: the thing is left out, perhaps logged.
 */
export type Disposition = 'close' | 'reset' | 'treat-as-withdraw' | 'attribute-discard' | 'ignore';

export interface Malformed {
  readonly disposition: Disposition;
  /** NOTIFICATION error code and subcode; what would be sent, also for the weaker dispositions. */
  readonly code: number;
  readonly subcode: number;
  /** NOTIFICATION data field. */
  readonly data: Uint8Array;
  /** For a person; holds no raw bytes of the peer. */
  readonly reason: string;
}

// ---- messages -----------------------------------------------------------------------------------------------------------------

export type Message = Open | Update | Notification | Keepalive | RouteRefresh;
export type MessageType = Message['type'];

/** RFC 4271 §4.2. */
export interface Open {
  readonly type: 'OPEN';
  /** The speaker's AS: capability 65 where there is one (RFC 6793), else the two-octet field. Never 0. */
  readonly asNumber: number;
  /** The two-octet My Autonomous System field as received; 23456 (AS_TRANS) for an AS that does not fit. */
  readonly myAs: number;
  /** Seconds; 0, or at least 3. */
  readonly holdTime: number;
  /** Never 0 (RFC 6286). */
  readonly identifier: RouterId;
  /** In the order of the message; equal ones count once, and of two graceful restart capabilities the last stands. */
  readonly capabilities: readonly Capability[];
  /** Capabilities that were left out because they were malformed. */
  readonly notes: readonly Malformed[];
}

/** RFC 5492 capabilities. Those that are not known are kept as bytes and otherwise ignored. */
export type Capability =
  | { readonly name: 'multiprotocol'; readonly afi: number; readonly safi: number } // RFC 4760
  | { readonly name: 'route-refresh' } // RFC 2918
  | { readonly name: 'extended-next-hop'; readonly tuples: readonly ExtendedNextHop[] } // RFC 8950
  | { readonly name: 'extended-message' } // RFC 8654
  | { readonly name: 'role'; readonly role: number } // RFC 9234; see `ROLES`
  | {
      readonly name: 'graceful-restart'; // RFC 4724, RFC 8538
      /** R: the speaker has restarted and keeps its forwarding state where a family says so. */
      readonly restarting: boolean;
      /** N: NOTIFICATION and hold timer expiry keep routes, too. */
      readonly notification: boolean;
      /** Seconds, 0 to 4095. */
      readonly restartTime: number;
      readonly families: readonly GracefulFamily[];
    }
  | { readonly name: 'four-octet-as'; readonly asNumber: number } // RFC 6793
  | { readonly name: 'add-path'; readonly families: readonly AddPathFamily[] } // RFC 7911
  | { readonly name: 'enhanced-route-refresh' } // RFC 7313
  | { readonly name: 'long-lived-graceful-restart'; readonly families: readonly LongLivedFamily[] } // RFC 9494
  /** Hostname and domain, software version: text of the peer with control characters escaped. */
  | { readonly name: 'fqdn'; readonly hostname: string; readonly domain: string }
  | { readonly name: 'software-version'; readonly version: string }
  | { readonly name: 'unknown'; readonly code: number; readonly value: Uint8Array };

export interface ExtendedNextHop extends AddressFamily {
  readonly nextHopAfi: number;
}
export interface GracefulFamily extends AddressFamily {
  /** F: forwarding state was preserved. */
  readonly forwarding: boolean;
}
export interface AddPathFamily extends AddressFamily {
  readonly receive: boolean;
  readonly send: boolean;
}
export interface LongLivedFamily extends AddressFamily {
  readonly forwarding: boolean;
  /** Seconds, 24 bits. */
  readonly staleTime: number;
}

/**
 * RFC 4271 §4.3. Its blocks are overwritten by the next UPDATE: whoever keeps prefixes copies them. The placement of families (body or
 * MP attributes) is undone here: withdrawals and announcements come by family. Apply `withdrawn` first, then `announced`: a prefix in both is
 * announced (§4.3). Nothing is filled in before the whole message was parsed.
 */
export interface Update {
  readonly type: 'UPDATE';
  /** At most three: body, MP_UNREACH, and with a fault those that were announced. */
  readonly withdrawn: readonly NlriBlock[];
  /** At most two: body, MP_REACH. Empty when `fault` is set. */
  readonly announced: readonly Announcement[];
  /** End-of-RIB of the family (RFC 4724 §2). */
  readonly endOfRib: Family | null;
  /** Treat-as-withdraw: what was announced stands in `withdrawn`. */
  readonly fault: Malformed | null;
  /** Discarded attributes and ignored parts, for counters and logs. */
  readonly notes: readonly Malformed[];
}

export interface Announcement {
  readonly nlri: NlriBlock;
  /** The same object for the same bytes while the session's memo lasts; frozen in meaning: nobody changes it. */
  readonly attributes: PathAttributes;
}

/** Prefixes as columns. Arrays may be longer than `count` says. */
export interface NlriBlock {
  readonly family: Family;
  readonly count: number;
  /** Network order words, host bits clear: one a prefix in IPv4, four in IPv6. */
  readonly addr: Uint32Array;
  readonly length: Uint8Array;
  /** RFC 7911 path identifiers; null when add-path was not negotiated for receiving this family. */
  readonly pathId: Uint32Array | null;
}

export interface Notification {
  readonly type: 'NOTIFICATION';
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  /** RFC 9003 shutdown communication of Cease 2 and 4, escaped for a terminal; null when there is none. */
  readonly text: string | null;
}

export interface Keepalive {
  readonly type: 'KEEPALIVE';
}

/** RFC 2918 with the subtypes of RFC 7313. */
export interface RouteRefresh {
  readonly type: 'ROUTE-REFRESH';
  readonly family: Family;
  readonly subtype: RefreshSubtype;
}
export type RefreshSubtype = 'request' | 'begin' | 'end';

// ---- path attributes ----------------------------------------------------------------------------------------------------------

/** RFC 4271 §5.1.1. */
export type Origin = 0 | 1 | 2;

export interface AsSegment {
  readonly type: 'sequence' | 'set';
  readonly asNumbers: readonly number[];
}

/**
 * The path attributes of a route as an immutable value, independent of how the session carried them (2- or 4-octet AS, body or MP_REACH).
 * Equal values have equal `attributeKey` bytes, under which they are interned.
 */
export interface PathAttributes {
  readonly origin: Origin;
  readonly asPath: readonly AsSegment[];
  /** Of any family (RFC 8950); of a 32-byte IPv6 next hop the global part. */
  readonly nextHop: Addr;
  readonly nextHopLinkLocal: Addr | null;
  readonly med: number | null;
  readonly localPref: number | null;
  readonly atomicAggregate: boolean;
  readonly aggregator: Aggregator | null;
  /** RFC 1997; sorted, each once. `65000:1` is 65000 * 65536 + 1. */
  readonly communities: readonly number[];
  readonly originatorId: RouterId | null;
  readonly clusterList: readonly RouterId[];
  /** RFC 4360, opaque: 8 bytes each, order kept; null when absent. */
  readonly extendedCommunities: Uint8Array | null;
  /** RFC 8092; sorted, each once. */
  readonly largeCommunities: readonly LargeCommunity[];
  /** RFC 9234 Only to Customer. */
  readonly otc: number | null;
  /** Optional transitive attributes that tsnet does not know, by code; sent on with the Partial bit (RFC 4271 §9). */
  readonly unknown: readonly UnknownAttribute[];
  /** Codes of known optional transitive attributes that came with the Partial bit, which is never cleared (RFC 4271 §5). */
  readonly partial: readonly number[];
}

export interface Aggregator {
  readonly asNumber: number;
  readonly identifier: RouterId;
}
/** Global administrator, then the two local parts. */
export type LargeCommunity = readonly [number, number, number];
export interface UnknownAttribute {
  readonly code: number;
  readonly value: Uint8Array;
}

// ---- session context ----------------------------------------------------------------------------------------------------------

/** What is not in the bytes but decides their meaning. Made by `negotiate`; options have the defaults of `DEFAULT_OPTIONS`. */
export interface DecodeContext {
  /** The peer is in another AS. */
  readonly ebgp: boolean;
  readonly peerAs: number;
  /** Both announced capability 65: AS numbers in attributes are four octets. */
  readonly fourOctetAs: boolean;
  readonly families: readonly Family[];
  /** Path identifiers come with NLRI of the family. */
  readonly addPathReceive: Readonly<Record<Family, boolean>>;
  /** IPv4 NLRI may have an IPv6 next hop (RFC 8950). */
  readonly extendedNextHop: boolean;
  /** 4096, or 65535 with extended messages (RFC 8654); both directions. */
  readonly maxMessage: number;
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  readonly options: DecodeOptions;
}

export interface DecodeOptions {
  /** The first AS of a path from an external peer must be the peer's own (RFC 4271 §6.3); off towards a route server. */
  readonly enforceFirstAs: boolean;
  /** Accept AS_SET although RFC 9774 deprecates it. */
  readonly acceptAsSet: boolean;
  /** Leave out prefixes inside 0/8, 127/8, 224/4, ::1/128, fe80::/10 and ff00::/8; the default route is not among them. */
  readonly dropMartians: boolean;
}

/** What a session agreed upon with two OPEN messages. */
export interface Negotiated extends DecodeContext {
  readonly localAs: number;
  readonly peerId: RouterId;
  /** Seconds: the smaller of the two; 0: neither keepalives nor a hold timer. */
  readonly holdTime: number;
  /** Path identifiers go out with NLRI of the family. */
  readonly addPathSend: Readonly<Record<Family, boolean>>;
  /** The peer's graceful restart capability, families that are not in common left out; null when either side has none. */
  readonly gracefulRestart: PeerGracefulRestart | null;
  /** The peer's announced long-lived stale times (RFC 9494), per family in common; null when either side has none. */
  readonly longLived: Readonly<Partial<Record<Family, { forwarding: boolean; staleTime: number }>>> | null;
  /** The peer's role (RFC 9234), when both sides announced one. */
  readonly peerRole: Role | null;
}
export interface PeerGracefulRestart {
  readonly restarting: boolean;
  /** Both sides announced the N bit (RFC 8538). */
  readonly notification: boolean;
  /** Seconds. */
  readonly restartTime: number;
  /** Families the peer can keep, and whether it did. */
  readonly families: Readonly<Partial<Record<Family, { forwarding: boolean }>>>;
}
export type Role = 'provider' | 'rs' | 'rs-client' | 'customer' | 'peer';
