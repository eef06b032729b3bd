import { Parser } from 'binary-parser';
import { err, ok, type Result, Writer } from '#core';
import { decodeCapability, encodeCapability } from './capability.ts';
import { AS_TRANS, BGP_VERSION, ERROR, malformed, OPEN_ERROR } from './codes.ts';
import { parseExact } from './exact.ts';
import { frame } from './frame.ts';
import type { Capability, Malformed, Open } from './types.ts';

/** OPEN (RFC 4271 §4.2), with capabilities (RFC 5492) in optional parameters of either form (RFC 9072). */

const FIXED_LENGTH = 10;
const fixed = new Parser()
  .endianness('big')
  .uint8('version')
  .uint16('myAs')
  .uint16('holdTime')
  .uint32('identifier')
  .uint8('parametersLength');

interface Fixed {
  version: number;
  myAs: number;
  holdTime: number;
  identifier: number;
  parametersLength: number;
}

const EXTENDED = 255;
const CAPABILITIES = 2;

const openFault = (subcode: number, reason: string, data?: Uint8Array) =>
  malformed('reset', ERROR.open, subcode, reason, data);
const unspecific = (reason: string) => err(openFault(OPEN_ERROR.unspecific, reason));

/** The body of a frame, which `nextFrame` has found to be at least ten bytes. What depends on the peer's configuration is checked by `negotiate`. */
export function decodeOpen(body: Uint8Array): Result<Open, Malformed> {
  const head = parseExact<Fixed>(fixed, body.subarray(0, FIXED_LENGTH), FIXED_LENGTH);
  if (!head) return unspecific('OPEN is too short');
  if (head.version !== BGP_VERSION)
    return err(openFault(OPEN_ERROR.unsupportedVersion, `BGP version ${head.version}`, Uint8Array.of(0, BGP_VERSION)));
  const found = decodeParameters(body.subarray(FIXED_LENGTH), head.parametersLength);
  if (!found.ok) return found;
  const { capabilities, notes } = found.value;
  const four = capabilities.find((c) => c.name === 'four-octet-as');
  const asNumber = four?.name === 'four-octet-as' ? four.asNumber : head.myAs;
  // RFC 7607 §2.
  if (asNumber === 0 || head.myAs === 0) return err(openFault(OPEN_ERROR.badPeerAs, 'AS 0'));
  // RFC 6286 §2.1: any non-zero identifier is good.
  if (head.identifier === 0) return err(openFault(OPEN_ERROR.badIdentifier, 'BGP identifier 0.0.0.0'));
  if (head.holdTime === 1 || head.holdTime === 2)
    return err(openFault(OPEN_ERROR.unacceptableHoldTime, `hold time of ${head.holdTime} s`));
  const { myAs, holdTime, identifier } = head;
  return ok({ type: 'OPEN', asNumber, myAs, holdTime, identifier, capabilities, notes });
}

interface Found {
  capabilities: Capability[];
  notes: Malformed[];
}

function decodeParameters(bytes: Uint8Array, declared: number): Result<Found, Malformed> {
  // RFC 9072 §2: the length byte is not looked at any more once the first type is 255.
  const extended = declared !== 0 && bytes.length > 0 && bytes[0] === EXTENDED;
  if (extended && bytes.length < 3) return unspecific('extended optional parameters without a length');
  const length = extended ? (bytes[1] << 8) | bytes[2] : declared;
  const block = bytes.subarray(extended ? 3 : 0);
  if (length !== block.length) return unspecific(`optional parameters of ${length} bytes in ${block.length}`);
  const found = new Collector();
  const header = extended ? 3 : 2;
  for (let at = 0; at < block.length; ) {
    if (block.length - at < header) return unspecific('optional parameter without a length');
    const size = extended ? (block[at + 1] << 8) | block[at + 2] : block[at + 1];
    const end = at + header + size;
    if (end > block.length) return unspecific('optional parameter runs past the end');
    if (block[at] !== CAPABILITIES)
      return err(openFault(OPEN_ERROR.unsupportedParameter, `optional parameter ${block[at]}`));
    const fault = decodeCapabilities(block.subarray(at + header, end), found);
    if (fault) return err(fault);
    at = end;
  }
  return ok({ capabilities: found.list(), notes: found.notes });
}

function decodeCapabilities(bytes: Uint8Array, found: Collector): Malformed | null {
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 + bytes[at + 1];
    if (bytes.length - at < 2 || end > bytes.length)
      return openFault(OPEN_ERROR.unspecific, 'capability runs past the end of its parameter');
    const capability = decodeCapability(bytes[at], bytes.subarray(at + 2, end));
    if (capability.ok) found.add(capability.value);
    else if (capability.error.disposition === 'ignore') found.notes.push(capability.error);
    else return capability.error;
    at = end;
  }
  return null;
}

/** Keeps one of equal capabilities, in time linear in their number (RFC 5492 §4), and the last graceful restart (RFC 4724 §3). */
class Collector {
  readonly notes: Malformed[] = [];
  readonly #byValue = new Map<string, Capability>();
  #gracefulRestart: string | undefined;

  add(capability: Capability): void {
    // Equal in meaning is equal here: what was left out of a value does not tell two apart.
    const key = String.fromCharCode(...encodeCapability(capability));
    if (capability.name === 'graceful-restart') {
      if (this.#gracefulRestart !== undefined) this.#byValue.delete(this.#gracefulRestart);
      this.#gracefulRestart = key;
    }
    if (!this.#byValue.has(key)) this.#byValue.set(key, capability);
  }
  list(): Capability[] {
    return [...this.#byValue.values()];
  }
}

/** What goes into an OPEN of ours; the two-octet AS field follows from the AS. */
export type OpenFields = Pick<Open, 'asNumber' | 'holdTime' | 'identifier' | 'capabilities'>;

/** All capabilities in one parameter; in the extended form of RFC 9072 when they need more than 255 bytes. */
export function encodeOpen(open: OpenFields): Uint8Array {
  const capabilities = new Writer();
  for (const capability of open.capabilities) capabilities.put(encodeCapability(capability));
  const size = capabilities.length;
  const w = new Writer(64 + size);
  w.u8(BGP_VERSION)
    .u16(open.asNumber > 0xffff ? AS_TRANS : open.asNumber)
    .u16(open.holdTime)
    .u32(open.identifier);
  if (size === 0) w.u8(0);
  else if (size + 2 <= 255)
    w.u8(size + 2)
      .u8(CAPABILITIES)
      .u8(size);
  else
    w.u8(EXTENDED)
      .u8(EXTENDED)
      .u16(size + 3)
      .u8(CAPABILITIES)
      .u16(size);
  return frame('OPEN', w.put(capabilities.done()).done());
}
