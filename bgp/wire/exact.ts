import type { Parser } from 'binary-parser';

/**
 * Runs a parser over exactly the bytes it describes. binary-parser gives a short result, without a word, when a buffer is too short, and does not
 * see bytes that are left over; so a parser runs only behind this guard. Undefined: the length is not the one the structure has.
 */
export function parseExact<T>(parser: Parser, bytes: Uint8Array, length: number): T | undefined {
  return bytes.length === length ? (parser.parse(bytes) as T) : undefined;
}
