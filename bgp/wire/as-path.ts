import type { Writer } from '#core';
import { AS_TRANS } from './codes.ts';
import type { AsSegment } from './types.ts';

/** AS_PATH (RFC 4271 §4.3) in its two widths, and the merge of both (RFC 6793 §4.2.3). */

const SET = 1;
const SEQUENCE = 2;
const CONFED_SEQUENCE = 3;
const CONFED_SET = 4;

/** An AS_PATH that is not one, with the reason. */
export type BadAsPath = string;

/**
 * Reads segments of `width`-byte AS numbers from `bytes[start, end)`. Neighbouring sequences become one, members of a set are sorted, so that
 * equal paths are equal values.
 *
 * @param confed what to do about confederation segments (RFC 5065): refuse the path, or leave them out.
 */
export function readAsPath(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: 2 | 4,
  confed: 'refuse' | 'strip',
): AsSegment[] | BadAsPath {
  const segments: AsSegment[] = [];
  for (let at = start; at < end; ) {
    if (end - at < 2) return 'a byte is left after the last segment';
    const type = bytes[at];
    const count = bytes[at + 1];
    const next = at + 2 + count * width;
    if (type < SET || type > CONFED_SET) return `segment type ${type}`;
    if (count === 0) return 'a segment without an AS';
    if (next > end) return 'a segment runs past the end';
    const isConfed = type === CONFED_SEQUENCE || type === CONFED_SET;
    if (isConfed && confed === 'refuse') return 'a confederation segment';
    if (!isConfed && !readSegment(bytes, at + 2, next, width, type, segments)) return 'AS 0 in the path';
    at = next;
  }
  return segments;
}

/** Appends a segment, to the last one where both are sequences; false when an AS is 0 (RFC 7607 §2). */
function readSegment(
  bytes: Uint8Array,
  start: number,
  end: number,
  width: 2 | 4,
  type: number,
  segments: AsSegment[],
): boolean {
  const last = segments.at(-1);
  const continues = type === SEQUENCE && last?.type === 'sequence';
  const numbers = continues ? (last.asNumbers as number[]) : [];
  if (!readNumbers(bytes, start, end, width, numbers)) return false;
  if (type === SET) segments.push({ type: 'set', asNumbers: sortedUnique(numbers) });
  else if (!continues) segments.push({ type: 'sequence', asNumbers: numbers });
  return true;
}

/** Appends AS numbers to `into`; false when one of them is 0 (RFC 7607 §2). */
function readNumbers(bytes: Uint8Array, start: number, end: number, width: 2 | 4, into: number[]): boolean {
  for (let at = start; at < end; at += width) {
    let value = (bytes[at] << 8) | bytes[at + 1];
    if (width === 4) value = ((value << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
    if (value === 0) return false;
    into.push(value);
  }
  return true;
}

/** Sorted copies without duplicates; small inputs as they are. */
export function sortedUnique(numbers: number[]): number[] {
  if (numbers.length < 2) return numbers;
  const sorted = numbers.slice().sort((a, b) => a - b);
  return sorted.filter((value, i) => i === 0 || value !== sorted[i - 1]);
}

/** RFC 4271 §9.1.2.2 a: an AS_SET counts as one. */
export function asPathLength(path: readonly AsSegment[]): number {
  let length = 0;
  for (const segment of path) length += segment.type === 'set' ? 1 : segment.asNumbers.length;
  return length;
}

/**
 * The path that a two-octet speaker meant (RFC 6793 §4.2.3): the leading part of AS_PATH by which it is longer, then AS4_PATH. An AS4_PATH longer
 * than AS_PATH is not used.
 */
export function mergeAs4Path(path: readonly AsSegment[], path4: readonly AsSegment[]): readonly AsSegment[] {
  let keep = asPathLength(path) - asPathLength(path4);
  if (keep < 0) return path;
  const merged: AsSegment[] = [];
  for (const segment of path) {
    if (keep <= 0) break;
    if (segment.type === 'set') keep--;
    const asNumbers = segment.type === 'set' ? segment.asNumbers : segment.asNumbers.slice(0, keep);
    if (segment.type === 'sequence') keep -= asNumbers.length;
    merged.push({ type: segment.type, asNumbers });
  }
  return joinSequences([...merged, ...path4]);
}

/** Neighbouring sequences as one. */
export function joinSequences(path: readonly AsSegment[]): readonly AsSegment[] {
  const joined: AsSegment[] = [];
  for (const segment of path) {
    const last = joined.at(-1);
    if (last?.type === 'sequence' && segment.type === 'sequence')
      joined[joined.length - 1] = { type: 'sequence', asNumbers: [...last.asNumbers, ...segment.asNumbers] };
    else joined.push(segment);
  }
  return joined;
}

/** Whether a two-octet AS_PATH would lose numbers, so that AS4_PATH has to go with it. */
export const needsAs4Path = (path: readonly AsSegment[]): boolean =>
  path.some((segment) => segment.asNumbers.some((as) => as > 0xffff));

/** Writes segments of at most 255 AS numbers each; numbers that do not fit two octets become AS_TRANS. */
export function writeAsPath(w: Writer, path: readonly AsSegment[], width: 2 | 4): void {
  for (const { type, asNumbers } of path)
    for (let from = 0; from < asNumbers.length; from += 255) {
      const count = Math.min(255, asNumbers.length - from);
      w.u8(type === 'set' ? SET : SEQUENCE).u8(count);
      for (let i = from; i < from + count; i++)
        if (width === 4) w.u32(asNumbers[i]);
        else w.u16(asNumbers[i] > 0xffff ? AS_TRANS : asNumbers[i]);
    }
}
