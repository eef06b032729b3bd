import { COMMUNITY, neighbourAs } from '../attributes.ts';
import { encodeAttributes } from '../wire/attributes-out.ts';
import type { PathAttributes } from '../wire/types.ts';
import { NextHopTable } from './next-hops.ts';
import { grown } from './prefixes.ts';

/** The LOCAL_PREF of a route that has none (RFC 4271 leaves it to the speaker; the value of every other one). */
export const DEFAULT_LOCAL_PREF = 100;

const MIN = 64;

/**
 * Attribute sets as small integers, equal sets once, with what the decision process compares in columns. An id lives while it is held;
 * id 0 is no set.
 */
export class AttributeTable {
  localPref = new Uint32Array(MIN);
  /** AS_PATH length as RFC 4271 §9.1.2.2 a) counts it: a set is one. */
  pathLength = new Uint16Array(MIN);
  origin = new Uint8Array(MIN);
  med = new Uint32Array(MIN);
  /** Neighbouring AS for comparing MED; 0: none. */
  neighbour = new Uint32Array(MIN);
  clusters = new Uint16Array(MIN);
  /** 1: LLGR_STALE (RFC 9494), to be used only where there is nothing else. */
  longLivedStale = new Uint8Array(MIN);
  /** Id in `nextHops`. */
  nextHop = new Uint32Array(MIN);
  readonly nextHops = new NextHopTable();
  #refs = new Uint32Array(MIN);
  readonly #values: (PathAttributes | undefined)[] = [undefined];
  readonly #keys: string[] = [''];
  readonly #ids = new Map<string, number>();
  readonly #free: number[] = [];
  #lastValue: PathAttributes | null = null;
  #lastId = 0;

  get count(): number {
    return this.#ids.size;
  }
  valueOf(id: number): PathAttributes {
    return this.#values[id] as PathAttributes;
  }
  /** The id of the set, held once more for the caller, who releases it. */
  intern(value: PathAttributes): number {
    if (value === this.#lastValue) {
      this.#refs[this.#lastId]++;
      return this.#lastId;
    }
    const key = keyOf(value);
    let id = this.#ids.get(key);
    if (id === undefined) {
      id = this.#add(value);
      this.#keys[id] = key;
      this.#ids.set(key, id);
    }
    this.#refs[id]++;
    this.#lastValue = value;
    this.#lastId = id;
    return id;
  }
  hold(id: number): void {
    this.#refs[id]++;
  }
  release(id: number): void {
    if (--this.#refs[id] > 0) return;
    this.#ids.delete(this.#keys[id]);
    this.#keys[id] = '';
    this.#values[id] = undefined;
    this.nextHops.release(this.nextHop[id]);
    this.#free.push(id);
    if (id === this.#lastId) this.#lastValue = null;
  }

  #add(value: PathAttributes): number {
    const id = this.#free.pop() ?? this.#values.length;
    if (id >= this.localPref.length) this.#grow();
    this.#values[id] = value;
    this.localPref[id] = value.localPref ?? DEFAULT_LOCAL_PREF;
    this.pathLength[id] = pathLengthOf(value);
    this.origin[id] = value.origin;
    this.med[id] = value.med ?? 0;
    this.neighbour[id] = neighbourAs(value.asPath) ?? 0;
    this.clusters[id] = value.clusterList.length;
    this.longLivedStale[id] = value.communities.includes(COMMUNITY.llgrStale) ? 1 : 0;
    this.nextHop[id] = this.nextHops.hold(value.nextHop);
    this.#refs[id] = 0;
    return id;
  }
  #grow(): void {
    const size = this.localPref.length * 2;
    this.localPref = grown(this.localPref, size);
    this.pathLength = grown(this.pathLength, size);
    this.origin = grown(this.origin, size);
    this.med = grown(this.med, size);
    this.neighbour = grown(this.neighbour, size);
    this.clusters = grown(this.clusters, size);
    this.longLivedStale = grown(this.longLivedStale, size);
    this.nextHop = grown(this.nextHop, size);
    this.#refs = grown(this.#refs, size);
  }
}

function pathLengthOf({ asPath }: PathAttributes): number {
  let length = 0;
  for (const segment of asPath) length += segment.type === 'set' ? 1 : segment.asNumbers.length;
  return length;
}

/** Equal bytes mean equal sets; as a string of bytes they key a map without an object each. */
function keyOf(value: PathAttributes): string {
  const bytes = encodeAttributes(value, FLAVOUR, true);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}
const FLAVOUR = { fourOctetAs: true };
