/** The part of binary-parser that the codec uses: its own typings are not reachable from an ES module under `exports`. */
declare module 'binary-parser' {
  export class Parser {
    endianness(endianness: 'big' | 'little'): this;
    bit1(name: string): this;
    bit2(name: string): this;
    bit12(name: string): this;
    bit24(name: string): this;
    uint8(name: string): this;
    uint16(name: string): this;
    uint32(name: string): this;
    /** Bounds are the caller's care: see `parseExact`. */
    parse(bytes: Uint8Array): unknown;
  }
}
