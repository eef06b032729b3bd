/** A cursor over bytes that cannot run past its end: each read tells whether there was enough. */
export class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;
  readonly #view: DataView;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  get left(): number {
    return this.end - this.at;
  }
  has(count: number): boolean {
    return this.left >= count;
  }
  /** The caller has checked `has(1)`; a read past the end throws RangeError, which is a bug. */
  u8(): number {
    this.#need(1);
    return this.bytes[this.at++];
  }
  u16(): number {
    this.#need(2);
    const value = this.#view.getUint16(this.at);
    this.at += 2;
    return value;
  }
  u32(): number {
    this.#need(4);
    const value = this.#view.getUint32(this.at);
    this.at += 4;
    return value;
  }
  /** A view, not a copy. */
  take(count: number): Uint8Array {
    this.#need(count);
    this.at += count;
    return this.bytes.subarray(this.at - count, this.at);
  }
  #need(count: number): void {
    if (this.left < count) throw new RangeError(`read of ${count} bytes with ${this.left} left`);
  }
}

/** A copy of `bytes[start, end)`. A Buffer's own `slice` is a view, which the next read from the socket overwrites. */
export const copyOf = (bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array =>
  new Uint8Array(bytes.subarray(start, end));

/** Copies `from[start, end)` to `to` at `at`; short pieces byte by byte, because a call into `set` costs more than they do. */
export function copyInto(to: Uint8Array, at: number, from: Uint8Array, start = 0, end = from.length): void {
  if (end - start > 24) to.set(start === 0 && end === from.length ? from : from.subarray(start, end), at);
  else for (let i = start; i < end; i++) to[at + i - start] = from[i];
}

/** Bytes that grow as they are written, in network order. */
export class Writer {
  #bytes: Uint8Array;
  #view: DataView;
  length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }
  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.length++] = value;
    return this;
  }
  u16(value: number): this {
    this.#room(2);
    this.#view.setUint16(this.length, value);
    this.length += 2;
    return this;
  }
  u32(value: number): this {
    this.#room(4);
    this.#view.setUint32(this.length, value >>> 0);
    this.length += 4;
    return this;
  }
  put(bytes: Uint8Array): this {
    this.#room(bytes.length);
    copyInto(this.#bytes, this.length, bytes);
    this.length += bytes.length;
    return this;
  }
  /** Overwrites a byte written before: a length that is known only now. */
  patch8(at: number, value: number): this {
    this.#bytes[at] = value;
    return this;
  }
  /** Makes room for `count` bytes at `at`, moving what stands behind. */
  insert(at: number, count: number): this {
    this.#room(count);
    this.#bytes.copyWithin(at + count, at, this.length);
    this.length += count;
    return this;
  }
  /** Overwrites two bytes written before: a length that is known only now. */
  patch16(at: number, value: number): this {
    this.#view.setUint16(at, value);
    return this;
  }
  /** What has been written, without copying: valid until the next write. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }
  /** A copy of what has been written. */
  done(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
