import { type Addr, covers, type Family, familyOf } from '#core';
import type { ConnectedNetwork } from './types.ts';

/** The directly connected networks of this machine; a host's own address counts as a network of one. */
export class Connected {
  #all: readonly ConnectedNetwork[] = [];
  #own: ReadonlySet<Addr> = new Set();
  readonly #links = new Map<Addr, string | null>();

  set(all: readonly ConnectedNetwork[]): void {
    this.#all = all;
    this.#own = new Set(all.map(({ local }) => local));
    this.#links.clear();
  }
  get all(): readonly ConnectedNetwork[] {
    return this.#all;
  }
  isOwn(address: Addr): boolean {
    return this.#own.has(address);
  }
  /** The interface behind which the address is a neighbour; null where there is none, or for a link-local address more than one. */
  linkTo(address: Addr): string | null {
    const known = this.#links.get(address);
    if (known !== undefined) return known;
    const links = new Set(
      this.#all.filter(({ prefix }) => covers(prefix, address)).map((network) => network.interface),
    );
    const link = links.size === 1 || !isLinkLocal(address) ? ([...links][0] ?? null) : null;
    this.#links.set(address, link);
    return link;
  }
  /** Our address in the family on the interface that has `local`. */
  ownAddress(family: Family, local: Addr): Addr | null {
    const at = this.#all.find((network) => network.local === local)?.interface;
    const found = this.#all.filter((network) => network.interface === at && familyOf(network.local) === family);
    return (found.find(({ local: own }) => !isLinkLocal(own)) ?? null)?.local ?? null;
  }
}

/** fe80::/10. */
export const isLinkLocal = (address: Addr): boolean => /^fe[89ab]/.test(address);
