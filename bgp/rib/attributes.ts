import { COMMUNITY, neighbourAs } from '../attributes.ts';
import { attributesOfKey } from '../wire/attribute-key.ts';
import { attributeKey } from '../wire/attributes-out.ts';
import type { PathAttributes, RouterId } from '../wire/types.ts';
import { ByteTable, hashOf } from './byte-table.ts';
import { NextHopTable } from './next-hops.ts';
import { grown } from './prefixes.ts';

/** The LOCAL_PREF of a route that has none (RFC 4271 leaves it to the speaker; the value of every other one). */
export const DEFAULT_LOCAL_PREF = 100;

const MIN = 64;
/** Values at hand without decoding, since what was read lately is told next; few enough that they die young. */
const RECENT = 256;

/**
 * Attribute sets as small integers, equal sets once, with what the decision process compares in columns. A set is kept as its bytes, a tenth of
 * what the value takes. An id lives while it is held; id 0 is no set.
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
  /** ORIGINATOR_ID, where `hasOriginator` is 1. */
  #originator = new Uint32Array(MIN);
  #hasOriginator = new Uint8Array(MIN);
  /** How many hold the set; of a free id the next free one. */
  #refs = new Uint32Array(MIN);
  readonly #keys = new ByteTable();
  readonly #recent: (PathAttributes | undefined)[] = new Array(RECENT).fill(undefined);
  readonly #recentIds = new Uint32Array(RECENT);
  #free = 0;
  #end = 1;
  #lastValue: PathAttributes | null = null;
  #lastId = 0;

  get count(): number {
    return this.#keys.count;
  }
  valueOf(id: number): PathAttributes {
    const slot = id % RECENT;
    if (this.#recentIds[slot] === id) return this.#recent[slot] as PathAttributes;
    const value = attributesOfKey(this.#keys.arena, this.#keys.startOf(id), this.#keys.endOf(id));
    this.#remember(id, value);
    return value;
  }
  originatorOf(id: number): RouterId | null {
    return this.#hasOriginator[id] === 1 ? this.#originator[id] : null;
  }
  /** The id of the set, held once more for the caller, who releases it. */
  intern(value: PathAttributes): number {
    if (value === this.#lastValue) {
      this.#refs[this.#lastId]++;
      return this.#lastId;
    }
    const key = attributeKey(value);
    const hash = hashOf(key);
    let id = this.#keys.find(key, hash);
    if (id === 0) {
      id = this.#take();
      // First, because the next encoding overwrites the key.
      this.#keys.add(id, key, hash);
      this.#fill(id, value);
      this.#remember(id, value);
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
    this.nextHops.release(this.nextHop[id]);
    this.#keys.remove(id);
    const slot = id % RECENT;
    if (this.#recentIds[slot] === id) {
      this.#recentIds[slot] = 0;
      this.#recent[slot] = undefined;
    }
    this.#refs[id] = this.#free;
    this.#free = id;
    if (id === this.#lastId) this.#lastValue = null;
  }

  #remember(id: number, value: PathAttributes): void {
    this.#recentIds[id % RECENT] = id;
    this.#recent[id % RECENT] = value;
  }
  #take(): number {
    const id = this.#free === 0 ? this.#end++ : this.#free;
    if (id === this.#free) this.#free = this.#refs[id];
    if (id >= this.localPref.length) this.#grow();
    return id;
  }
  #fill(id: number, value: PathAttributes): void {
    this.localPref[id] = value.localPref ?? DEFAULT_LOCAL_PREF;
    this.pathLength[id] = pathLengthOf(value);
    this.origin[id] = value.origin;
    this.med[id] = value.med ?? 0;
    this.neighbour[id] = neighbourAs(value.asPath) ?? 0;
    this.clusters[id] = value.clusterList.length;
    this.longLivedStale[id] = value.communities.includes(COMMUNITY.llgrStale) ? 1 : 0;
    this.nextHop[id] = this.nextHops.hold(value.nextHop);
    this.#originator[id] = value.originatorId ?? 0;
    this.#hasOriginator[id] = value.originatorId === null ? 0 : 1;
    this.#refs[id] = 0;
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
    this.#originator = grown(this.#originator, size);
    this.#hasOriginator = grown(this.#hasOriginator, size);
    this.#refs = grown(this.#refs, size);
  }
}

function pathLengthOf({ asPath }: PathAttributes): number {
  let length = 0;
  for (const segment of asPath) length += segment.type === 'set' ? 1 : segment.asNumbers.length;
  return length;
}
