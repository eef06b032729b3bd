import { grown } from './prefixes.ts';

const MIN = 64;
const MIN_ARENA = 4096;

/**
 * Byte strings under ids that the caller gives, found by their bytes: an index of open addressing over one arena, no object a string. What is
 * removed leaves a gap in the arena, which goes when the arena is full and made anew.
 */
export class ByteTable {
  #arena = new Uint8Array(MIN_ARENA);
  #end = 0;
  /** Bytes of the strings that are there. */
  #live = 0;
  #count = 0;
  #at = new Uint32Array(MIN);
  /** 0: no string under this id. */
  #size = new Uint32Array(MIN);
  #hashes = new Uint32Array(MIN);
  #slots = new Uint32Array(MIN * 2);

  get count(): number {
    return this.#count;
  }
  /** Where the strings lie; another one after `add`. */
  get arena(): Uint8Array {
    return this.#arena;
  }
  startOf(id: number): number {
    return this.#at[id];
  }
  endOf(id: number): number {
    return this.#at[id] + this.#size[id];
  }
  /** The id of the string, or 0. `hash` is `hashOf(bytes)`. */
  find(bytes: Uint8Array, hash: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const id = slots[slot];
      if (id === 0 || (this.#hashes[id] === hash && this.#equal(id, bytes))) return id;
    }
  }
  /** Puts a string, which must not be empty nor there already, under an id that is free. */
  add(id: number, bytes: Uint8Array, hash: number): void {
    while (id >= this.#size.length) this.#grow();
    if (this.#end + bytes.length > this.#arena.length) this.#compact(bytes.length);
    if ((this.#count + 1) * 2 > this.#slots.length) this.#rehash();
    this.#arena.set(bytes, this.#end);
    this.#at[id] = this.#end;
    this.#size[id] = bytes.length;
    this.#hashes[id] = hash;
    this.#end += bytes.length;
    this.#live += bytes.length;
    this.#count++;
    this.#file(id);
  }
  remove(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let gap = this.#hashes[id] & mask;
    while (slots[gap] !== id) gap = (gap + 1) & mask;
    // Those behind move up if that brings them no nearer than their own slot, so that no search stops short of them.
    for (let slot = (gap + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hashes[slots[slot]] & mask;
      if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
      slots[gap] = slots[slot];
      gap = slot;
    }
    slots[gap] = 0;
    this.#live -= this.#size[id];
    this.#size[id] = 0;
    this.#count--;
    if (this.#count === 0) this.#clear();
  }

  #equal(id: number, bytes: Uint8Array): boolean {
    if (this.#size[id] !== bytes.length) return false;
    const arena = this.#arena;
    const at = this.#at[id];
    for (let i = 0; i < bytes.length; i++) if (arena[at + i] !== bytes[i]) return false;
    return true;
  }
  #file(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#hashes[id] & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = id;
  }
  #grow(): void {
    const size = this.#size.length * 2;
    this.#at = grown(this.#at, size);
    this.#size = grown(this.#size, size);
    this.#hashes = grown(this.#hashes, size);
  }
  #rehash(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let id = 1; id < this.#size.length; id++) if (this.#size[id] > 0) this.#file(id);
  }
  /** An arena without gaps and with room for so many bytes more. */
  #compact(more: number): void {
    let length = MIN_ARENA;
    while (length < (this.#live + more) * 1.5) length *= 2;
    const arena = new Uint8Array(length);
    let end = 0;
    for (let id = 1; id < this.#size.length; id++) {
      if (this.#size[id] === 0) continue;
      arena.set(this.#arena.subarray(this.#at[id], this.endOf(id)), end);
      this.#at[id] = end;
      end += this.#size[id];
    }
    this.#arena = arena;
    this.#end = end;
  }
  /** An empty table gives its memory back. */
  #clear(): void {
    this.#end = 0;
    if (this.#arena.length > MIN_ARENA) this.#arena = new Uint8Array(MIN_ARENA);
    if (this.#slots.length > MIN * 2) this.#slots = new Uint32Array(MIN * 2);
  }
}

/** FNV-1a, mixed once more because only the low bits choose a slot. */
export function hashOf(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
