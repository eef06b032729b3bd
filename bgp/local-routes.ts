import { type Addr, type Family, familyOf, type Prefix } from '#core';
import { originate } from './attributes.ts';
import type { AttributeTable } from './rib/attributes.ts';
import { localPrefOf } from './rib/policy.ts';
import type { Rib } from './rib/rib.ts';
import { blockOf } from './rib/text.ts';
import type { LocalRoute } from './types.ts';

/** The next hop of what we originate until export puts our own address there. */
const UNSPECIFIED: Readonly<Record<Family, Addr>> = { 4: '0.0.0.0' as Addr, 6: '::' as Addr };

/** What this speaker originates, as paths of source 0. */
export class LocalRoutes {
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #attributes: AttributeTable;
  #routes = new Map<Prefix, LocalRoute>();
  /** Interfaces by prefix id, for policies. */
  readonly #interfaces: Record<Family, Map<number, string>> = { 4: new Map(), 6: new Map() };

  constructor(ribs: Readonly<Record<Family, Rib>>, attributes: AttributeTable) {
    this.#ribs = ribs;
    this.#attributes = attributes;
  }
  get(prefix: Prefix): LocalRoute | undefined {
    return this.#routes.get(prefix);
  }
  interfaceOf(family: Family, prefix: number): string | null {
    return this.#interfaces[family].get(prefix) ?? null;
  }
  /** Makes the originated routes exactly these. */
  set(all: readonly LocalRoute[]): void {
    const wanted = new Map(all.map((route) => [route.prefix, route]));
    for (const [prefix, route] of this.#routes) if (!wanted.has(prefix)) this.#withdraw(route);
    for (const route of wanted.values()) {
      const before = this.#routes.get(route.prefix);
      if (before && before.priority === route.priority && before.interface === route.interface) continue;
      if (before) this.#withdraw(before);
      this.#announce(route);
    }
    this.#routes = wanted;
  }

  #announce(route: LocalRoute) {
    const family = familyOf(route.prefix);
    const rib = this.#ribs[family];
    const attr = this.#attributes.intern(originate(UNSPECIFIED[family], { localPref: localPrefOf(route.priority) }));
    rib.announce(0, 0, blockOf(route.prefix), attr, (id) => {
      if (route.interface !== undefined) this.#interfaces[family].set(id, route.interface);
      return attr;
    });
    this.#attributes.release(attr);
  }
  #withdraw({ prefix }: LocalRoute): void {
    const family = familyOf(prefix);
    const rib = this.#ribs[family];
    const block = blockOf(prefix);
    this.#interfaces[family].delete(rib.prefixes.find(block.addr, 0, block.length[0]));
    rib.withdraw(0, block);
  }
}
