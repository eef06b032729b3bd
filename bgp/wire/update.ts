import { type Addr, bytesToAddr, copyInto, copyOf, err, type Family, ok, type Result } from '#core';
import { FLAG } from './attribute.ts';
import { decodeAttributes, type Need, type Scan, scanAttributes } from './attributes-in.ts';
import { ERROR, familyOfAfi, HEADER_LENGTH, malformed, stronger, UPDATE_ERROR } from './codes.ts';
import { AttributeMemo } from './memo.ts';
import { NlriBuffer, readNlri } from './nlri.ts';
import type { Announcement, DecodeContext, Malformed, NlriBlock, PathAttributes, Update } from './types.ts';

/**
 * UPDATE (RFC 4271 §4.3) with multiprotocol routes (RFC 4760) and the error handling of RFC 7606. The one place that knows whether
 * routes stand in the body or in an MP attribute; out of it come routes by family.
 */

/** Buffers that all sessions may share: a message is read to its end and used before the next one. */
export class UpdateScratch {
  readonly bodyWithdrawn = new NlriBuffer(4);
  readonly bodyAnnounced = new NlriBuffer(4);
  readonly reach: Readonly<Record<Family, NlriBuffer>> = { 4: new NlriBuffer(4), 6: new NlriBuffer(6) };
  readonly unreach: Readonly<Record<Family, NlriBuffer>> = { 4: new NlriBuffer(4), 6: new NlriBuffer(6) };
  readonly scan: Scan = { end: 0, others: 0, reach: -1, unreach: -1, fault: null };
  /** A next hop and the attributes beside MP_REACH_NLRI, one behind the other. */
  key = new Uint8Array(512);
}

/** The parts of a message on the way to its value. */
interface Parts {
  withdrawn: NlriBlock[];
  announced: Announcement[];
  fault: Malformed | null;
  notes: Malformed[] | readonly never[];
}

/** The value of an MP_REACH_NLRI of a family of the session. */
interface Reach {
  nlri: NlriBuffer;
  need: Exclude<Need, string>;
  /** Offsets of the next hop bytes. */
  from: number;
  to: number;
}

const NONE: readonly never[] = [];

/** Decodes the UPDATE messages of one session. */
export class UpdateDecoder {
  readonly ctx: DecodeContext;
  readonly #scratch: UpdateScratch;
  readonly #memo: AttributeMemo;

  constructor(ctx: DecodeContext, scratch: UpdateScratch = new UpdateScratch()) {
    this.ctx = ctx;
    this.#scratch = scratch;
    this.#memo = new AttributeMemo(ctx);
  }

  /**
   * Decodes the message in `bytes[start, end)`, which `nextFrame` has found. Blocks of the result are overwritten by the next call on the same
   * scratch. An error is a session reset; weaker faults are part of the value.
   */
  decode(bytes: Uint8Array, start: number, end: number): Result<Update, Malformed> {
    const withdrawnAt = start + HEADER_LENGTH + 2;
    const withdrawnEnd = withdrawnAt + u16(bytes, withdrawnAt - 2);
    if (withdrawnEnd + 2 > end) return reset(UPDATE_ERROR.malformedAttributeList, 'withdrawn routes run past the end');
    const attributesAt = withdrawnEnd + 2;
    const nlriAt = attributesAt + u16(bytes, withdrawnEnd);
    if (nlriAt > end) return reset(UPDATE_ERROR.malformedAttributeList, 'path attributes run past the end');
    const parts: Parts = { withdrawn: [], announced: [], fault: null, notes: NONE };
    const { scan, bodyWithdrawn, bodyAnnounced } = this.#scratch;
    scanAttributes(bytes, attributesAt, nlriAt, scan);
    const fault =
      this.#body(bytes, withdrawnAt, withdrawnEnd, bodyWithdrawn, parts) ??
      this.#body(bytes, nlriAt, end, bodyAnnounced, parts) ??
      (scan.fault?.disposition === 'reset' ? scan.fault : null);
    if (fault) return err(fault);
    if (nlriAt === withdrawnAt + 2 && end === nlriAt) return ok(this.#endOfRib(4));
    if (bodyWithdrawn.count > 0) parts.withdrawn.push(bodyWithdrawn);
    const unreach = this.#unreach(bytes, parts);
    if (!unreach.ok) return unreach;
    const isEnd = unreach.value?.count === 0 && unreach.value.dropped === 0;
    if (
      isEnd &&
      !scan.fault &&
      scan.others === 0 &&
      scan.reach < 0 &&
      attributesAt === withdrawnAt + 2 &&
      end === nlriAt
    )
      return ok(this.#endOfRib(unreach.value!.family));
    const reach = this.#reach(bytes, parts);
    if (!reach.ok) return reach;
    return this.#combine(bytes, attributesAt, end > nlriAt, reach.value, parts);
  }

  /** Routes of the body are IPv4 unicast; without that family they are left out. */
  #body(bytes: Uint8Array, start: number, end: number, block: NlriBuffer, parts: Parts): Malformed | null {
    if (start < end && !this.ctx.families.includes(4)) {
      block.reset(0, false);
      note(parts, 'routes of IPv4, which was not negotiated');
      return null;
    }
    const { addPathReceive, options } = this.ctx;
    const fault = readNlri(bytes, start, end, addPathReceive[4], options.dropMartians, block);
    if (fault) return malformed('reset', ERROR.update, UPDATE_ERROR.invalidNetwork, `IPv4: ${fault}`);
    if (block === this.#scratch.bodyAnnounced) noteOddities(block, parts);
    return null;
  }

  #unreach(bytes: Uint8Array, parts: Parts): Result<NlriBuffer | null, Malformed> {
    const at = this.#scratch.scan.unreach;
    if (at < 0) return ok(null);
    const { from, to } = this.#mpValue(bytes, at, parts);
    if (to - from < 3) return mpReset('MP_UNREACH_NLRI is too short');
    const family = this.#family(bytes, from, parts);
    if (!family) return ok(null);
    const block = this.#scratch.unreach[family];
    const fault = readNlri(bytes, from + 3, to, this.ctx.addPathReceive[family], this.ctx.options.dropMartians, block);
    if (fault) return mpReset(`MP_UNREACH_NLRI: ${fault}`);
    if (block.count > 0) parts.withdrawn.push(block);
    return ok(block);
  }

  #reach(bytes: Uint8Array, parts: Parts): Result<Reach | null, Malformed> {
    const at = this.#scratch.scan.reach;
    if (at < 0) return ok(null);
    const { from, to } = this.#mpValue(bytes, at, parts);
    if (to - from < 5) return mpReset('MP_REACH_NLRI is too short');
    const family = this.#family(bytes, from, parts);
    if (!family) return ok(null);
    const size = bytes[from + 3];
    const nlriAt = from + 4 + size + 1;
    if (nlriAt > to) return mpReset('next hop runs past the end of MP_REACH_NLRI');
    if (!this.#isNextHopLength(family, size)) return mpReset(`next hop of ${size} bytes for IPv${family}`);
    const block = this.#scratch.reach[family];
    const fault = readNlri(bytes, nlriAt, to, this.ctx.addPathReceive[family], this.ctx.options.dropMartians, block);
    if (fault) return mpReset(`MP_REACH_NLRI: ${fault}`);
    noteOddities(block, parts);
    return ok({ nlri: block, need: this.#nextHop(bytes, from + 4, size, parts), from: from + 4, to: from + 4 + size });
  }

  /** RFC 4760 §3, RFC 2545 §3; IPv6 next hops for IPv4 only where negotiated (RFC 8950 §4). */
  #isNextHopLength(family: Family, size: number): boolean {
    const six = size === 16 || size === 32;
    return family === 6 ? six : size === 4 || (six && this.ctx.extendedNextHop);
  }

  #lastHop: Uint8Array = new Uint8Array(0);
  #lastNeed: Exclude<Need, string> = { nextHop: '' as Addr, linkLocal: null };

  /** Of 32 bytes the second half counts only when it is link-local (RFC 2545 §3). A feed repeats its next hop, so the last one is remembered. */
  #nextHop(bytes: Uint8Array, at: number, size: number, parts: Parts): Exclude<Need, string> {
    const isLinkLocal = size === 32 && bytes[at + 16] === 0xfe && (bytes[at + 17] & 0xc0) === 0x80;
    if (size === 32 && !isLinkLocal) note(parts, 'second half of the next hop is not link-local');
    if (equalBytes(this.#lastHop, bytes, at, size)) return this.#lastNeed;
    this.#lastHop = copyOf(bytes, at, at + size);
    this.#lastNeed = {
      nextHop: bytesToAddr(this.#lastHop.subarray(0, Math.min(size, 16))),
      linkLocal: isLinkLocal ? bytesToAddr(this.#lastHop.subarray(16)) : null,
    };
    return this.#lastNeed;
  }

  /** Where the value of an MP attribute stands. Wrong flag bits withdraw its routes (RFC 7606 §3c). */
  #mpValue(bytes: Uint8Array, at: number, parts: Parts): { from: number; to: number } {
    const wide = (bytes[at] & FLAG.extendedLength) !== 0;
    const from = at + (wide ? 4 : 3);
    if ((bytes[at] & (FLAG.optional | FLAG.transitive)) !== FLAG.optional)
      parts.fault = stronger(
        parts.fault,
        malformed('treat-as-withdraw', ERROR.update, UPDATE_ERROR.attributeFlags, `attribute ${bytes[at + 1]}: flags`),
      );
    return { from, to: from + (wide ? u16(bytes, at + 2) : bytes[at + 2]) };
  }

  /** The family of an MP attribute, or null when the session does not have it: the attribute is ignored (RFC 4760 §6). */
  #family(bytes: Uint8Array, from: number, parts: Parts): Family | null {
    const family = familyOfAfi(u16(bytes, from), bytes[from + 2]);
    if (family && this.ctx.families.includes(family)) return family;
    note(parts, `routes of AFI ${u16(bytes, from)} SAFI ${bytes[from + 2]}, which was not negotiated`);
    return null;
  }

  /** Attributes and routes come together, and the strongest fault decides (RFC 7606 §3h). */
  #combine(
    bytes: Uint8Array,
    attributesAt: number,
    hasBody: boolean,
    reach: Reach | null,
    parts: Parts,
  ): Result<Update, Malformed> {
    const { scan, bodyAnnounced } = this.#scratch;
    parts.fault = stronger(parts.fault, scan.fault);
    const plain = scan.reach < 0 && scan.unreach < 0;
    if (hasBody) {
      const at = plain ? attributesAt : this.#gather(bytes, attributesAt, null);
      const from = plain ? bytes : this.#scratch.key;
      this.#attach(from, at, at, plain ? scan.end : this.#gathered, 'body', bodyAnnounced, parts);
    }
    if (reach) {
      const start = this.#gather(bytes, attributesAt, reach);
      this.#attach(this.#scratch.key, 0, start, this.#gathered, reach.need, reach.nlri, parts);
    }
    if (!hasBody && !reach && scan.others > 0) {
      const start = this.#gather(bytes, attributesAt, null);
      const alone = decodeAttributes(this.#scratch.key, start, this.#gathered, 'nothing', this.ctx);
      parts.fault = stronger(parts.fault, alone.fault);
      addNotes(parts, alone.notes);
    }
    return this.#finish(hasBody || scan.reach >= 0, parts);
  }

  #gathered = 0;

  /**
   * Puts the next hop, then all attributes but the MP ones, into the scratch key; returns where the attributes begin there. Their end is
   * `#gathered`.
   */
  #gather(bytes: Uint8Array, attributesAt: number, reach: Reach | null): number {
    const { scan } = this.#scratch;
    const most = scan.end - attributesAt + 64;
    if (this.#scratch.key.length < most) this.#scratch.key = new Uint8Array(most * 2);
    const { key } = this.#scratch;
    let to = 0;
    const put = (from: number, end: number) => {
      copyInto(key, to, bytes, from, end);
      to += end - from;
    };
    if (reach) {
      key[to++] = reach.to - reach.from;
      put(reach.from, reach.to);
    }
    const start = to;
    let at = attributesAt;
    for (const mp of scan.reach < scan.unreach ? [scan.reach, scan.unreach] : [scan.unreach, scan.reach]) {
      if (mp < 0) continue;
      put(at, mp);
      at = endOfAttribute(bytes, mp);
    }
    put(at, scan.end);
    this.#gathered = to;
    return start;
  }

  #attach(
    bytes: Uint8Array,
    keyStart: number,
    start: number,
    end: number,
    need: Exclude<Need, 'nothing'>,
    nlri: NlriBuffer,
    parts: Parts,
  ): void {
    const decoded = this.#memo.decode(bytes, keyStart, start, end, need);
    parts.fault = stronger(parts.fault, decoded.fault);
    if (decoded.notes.length > 0) addNotes(parts, decoded.notes);
    if (nlri.count === 0) return;
    parts.announced.push({ nlri, attributes: decoded.attributes as PathAttributes });
  }

  #finish(announces: boolean, parts: Parts): Result<Update, Malformed> {
    const { withdrawn, announced, fault, notes } = parts;
    if (!fault) return ok({ type: 'UPDATE', withdrawn, announced, endOfRib: null, fault: null, notes });
    if (fault.disposition === 'reset') return err(fault);
    // RFC 7606 §5.2: without reachable routes nothing shows that the routes were found at all.
    if (!announces) return err({ ...fault, disposition: 'reset' });
    for (const { nlri } of announced) withdrawn.push(nlri);
    return ok({ type: 'UPDATE', withdrawn, announced: NONE, endOfRib: null, fault, notes });
  }

  /** RFC 4724 §2; of a family that the session does not have it says nothing. */
  #endOfRib(family: Family): Update {
    const endOfRib = this.ctx.families.includes(family) ? family : null;
    return { type: 'UPDATE', withdrawn: NONE, announced: NONE, endOfRib, fault: null, notes: NONE };
  }
}

/** Whether `known` is exactly the `size` bytes at `at`. */
function equalBytes(known: Uint8Array, bytes: Uint8Array, at: number, size: number): boolean {
  if (known.length !== size) return false;
  for (let i = 0; i < size; i++) if (known[i] !== bytes[at + i]) return false;
  return true;
}

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];

function endOfAttribute(bytes: Uint8Array, at: number): number {
  return (bytes[at] & FLAG.extendedLength) !== 0 ? at + 4 + u16(bytes, at + 2) : at + 3 + bytes[at + 2];
}

const reset = (subcode: number, reason: string) => err(malformed('reset', ERROR.update, subcode, reason));
const mpReset = (reason: string) => reset(UPDATE_ERROR.optionalAttribute, reason);

function addNotes(parts: Parts, notes: readonly Malformed[]): void {
  parts.notes = [...parts.notes, ...notes];
}
const note = (parts: Parts, reason: string): void => addNotes(parts, [malformed('ignore', ERROR.update, 0, reason)]);
/** What is not wrong but worth a line in the log. */
function noteOddities(block: NlriBuffer, parts: Parts): void {
  if (block.dropped > 0) note(parts, `${block.dropped} prefixes of IPv${block.family} that no host may have`);
  if (block.defaults > 1 && block.pathId === null)
    note(parts, `${block.defaults} default routes: the peer seems to send path identifiers that were not negotiated`);
}
