import { type Addr, copyOf } from '#core';
import { mergeAs4Path } from './as-path.ts';
import { ATTRIBUTE, ATTRIBUTES, type AttrSpec, type Draft, FLAG } from './attribute.ts';
import { AS_TRANS, ERROR, malformed, stronger, UPDATE_ERROR } from './codes.ts';
import type { AsSegment, DecodeContext, Malformed, PathAttributes } from './types.ts';

/** From the bytes of an attribute block, MP attributes taken out, to a value or to the strongest of its faults. */

/** What the attributes belong to: nothing (only faults are of interest), or routes, whose next hop stands in NEXT_HOP or in MP_REACH_NLRI. */
export type Need = 'nothing' | 'body' | { readonly nextHop: Addr; readonly linkLocal: Addr | null };

export interface DecodedAttributes {
  /** Null when there is a fault, or when nothing was needed. */
  readonly attributes: PathAttributes | null;
  /** The strongest fault that is more than a discarded attribute. */
  readonly fault: Malformed | null;
  readonly notes: readonly Malformed[];
}

const EMPTY: readonly never[] = [];

/** Attributes seen, by code: the number of the block in which a code was seen last, so that nothing needs clearing between blocks. */
const seenIn = new Uint32Array(256);
let block = 0;

/**
 * Decodes `bytes[start, end)`: whole attributes, framed by `scanAttributes`. Of a repeated attribute the first counts (RFC 7606 §3g).
 * Time is linear in the number of bytes.
 */
export function decodeAttributes(
  bytes: Uint8Array,
  start: number,
  end: number,
  need: Need,
  ctx: DecodeContext,
): DecodedAttributes {
  if (++block === 0xffffffff) {
    seenIn.fill(0);
    block = 1;
  }
  const draft = newDraft();
  let fault: Malformed | null = null;
  let notes: Malformed[] | readonly never[] = EMPTY;
  for (let at = start; at < end; ) {
    const flags = bytes[at];
    const code = bytes[at + 1];
    const wide = (flags & FLAG.extendedLength) !== 0;
    const from = at + (wide ? 4 : 3);
    const to = from + (wide ? (bytes[at + 2] << 8) | bytes[at + 3] : bytes[at + 2]);
    const found = seenIn[code] === block ? null : decodeOne(bytes, at, from, to, draft, ctx);
    seenIn[code] = block;
    if (found && isNote(found)) notes = [...notes, found];
    else fault = stronger(fault, found);
    at = to;
  }
  if (need === 'nothing') return { attributes: null, fault, notes };
  fault = stronger(fault, settle(draft, need, ctx));
  // The value stays null: whoever compares routes takes its default for it, and counts these.
  if (!ctx.ebgp && seenIn[ATTRIBUTE.LOCAL_PREF] !== block) notes = [...notes, NO_LOCAL_PREF];
  return { attributes: fault ? null : finish(draft), fault, notes };
}

const isNote = (m: Malformed) => m.disposition === 'attribute-discard' || m.disposition === 'ignore';

const NO_LOCAL_PREF = malformed(
  'ignore',
  ERROR.update,
  UPDATE_ERROR.missingWellKnown,
  'LOCAL_PREF is missing on an internal session',
  Uint8Array.of(ATTRIBUTE.LOCAL_PREF),
);

function newDraft(): Draft {
  return {
    origin: null,
    asPath: null,
    nextHop: null,
    nextHopLinkLocal: null,
    med: null,
    localPref: null,
    atomicAggregate: false,
    aggregator: null,
    communities: EMPTY,
    originatorId: null,
    clusterList: EMPTY,
    extendedCommunities: null,
    largeCommunities: EMPTY,
    otc: null,
    unknown: [],
    partial: [],
    as4Path: null,
    as4Aggregator: null,
  };
}

/** One attribute: header at `at`, value in `bytes[from, to)`. */
function decodeOne(
  bytes: Uint8Array,
  at: number,
  from: number,
  to: number,
  draft: Draft,
  ctx: DecodeContext,
): Malformed | null {
  const code = bytes[at + 1];
  const spec = ATTRIBUTES[code];
  if (!spec) return decodeUnknown(bytes, at, from, to, draft);
  const flags = bytes[at] & (FLAG.optional | FLAG.transitive);
  if (flags !== spec.flags)
    return malformed(
      spec.malformed,
      ERROR.update,
      UPDATE_ERROR.attributeFlags,
      `${spec.name}: flags 0x${flags.toString(16)}`,
      copyOf(bytes, at, to),
    );
  const result = spec.decode(bytes, from, to, draft, ctx);
  if (typeof result === 'string') return faultOf(spec, code, result, copyOf(bytes, at, to));
  if (result === null && (bytes[at] & FLAG.partial) !== 0) return notePartial(code, spec, draft);
  return result;
}

function faultOf(spec: AttrSpec, code: number, reason: string, data: Uint8Array): Malformed {
  const subcode =
    SUBCODE[code] ?? (spec.flags & FLAG.optional ? UPDATE_ERROR.optionalAttribute : UPDATE_ERROR.attributeLength);
  return malformed(spec.malformed, ERROR.update, subcode, `${spec.name}: ${reason}`, data);
}

/** Subcodes that an attribute has for itself (RFC 4271 §6.3). */
const SUBCODE: Readonly<Record<number, number>> = {
  [ATTRIBUTE.ORIGIN]: UPDATE_ERROR.invalidOrigin,
  [ATTRIBUTE.AS_PATH]: UPDATE_ERROR.malformedAsPath,
  [ATTRIBUTE.NEXT_HOP]: UPDATE_ERROR.invalidNextHop,
};

/** The Partial bit stays with an optional transitive attribute; on any other it has no meaning (RFC 4271 §4.3). */
function notePartial(code: number, spec: AttrSpec, draft: Draft): Malformed | null {
  if (spec.flags !== (FLAG.optional | FLAG.transitive))
    return malformed('ignore', ERROR.update, UPDATE_ERROR.attributeFlags, `${spec.name}: partial bit`);
  if (code !== ATTRIBUTE.AS4_PATH && code !== ATTRIBUTE.AS4_AGGREGATOR) draft.partial.push(code);
  return null;
}

/** RFC 4271 §9: what is not known is a fault, goes on, or is dropped, by its flag bits. */
function decodeUnknown(bytes: Uint8Array, at: number, from: number, to: number, draft: Draft): Malformed | null {
  const flags = bytes[at];
  const code = bytes[at + 1];
  if ((flags & FLAG.optional) === 0)
    return malformed(
      'reset',
      ERROR.update,
      UPDATE_ERROR.unrecognisedWellKnown,
      `well-known attribute ${code} is not known`,
      copyOf(bytes, at, to),
    );
  if ((flags & FLAG.transitive) !== 0) draft.unknown.push({ code, value: copyOf(bytes, from, to) });
  return null;
}

/** What needs all attributes: mandatory ones, the AS4 merge, and the rules about AS_PATH as a whole. */
function settle(draft: Draft, need: Exclude<Need, 'nothing'>, ctx: DecodeContext): Malformed | null {
  if (typeof need === 'object') {
    // RFC 4760 §3: NEXT_HOP says nothing about routes in MP_REACH_NLRI.
    draft.nextHop = need.nextHop;
    draft.nextHopLinkLocal = need.linkLocal;
  }
  const lacking = (code: number, name: string) =>
    seenIn[code] === block
      ? null
      : malformed(
          'treat-as-withdraw',
          ERROR.update,
          UPDATE_ERROR.missingWellKnown,
          `${name} is missing`,
          Uint8Array.of(code),
        );
  const missing =
    lacking(ATTRIBUTE.ORIGIN, 'ORIGIN') ??
    lacking(ATTRIBUTE.AS_PATH, 'AS_PATH') ??
    (draft.nextHop === null ? lacking(ATTRIBUTE.NEXT_HOP, 'NEXT_HOP') : null);
  if (missing || draft.asPath === null) return missing;
  mergeFourOctet(draft);
  return pathFault(draft.asPath, ctx);
}

/** RFC 6793 §4.2.3. */
function mergeFourOctet(draft: Draft): void {
  const { aggregator, as4Aggregator, as4Path } = draft;
  if (as4Aggregator && aggregator && aggregator.asNumber !== AS_TRANS) return;
  if (as4Aggregator && aggregator) draft.aggregator = as4Aggregator;
  if (as4Path) draft.asPath = mergeAs4Path(draft.asPath!, as4Path);
}

function pathFault(path: readonly AsSegment[], ctx: DecodeContext): Malformed | null {
  const fault = (reason: string) =>
    malformed('treat-as-withdraw', ERROR.update, UPDATE_ERROR.malformedAsPath, `AS_PATH: ${reason}`);
  // RFC 9774 §3.
  if (!ctx.options.acceptAsSet && path.some((segment) => segment.type === 'set')) return fault('AS_SET');
  if (!ctx.ebgp || !ctx.options.enforceFirstAs) return null;
  const first = path[0];
  if (!first) return fault('empty, from an external peer');
  if (first.type !== 'sequence' || first.asNumbers[0] !== ctx.peerAs)
    return fault(`first AS is not the peer's, ${ctx.peerAs}`);
  return null;
}

/** The draft without what only the wire knows; every attribute that a route must have is there. */
function finish(draft: Draft): PathAttributes {
  return {
    origin: draft.origin!,
    asPath: draft.asPath!,
    nextHop: draft.nextHop!,
    nextHopLinkLocal: draft.nextHopLinkLocal,
    med: draft.med,
    localPref: draft.localPref,
    atomicAggregate: draft.atomicAggregate!,
    aggregator: draft.aggregator,
    communities: draft.communities!,
    originatorId: draft.originatorId,
    clusterList: draft.clusterList!,
    extendedCommunities: draft.extendedCommunities,
    largeCommunities: draft.largeCommunities!,
    otc: draft.otc,
    unknown: draft.unknown.length === 0 ? EMPTY : draft.unknown.sort((a, b) => a.code - b.code),
    partial: draft.partial.length === 0 ? EMPTY : draft.partial.sort((a, b) => a - b),
  };
}

/** Where the MP attributes stand in an attribute block, and whether the block is a list of whole attributes. */
export interface Scan {
  /** The end of the last whole attribute. */
  end: number;
  /** Attributes other than the MP ones. */
  others: number;
  /** Offsets of the header of MP_REACH_NLRI and MP_UNREACH_NLRI; -1: absent. */
  reach: number;
  unreach: number;
  fault: Malformed | null;
}

const listFault = (disposition: 'reset' | 'treat-as-withdraw', subcode: number, reason: string) =>
  malformed(disposition, ERROR.update, subcode, reason);

/** Walks over the attributes of `bytes[start, end)` without looking inside (RFC 7606 §4, §3g). */
export function scanAttributes(bytes: Uint8Array, start: number, end: number, into: Scan): void {
  into.end = start;
  into.others = 0;
  into.reach = -1;
  into.unreach = -1;
  into.fault = null;
  for (let at = start; at < end; ) {
    const wide = (bytes[at] & FLAG.extendedLength) !== 0;
    const header = wide ? 4 : 3;
    const code = bytes[at + 1];
    if (end - at < header) {
      into.fault = listFault(
        'treat-as-withdraw',
        UPDATE_ERROR.malformedAttributeList,
        'bytes left that are no attribute',
      );
      return;
    }
    const next = at + header + (wide ? (bytes[at + 2] << 8) | bytes[at + 3] : bytes[at + 2]);
    const isMp = code === ATTRIBUTE.MP_REACH_NLRI || code === ATTRIBUTE.MP_UNREACH_NLRI;
    if (next > end) {
      // RFC 7606 §3j: without the routes of an MP attribute there is nothing to withdraw.
      into.fault = isMp
        ? listFault('reset', UPDATE_ERROR.optionalAttribute, `attribute ${code} runs past the end`)
        : listFault('treat-as-withdraw', UPDATE_ERROR.attributeLength, `attribute ${code} runs past the end`);
      return;
    }
    if (!isMp) into.others++;
    else if (!markMp(code, at, into)) {
      into.fault = listFault('reset', UPDATE_ERROR.malformedAttributeList, `attribute ${code} stands twice`);
      return;
    }
    into.end = next;
    at = next;
  }
}

/** Notes where an MP attribute stands; false when it is there already. */
function markMp(code: number, at: number, into: Scan): boolean {
  const which = code === ATTRIBUTE.MP_REACH_NLRI ? 'reach' : 'unreach';
  if (into[which] >= 0) return false;
  into[which] = at;
  return true;
}
