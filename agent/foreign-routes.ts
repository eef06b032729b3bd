import type { ResolvingRoute } from '#bgp';
import { Backoff, type Cancel, type Clock, FAMILIES, type Family, type Log, messageOf, type Prefix } from '#core';
import { type Link, type Netlink, type Route, routeKey } from './kernel/types.ts';

/** Between what puts the kernel's table in doubt and reading it: links go up and down in bursts. */
const DOUBT = 100;

export interface ForeignRoutesOptions {
  readonly netlink: Pick<Netlink, 'listForeignRoutes' | 'listLinks' | 'watch'>;
  readonly clock: Clock;
  readonly log: Log;
  /** What leads where now; null: nothing does any more. At most once per turn of the loop. */
  readonly onChange: (changes: ReadonlyMap<Prefix, ResolvingRoute | null>) => void;
  /** Links or addresses changed. */
  readonly onLinks?: () => void;
}

/**
 * Routes of the main table that are not ours, as events tell them: what next hops are resolved by. Of several for one prefix the kernel takes the smallest
 * metric, and none over a link that is down. A read follows where the kernel is silent: it drops the IPv4 routes of a link or an address without a word.
 */
export class ForeignRoutes {
  readonly #o: ForeignRoutesOptions;
  readonly #all = new Map<Prefix, Map<string, Route>>();
  readonly #told = new Map<Prefix, ResolvingRoute>();
  readonly #links = new Map<number, Link>();
  #up: ReadonlySet<string> = new Set();
  readonly #dirty = new Set<Prefix>();
  readonly #retry = new Backoff(1_000, 30_000);
  /** Events that arrive while a read runs are newer than it, and are put on top. */
  #during: (() => void)[] | null = null;
  #scheduled = false;
  #doubt: Cancel | null = null;
  #stop: Cancel = () => {};
  #closed = false;

  constructor(options: ForeignRoutesOptions) {
    this.#o = options;
  }
  /** Reads what is there, and tells it. @throws OperationalError KERNEL */
  async start(): Promise<void> {
    this.#stop = this.#o.netlink.watch({
      foreign: (family, route, gone) => this.#later(() => this.#onRoute(family, route, gone)),
      link: ({ link, gone }) => this.#later(() => this.#onLink(link, gone)),
      address: (_, gone) => {
        if (gone) this.#askRead();
        this.#o.onLinks?.();
      },
      overrun: () => this.#askRead(),
    });
    await this.#read();
    this.#flush();
  }
  close(): void {
    this.#closed = true;
    this.#doubt?.();
    this.#stop();
  }

  #later(apply: () => void): void {
    this.#during?.push(apply);
    apply();
  }
  #onRoute(family: Family, route: Route, gone: boolean): void {
    const known = this.#all.get(route.to)?.get(routeKey(route));
    this.#set(route, gone);
    // The kernel takes hops away from a multipath route of IPv6 one by one.
    if (gone && family === 6 && known?.via.type === 'gateway' && known.via.hops.length > 1) this.#askRead();
  }
  #set(route: Route, gone: boolean): void {
    const routes = this.#all.get(route.to) ?? new Map<string, Route>();
    if (gone) routes.delete(routeKey(route));
    else routes.set(routeKey(route), route);
    if (routes.size === 0) this.#all.delete(route.to);
    else this.#all.set(route.to, routes);
    this.#note(route.to);
  }
  #onLink(link: Link, gone: boolean): void {
    const before = this.#links.get(link.index);
    if (gone) this.#links.delete(link.index);
    else this.#links.set(link.index, link);
    this.#o.onLinks?.();
    if (!gone && before?.up === link.up && before.name === link.name) return;
    if (gone || !link.adminUp) this.#dropOver(link.name);
    this.#look();
    if (!link.up || gone) this.#askRead();
  }
  /** What the kernel drops with the link; the read that follows finds what it keeps. */
  #dropOver(name: string): void {
    for (const routes of [...this.#all.values()])
      for (const route of [...routes.values()])
        if (route.via.type === 'link' ? route.via.link === name : isOnlyOver(route, name)) this.#set(route, true);
  }
  /** Which links are up, and what that means for the routes over them. */
  #look(): void {
    this.#up = new Set([...this.#links.values()].filter(({ up }) => up).map(({ name }) => name));
    for (const prefix of this.#all.keys()) this.#note(prefix);
  }
  #askRead(delay = DOUBT): void {
    if (this.#closed) return;
    this.#doubt ??= this.#o.clock.after(delay, () => {
      this.#doubt = null;
      this.#read().catch((error) => {
        if (this.#closed) return;
        this.#o.log.warn({ error: messageOf(error) }, 'routes could not be read; tried again');
        this.#askRead(this.#retry.next());
      });
    });
  }
  async #read(): Promise<void> {
    if (this.#during !== null) return this.#askRead();
    this.#during = [];
    try {
      const links = await this.#o.netlink.listLinks();
      const routes: Route[] = [];
      for (const family of FAMILIES) routes.push(...(await this.#o.netlink.listForeignRoutes(family)));
      this.#links.clear();
      for (const link of links) this.#links.set(link.index, link);
      for (const prefix of this.#all.keys()) this.#dirty.add(prefix);
      this.#all.clear();
      for (const route of routes) this.#set(route, false);
      for (const apply of this.#during) apply();
      this.#look();
      this.#retry.reset();
    } finally {
      this.#during = null;
    }
  }

  #note(prefix: Prefix): void {
    this.#dirty.add(prefix);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }
  #flush(): void {
    this.#scheduled = false;
    if (this.#closed) return;
    const changes = new Map<Prefix, ResolvingRoute | null>();
    for (const prefix of this.#dirty) {
      const now = this.#best(prefix);
      const before = this.#told.get(prefix) ?? null;
      if (JSON.stringify(now) === JSON.stringify(before)) continue;
      changes.set(prefix, now);
      if (now) this.#told.set(prefix, now);
      else this.#told.delete(prefix);
    }
    this.#dirty.clear();
    this.#o.onChange(changes);
  }
  #best(prefix: Prefix): ResolvingRoute | null {
    const usable = [...(this.#all.get(prefix)?.values() ?? [])].filter((route) => this.#isUsable(route));
    if (usable.length === 0) return null;
    return resolving(usable.reduce((a, b) => (b.metric < a.metric ? b : a)));
  }
  #isUsable({ via }: Route): boolean {
    if (via.type === 'link') return via.link === '' || this.#up.has(via.link);
    return via.type === 'blackhole' || via.hops.some(({ link }) => link === undefined || this.#up.has(link));
  }
}

const isOnlyOver = ({ via }: Route, name: string): boolean =>
  via.type === 'gateway' && via.hops.every(({ link }) => link === name);

/** What a route of the kernel means for a next hop inside it. A kind that only refuses packets comes from the kernel as a link without a name. */
export function resolving({ via }: Pick<Route, 'via'>): ResolvingRoute {
  if (via.type === 'blackhole' || (via.type === 'link' && via.link === '')) return { hops: [] };
  if (via.type === 'link') return { hops: [{ interface: via.link }] };
  return {
    hops: via.hops.map(({ gateway, link, onlink }) => ({
      address: gateway,
      ...(link && { interface: link }),
      ...(onlink && { onlink }),
    })),
  };
}
