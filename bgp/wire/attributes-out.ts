import { Writer } from '#core';
import { ATTRIBUTE, ATTRIBUTES, FLAG, type Flavour } from './attribute.ts';
import type { PathAttributes, UnknownAttribute } from './types.ts';

/** From a value to bytes: in ascending order of codes (RFC 4271 §5), flags and lengths as short as they go. */

const CODES = Object.keys(ATTRIBUTES)
  .map(Number)
  .filter((code) => ATTRIBUTES[code].encode)
  .sort((a, b) => a - b);

/** Reused: encodings do not interleave. */
const block = new Writer(4096);
const value = new Writer(4096);

/**
 * The attribute block of an UPDATE, MP_REACH_NLRI aside, in the flavour of a session. With `nextHop` it has NEXT_HOP, as routes in the
 * body need it (RFC 4271 §5.1.3); without, the next hop goes into MP_REACH_NLRI. The bytes are a copy and worth keeping.
 */
export function encodeAttributes(attributes: PathAttributes, flavour: Flavour, nextHop: boolean): Uint8Array {
  block.length = 0;
  const { unknown, partial } = attributes;
  let next = 0;
  for (const code of CODES) {
    while (next < unknown.length && unknown[next].code < code) putUnknown(unknown[next++]);
    const spec = ATTRIBUTES[code];
    if ((code === ATTRIBUTE.NEXT_HOP && !nextHop) || !spec.present!(attributes, flavour)) continue;
    value.length = 0;
    spec.encode!(attributes, value, flavour);
    putAttribute(partial.includes(code) ? spec.flags | FLAG.partial : spec.flags, code, value.view());
  }
  while (next < unknown.length) putUnknown(unknown[next++]);
  return block.done();
}

/** The bytes under which equal values are the same: four-octet, with the next hop of any family in NEXT_HOP. */
export const attributeKey = (attributes: PathAttributes): Uint8Array =>
  encodeAttributes(attributes, { fourOctetAs: true }, true);

/** RFC 4271 §9: the Partial bit says that a speaker on the way did not know the attribute. */
const putUnknown = (attribute: UnknownAttribute): void =>
  putAttribute(FLAG.optional | FLAG.transitive | FLAG.partial, attribute.code, attribute.value);

function putAttribute(flags: number, code: number, bytes: Uint8Array): void {
  if (bytes.length > 255)
    block
      .u8(flags | FLAG.extendedLength)
      .u8(code)
      .u16(bytes.length);
  else block.u8(flags).u8(code).u8(bytes.length);
  block.put(bytes);
}
