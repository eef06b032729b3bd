import { type Addr, type Cancel, type Clock, type Log, messageOf } from '#core';
import type { InterfaceAddress, Link, Netlink } from './kernel/types.ts';

export interface InterfaceMonitorOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  /** Names of interfaces that came, went or changed since the last call; called at most once per turn of the loop. */
  readonly onChange: (names: ReadonlySet<string>) => void;
  /** Milliseconds between full reads, which find what an event may have failed to tell; 0: none. */
  readonly refresh: number;
}

/** Links and addresses of the node as they are now: events in between, a full read at the start, after lost events and now and then. */
export interface InterfaceMonitor {
  /** Reads everything; until it resolves, `links` is empty. @throws OperationalError KERNEL */
  start(): Promise<void>;
  readonly links: ReadonlyMap<string, Link>;
  addressesOf(name: string): readonly InterfaceAddress[];
  /** The interface that holds the address. */
  holderOf(address: Addr): { link: Link; length: number } | null;
  setRefresh(refresh: number): void;
  close(): void;
}

const RETRY = 1_000;

class Monitor implements InterfaceMonitor {
  readonly #o: InterfaceMonitorOptions;
  readonly #links = new Map<string, Link>();
  readonly #names = new Map<number, string>();
  readonly #addresses = new Map<number, Map<string, InterfaceAddress>>();
  #changed = new Set<string>();
  #scheduled = false;
  #closed = false;
  #refresh: number;
  #timer: Cancel = () => undefined;
  #stop: Cancel = () => undefined;

  constructor(options: InterfaceMonitorOptions) {
    this.#o = options;
    this.#refresh = options.refresh;
  }

  async start(): Promise<void> {
    // Events first, so that nothing falls between the read and the first event.
    this.#stop = this.#o.netlink.watch({
      link: ({ link, gone }) => this.#onLink(link, gone),
      address: (address, gone) => this.#onAddress(address, gone),
      overrun: () => void this.#readAgain(),
    });
    await this.#read();
    this.#arm(this.#refresh);
  }
  get links(): ReadonlyMap<string, Link> {
    return this.#links;
  }
  addressesOf(name: string): readonly InterfaceAddress[] {
    const link = this.#links.get(name);
    return link ? [...(this.#addresses.get(link.index)?.values() ?? [])] : [];
  }
  holderOf(address: Addr): { link: Link; length: number } | null {
    for (const link of this.#links.values())
      for (const held of this.#addresses.get(link.index)?.values() ?? [])
        if (held.address === address) return { link, length: held.length };
    return null;
  }
  setRefresh(refresh: number): void {
    this.#refresh = refresh;
    this.#arm(refresh);
  }
  close(): void {
    this.#closed = true;
    this.#timer();
    this.#stop();
  }

  async #read(): Promise<void> {
    const [links, addresses] = await Promise.all([this.#o.netlink.listLinks(), this.#o.netlink.listAddresses()]);
    const present = new Set(links.map((link) => link.index));
    for (const link of [...this.#links.values()]) if (!present.has(link.index)) this.#onLink(link, true);
    for (const link of links) this.#onLink(link, false);
    const held = new Map<number, Set<string>>();
    for (const address of addresses) {
      this.#onAddress(address, false);
      held.set(address.index, (held.get(address.index) ?? new Set()).add(keyOf(address)));
    }
    for (const [index, known] of this.#addresses)
      for (const [key, address] of known) if (!held.get(index)?.has(key)) this.#onAddress(address, true);
  }
  async #readAgain(): Promise<void> {
    try {
      await this.#read();
      this.#arm(this.#refresh);
    } catch (error) {
      if (this.#closed) return;
      this.#o.log.warn({ error: messageOf(error) }, 'interfaces could not be read; tried again');
      this.#arm(RETRY);
    }
  }
  #arm(delay: number): void {
    this.#timer();
    if (delay > 0 && !this.#closed) this.#timer = this.#o.clock.after(delay, () => void this.#readAgain());
  }

  #onLink(link: Link, gone: boolean): void {
    const former = this.#names.get(link.index);
    if (former !== undefined && (former !== link.name || gone) && this.#links.get(former)?.index === link.index) {
      this.#links.delete(former);
      this.#note(former);
    }
    if (gone) {
      this.#names.delete(link.index);
      this.#addresses.delete(link.index);
      return;
    }
    this.#names.set(link.index, link.name);
    const known = this.#links.get(link.name);
    if (known && sameLink(known, link)) return;
    this.#links.set(link.name, link);
    this.#note(link.name);
  }
  #onAddress(address: InterfaceAddress, gone: boolean): void {
    const held = this.#addresses.get(address.index) ?? new Map<string, InterfaceAddress>();
    const key = keyOf(address);
    if (gone ? !held.delete(key) : held.has(key)) return;
    if (!gone) held.set(key, address);
    this.#addresses.set(address.index, held);
    this.#note(this.#names.get(address.index) ?? '');
  }
  #note(name: string): void {
    this.#changed.add(name);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const names = this.#changed;
      this.#changed = new Set();
      if (!this.#closed) this.#o.onChange(names);
    });
  }
}

const keyOf = (address: InterfaceAddress): string => `${address.address}/${address.length}`;

const sameLink = (a: Link, b: Link): boolean =>
  a.index === b.index && a.adminUp === b.adminUp && a.up === b.up && a.mac === b.mac && a.mtu === b.mtu;

export const createInterfaceMonitor = (options: InterfaceMonitorOptions): InterfaceMonitor => new Monitor(options);
