import { Writer } from '#core';
import { ATTRIBUTE, ATTRIBUTES, FLAG, type Flavour, nextHopBytes } from './attribute.ts';
import type { PathAttributes, UnknownAttribute } from './types.ts';

/** From a value to bytes: in ascending order of codes (RFC 4271 §5), flags and lengths as short as they go. */

const CODES = Object.keys(ATTRIBUTES)
  .map(Number)
  .filter((code) => ATTRIBUTES[code].encode)
  .sort((a, b) => a - b);

/** Reused: encodings do not interleave. */
const block = new Writer(4096);

/**
 * The attribute block of an UPDATE, MP_REACH_NLRI aside, in the flavour of a session. With `nextHop` it has NEXT_HOP, as routes in the
 * body need it (RFC 4271 §5.1.3); without, the next hop goes into MP_REACH_NLRI. The bytes are a copy and worth keeping.
 */
export function encodeAttributes(attributes: PathAttributes, flavour: Flavour, nextHop: boolean): Uint8Array {
  block.length = 0;
  putAttributes(attributes, flavour, nextHop);
  return block.done();
}

/**
 * The bytes under which equal values are the same: the length of the next hop and the next hop, then the other attributes, four-octet. A view, valid
 * until the next encoding; `attributesOfKey` reads it.
 */
export function attributeKey(attributes: PathAttributes): Uint8Array {
  const hop = nextHopBytes(attributes);
  block.length = 0;
  block.u8(hop.length).put(hop);
  putAttributes(attributes, FOUR_OCTET, false);
  return block.view();
}
const FOUR_OCTET: Flavour = { fourOctetAs: true };

function putAttributes(attributes: PathAttributes, flavour: Flavour, nextHop: boolean): void {
  const { unknown, partial } = attributes;
  let next = 0;
  for (const code of CODES) {
    while (next < unknown.length && unknown[next].code < code) putUnknown(unknown[next++]);
    const spec = ATTRIBUTES[code];
    if ((code === ATTRIBUTE.NEXT_HOP && !nextHop) || !spec.present!(attributes, flavour)) continue;
    const at = begin(partial.length > 0 && partial.includes(code) ? spec.flags | FLAG.partial : spec.flags, code);
    spec.encode!(attributes, block, flavour);
    end(at);
  }
  while (next < unknown.length) putUnknown(unknown[next++]);
}

/** RFC 4271 §9: the Partial bit says that a speaker on the way did not know the attribute. */
function putUnknown({ code, value }: UnknownAttribute): void {
  const at = begin(FLAG.optional | FLAG.transitive | FLAG.partial, code);
  block.put(value);
  end(at);
}

/** The head of an attribute with a length that `end` fills in; returns where it stands. */
function begin(flags: number, code: number): number {
  block.u8(flags).u8(code).u8(0);
  return block.length - 3;
}

/** The length of the attribute at `at`, in two bytes where one is too small. */
function end(at: number): void {
  const size = block.length - at - 3;
  if (size <= 255) block.patch8(at + 2, size);
  else
    block
      .insert(at + 2, 1)
      .patch8(at, block.view()[at] | FLAG.extendedLength)
      .patch16(at + 2, size);
}
