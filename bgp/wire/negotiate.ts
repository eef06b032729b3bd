import { err, FAMILIES, type Family, ok, type Result } from '#core';
import { encodeCapability } from './capability.ts';
import {
  afiOf,
  ERROR,
  familyOfAfi,
  MAX_EXTENDED_MESSAGE,
  MAX_MESSAGE,
  malformed,
  OPEN_ERROR,
  ROLES,
  unicast,
} from './codes.ts';
import type { OpenFields } from './open.ts';
import type {
  AddressFamily,
  Capability,
  DecodeOptions,
  Malformed,
  Negotiated,
  Open,
  PeerGracefulRestart,
  Role,
} from './types.ts';

/** What two OPEN messages agree upon, and whether the peer is the one that is configured (RFC 4271 §6.2, catalogue O2 to O41). */

/** What the configuration demands of the peer's OPEN. */
export interface Expectation {
  /** AS numbers that the peer may have. */
  readonly asNumbers: readonly number[];
  /** Our AS towards this peer. */
  readonly localAs: number;
  /** Seconds; a smaller hold time than this is refused, 0 is not. Never below 3. */
  readonly minHoldTime?: number;
  /** Capabilities without which the session makes no sense. */
  readonly required?: readonly Capability[];
  /** RFC 9234 §4.2 strict mode: a peer without a role is refused. */
  readonly strictRole?: boolean;
  readonly options?: Partial<DecodeOptions>;
}

export const DEFAULT_OPTIONS: DecodeOptions = { enforceFirstAs: true, acceptAsSet: false, dropMartians: true };

type Named<N extends Capability['name']> = Extract<Capability, { name: N }>;

const all = <N extends Capability['name']>(open: Pick<Open, 'capabilities'>, name: N): Named<N>[] =>
  open.capabilities.filter((c): c is Named<N> => c.name === name);
const has = (open: Pick<Open, 'capabilities'>, name: Capability['name']) =>
  open.capabilities.some((c) => c.name === name);
const isFamily = (f: AddressFamily, family: Family) => familyOfAfi(f.afi, f.safi) === family;

/** @param ours the OPEN that was sent on this connection; @param theirs the one received. */
export function negotiate(ours: OpenFields, theirs: Open, expected: Expectation): Result<Negotiated, Malformed> {
  const ebgp = theirs.asNumber !== expected.localAs;
  const role = roleOf(ours, theirs, ebgp, expected.strictRole ?? false);
  const fault =
    wrongPeer(ours, theirs, expected, ebgp) ??
    (role.ok ? null : role.error) ??
    missing(theirs, expected.required ?? []);
  if (fault) return err(fault);
  const families = commonFamilies(ours, theirs);
  if (families.length === 0)
    return unsupported(
      'no address family in common',
      all(ours, 'multiprotocol').filter((c) => familyOfAfi(c.afi, c.safi)),
    );
  const both = (name: Capability['name']) => has(ours, name) && has(theirs, name);
  const peerRole = role.ok ? role.value : null;
  return ok({
    ebgp,
    localAs: expected.localAs,
    peerAs: theirs.asNumber,
    peerId: theirs.identifier,
    holdTime: Math.min(ours.holdTime, theirs.holdTime),
    families,
    fourOctetAs: both('four-octet-as'),
    addPathReceive: addPath(ours, theirs, families),
    addPathSend: addPath(theirs, ours, families),
    extendedNextHop: families.includes(4) && hasExtendedNextHop(ours) && hasExtendedNextHop(theirs),
    maxMessage: both('extended-message') ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE,
    routeRefresh: both('route-refresh'),
    enhancedRouteRefresh: both('route-refresh') && both('enhanced-route-refresh'),
    gracefulRestart: gracefulRestart(ours, theirs, families),
    longLived: longLived(ours, theirs, families),
    peerRole,
    // RFC 7947 §2.2.2.1: a route server does not put its own AS in front.
    options: { ...DEFAULT_OPTIONS, ...(peerRole === 'rs' ? { enforceFirstAs: false } : {}), ...expected.options },
  });
}

function wrongPeer(ours: OpenFields, theirs: Open, expected: Expectation, ebgp: boolean): Malformed | null {
  const fault = (subcode: number, reason: string) => malformed('reset', ERROR.open, subcode, reason);
  if (!expected.asNumbers.includes(theirs.asNumber))
    return fault(OPEN_ERROR.badPeerAs, `peer is AS ${theirs.asNumber}, configured is ${expected.asNumbers.join(', ')}`);
  // RFC 6286 §2.3: unique within an AS only.
  if (!ebgp && theirs.identifier === ours.identifier)
    return fault(OPEN_ERROR.badIdentifier, 'the peer in our AS has our own BGP identifier');
  const least = Math.max(3, expected.minHoldTime ?? 3);
  if (theirs.holdTime !== 0 && theirs.holdTime < least)
    return fault(OPEN_ERROR.unacceptableHoldTime, `hold time of ${theirs.holdTime} s, at least ${least} s wanted`);
  return null;
}

const unsupported = (reason: string, capabilities: readonly Capability[]) =>
  err(unsupportedFault(reason, capabilities));

/** RFC 5492 §5: the data are the capabilities that were wanted. */
const unsupportedFault = (reason: string, capabilities: readonly Capability[]): Malformed =>
  malformed(
    'reset',
    ERROR.open,
    OPEN_ERROR.unsupportedCapability,
    reason,
    Uint8Array.from(capabilities.flatMap((c) => [...encodeCapability(c)])),
  );

function missing(theirs: Open, required: readonly Capability[]): Malformed | null {
  const lacking = required.filter((want) =>
    want.name === 'multiprotocol'
      ? !all(theirs, 'multiprotocol').some((c) => c.afi === want.afi && c.safi === want.safi)
      : !has(theirs, want.name),
  );
  if (lacking.length === 0) return null;
  return unsupportedFault(`peer lacks the required capability ${lacking.map((c) => c.name).join(', ')}`, lacking);
}

/** RFC 4760 §8; a speaker without the capability means IPv4 unicast. */
function commonFamilies(ours: OpenFields, theirs: Open): Family[] {
  const offers = (open: OpenFields, family: Family) => {
    const list = all(open, 'multiprotocol');
    return list.length === 0 ? family === 4 : list.some((c) => isFamily(c, family));
  };
  return FAMILIES.filter((family) => offers(ours, family) && offers(theirs, family));
}

/** Whether path identifiers flow from `sender` to `receiver` (RFC 7911 §4). */
function addPath(receiver: OpenFields, sender: OpenFields, families: readonly Family[]): Record<Family, boolean> {
  const says = (open: OpenFields, family: Family, what: 'receive' | 'send') =>
    all(open, 'add-path').some((c) => c.families.some((f) => isFamily(f, family) && f[what]));
  const on = (family: Family) =>
    families.includes(family) && says(receiver, family, 'receive') && says(sender, family, 'send');
  return { 4: on(4), 6: on(6) };
}

const hasExtendedNextHop = (open: OpenFields) =>
  all(open, 'extended-next-hop').some((c) =>
    c.tuples.some((t) => t.afi === afiOf(4) && t.safi === unicast(4).safi && t.nextHopAfi === afiOf(6)),
  );

function gracefulRestart(ours: OpenFields, theirs: Open, common: readonly Family[]): PeerGracefulRestart | null {
  const [own] = all(ours, 'graceful-restart');
  const [peer] = all(theirs, 'graceful-restart');
  if (!own || !peer) return null;
  return {
    restarting: peer.restarting,
    notification: own.notification && peer.notification,
    restartTime: peer.restartTime,
    families: perFamily(peer.families, common, ({ forwarding }) => ({ forwarding })),
  };
}

/** RFC 9494 §3.1: without graceful restart the capability means nothing. */
function longLived(ours: OpenFields, theirs: Open, common: readonly Family[]): Negotiated['longLived'] {
  const [own] = all(ours, 'long-lived-graceful-restart');
  const [peer] = all(theirs, 'long-lived-graceful-restart');
  if (!own || !peer || !gracefulRestart(ours, theirs, common)) return null;
  return perFamily(peer.families, common, ({ forwarding, staleTime }) => ({ forwarding, staleTime }));
}

function perFamily<T extends AddressFamily, V>(list: readonly T[], common: readonly Family[], value: (item: T) => V) {
  const out: Partial<Record<Family, V>> = {};
  for (const item of list) {
    const family = familyOfAfi(item.afi, item.safi);
    if (family && common.includes(family)) out[family] = value(item);
  }
  return out;
}

/** Which role of the peer goes with which of ours (RFC 9234 §4.2). */
const COUNTERPART: Readonly<Record<Role, Role>> = {
  provider: 'customer',
  customer: 'provider',
  rs: 'rs-client',
  'rs-client': 'rs',
  peer: 'peer',
};

function roleOf(ours: OpenFields, theirs: Open, ebgp: boolean, strict: boolean): Result<Role | null, Malformed> {
  const [own] = all(ours, 'role');
  // RFC 9234 §4.1: roles belong to external sessions.
  if (!own || !ebgp) return ok(null);
  const mismatch = (reason: string) => err(malformed('reset', ERROR.open, OPEN_ERROR.roleMismatch, reason));
  const announced = new Set(all(theirs, 'role').map((c) => c.role));
  if (announced.size === 0) return strict ? mismatch('peer announced no role, and one is required') : ok(null);
  if (announced.size > 1) return mismatch('peer announced several roles');
  const ourRole = ROLES[own.role];
  const [number] = announced;
  const role = ROLES[number];
  if (!role || COUNTERPART[ourRole] !== role)
    return mismatch(`we are ${ourRole}, and the peer says it is ${role ?? `role ${number}`}`);
  return ok(role);
}
