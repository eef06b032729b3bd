import {
  type Addr,
  type Clock,
  FAMILIES,
  type Family,
  type Log,
  type Metrics,
  type Milliseconds,
  OperationalError,
  type Prefix,
  sleep,
} from '#core';
import { bestBatch, bestChange } from './best.ts';
import { Bfd, type OpenBfdSocket } from './bfd/endpoint.ts';
import { openBfdSocket } from './bfd/socket.ts';
import { dumpTable } from './dump.ts';
import { Groups } from './groups.ts';
import { listRoutes } from './listing.ts';
import { LocalRoutes } from './local-routes.ts';
import { Loop } from './loop.ts';
import { Neighbours } from './neighbours.ts';
import type { PeerContext } from './peer.ts';
import { Resolver } from './resolver.ts';
import { RestartWatch } from './restart.ts';
import { AttributeTable } from './rib/attributes.ts';
import { Rib } from './rib/rib.ts';
import { Sources } from './rib/source.ts';
import { peerStatus } from './status.ts';
import { Sweeper } from './sweeper.ts';
import { tcpTransport } from './transport/tcp.ts';
import type { Listener, Transport } from './transport/types.ts';
import type {
  ConnectedNetwork,
  LocalRoute,
  PeerConfig,
  PeerStatus,
  ResolvingRoute,
  RouteInfo,
  RouteQuery,
  Speaker,
  SpeakerConfig,
  SpeakerEvents,
} from './types.ts';
import { UpdateScratch } from './wire/update.ts';

export interface SpeakerContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: Metrics;
  readonly transport?: Transport;
  readonly openBfd?: OpenBfdSocket;
  /** Runs after pending input was read; `setImmediate` unless a test says otherwise. */
  readonly defer?: (run: () => void) => void;
}

/** How long peers have to act on GSHUT. */
const DRAIN: Milliseconds = 1000;
/** Prefixes that are told to the owner at a time. */
const BEST_BATCH = 1024;

/** A speaker that does nothing until it is configured and started. */
export const createSpeaker = (events: SpeakerEvents, context: SpeakerContext): Speaker =>
  new BgpSpeaker(events, context);

class BgpSpeaker implements Speaker {
  readonly #events: SpeakerEvents;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #transport: Transport;
  readonly #attributes = new AttributeTable();
  readonly #sources = new Sources();
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #loop: Loop;
  readonly #resolver: Resolver;
  readonly #local: LocalRoutes;
  readonly #neighbours: Neighbours;
  #config: SpeakerConfig | null = null;
  #listeners: Listener[] = [];
  #started = false;
  #firstOut = 0;
  #draining = false;
  #restart: RestartWatch | null = null;
  /** The restart is over, and the owner is to hear of it. */
  #mustTellRestart = false;

  constructor(events: SpeakerEvents, { clock, log, transport, openBfd, defer }: SpeakerContext) {
    this.#events = events;
    this.#log = log;
    this.#clock = clock;
    this.#transport = transport ?? tcpTransport;
    this.#loop = new Loop(clock, () => this.#turn(), defer);
    const rib = (family: Family) =>
      new Rib({
        family,
        attributes: this.#attributes,
        sourceOf: (index) => this.#sources.get(index),
        isReachable: (hop, source) => this.#resolver.isUsable(hop, source),
      });
    this.#ribs = { 4: rib(4), 6: rib(6) };
    if (events.onBestChanges || events.onBestBatch) for (const family of FAMILIES) this.#ribs[family].trackBest();
    this.#resolver = new Resolver({
      ribs: this.#ribs,
      attributes: this.#attributes,
      sources: this.#sources,
      loop: this.#loop,
      log,
    });
    this.#local = new LocalRoutes(this.#ribs, this.#attributes);
    const sweeper = (family: Family) =>
      new Sweeper(this.#ribs[family], this.#loop, (source) => this.#neighbours.runOf(source, family));
    const groups = new Groups(this.#ribs, this.#loop, (family) => ({
      prefixes: this.#ribs[family].prefixes,
      paths: this.#ribs[family].paths,
      attributes: this.#attributes,
      sourceOf: (index) => this.#sources.get(index),
      interfaceOf: (prefix) => this.#local.interfaceOf(family, prefix),
    }));
    const context: PeerContext = {
      ribs: this.#ribs,
      attributes: this.#attributes,
      log,
      clock,
      loop: this.#loop,
      transport: this.#transport,
      groups,
      bfd: new Bfd(clock, log, openBfd ?? openBfdSocket, Math.floor(clock.date().getTime())),
      sweepers: { 4: sweeper(4), 6: sweeper(6) },
      scratch: new UpdateScratch(),
      speaker: () => this.#config as SpeakerConfig,
      ownAddress: (family, local) => this.#resolver.connected.ownAddress(family, local),
      setSource: (source) => this.#sources.set(source),
      isDraining: () => this.#draining,
      isDeferring: () => this.#restart !== null && !this.#restart.isOver,
      onState: (peer) => {
        this.#restart?.look(peer);
        events.onPeerState?.(peerStatus(peer, this.#ribs, this.#config as SpeakerConfig));
      },
      onSynced: (peer) => this.#restart?.look(peer),
    };
    this.#neighbours = new Neighbours(context, this.#sources);
  }

  configure(config: SpeakerConfig): void {
    const before = this.#config;
    this.#config = config;
    if (before && JSON.stringify({ ...before, restarting: 0 }) === JSON.stringify({ ...config, restarting: 0 })) return;
    if (!before) return;
    this.#neighbours.restart();
    if (this.#started) this.#listen();
  }
  setPeers(all: readonly PeerConfig[]): void {
    this.#neighbours.set(all, this.#started);
    if (this.#started) this.#setRules();
  }
  setLocalRoutes(all: readonly LocalRoute[]): void {
    this.#local.set(all);
    this.#loop.wake();
  }
  setConnected(all: readonly ConnectedNetwork[]): void {
    this.#resolver.setConnected(all);
  }
  noteRoutes(changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void {
    this.#resolver.noteRoutes(changes);
  }
  async start(): Promise<void> {
    this.#started = true;
    this.#listen();
    this.#neighbours.start();
    const config = this.#config;
    if (config?.restarting)
      this.#restart = new RestartWatch(this.#clock, this.#neighbours.all, config.restartTime * 1000, () =>
        this.#onRestartComplete(),
      );
  }
  peers(): PeerStatus[] {
    return [...this.#neighbours.all].map((peer) => peerStatus(peer, this.#ribs, this.#config as SpeakerConfig));
  }
  routes(query: RouteQuery): RouteInfo[] {
    return listRoutes(query, {
      ribs: this.#ribs,
      sources: this.#sources,
      neighbours: this.#neighbours,
      resolver: this.#resolver,
    });
  }
  /** Asks a peer for everything again (RFC 2918). @throws OperationalError NOT_FOUND, VALIDATION when it is not Established or knows no refresh */
  refresh(address: Addr): void {
    const peer = this.#neighbours.byName(address);
    if (!peer) throw new OperationalError('NOT_FOUND', `there is no BGP peer ${address}`);
    if (!peer.requestRefresh())
      throw new OperationalError('VALIDATION', `${address} cannot be asked: ${peer.state}, or without route refresh`);
  }
  dumpMrt(): Promise<Uint8Array> {
    const config = this.#config;
    if (!config) return Promise.resolve(new Uint8Array(0));
    const dump = dumpTable(this.#ribs, this.#neighbours, config, this.#clock.date());
    return new Promise((resolve) =>
      this.#loop.add(() => {
        let step = dump.next();
        while (!step.done && !this.#loop.isSpent) step = dump.next();
        if (step.done) resolve(step.value);
        return !step.done;
      }),
    );
  }
  async stop(mode: 'restart' | 'shutdown', text = ''): Promise<void> {
    this.#restart?.cancel();
    if (mode === 'shutdown') await this.#drain();
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#neighbours.stop(mode === 'restart', text);
    this.#started = false;
    this.#loop.close();
  }

  /** RFC 8326: peers find other ways while ours still work. */
  async #drain(): Promise<void> {
    const peers = this.#neighbours.established;
    if (
      peers.every((peer) =>
        [...(peer.outbound?.channels.keys() ?? [])].every((f) => peer.outbound?.advertised(f) === 0),
      )
    )
      return;
    this.#draining = true;
    for (const peer of peers) peer.regroup();
    await sleep(this.#clock, DRAIN);
  }
  #listen(): void {
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    for (const { address, port } of this.#config?.listen ?? [])
      this.#listeners.push(this.#transport.listen(address, port, (tcp) => this.#neighbours.accept(tcp)));
    this.#setRules();
  }
  /** The keys of those who may connect. */
  #setRules(): void {
    const rules = this.#neighbours.acceptRules();
    for (const listener of this.#listeners)
      for (const [from, reason] of listener.setRules(rules))
        this.#log.error({ from, reason }, 'TCP-MD5 key is refused');
  }

  /** After reading: what has changed goes to the peers and to the owner. */
  #turn(): boolean {
    const isSpent = () => this.#loop.isSpent;
    let more = false;
    const peers = this.#neighbours.established;
    for (let i = 0; i < peers.length && !more; i++) {
      more = peers[(this.#firstOut + i) % peers.length].pump(isSpent);
      if (more) this.#firstOut = (this.#firstOut + i) % peers.length;
    }
    const isUntold = this.#tellOwner();
    if (this.#mustTellRestart && !isUntold) {
      this.#mustTellRestart = false;
      this.#events.onRestartComplete?.();
    }
    return isUntold || more;
  }
  #tellOwner(): boolean {
    let more = false;
    for (const family of FAMILIES) {
      const rib = this.#ribs[family];
      if (!rib.hasDirty) continue;
      const ids = rib.takeDirty(BEST_BATCH);
      this.#events.onBestChanges?.(ids.map((id) => bestChange(rib, id, this.#sources, this.#resolver)));
      this.#events.onBestBatch?.(bestBatch(rib, ids, this.#sources, this.#resolver));
      for (const id of ids) rib.prefixes.release(id);
      more ||= rib.hasDirty;
    }
    return more;
  }
  /** The owner hears of it after all that the peers have told, or it would remove routes that are confirmed in the same breath. */
  #onRestartComplete(): void {
    for (const peer of this.#neighbours.all) if (peer.outbound) peer.outbound.isDeferred = false;
    this.#mustTellRestart = true;
    this.#loop.wake();
  }
}
