import { type BestBatch, blockOf, PrefixTable } from '#bgp';
import type { Family, Prefix } from '#core';
import type { Route, RouteColumns, RouteWrite } from './kernel/types.ts';
import { learnedRoute } from './learned-route.ts';
import { sameRoute } from './reconcile/route-state.ts';

/** Waits to be compared with the kernel. */
const QUEUED = 1;
/** Left by an earlier run, and not confirmed yet. */
const INHERITED = 2;
/** The table holds the prefix's id. */
const KNOWN = 4;

/**
 * Learned routes of one family in columns, wanted beside held. A route is a prefix and a way: everything of it but the destination, which
 * thousands of prefixes share. Way 0: no route.
 */
export class LearnedTable {
  readonly family: Family;
  readonly #prefixes: PrefixTable;
  readonly #any: Prefix;
  #wanted = new Uint32Array(64);
  #held = new Uint32Array(64);
  #flags = new Uint8Array(64);
  #queue: number[] = [];
  #head = 0;
  #ways: (Route | null)[] = [null];
  #wayIds = new Map<string, number>();
  /** Ways that make it worth looking which are still in use. */
  #wayLimit = 1024;

  constructor(family: Family) {
    this.family = family;
    this.#prefixes = new PrefixTable(family);
    this.#any = (family === 4 ? '0.0.0.0/0' : '::/0') as Prefix;
  }
  get isSettled(): boolean {
    return this.#head === this.#queue.length;
  }
  /** Whether routes of an earlier run wait for a word of the peers. */
  get hasInherited(): boolean {
    return this.#flags.some((flags) => (flags & INHERITED) !== 0);
  }

  apply({ count, addr, length, best }: BestBatch): void {
    const ways = new Map<BestBatch['best'][number], number>([[null, 0]]);
    for (let i = 0; i < count; i++) {
      const to = best[i];
      let way = ways.get(to);
      if (way === undefined) {
        way = to === null ? 0 : this.#wayOf(learnedRoute(this.#any, to));
        ways.set(to, way);
      }
      this.#want(this.#idOf(addr, i, length[i]), way);
    }
    this.#forgetWays();
  }
  /** What the kernel holds is exactly this; returns routes beside another one to the same prefix, which cannot be meant. */
  read(routes: readonly Route[], areInherited: boolean): Route[] {
    this.#held.fill(0);
    const strays: Route[] = [];
    for (const route of routes) {
      const { addr, length } = blockOf(route.to);
      const id = this.#idOf(addr, 0, length[0]);
      if (this.#held[id] !== 0) strays.push(route);
      else this.#held[id] = this.#wayOf({ ...route, to: this.#any });
      if (areInherited) this.#flags[id] |= INHERITED;
    }
    for (let id = 1; id < this.#prefixes.end; id++) if (this.#prefixes.isHeld(id)) this.#look(id);
    return strays;
  }
  /** Somebody else removed our route. */
  lost({ to, metric }: Route): void {
    const { addr, length } = blockOf(to);
    const id = this.#prefixes.find(addr, 0, length[0]);
    if (id === 0 || this.#ways[this.#held[id]]?.metric !== metric) return;
    this.#held[id] = 0;
    this.#look(id);
  }
  /** Inherited routes have waited long enough. */
  disown(): void {
    for (let id = 1; id < this.#prefixes.end; id++) {
      if ((this.#flags[id] & INHERITED) === 0) continue;
      this.#flags[id] &= ~INHERITED;
      this.#look(id);
    }
  }
  /** The next writes, at most `limit` and one; the table counts them as done until `refused` says otherwise. */
  take(limit: number): LearnedWrites {
    const writes = new LearnedWrites(this.family, limit + 1);
    while (writes.count < limit && !this.isSettled) {
      const id = this.#queue[this.#head++];
      this.#flags[id] &= ~QUEUED;
      this.#plan(id, writes);
      this.#release(id);
    }
    if (this.isSettled) {
      this.#queue = [];
      this.#head = 0;
    }
    return writes;
  }
  /**
   * The kernel refused to add the route: a stranger may be in its place. Whatever is wanted next is an addition too, never a replacement. To be said
   * before the next `take`.
   */
  refused(writes: LearnedWrites, index: number): void {
    this.#held[this.#idIn(writes, index)] = 0;
  }
  /** What was refused may be asked for again. */
  tryAgain(writes: LearnedWrites, index: number): void {
    this.#look(this.#idIn(writes, index));
  }

  #plan(id: number, writes: LearnedWrites): void {
    const want = this.#ways[this.#wanted[id]];
    const have = this.#ways[this.#held[id]];
    if (this.#flags[id] & INHERITED || want === have) return;
    const isSameKey = want && have && want.metric === have.metric && want.table === have.table;
    if (have && !isSameKey) writes.add(this.#prefixes, id, 'delete', have);
    if (want && !(isSameKey && sameRoute(want, have)))
      writes.add(this.#prefixes, id, isSameKey ? 'replace' : 'add', want);
    this.#held[id] = this.#wanted[id];
  }
  #want(id: number, way: number): void {
    this.#wanted[id] = way;
    // An inherited route stays until its peer had the time to tell it again.
    if (way !== 0) this.#flags[id] &= ~INHERITED;
    this.#look(id);
  }
  #look(id: number): void {
    if (this.#wanted[id] === this.#held[id]) this.#release(id);
    else if ((this.#flags[id] & (QUEUED | INHERITED)) === 0) {
      this.#flags[id] |= QUEUED;
      this.#queue.push(id);
    }
  }
  #idIn({ addr, length }: LearnedWrites, index: number): number {
    const { words } = this.#prefixes;
    return this.#idOf(addr.subarray(index * words, (index + 1) * words), 0, length[index]);
  }
  #idOf(addr: Uint32Array, index: number, length: number): number {
    const id = this.#prefixes.intern(addr, index, length);
    if (id >= this.#wanted.length) this.#grow();
    if ((this.#flags[id] & KNOWN) === 0) {
      this.#prefixes.hold(id);
      this.#flags[id] = KNOWN;
    }
    return id;
  }
  /** A prefix that is neither wanted nor held needs no place. */
  #release(id: number): void {
    if (this.#wanted[id] !== 0 || this.#held[id] !== 0 || this.#flags[id] !== KNOWN) return;
    this.#flags[id] = 0;
    this.#prefixes.release(id);
  }
  #grow(): void {
    const size = this.#prefixes.capacity;
    this.#wanted = copied(new Uint32Array(size), this.#wanted);
    this.#held = copied(new Uint32Array(size), this.#held);
    this.#flags = copied(new Uint8Array(size), this.#flags);
  }
  #wayOf(route: Route): number {
    const key = JSON.stringify(route);
    let way = this.#wayIds.get(key);
    if (way === undefined) {
      way = this.#ways.push(route) - 1;
      this.#wayIds.set(key, way);
    }
    return way;
  }
  /** Next hops come and go for years; those of no route go. */
  #forgetWays(): void {
    if (this.#ways.length < this.#wayLimit) return;
    const ways: (Route | null)[] = [null];
    const moved = new Map<number, number>([[0, 0]]);
    for (const column of [this.#wanted, this.#held])
      for (let id = 1; id < this.#prefixes.end; id++) {
        let to = moved.get(column[id]);
        if (to === undefined) {
          to = ways.push(this.#ways[column[id]]) - 1;
          moved.set(column[id], to);
        }
        column[id] = to;
      }
    this.#ways = ways;
    this.#wayIds = new Map(ways.slice(1).map((route, i) => [JSON.stringify(route), i + 1]));
    this.#wayLimit = Math.max(1024, ways.length * 2);
  }
}

/** Writes for the kernel in columns. */
export class LearnedWrites implements RouteColumns {
  readonly family: Family;
  readonly addr: Uint32Array;
  readonly length: Uint8Array;
  readonly op: RouteWrite['op'][] = [];
  readonly like: Route[] = [];

  constructor(family: Family, capacity: number) {
    this.family = family;
    this.addr = new Uint32Array(capacity * (family === 4 ? 1 : 4));
    this.length = new Uint8Array(capacity);
  }
  get count(): number {
    return this.op.length;
  }
  add(from: PrefixTable, id: number, op: RouteWrite['op'], like: Route): void {
    const { words } = from;
    for (let word = 0; word < words; word++) this.addr[this.count * words + word] = from.addr[id * words + word];
    this.length[this.count] = from.length[id];
    this.op.push(op);
    this.like.push(like);
  }
}

function copied<T extends Uint32Array | Uint8Array>(to: T, from: T): T {
  to.set(from);
  return to;
}
