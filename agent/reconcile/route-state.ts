import type { Route, Via } from '../kernel/types.ts';

/** Whether the route that is there does what the wanted one asks. A hop without interface is satisfied by any. */
export function sameRoute(want: Route, have: Route): boolean {
  return want.source === have.source && sameVia(want.via, have.via);
}

function sameVia(want: Via, have: Via): boolean {
  if (want.type === 'gateway') return have.type === 'gateway' && sameHops(want.hops, have.hops);
  if (want.type === 'link') return have.type === 'link' && want.link === have.link;
  return have.type === want.type;
}

type Hops = Extract<Via, { type: 'gateway' }>['hops'];

/** The kernel keeps IPv6 hops in an order of its own. */
function sameHops(want: Hops, have: Hops): boolean {
  if (want.length !== have.length) return false;
  const rest = [...have];
  return want.every((hop) => {
    const at = rest.findIndex((h) => h.gateway === hop.gateway && (!hop.link || !h.link || hop.link === h.link));
    if (at >= 0) rest.splice(at, 1);
    return at >= 0;
  });
}

/** Which routes depend on which interface, and which name each index had. */
export class RouteIndex {
  readonly #byLink = new Map<string, Set<string>>();
  readonly #names = new Map<number, string>();
  readonly #up = new Map<string, number>();

  /** The route at the key was `before` and is `after` now. */
  move(key: string, before: Route | undefined, after: Route | undefined): void {
    if (before)
      for (const link of linksOf(before)) {
        const keys = this.#byLink.get(link);
        keys?.delete(key);
        if (keys?.size === 0) this.#byLink.delete(link);
      }
    if (after)
      for (const link of linksOf(after)) {
        const keys = this.#byLink.get(link);
        if (keys) keys.add(key);
        else this.#byLink.set(link, new Set([key]));
      }
  }
  on(link: string): ReadonlySet<string> {
    return this.#byLink.get(link) ?? new Set();
  }
  /** How many routes have a hop whose interface the kernel chose and nobody read back. */
  get unresolved(): number {
    return this.#byLink.get('')?.size ?? 0;
  }
  /** Whether the route waits for that interface, or for any. */
  concerns(route: Route, link: string): boolean {
    const links = linksOf(route);
    return links.includes(link) || links.includes('');
  }
  /**
   * Notes what an event says of an interface. `renamed`: the name that this index had before, if routes depend on it or on the new
   * one; `cameUp`: it was not known to be up, or it is another interface of the same name; `wentDown`: it was known to be up (the event
   * of making an interface, which says that it is down, may arrive when routes have been written to it already).
   */
  noteLink(
    index: number,
    name: string,
    up: boolean,
    gone: boolean,
  ): { renamed: string | null; cameUp: boolean; wentDown: boolean } {
    const before = this.#names.get(index);
    if (gone) this.#names.delete(index);
    else this.#names.set(index, name);
    const known = this.#up.get(name);
    const cameUp = up && known !== index;
    const wentDown = !up && (known === index || (gone && known === undefined));
    if (up) this.#up.set(name, index);
    else if (known === index) this.#up.delete(name);
    const affected = before !== undefined && before !== name && (this.on(before).size > 0 || this.on(name).size > 0);
    return { renamed: affected ? before : null, cameUp, wentDown };
  }
}

function linksOf(route: Route): readonly string[] {
  if (route.via.type === 'link') return [route.via.link];
  if (route.via.type === 'gateway') return [...new Set(route.via.hops.map((hop) => hop.link ?? ''))];
  return [];
}
