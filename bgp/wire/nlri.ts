import type { Family } from '#core';
import type { NlriBlock } from './types.ts';

/** NLRI (RFC 4271 §4.3, RFC 4760 §5) between bytes and columns. The hot path of the speaker: no object a prefix. */

/** Prefixes in columns, to read from: a decoded block, or the prefix table of the RIB. */
export interface NlriColumns {
  readonly family: Family;
  /** One word a prefix in IPv4, four in IPv6, network order. */
  readonly addr: Uint32Array;
  readonly length: Uint8Array;
}

/** A block that is filled again and again; it grows to the largest message it has seen. */
export class NlriBuffer implements NlriBlock {
  readonly family: Family;
  count = 0;
  addr: Uint32Array;
  length: Uint8Array;
  pathId: Uint32Array | null = null;
  /** Prefixes left out because no host may be there (martians). */
  dropped = 0;
  /** How many prefixes are the default route: several of them are the mark of path identifiers that were not negotiated. */
  defaults = 0;
  #pathIds = new Uint32Array(0);

  constructor(family: Family, capacity = 64) {
    this.family = family;
    this.addr = new Uint32Array(capacity * (family === 4 ? 1 : 4));
    this.length = new Uint8Array(capacity);
  }
  /** Empties the block and makes room for `capacity` prefixes. */
  reset(capacity: number, addPath: boolean): void {
    this.count = 0;
    this.dropped = 0;
    this.defaults = 0;
    if (this.length.length < capacity) {
      const size = Math.max(capacity, this.length.length * 2);
      this.addr = new Uint32Array(size * (this.family === 4 ? 1 : 4));
      this.length = new Uint8Array(size);
    }
    if (addPath && this.#pathIds.length < this.length.length) this.#pathIds = new Uint32Array(this.length.length);
    this.pathId = addPath ? this.#pathIds : null;
  }
}

/**
 * Reads `bytes[start, end)` into the block, which must be of the right family. Host bits are cleared (RFC 4271 §4.3).
 * Returns null, or why the bytes are no list of prefixes; the block is then to be thrown away.
 */
export function readNlri(
  bytes: Uint8Array,
  start: number,
  end: number,
  addPath: boolean,
  dropMartians: boolean,
  block: NlriBuffer,
): string | null {
  // A prefix takes at least one byte, or five with a path identifier.
  block.reset(addPath ? Math.floor((end - start) / 5) : end - start, addPath);
  const read = block.family === 4 ? readWords : readQuads;
  return read(bytes, start, end, addPath, dropMartians, block);
}

function readWords(
  bytes: Uint8Array,
  start: number,
  end: number,
  addPath: boolean,
  dropMartians: boolean,
  block: NlriBuffer,
): string | null {
  const { addr, length: lengths, pathId } = block;
  let count = 0;
  for (let at = start; at < end; ) {
    if (addPath) {
      if (end - at < 5) return TRUNCATED;
      pathId![count] = readWord(bytes, at);
      at += 4;
    }
    const length = bytes[at++];
    const next = at + ((length + 7) >> 3);
    if (length === 0) block.defaults++;
    if (length > 32) return TOO_LONG;
    if (next > end) return TRUNCATED;
    const word = wordOf(bytes, at, next, length);
    at = next;
    if (dropMartians && isMartian(word, length)) {
      block.dropped++;
      continue;
    }
    addr[count] = word;
    lengths[count++] = length;
  }
  block.count = count;
  return null;
}

function readQuads(
  bytes: Uint8Array,
  start: number,
  end: number,
  addPath: boolean,
  dropMartians: boolean,
  block: NlriBuffer,
): string | null {
  const { addr, length: lengths, pathId } = block;
  let count = 0;
  for (let at = start; at < end; ) {
    if (addPath) {
      if (end - at < 5) return TRUNCATED;
      pathId![count] = readWord(bytes, at);
      at += 4;
    }
    const length = bytes[at++];
    const next = at + ((length + 7) >> 3);
    if (length === 0) block.defaults++;
    if (length > 128) return TOO_LONG;
    if (next > end) return TRUNCATED;
    for (let word = 0; word < 4; word++)
      addr[count * 4 + word] = wordOf(bytes, at + word * 4, next, length - word * 32);
    at = next;
    if (dropMartians && isMartianQuad(addr, count * 4, length)) {
      block.dropped++;
      continue;
    }
    lengths[count++] = length;
  }
  block.count = count;
  return null;
}

/** The word at `at`, of which the bytes before `end` are there, with all but the first `bits` bits clear. */
function wordOf(bytes: Uint8Array, at: number, end: number, bits: number): number {
  if (bits <= 0) return 0;
  let word = bytes[at] << 24;
  if (at + 1 < end) word |= bytes[at + 1] << 16;
  if (at + 2 < end) word |= bytes[at + 2] << 8;
  if (at + 3 < end) word |= bytes[at + 3];
  return bits < 32 ? word & (-1 << (32 - bits)) : word;
}

const TRUNCATED = 'prefix runs past the end';
const TOO_LONG = 'prefix length is longer than an address';

/** Inside 0/8, 127/8 or 224/4. The default route is shorter than any of them. */
function isMartian(word: number, length: number): boolean {
  if (length < 4) return false;
  const first = word >>> 24;
  return first >> 4 === 14 || (length >= 8 && (first === 0 || first === 127));
}

/** Inside fe80::/10 or ff00::/8, or ::1/128 or ::/128. */
function isMartianQuad(addr: Uint32Array, at: number, length: number): boolean {
  if (length < 8) return false;
  const first = addr[at];
  if (first >>> 24 === 0xff) return true;
  if (length >= 10 && first >>> 22 === 0x3fa) return true;
  return length === 128 && first === 0 && addr[at + 1] === 0 && addr[at + 2] === 0 && addr[at + 3] <= 1;
}

const readWord = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;

/** The end of the last write of `writeNlri`; beside the next index, which it returns. */
export interface Cursor {
  at: number;
}

/**
 * Writes prefixes `ids[from, to)` (or `from` to `to` themselves when `ids` is null) of the columns into `out` from `cursor.at` to at most `limit`.
 * Returns the first index that did not fit; the cursor stands behind what was written. `pathIds` runs beside `ids`.
 */
export function writeNlri(
  out: Uint8Array,
  cursor: Cursor,
  limit: number,
  from: NlriColumns,
  ids: Uint32Array | null,
  pathIds: Uint32Array | null,
  first: number,
  last: number,
): number {
  const { addr, length: lengths } = from;
  const words = from.family === 4 ? 1 : 4;
  let at = cursor.at;
  let index = first;
  for (; index < last; index++) {
    const id = ids === null ? index : ids[index];
    const length = lengths[id];
    const size = (length + 7) >> 3;
    if (limit - at < size + (pathIds === null ? 1 : 5)) break;
    if (pathIds !== null) {
      writeWord(out, at, pathIds[index]);
      at += 4;
    }
    out[at++] = length;
    const base = id * words;
    for (let byte = 0; byte < size; byte++) out[at++] = addr[base + (byte >> 2)] >>> (24 - ((byte & 3) << 3));
  }
  cursor.at = at;
  return index;
}

function writeWord(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}
