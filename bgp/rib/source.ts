import { type Addr, Bug } from '#core';
import type { RouterId } from '../wire/types.ts';

/** Where paths come from, as far as decision and advertisement depend on it. Index 0 is this speaker itself. */
export interface Source {
  readonly index: number;
  /** The peer's address; null for this speaker. */
  readonly address: Addr | null;
  /** Sorts as the address does (RFC 4271 §9.1.2.2 g). */
  readonly order: string;
  readonly ebgp: boolean;
  readonly asNumber: number;
  readonly routerId: RouterId;
  /** Route reflector client (RFC 4456). */
  readonly client: boolean;
  /** An external peer that is to be one hop away: its next hops are on networks that we share (RFC 4271 §5.1.3). */
  readonly isDirect: boolean;
}

const LOCAL: Source = {
  index: 0,
  address: null,
  order: '',
  ebgp: false,
  asNumber: 0,
  routerId: 0,
  client: false,
  isDirect: false,
};
const MOST_SOURCES = 0xffff;

/** Sources by index; an index is used again once no path has it. */
export class Sources {
  readonly #all: (Source | undefined)[] = [LOCAL];
  readonly #free: number[] = [];

  get(index: number): Source {
    return this.#all[index] as Source;
  }
  set(source: Source): void {
    this.#all[source.index] = source;
  }
  take(): number {
    const index = this.#free.pop() ?? this.#all.length;
    if (index > MOST_SOURCES) throw new Bug('more than 65535 peers');
    this.#all[index] ??= undefined;
    return index;
  }
  release(index: number): void {
    this.#free.push(index);
  }
}
