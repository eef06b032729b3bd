import { Backoff, type Cancel, type Clock, DeltaTracker, FAMILIES, type Log, type Metrics } from '#core';
import {
  type Failure,
  type FdbEntry,
  fdbKey,
  type Link,
  type Neighbour,
  type Netlink,
  neighbourKey,
  type VxlanDevice,
} from '../kernel/types.ts';
import { type OverlayDevice, type OverlayIntent, VXLAN_DEVICES } from '../vxlan.ts';

export interface OverlayReconcilerOptions {
  readonly netlink: Netlink;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly onDirty: () => void;
}

const NAMES: ReadonlySet<string> = new Set(Object.values(VXLAN_DEVICES));

/**
 * The VXLAN devices, their addresses, neighbours and forwarding entries. Applied before the routes, which lead into the devices, and
 * withdrawn after them: `apply` adds, `removeUnused` removes (I1).
 */
export class OverlayReconciler {
  readonly #o: OverlayReconcilerOptions;
  readonly #neighbours = new DeltaTracker<string, Neighbour>((a, b) => a.mac === b.mac);
  readonly #fdb = new DeltaTracker<string, FdbEntry>((a, b) => a.destination === b.destination);
  readonly #backoff = new Backoff(100, 10_000);
  readonly #counters;
  /** undefined until the first `set`: nothing is written, and nothing removed, before it is known what is wanted. */
  #intent: OverlayIntent | undefined;
  /** The overlay's own devices as last told. */
  readonly #links = new Map<string, Link>();
  #dirty = true;
  #failures: Failure[] = [];
  #timer: Cancel | null = null;
  readonly #stop: Cancel;

  constructor(options: OverlayReconcilerOptions) {
    this.#o = options;
    this.#counters = {
      writes: options.metrics.counter('tsnet_overlay_writes_total', 'Overlay changes sent to the kernel', ['what']),
      failures: options.metrics.counter('tsnet_overlay_failures_total', 'Overlay changes that the kernel refused'),
    };
    options.metrics.gauge('tsnet_overlay_peers', 'Nodes that the overlay reaches', [], (gauge) =>
      gauge.set(this.#fdb.allActual.size),
    );
    // What we write ourselves is told, too; it leads to a look that finds everything right.
    const changed = () => {
      this.#dirty = true;
      options.onDirty();
    };
    this.#stop = options.netlink.watch({
      neighbour: (link) => {
        if (NAMES.has(link)) changed();
      },
      address: ({ index }) => {
        for (const link of this.#links.values()) if (link.index === index) changed();
      },
      overrun: changed,
    });
  }

  set(intent: OverlayIntent): void {
    this.#intent = intent;
    this.#neighbours.replaceDesired(new Map(intent.neighbours.map((n) => [neighbourKey(n), n])));
    this.#fdb.replaceDesired(new Map(intent.fdb.map((entry) => [fdbKey(entry), entry])));
    this.#dirty = true;
  }
  /** True: one of the overlay's devices has changed, and `apply` has work. */
  onLinks(links: ReadonlyMap<string, Link>): boolean {
    for (const name of NAMES) {
      const link = links.get(name);
      if (link === this.#links.get(name)) continue;
      if (link) this.#links.set(name, link);
      else this.#links.delete(name);
      this.#dirty = true;
    }
    return this.#dirty;
  }
  /** Everything is read from the kernel again at the next `apply`. */
  recheck(): void {
    this.#dirty = true;
  }
  get problems(): readonly Failure[] {
    return this.#failures;
  }

  /** Makes devices and entries; what is no longer wanted stays until `removeUnused`. @throws OperationalError KERNEL */
  async apply(): Promise<Failure[]> {
    if (!this.#intent || !this.#dirty) return this.#failures;
    this.#dirty = false;
    const failures: Failure[] = [];
    try {
      for (const wanted of this.#intent.devices) failures.push(...(await this.#device(wanted)));
      await this.#readEntries();
      failures.push(...(await this.#writeEntries()));
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
    this.#settle(failures);
    return failures;
  }
  /** Removes entries and devices that nothing refers to any more. @throws OperationalError KERNEL */
  async removeUnused(): Promise<Failure[]> {
    if (!this.#intent) return [];
    const neighbours = [...this.#neighbours.pendingDeletes()];
    const entries = [...this.#fdb.pendingDeletes()];
    const failures = [
      ...(await this.#o.netlink.writeFdb(entries.map(({ have }) => ({ op: 'delete', entry: have })))),
      ...(await this.#o.netlink.writeNeighbours(neighbours.map(({ have }) => ({ op: 'delete', neighbour: have })))),
    ];
    const refused = new Set(failures.map((failure) => failure.key));
    for (const { key } of entries) if (!refused.has(key)) this.#fdb.markDeleted(key);
    for (const { key } of neighbours) if (!refused.has(key)) this.#neighbours.markDeleted(key);
    const wanted = new Set(this.#intent.devices.map(({ device }) => device.name));
    for (const name of NAMES)
      if (!wanted.has(name) && this.#links.get(name)?.linkKind === 'vxlan') {
        this.#counters.writes.inc({ what: 'device' });
        this.#o.log.info({ device: name }, 'overlay device removed');
        const refused = await this.#o.netlink.deleteLink(name);
        if (refused.length === 0) this.#links.delete(name);
        failures.push(...refused);
      }
    if (failures.length > 0) this.#retry();
    return failures;
  }
  close(): void {
    this.#stop();
    this.#timer?.();
  }

  async #device({ device, address }: OverlayDevice): Promise<Failure[]> {
    const { netlink } = this.#o;
    let have = await netlink.readVxlan(device.name);
    if (have && !sameTunnel(device, have)) {
      // These cannot be changed while it exists; its routes come back with the next pass.
      const failures = await netlink.deleteLink(device.name);
      if (failures.length > 0) return failures;
      have = null;
    }
    if (!have) {
      this.#counters.writes.inc({ what: 'device' });
      const failures = await netlink.createVxlan(device);
      if (failures.length > 0) return failures;
      this.#o.log.info({ device: device.name, vni: device.vni, local: device.local }, 'overlay device made');
    } else if (have.mac !== device.mac || have.mtu !== device.mtu) {
      this.#counters.writes.inc({ what: 'device' });
      const failures = await netlink.changeLink(device.name, { mac: device.mac, mtu: device.mtu });
      if (failures.length > 0) return failures;
    }
    const link = (await netlink.listLinks()).find((l) => l.name === device.name);
    if (!link) return [{ key: device.name, error: 'ENODEV', detail: 'the device vanished' }];
    const up = link.adminUp ? [] : await netlink.changeLink(device.name, { up: true });
    return [...up, ...(await this.#address(link, address))];
  }

  /** The device carries its tunnel address and, besides link-local ones, no other. */
  async #address(link: Link, address: OverlayDevice['address']): Promise<Failure[]> {
    const { netlink } = this.#o;
    const bits = address.includes(':') ? 128 : 32;
    const held = (await netlink.listAddresses()).filter((a) => a.index === link.index && a.scope === 'global');
    const wrong = held.filter((a) => a.address !== address || a.length !== bits);
    const missing = held.length === wrong.length;
    const writes = [
      ...(missing ? [{ op: 'add' as const, link: link.name, address, length: bits }] : []),
      ...wrong.map((a) => ({ op: 'delete' as const, link: link.name, address: a.address, length: a.length })),
    ];
    this.#counters.writes.inc({ what: 'address' }, writes.length);
    return netlink.writeAddresses(writes);
  }

  async #readEntries(): Promise<void> {
    const { netlink } = this.#o;
    const neighbours = new Map<string, Neighbour>();
    const entries = new Map<string, FdbEntry>();
    for (const family of FAMILIES)
      for (const found of await netlink.listNeighbours(family))
        if (NAMES.has(found.link)) neighbours.set(neighbourKey(found), found);
    for (const name of NAMES) for (const found of await netlink.listFdb(name)) entries.set(fdbKey(found), found);
    this.#neighbours.replaceActual(neighbours);
    this.#fdb.replaceActual(entries);
  }
  async #writeEntries(): Promise<Failure[]> {
    const entries = [...this.#fdb.pendingUpdates()];
    const neighbours = [...this.#neighbours.pendingUpdates()];
    const failures = [
      ...(await this.#o.netlink.writeFdb(entries.map(({ want }) => ({ op: 'set', entry: want })))),
      ...(await this.#o.netlink.writeNeighbours(neighbours.map(({ want }) => ({ op: 'set', neighbour: want })))),
    ];
    const refused = new Set(failures.map((failure) => failure.key));
    for (const { key } of entries) if (!refused.has(key)) this.#fdb.markUpdated(key);
    for (const { key } of neighbours) if (!refused.has(key)) this.#neighbours.markUpdated(key);
    this.#counters.writes.inc({ what: 'fdb' }, entries.length);
    this.#counters.writes.inc({ what: 'neighbour' }, neighbours.length);
    return failures;
  }

  #settle(failures: Failure[]): void {
    if (failures.length === 0) this.#backoff.reset();
    else {
      this.#counters.failures.inc(failures.length);
      for (const failure of failures)
        if (!this.#failures.some((f) => f.key === failure.key && f.error === failure.error))
          this.#o.log.warn({ ...failure }, 'overlay not programmed');
      this.#retry();
    }
    this.#failures = failures;
  }
  #retry(): void {
    this.#dirty = true;
    this.#timer?.();
    this.#timer = this.#o.clock.after(this.#backoff.next(), this.#o.onDirty);
  }
}

/** Whether the device can become the wanted one without being made anew. */
const sameTunnel = (want: VxlanDevice, have: VxlanDevice): boolean =>
  want.vni === have.vni && want.port === have.port && want.local === have.local && want.parent === have.parent;
