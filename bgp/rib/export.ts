import type { Addr, Family } from '#core';
import {
  addCommunity,
  COMMUNITY,
  forExternalPeer,
  prependAs,
  reflected,
  withLocalPref,
  withNextHop,
  withOtc,
} from '../attributes.ts';
import type { PathAttributes, Role, RouterId } from '../wire/types.ts';
import type { Exporter } from './adj-out.ts';
import type { AttributeTable } from './attributes.ts';
import { DEFAULT_LOCAL_PREF } from './attributes.ts';
import type { Emissions } from './emissions.ts';
import type { PathTable } from './paths.ts';
import { applyOperations, type CompiledPolicy, type RouteFacts, type Verdict } from './policy.ts';
import type { PrefixTable } from './prefixes.ts';
import type { Source } from './source.ts';

/** Everything that what a peer is told depends on. Peers with equal profiles are one group and share one encoding. */
export interface OutboundProfile {
  readonly family: Family;
  readonly ebgp: boolean;
  /** Our AS as the peer knows it. */
  readonly localAs: number;
  /** Reflector: clients get everything, and what clients say goes to everybody (RFC 4456 §6). */
  readonly client: boolean;
  readonly clusterId: RouterId;
  readonly nextHop: 'auto' | 'self' | 'keep';
  /** Our address for next hop self; null: this family cannot be announced with us as next hop. */
  readonly self: Addr | null;
  readonly selfLinkLocal: Addr | null;
  /** Next hops of another family than the route's (RFC 8950). */
  readonly extendedNextHop: boolean;
  readonly fourOctetAs: boolean;
  readonly maxMessage: number;
  /** Paths a prefix; 0: the best alone, without identifiers. */
  readonly addPath: number;
  /** What we are to the peer (RFC 9234), when both know it. */
  readonly role: Role | null;
  /** We are going away: GSHUT (RFC 8326). */
  readonly drain: boolean;
  /** The peer knows what LLGR_STALE means (RFC 9494 §4.3). */
  readonly longLived: boolean;
}

/** What a path looks like to the peers of the profile, or why they are not told. */
export type Exported = { readonly value: PathAttributes } | { readonly reason: string };

/** The rules of the protocol, before the policy: whether the path may go out at all. */
export function mayExport(value: PathAttributes, source: Source, to: OutboundProfile): string | null {
  const { communities } = value;
  if (communities.length > 0) {
    if (communities.includes(COMMUNITY.noAdvertise)) return 'community NO_ADVERTISE';
    if (!to.longLived && communities.includes(COMMUNITY.llgrStale))
      return 'long-lived stale, which the peer does not know';
    if (to.ebgp && communities.includes(COMMUNITY.noExport)) return 'community NO_EXPORT';
    if (to.ebgp && communities.includes(COMMUNITY.noExportSubconfed)) return 'community NO_EXPORT_SUBCONFED';
  }
  if (!to.ebgp && source.index !== 0 && !source.ebgp && !source.client && !to.client)
    return 'learned from an internal peer, and neither side is a reflector client';
  // RFC 9234 §5: a marked route goes to customers and clients only.
  if (value.otc !== null && (to.role === 'customer' || to.role === 'peer' || to.role === 'rs-client'))
    return 'marked only-to-customer';
  return null;
}

/** RFC 4271 §5.1 and §9.2: the attributes as this kind of peer gets them; `value` has been through the policy. */
export function transform(value: PathAttributes, source: Source, to: OutboundProfile): Exported {
  let out = to.ebgp ? external(value, source, to) : internal(value, source, to);
  if (to.drain && to.ebgp) out = addCommunity(out, COMMUNITY.gracefulShutdown);
  if (to.drain && !to.ebgp) out = withLocalPref(out, 0);
  const nextHop = nextHopFor(value, source, to);
  const fault = nextHopFault(value, source, to);
  if (nextHop === null || fault !== null) return { reason: fault ?? '' };
  return { value: withNextHop(out, nextHop.address, nextHop.linkLocal) };
}

/** Why the route can have no next hop towards these peers. */
function nextHopFault(value: PathAttributes, source: Source, to: OutboundProfile): string | null {
  const nextHop = nextHopFor(value, source, to);
  if (nextHop === null) return `no address of ours to be the next hop for IPv${to.family}`;
  const isSix = nextHop.address.includes(':');
  if (to.family === 6 && !isSix) return 'an IPv6 route has an IPv4 next hop';
  if (to.family === 4 && isSix && !to.extendedNextHop)
    return 'an IPv4 route has an IPv6 next hop, which the peer does not understand (RFC 8950)';
  return null;
}

function external(value: PathAttributes, source: Source, to: OutboundProfile): PathAttributes {
  const plain = forExternalPeer(value);
  // A MED of our own making is for the neighbour; a learned one stays here.
  const out = prependAs(source.index === 0 ? { ...plain, med: value.med } : plain, [to.localAs]);
  const marks = to.role === 'provider' || to.role === 'peer' || to.role === 'rs';
  return marks ? withOtc(out, to.localAs) : out;
}

function internal(value: PathAttributes, source: Source, to: OutboundProfile): PathAttributes {
  const out = withLocalPref(value, value.localPref ?? DEFAULT_LOCAL_PREF);
  return source.index === 0 || source.ebgp ? out : reflected(out, source.routerId, to.clusterId);
}

/** RFC 4271 §5.1.3: towards external peers ourselves, towards internal ones as it came; what we originate always points here. */
function nextHopFor(
  value: PathAttributes,
  source: Source,
  to: OutboundProfile,
): { address: Addr; linkLocal: Addr | null } | null {
  const own = to.self === null ? null : { address: to.self, linkLocal: to.selfLinkLocal };
  if (source.index === 0) return own;
  const keep = to.nextHop === 'keep' || (to.nextHop === 'auto' && !to.ebgp);
  return keep ? { address: value.nextHop, linkLocal: null } : own;
}

export interface ExportContext {
  readonly prefixes: PrefixTable;
  readonly paths: PathTable;
  readonly attributes: AttributeTable;
  sourceOf(index: number): Source;
  /** Interface of a route of ours, for policies. */
  interfaceOf(prefix: number): string | null;
}

/** Policy and profile of a group, applied to paths; remembers the last answer, since routes come in runs. */
export class GroupExporter implements Exporter {
  readonly profile: OutboundProfile;
  readonly policy: CompiledPolicy;
  readonly #c: ExportContext;
  #lastAttr = 0;
  #lastSource = -1;
  #lastEmission = 0;

  constructor(profile: OutboundProfile, policy: CompiledPolicy, context: ExportContext) {
    this.profile = profile;
    this.policy = policy;
    this.#c = context;
  }
  get fourOctetAs(): boolean {
    return this.profile.fourOctetAs;
  }
  get maxMessage(): number {
    return this.profile.maxMessage;
  }
  emit(prefix: number, row: number, emissions: Emissions): number {
    const attr = this.#c.paths.attr[row];
    const source = this.#c.paths.source[row];
    const { byAttributes } = this.policy;
    if (byAttributes && attr === this.#lastAttr && source === this.#lastSource) return this.#lastEmission;
    const emission = this.#find(prefix, attr, source, emissions);
    if (byAttributes && emission !== 0) {
      this.#lastAttr = attr;
      this.#lastSource = source;
      this.#lastEmission = emission;
    }
    return emission;
  }
  valueOf(emission: number, emissions: Emissions): PathAttributes | null {
    const value = applyOperations(
      this.#c.attributes.valueOf(emissions.attr[emission]),
      emissions.operationsOf(emission),
    );
    const exported = transform(value, this.#c.sourceOf(emissions.source[emission]), this.profile);
    return 'value' in exported ? exported.value : null;
  }
  forget(emission: number): void {
    if (emission === this.#lastEmission) this.#lastSource = -1;
  }
  /** The same without remembering, for a person who asks why. */
  explain(prefix: number, row: number): Exported {
    const { attributes, paths } = this.#c;
    const value = attributes.valueOf(paths.attr[row]);
    const source = this.#c.sourceOf(paths.source[row]);
    const barred = mayExport(value, source, this.profile);
    if (barred) return { reason: barred };
    const verdict = this.#judge(prefix, value, source);
    if (!verdict.accept) return { reason: verdict.rule ?? 'no rule of the export policy accepts it' };
    return transform(applyOperations(value, verdict.operations), source, this.profile);
  }

  #find(prefix: number, attr: number, source: number, emissions: Emissions): number {
    const value = this.#c.attributes.valueOf(attr);
    const from = this.#c.sourceOf(source);
    if (mayExport(value, from, this.profile) !== null) return 0;
    const verdict = this.#judge(prefix, value, from);
    if (!verdict.accept) return 0;
    const known = emissions.find(attr, source, verdict.key);
    if (known !== 0) return known;
    return nextHopFault(value, from, this.profile) === null
      ? emissions.add(attr, source, verdict.key, verdict.operations)
      : 0;
  }
  #judge(prefix: number, value: PathAttributes, source: Source): Verdict {
    return this.policy.evaluate(value, this.#facts(prefix, source));
  }
  #facts(prefix: number, source: Source): RouteFacts {
    return {
      prefixes: this.#c.prefixes,
      prefix,
      source: source.index === 0 ? 'local' : source.ebgp ? 'ebgp' : 'ibgp',
      peerType: this.profile.ebgp ? 'eBGP' : 'iBGP',
      interface: source.index === 0 ? this.#c.interfaceOf(prefix) : null,
    };
  }
}
