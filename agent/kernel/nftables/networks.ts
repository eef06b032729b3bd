import { addrBytes, parseCidr } from '#core';
import { forEach, type Sliced } from '../../slices.ts';

/** So many changes one by one cost as much as putting a hundred thousand in order anew. */
const FEW = 64;

/**
 * Networks and addresses of one family, a hundred thousand of them, by what covers what. Each has a key that sorts by its first address, and before
 * all that it covers; so what it covers stands behind it, and what covers it is found by one look for each length that there is.
 */
export class Networks {
  readonly #members = new Map<string, string>();
  #keys: string[] = [];
  /** How many there are of each length. */
  readonly #lengths = new Map<number, number>();

  /** What is neither network nor address (a range that a stranger has made) covers nothing here, and is not covered. */
  *change(added: Iterable<string>, removed: Iterable<string>): Sliced {
    const [come, gone] = [[] as string[], [] as string[]];
    yield* forEach(removed, (member) => {
      const key = keyOf(member);
      if (key === undefined || !this.#members.delete(key)) return;
      this.#count(key, -1);
      gone.push(key);
    });
    yield* forEach(added, (member) => {
      const key = keyOf(member);
      if (key === undefined) return;
      if (!this.#members.has(key)) {
        this.#count(key, 1);
        come.push(key);
      }
      this.#members.set(key, member);
    });
    if (come.length + gone.length > FEW) this.#keys = [...this.#members.keys()].sort();
    else {
      for (const key of gone) this.#keys.splice(this.#placeOf(key), 1);
      for (const key of come) this.#keys.splice(this.#placeOf(key), 0, key);
    }
  }

  /** Whether another one covers it. */
  isCovered(member: string): boolean {
    const key = keyOf(member);
    if (key === undefined) return false;
    return this.#has((length) => length < lengthOf(key) && this.#members.has(firstOf(key, length)));
  }
  /** Those that it covers, itself not among them. */
  *inside(member: string): Iterable<string> {
    const key = keyOf(member);
    if (key === undefined || !this.#has((length) => length > lengthOf(key))) return;
    const last = lastOf(key);
    for (let i = this.#placeOf(key); i < this.#keys.length && this.#keys[i] <= last; i++)
      if (this.#keys[i] !== key) yield this.#members.get(this.#keys[i])!;
  }

  #has(test: (length: number) => boolean): boolean {
    for (const length of this.#lengths.keys()) if (test(length)) return true;
    return false;
  }
  #count(key: string, by: 1 | -1): void {
    const length = lengthOf(key);
    const count = (this.#lengths.get(length) ?? 0) + by;
    if (count > 0) this.#lengths.set(length, count);
    else this.#lengths.delete(length);
  }
  /** Where it stands, or would. */
  #placeOf(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#keys[middle] < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The first address, 16 bits a character, and then the length. */
function keyOf(member: string): string | undefined {
  const parsed = parseCidr(member);
  if (!parsed.ok) return undefined;
  const bytes = addrBytes(parsed.value.addr);
  let key = '';
  for (let i = 0; i < bytes.length; i += 2) key += String.fromCharCode((bytes[i] << 8) | bytes[i + 1]);
  return firstOf(key + String.fromCharCode(parsed.value.length), parsed.value.length);
}
const lengthOf = (key: string): number => key.charCodeAt(key.length - 1);

/** The key of the network of that length which holds it. */
function firstOf(key: string, length: number): string {
  const [whole, bits] = [length >> 4, length & 15];
  const half = bits === 0 ? '' : String.fromCharCode(key.charCodeAt(whole) & (0xffff << (16 - bits)));
  return (key.slice(0, whole) + half).padEnd(key.length - 1, '\0') + String.fromCharCode(length);
}
/** No key of what it covers is greater. */
function lastOf(key: string): string {
  const [whole, bits] = [lengthOf(key) >> 4, lengthOf(key) & 15];
  const half = bits === 0 ? '' : String.fromCharCode(key.charCodeAt(whole) | (0xffff >> bits));
  return (key.slice(0, whole) + half).padEnd(key.length, '\uffff');
}
