import { type DecodedAttributes, decodeAttributes, type Need } from './attributes-in.ts';
import type { DecodeContext } from './types.ts';

const SLOTS = 64;
const SLOT_BYTES = 256;

/**
 * Remembers the last attribute blocks of a session with what they decode to, so that a feed that repeats a block decodes it once. A direct-mapped
 * table of fixed size (16 KB, made on first use): a peer cannot make it grow, and a block longer than a slot is decoded each time.
 */
export class AttributeMemo {
  readonly #ctx: DecodeContext;
  #bytes = new Uint8Array(0);
  readonly #lengths = new Uint16Array(SLOTS);
  /** How many bytes of the key are no attributes: keys of different kinds never meet. */
  readonly #heads = new Uint8Array(SLOTS);
  readonly #values: (DecodedAttributes | undefined)[] = [];

  constructor(ctx: DecodeContext) {
    this.#ctx = ctx;
  }

  /**
   * The value of the attributes in `bytes[start, end)`. `keyStart` lies at or before `start`: the bytes between are no attributes, but tell
   * blocks apart whose meaning differs (the next hop of MP_REACH_NLRI).
   */
  decode(
    bytes: Uint8Array,
    keyStart: number,
    start: number,
    end: number,
    need: Exclude<Need, 'nothing'>,
  ): DecodedAttributes {
    const length = end - keyStart;
    if (length > SLOT_BYTES) return decodeAttributes(bytes, start, end, need, this.#ctx);
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(SLOTS * SLOT_BYTES);
    const slot = hash(bytes, keyStart, end) % SLOTS;
    const base = slot * SLOT_BYTES;
    const known = this.#values[slot];
    const head = start - keyStart;
    if (known && this.#lengths[slot] === length && this.#heads[slot] === head)
      if (equal(this.#bytes, base, bytes, keyStart, length)) return known;
    const value = decodeAttributes(bytes, start, end, need, this.#ctx);
    for (let i = 0; i < length; i++) this.#bytes[base + i] = bytes[keyStart + i];
    this.#lengths[slot] = length;
    this.#heads[slot] = head;
    this.#values[slot] = value;
    return value;
  }
}

/** FNV-1a. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0x811c9dc5;
  for (let i = start; i < end; i++) value = Math.imul(value ^ bytes[i], 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}

function equal(a: Uint8Array, atA: number, b: Uint8Array, atB: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}
