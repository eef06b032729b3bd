import {
  type Addr,
  bitsOf,
  covers,
  FAMILIES,
  type Family,
  familyOf,
  type Log,
  type Prefix,
  PrefixTrie,
  prefixLength,
} from '#core';
import { Connected, isLinkLocal } from './connected.ts';
import type { Loop } from './loop.ts';
import { AddressIndex, addressWords, masked } from './rib/addresses.ts';
import type { AttributeTable } from './rib/attributes.ts';
import { type Candidates, decide } from './rib/decision.ts';
import { REACH, type Reach } from './rib/next-hops.ts';
import type { Rib } from './rib/rib.ts';
import type { Sources } from './rib/source.ts';
import { prefixText } from './rib/text.ts';
import type { ConnectedNetwork, NextHop, ResolvingRoute } from './types.ts';

/** Prefixes that are decided anew between two looks at the clock. */
const SLICE = 2048;
/** Changes from which on it is cheaper to look at every next hop. */
const MANY = 16;

/** What is known of the way to a next hop. */
interface Way {
  readonly reach: Reach;
  readonly gateways: readonly NextHop[];
  /** How it is reached, or why not, for a person. */
  readonly why: string;
  /** Length of the prefix that leads there; -1: none. */
  readonly length: number;
}

/** What stands at a prefix that BGP did not learn. */
type Place = { network?: ConnectedNetwork; route?: ResolvingRoute };

export interface ResolverContext {
  readonly ribs: Readonly<Record<Family, Rib>>;
  readonly attributes: AttributeTable;
  readonly sources: Sources;
  readonly loop: Loop;
  readonly log: Log;
}

/**
 * Which next hops can be reached, and by which gateways (RFC 4271 §9.1.2.1).
 *
 * Two steps, the longest prefix in each. The ground: connected networks and the routes that BGP did not learn, the default route among them. What is on a connected
 * network is resolved. Anything else may have a longer prefix among the routes of BGP, of which only those count whose own next hop has ground, and never a
 * default route. So a route that needs resolving resolves no other: the answer for a next hop never depends on the answers for others, there is nothing that could go round, and
 * the order of events does not matter. BIRD draws the same line (its recursive routes do not resolve each other).
 *
 * Nothing is resolved before the owner has told networks or routes for the first time.
 */
export class Resolver {
  readonly #c: ResolverContext;
  readonly connected = new Connected();
  readonly #places = new PrefixTrie<Place>();
  readonly #ground: (Way | undefined)[] = [];
  readonly #ways: (Way | undefined)[] = [];
  /** Next hops without a connected network: what BGP learns may change their way. */
  readonly #open: Readonly<Record<Family, AddressIndex>> = { 4: new AddressIndex(4), 6: new AddressIndex(6) };
  readonly #grounded: Readonly<Record<Family, Candidates>>;
  #isOn = false;
  /** Next hops to look at again. */
  readonly #doubtful = new Set<number>();
  /** Next hops whose way has changed, for the running pass over the table and for the one after it. */
  #now: ReadonlySet<number> | null = null;
  #next = new Set<number>();
  #lost: number[] = [];

  constructor(context: ResolverContext) {
    this.#c = context;
    this.#grounded = { 4: this.#groundedOf(4), 6: this.#groundedOf(6) };
  }

  /** The connected networks are exactly these. */
  setConnected(all: readonly ConnectedNetwork[]): void {
    if (this.#isOn && JSON.stringify(all) === JSON.stringify(this.connected.all)) return;
    for (const { prefix } of this.connected.all) this.#place(prefix, ({ route }) => ({ ...(route && { route }) }));
    this.connected.set(all);
    for (const network of all) this.#place(network.prefix, (at) => ({ ...at, network: at.network ?? network }));
    this.#reground(() => true);
  }
  /** Routes beside BGP's came, changed, or (null) went. */
  noteRoutes(changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void {
    if (changes.size === 0 && this.#isOn) return;
    for (const [prefix, route] of changes)
      this.#place(prefix, ({ network }) => ({ ...(network && { network }), ...(route && { route }) }));
    const all = [...changes.keys()];
    this.#reground((address) => all.length > MANY || all.some((prefix) => covers(prefix, address)));
  }

  /** Whether the source can use a next hop that is behind a gateway or link-local. */
  isUsable(hop: number, source: number, reach: number = this.#c.attributes.nextHops.reach[hop]): boolean {
    const { isDirect, address } = this.#c.sources.get(source);
    if (reach === REACH.link) return address !== null && this.connected.linkTo(address) !== null;
    return reach === REACH.gateway && !isDirect;
  }
  /** Where packets for a path go: a gateway of ours, or several. */
  gatewaysOf(attr: number, source: number): readonly NextHop[] {
    const hop = this.#c.attributes.nextHop[attr];
    const address = this.#c.attributes.nextHops.addressOf(hop);
    const way = this.#ways[hop];
    if (!way) return [{ address }];
    if (way.reach !== REACH.link) return way.gateways;
    const link = this.connected.linkTo(this.#c.sources.get(source).address as Addr);
    return link === null ? [] : [{ address, interface: link }];
  }
  /** Why the path's next hop cannot be used. */
  explain(attr: number, source: number): string {
    const hop = this.#c.attributes.nextHop[attr];
    const address = this.#c.attributes.nextHops.addressOf(hop);
    const way = this.#ways[hop];
    if (way?.reach === REACH.link) return `next hop ${address} is link-local, and the peer is on no link of ours`;
    if (way?.reach === REACH.gateway && this.#c.sources.get(source).isDirect)
      return `next hop ${address} is on no network that we share with the peer, which is to be one hop away`;
    return `next hop ${address} is unreachable: ${way?.why ?? 'not yet looked at'}`;
  }

  #place(prefix: Prefix, change: (at: Place) => Place): void {
    const place = change(this.#places.get(prefix) ?? {});
    if (place.network || place.route) this.#places.set(prefix, place);
    else this.#places.delete(prefix);
  }
  /** The ground has changed under these addresses. */
  #reground(concerns: (address: Addr) => boolean): void {
    const { nextHops } = this.#c.attributes;
    if (!this.#isOn) {
      this.#isOn = true;
      nextHops.watch({ onNew: (hop) => this.#onNew(hop), onGone: (hop) => this.#onGone(hop) });
      this.#moved([...nextHops.all]);
      return;
    }
    const all = [...nextHops.all];
    const concerned = new Set(all.filter((hop) => concerns(nextHops.addressOf(hop))));
    // All the ground first: a way by BGP stands on the ground of another next hop.
    for (const hop of concerned) this.#findGround(hop);
    const isOpen = (hop: number) => this.#open[familyOf(nextHops.addressOf(hop))].has(hop);
    const changed = all.filter((hop) => (concerned.has(hop) || isOpen(hop)) && this.#findWay(hop));
    // What is link-local stands with the networks of the peers.
    this.#moved([...changed, ...all.filter((hop) => nextHops.reach[hop] === REACH.link && concerned.has(hop))]);
  }
  #onNew(hop: number): void {
    this.#findGround(hop);
    this.#findWay(hop);
  }
  #onGone(hop: number): void {
    const family = familyOf(this.#c.attributes.nextHops.addressOf(hop));
    this.#open[family].delete(hop);
    this.#listen(family);
    this.#ground[hop] = undefined;
    this.#ways[hop] = undefined;
    this.#doubtful.delete(hop);
  }

  #findGround(hop: number): void {
    const address = this.#c.attributes.nextHops.addressOf(hop);
    const ground = this.#groundOf(address);
    this.#ground[hop] = ground;
    const family = familyOf(address);
    const isOpen = ground.reach === REACH.gateway || (ground.reach === REACH.none && ground.length < bitsOf(family));
    if (isOpen) this.#open[family].set(hop, address);
    else this.#open[family].delete(hop);
    this.#listen(family);
  }
  #groundOf(address: Addr): Way {
    if (address === '0.0.0.0' || address === '::')
      return { reach: REACH.connected, gateways: [], why: 'here', length: 0 };
    if (isLinkLocal(address)) return { reach: REACH.link, gateways: [], why: 'link-local', length: bitsOf(6) };
    const whole = bitsOf(familyOf(address));
    if (this.connected.isOwn(address)) return { ...NOWHERE, why: 'it is our own address', length: whole };
    const found = this.#places.longestMatch(address);
    if (!found) return NOWHERE;
    const { network, route } = found.value;
    const length = prefixLength(found.prefix);
    const gateways = [{ address }];
    if (network) return { reach: REACH.connected, gateways, why: `on ${network.interface}`, length };
    const hops = route?.hops ?? [];
    if (hops.length === 0) return { ...NOWHERE, why: `packets for ${found.prefix} are dropped here`, length };
    const why = `by ${found.prefix}`;
    if (hops.some((hop) => hop.address === undefined))
      return {
        reach: REACH.connected,
        gateways: hops.map((hop) => ({ ...hop, address: hop.address ?? address })),
        why,
        length,
      };
    return { reach: REACH.gateway, gateways: hops as readonly NextHop[], why, length };
  }
  /** The way that counts; whether it is another one than before. */
  #findWay(hop: number): boolean {
    const { nextHops } = this.#c.attributes;
    const ground = this.#ground[hop] ?? NOWHERE;
    const family = familyOf(nextHops.addressOf(hop));
    const way = this.#open[family].has(hop) ? this.#throughBgp(hop, family, ground) : ground;
    const before = this.#ways[hop];
    this.#ways[hop] = way;
    nextHops.reach[hop] = way.reach;
    if (way.reach === REACH.none && before?.reach !== REACH.none) this.#tellLost(hop);
    return before?.reach !== way.reach || JSON.stringify(before.gateways) !== JSON.stringify(way.gateways);
  }
  /** The longest route of BGP that is longer than the ground's and has ground itself. */
  #throughBgp(hop: number, family: Family, ground: Way): Way {
    const { prefixes, paths } = this.#c.ribs[family];
    const words = addressWords(this.#c.attributes.nextHops.addressOf(hop));
    let refused = '';
    for (let length = bitsOf(family); length > Math.max(0, ground.length); length--) {
      const id = prefixes.find(masked(words, length), 0, length);
      if (id === 0 || prefixes.head[id] === 0) continue;
      const row = decide(prefixes.head[id], this.#grounded[family], null, null);
      const by = row === 0 ? undefined : this.#ground[this.#c.attributes.nextHop[paths.attr[row]]];
      const why = `by ${prefixText(prefixes, id)}, a route of BGP`;
      if (!by) refused ||= `only ${prefixText(prefixes, id)} leads there, a route of BGP that has no ground itself`;
      else if (paths.source[row] !== 0) return { reach: REACH.gateway, gateways: by.gateways, why, length };
    }
    return ground.reach === REACH.none && refused !== '' && ground.length < 0 ? { ...ground, why: refused } : ground;
  }
  #groundedOf(family: Family): Candidates {
    const { paths, candidates } = this.#c.ribs[family];
    const isReachable = (row: number) => {
      const hop = this.#c.attributes.nextHop[paths.attr[row]];
      const reach = this.#ground[hop]?.reach ?? REACH.none;
      const isConnected = reach === REACH.connected || paths.source[row] === 0;
      return isConnected || (reach === REACH.gateway && this.isUsable(hop, paths.source[row], reach));
    };
    return { ...candidates, isReachable };
  }

  /** The table tells of its changes only while they matter to some next hop. */
  #listen(family: Family): void {
    const rib = this.#c.ribs[family];
    rib.onSettled(this.#open[family].size === 0 ? null : (id) => this.#onSettled(rib, id));
  }
  #onSettled({ family, prefixes }: Rib, id: number): void {
    const length = prefixes.length[id];
    if (length === 0) return;
    for (const hop of this.#open[family].within(prefixes.addr, id, length)) {
      if (this.#doubtful.size === 0) this.#c.loop.add(() => this.#lookAgain());
      this.#doubtful.add(hop);
    }
  }
  #lookAgain(): boolean {
    const doubtful = [...this.#doubtful];
    this.#doubtful.clear();
    this.#moved(doubtful.filter((hop) => this.#findWay(hop)));
    return false;
  }

  /** Routes with these next hops are decided anew, in slices. */
  #moved(hops: readonly number[]): void {
    for (const hop of hops) this.#next.add(hop);
    if (this.#now === null && this.#next.size > 0) this.#startPass();
  }
  #startPass(): void {
    const { attributes, ribs, loop } = this.#c;
    const moved = this.#next;
    this.#now = moved;
    this.#next = new Set();
    const families = [...FAMILIES];
    let from = 1;
    loop.add(() => {
      const rib = ribs[families[0]];
      const { attr } = rib.paths;
      from = rib.reconsider((row) => attr[row] !== 0 && moved.has(attributes.nextHop[attr[row]]), from, SLICE);
      if (from !== 0) return true;
      families.shift();
      from = 1;
      if (families.length > 0) return true;
      this.#now = null;
      this.#moved([]);
      return false;
    });
  }
  /** One line for many: a peer may name any number of them. */
  #tellLost(hop: number): void {
    this.#lost.push(hop);
    if (this.#lost.length > 1) return;
    this.#c.loop.add(() => {
      const [first] = this.#lost;
      const why = this.#ways[first]?.why;
      const nextHop = why === undefined ? undefined : this.#c.attributes.nextHops.addressOf(first);
      if (why !== undefined) this.#c.log.warn({ nextHop, why, count: this.#lost.length }, 'next hop is unreachable');
      this.#lost = [];
      return false;
    });
  }
}

const NOWHERE: Way = { reach: REACH.none, gateways: [], why: 'no route leads there', length: -1 };
