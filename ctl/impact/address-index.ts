import { type Addr, familyOf, type Prefix, parseCidr, prefixOf } from '#core';

/** Addresses, asked whether a net holds one of them: the cost of a question does not depend on how many there are. */
export class AddressIndex {
  readonly #addresses: readonly Addr[];
  /** By family and length, what the addresses are in. */
  readonly #within = new Map<string, Set<Prefix>>();

  constructor(addresses: readonly Addr[]) {
    this.#addresses = addresses;
  }

  /** Whether a list of nets, as it is stored, holds one. */
  isInOneOf(nets: unknown): boolean {
    return Array.isArray(nets) && nets.some((net) => typeof net === 'string' && this.#isIn(net));
  }

  #isIn(net: string): boolean {
    const parsed = parseCidr(net);
    if (!parsed.ok) return false;
    const { addr, length } = parsed.value;
    const family = familyOf(addr);
    const key = `${family}/${length}`;
    let within = this.#within.get(key);
    if (!within) {
      const own = this.#addresses.filter((one) => familyOf(one) === family);
      within = new Set(own.map((one) => prefixOf(one, length)));
      this.#within.set(key, within);
    }
    return within.has(prefixOf(addr, length));
  }
}
