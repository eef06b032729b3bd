import { type Addr, covers, type Family, type Milliseconds } from '#core';
import { Peer, type PeerContext } from './peer.ts';
import { changeOf } from './reset.ts';
import type { Sources } from './rib/source.ts';
import type { AcceptRule, TcpConnection } from './transport/types.ts';
import type { PeerConfig } from './types.ts';
import { CEASE } from './wire/codes.ts';

/** Time between lines about connections from addresses that are not configured. */
const STRANGERS_EVERY: Milliseconds = 60_000;

/** All peers: those that are configured, and those that came from a range. */
export class Neighbours {
  readonly #c: PeerContext;
  readonly #sources: Sources;
  readonly #peers = new Map<string, Peer>();
  readonly #byIndex = new Map<number, Peer>();
  /** Ranges from which anybody may come. */
  #ranges: readonly PeerConfig[] = [];
  #established: Peer[] | null = null;
  #running = false;
  /** Connections from nowhere since the last line about them. */
  #strangers: { count: number; quietUntil: Milliseconds } = { count: 0, quietUntil: 0 };

  constructor(context: PeerContext, sources: Sources) {
    this.#c = { ...context, onState: (peer) => this.#onState(peer, context) };
    this.#sources = sources;
  }
  get all(): Iterable<Peer> {
    return this.#peers.values();
  }
  get established(): readonly Peer[] {
    this.#established ??= [...this.#peers.values()].filter((peer) => peer.outbound !== null);
    return this.#established;
  }
  get(index: number): Peer | undefined {
    return this.#byIndex.get(index);
  }
  byName(name: string): Peer | undefined {
    return this.#peers.get(name) ?? [...this.#peers.values()].find((peer) => peer.config.address === name);
  }
  /** The current run of a source; paths of a peer that is gone have none. */
  runOf(source: number, family: Family): number {
    return this.#byIndex.get(source)?.retention.runs[family] ?? -1;
  }

  /** Makes the peers exactly these; sessions whose settings are the same go on. */
  set(all: readonly PeerConfig[], start: boolean): void {
    const wanted = new Map(all.filter(({ range }) => !range).map((config) => [config.name, config]));
    this.#ranges = all.filter(({ range }) => range);
    for (const [name, peer] of this.#peers) {
      const config = wanted.get(name) ?? this.#rangeFor(peer);
      if (!config) this.#remove(peer, CEASE.peerDeconfigured);
      else this.#change(peer, config);
    }
    for (const [name, config] of wanted) if (!this.#peers.has(name)) this.#add(config, start);
  }
  start(): void {
    this.#running = true;
    for (const peer of this.#peers.values()) peer.start();
  }
  /** The speaker itself has other settings: every session begins anew. */
  restart(): void {
    for (const peer of [...this.#peers.values()]) this.#replace(peer, peer.config);
  }
  stop(silent: boolean, text: string): void {
    this.#running = false;
    for (const peer of this.#peers.values()) peer.stop(CEASE.adminShutdown, text, silent);
  }
  accept(tcp: TcpConnection) {
    const peer = [...this.#peers.values()].find((p) => p.config.address === tcp.remoteAddress) ?? this.#dynamic(tcp);
    if (peer) return peer.accept(tcp);
    this.#tellStranger(tcp.remoteAddress);
    tcp.close();
  }
  /** A line now and then: anybody can connect as often as they like (catalogue F5). */
  #tellStranger(from: Addr): void {
    this.#strangers.count++;
    if (this.#c.clock.now() < this.#strangers.quietUntil) return;
    this.#c.log.warn({ from, count: this.#strangers.count }, 'connection from an address that is not configured');
    this.#strangers = { count: 0, quietUntil: this.#c.clock.now() + STRANGERS_EVERY };
  }
  /** Keys and TTL limits of those who may connect. */
  acceptRules(): AcceptRule[] {
    const configs = [...[...this.#peers.values()].map((peer) => peer.config), ...this.#ranges];
    return configs.map(({ address, range, password, ttlSecurity }) => ({
      from: range ?? address,
      ...(password !== undefined && { password }),
      ...(ttlSecurity !== undefined && { ttlSecurity }),
    }));
  }

  #add(config: PeerConfig, start: boolean): Peer {
    const index = this.#sources.take();
    const peer = new Peer(index, config, seedOf(config.name, index), this.#c);
    this.#peers.set(config.name, peer);
    this.#byIndex.set(index, peer);
    if (start) peer.start();
    return peer;
  }
  #remove(peer: Peer, subcode: number): void {
    this.#peers.delete(peer.config.name);
    this.#established = null;
    peer.close(subcode, () => {
      this.#byIndex.delete(peer.index);
      this.#sources.release(peer.index);
    });
  }
  #replace(peer: Peer, config: PeerConfig): void {
    this.#remove(peer, CEASE.otherConfigurationChange);
    this.#add(config, this.#running);
  }
  #change(peer: Peer, config: PeerConfig): void {
    switch (changeOf(peer.config, config)) {
      case 'none':
        peer.setConfig(config);
        return;
      case 'policy':
        peer.setPolicies(config);
        return;
      case 'connection':
        peer.reconnect(config, this.#running);
        return;
      case 'session':
        this.#replace(peer, config);
    }
  }
  #rangeFor({ config: { address, resource } }: Peer): PeerConfig | undefined {
    const group = this.#ranges.find((config) => config.resource === resource && covers(config.range!, address));
    return group && instance(group, address);
  }
  #dynamic({ remoteAddress }: TcpConnection): Peer | null {
    const group = this.#ranges.find(({ range }) => covers(range!, remoteAddress));
    if (!group) return null;
    const members = [...this.#peers.values()].filter(({ config }) => config.range === group.range);
    if (members.length >= (group.maxPeers ?? 100)) return null;
    return this.#add(instance(group, remoteAddress), true);
  }
  #onState(peer: Peer, context: PeerContext) {
    this.#established = null;
    context.onState(peer);
    // A neighbour that came by itself leaves by itself.
    if (peer.state === 'Active' && peer.config.range && this.#peers.get(peer.config.name) === peer)
      this.#c.loop.add(() => {
        if (peer.state === 'Active' && peer.retention.stale.size === 0 && this.#peers.get(peer.config.name) === peer)
          this.#remove(peer, CEASE.peerDeconfigured);
        return false;
      });
  }
}

const instance = (group: PeerConfig, address: PeerConfig['address']): PeerConfig => ({
  ...group,
  name: address,
  address,
});

/** Different for each, so that the retries of many do not fall together. */
function seedOf(name: string, index: number): number {
  let seed = index;
  for (let i = 0; i < name.length; i++) seed = Math.imul(seed ^ name.charCodeAt(i), 0x01000193);
  return seed >>> 0;
}
