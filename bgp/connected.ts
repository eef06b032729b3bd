import { type Addr, covers, type Family, familyOf } from '#core';
import type { ConnectedNetwork } from './types.ts';

/** The directly connected networks of this machine. */
export class Connected {
  #all: readonly ConnectedNetwork[] = [];
  #own: ReadonlySet<Addr> = new Set();

  set(all: readonly ConnectedNetwork[]): void {
    this.#all = all;
    this.#own = new Set(all.map(({ local }) => local));
  }
  isOwn(address: Addr): boolean {
    return this.#own.has(address);
  }
  /** The network that the address is in, if it is connected. */
  networkOf(address: Addr): ConnectedNetwork | null {
    return this.#all.find(({ prefix }) => covers(prefix, address)) ?? null;
  }
  /** Our address in the family on the interface that has `local`. */
  ownAddress(family: Family, local: Addr): Addr | null {
    const at = this.#all.find((network) => network.local === local)?.interface;
    const found = this.#all.filter((network) => network.interface === at && familyOf(network.local) === family);
    return (found.find(({ local: own }) => !own.startsWith('fe80:')) ?? null)?.local ?? null;
  }
}
