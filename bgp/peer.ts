import { type Addr, addrBytes, type Clock, FAMILIES, type Family, familyOf, type Log } from '#core';
import { addrToId } from './attributes.ts';
import type { Bfd, BfdHandle } from './bfd/endpoint.ts';
import { Faults } from './faults.ts';
import type { DownReason } from './fsm/types.ts';
import type { Groups } from './groups.ts';
import { LIMIT_HOLD, limitData, PrefixLimit } from './limits.ts';
import type { Loop } from './loop.ts';
import { keepsRoutes, Retention } from './retention.ts';
import type { OutboundProfile } from './rib/export.ts';
import type { Source } from './rib/source.ts';
import { Inbound, type InboundContext, restartFamilies } from './session/inbound.ts';
import type { Link } from './session/link.ts';
import { Machine } from './session/machine.ts';
import { localAsOf, sessionConfig } from './session/open.ts';
import { Outbound } from './session/outbound.ts';
import type { Sweeper } from './sweeper.ts';
import type { TcpConnection, Transport } from './transport/types.ts';
import type { PeerConfig, SessionState, SpeakerConfig } from './types.ts';
import { CEASE } from './wire/codes.ts';
import { shutdownCommunication } from './wire/notification.ts';
import { encodeRouteRefresh } from './wire/refresh.ts';
import type { Message, Negotiated, RouteRefresh, Update } from './wire/types.ts';
import type { UpdateScratch } from './wire/update.ts';

/** What peers share. */
export interface PeerContext extends InboundContext {
  readonly clock: Clock;
  readonly loop: Loop;
  readonly log: Log;
  readonly transport: Transport;
  readonly bfd: Bfd;
  readonly groups: Groups;
  readonly sweepers: Readonly<Record<Family, Sweeper>>;
  readonly scratch: UpdateScratch;
  readonly speaker: () => SpeakerConfig;
  /** Our address in the family on the network where the session's own address is. */
  ownAddress(family: Family, local: Addr): Addr | null;
  /** The set of sources has the peer's new face: AS, identifier. */
  setSource(source: Source): void;
  onState(peer: Peer): void;
  /** The speaker is about to go: routes are told to be avoided (RFC 8326). */
  isDraining(): boolean;
  /** We come back after a restart, and wait for the peers' tables before we tell ours (RFC 4724 §4.1). */
  isDeferring(): boolean;
  /** End-of-RIB, or the end of the hope for it. */
  onSynced(peer: Peer): void;
}

/** One neighbour: its session, what it told, what it is told. */
export class Peer {
  readonly index: number;
  readonly machine: Machine;
  readonly #c: PeerContext;
  #config: PeerConfig;
  negotiated: Negotiated | null = null;
  inbound: Inbound | null = null;
  outbound: Outbound | null = null;
  readonly retention: Retention;
  #bfd: BfdHandle | null = null;
  since: Date;
  flaps = 0;
  readonly faults: Faults;
  #closed = false;
  readonly #limits: { readonly in: PrefixLimit; readonly out: PrefixLimit };
  /** The session is down because a limit was exceeded. */
  #isLimited = false;

  constructor(index: number, config: PeerConfig, seed: number, context: PeerContext) {
    this.index = index;
    this.#config = config;
    this.#c = context;
    this.since = context.clock.date();
    this.machine = new Machine(sessionConfig(context.speaker(), config, context.speaker().restarting), {
      clock: context.clock,
      loop: context.loop,
      scratch: context.scratch,
      seed,
      dial: (done) => this.#dial(done),
      onUp: (link, negotiated) => this.#onUp(link, negotiated),
      onDown: (reason, negotiated) => this.#onDown(reason, negotiated),
      onState: (state) => this.#onState(state),
      onRoutes: (message) => this.#onRoutes(message),
      onDrain: () => {
        this.outbound?.drained();
        context.loop.wake();
      },
    });
    this.faults = new Faults(context.log, config.name);
    this.#limits = {
      in: new PrefixLimit(context.log, config.name, 'received'),
      out: new PrefixLimit(context.log, config.name, 'advertised'),
    };
    this.retention = new Retention(index, context, () => context.onSynced(this));
    context.setSource(this.#source(null));
  }
  get config(): PeerConfig {
    return this.#config;
  }
  get state(): SessionState {
    return this.machine.state;
  }
  /** Why there is no attempt at all. */
  get obstacle(): string | null {
    return this.#config.missingPassword ?? null;
  }
  start(): void {
    if (this.obstacle === null) this.machine.dispatch({ type: 'ManualStart' });
  }
  accept(tcp: TcpConnection): void {
    this.machine.accept(tcp);
  }
  /** `silent`: TCP closes without a word, so that the peer keeps our routes. */
  stop(subcode: number = CEASE.adminShutdown, text = '', silent = false): void {
    const data = text === '' ? new Uint8Array(0) : shutdownCommunication(text);
    this.machine.dispatch({ type: 'ManualStop', subcode, data, silent });
  }
  /** Other settings of the connection (bgp/reset.ts, `connection`): the peer is told, and a new one follows. */
  reconnect(config: PeerConfig, starts: boolean): void {
    this.setConfig(config);
    this.machine.setConfig(sessionConfig(this.#c.speaker(), config, false));
    const subcode = CEASE.otherConfigurationChange;
    this.machine.dispatch({ type: 'ManualStop', subcode, data: new Uint8Array(0), silent: false, returns: true });
    this.#c.setSource(this.#source(null));
    if (starts) this.start();
  }
  /** Stops for good; `gone` once no route of it is left. */
  close(subcode: number, gone: () => void): void {
    this.#closed = true;
    this.stop(subcode);
    let left = FAMILIES.length;
    for (const family of FAMILIES) this.retention.forget(family, () => --left === 0 && gone());
  }
  /** Settings that take effect by themselves (bgp/reset.ts, `none`). */
  setConfig(config: PeerConfig): void {
    const { maxPrefixes, maxPrefixesOut } = this.#config;
    this.#config = config;
    const isSame = maxPrefixes === config.maxPrefixes && maxPrefixesOut === config.maxPrefixesOut;
    if (!this.#isLimited) this.#checkLimit();
    else if (!isSame) this.machine.dispatch({ type: 'IdleHoldTimer_Expires' });
  }
  /** New rules: what was received is judged again, and what is sent follows (bgp/reset.ts, `policy`). */
  setPolicies(config: PeerConfig): void {
    this.setConfig(config);
    const { negotiated, inbound } = this;
    const link = this.machine.link;
    if (!negotiated || !inbound || !link) return;
    inbound.setPolicy(this.#importPolicy(negotiated), config.allowOwnAs);
    for (const family of negotiated.families) {
      this.#reimport(family, inbound);
      this.outbound?.move(family, () =>
        this.#c.groups.join(this.index, this.#profile(family, link, negotiated), this.#exportPolicy(negotiated)),
      );
    }
    this.#c.loop.wake();
  }
  #reimport(family: Family, inbound: Inbound) {
    let row = 1;
    this.#c.loop.add(() => {
      if (this.inbound !== inbound) return false;
      row = this.#c.ribs[family].reimport(
        this.index,
        (prefix, received) => inbound.accept(family, prefix, received),
        row,
        SLICE_ROWS,
      );
      return row !== 0;
    });
  }
  get bfdState(): string | null {
    return this.#bfd?.state ?? (this.#config.bfd ? 'Down' : null);
  }
  /**
   * RFC 5882 §4.3: the session falls with BFD, once that has been up. It stays down until the peer's BFD has seen our silence, too: else that would
   * take the next session down.
   */
  #watchLiveness(link: Link): void {
    const { bfd } = this.#config;
    if (!bfd) return;
    const hold = 2 * bfd.interval * bfd.multiplier;
    const { localAddress: local, remoteAddress: peer } = link.tcp;
    this.#bfd = this.#c.bfd.watch(
      { ...bfd, peer, local },
      {
        onDown: (why) =>
          this.machine.dispatch({ type: 'AutomaticStop', subcode: CEASE.bfdDown, data: new Uint8Array(0), why, hold }),
        onState: () => this.#c.onState(this),
      },
    );
  }
  /** Another profile towards the peer: the drain has begun. */
  regroup(): void {
    this.setPolicies(this.#config);
  }
  /** Sends what the peer takes. */
  pump(isSpent: () => boolean): boolean {
    this.#checkOutLimit();
    return this.outbound?.pump(isSpent) ?? false;
  }
  /** A fuse against our own mistakes: rather no session than one that floods the peer. */
  #checkOutLimit(): void {
    const { maxPrefixesOut } = this.#config;
    if (maxPrefixesOut === undefined || !this.outbound) return;
    for (const family of this.outbound.channels.keys()) {
      const why = this.#limits.out.exceeded(family, this.outbound.advertised(family), maxPrefixesOut);
      if (why === null) continue;
      this.#stopForLimit(CEASE.outOfResources, new Uint8Array(0), why);
      return;
    }
  }
  #stopForLimit(subcode: number, data: Uint8Array, why: string): void {
    this.#isLimited = true;
    this.machine.dispatch({ type: 'AutomaticStop', subcode, data, why, hold: LIMIT_HOLD });
  }

  #dial(done: (result: TcpConnection | string) => void): () => void {
    const { address, port, localAddress, password, ttlSecurity } = this.#config;
    return this.#c.transport.connect(
      {
        address,
        port,
        ...(localAddress && { localAddress }),
        ...(password !== undefined && { password }),
        ...(ttlSecurity !== undefined && { ttlSecurity }),
      },
      done,
    );
  }

  #onState(state: SessionState): void {
    this.since = this.#c.clock.date();
    if (!this.#closed) this.#c.onState(this);
    if (state === 'Established') this.#c.loop.wake();
  }

  #onUp(link: Link, negotiated: Negotiated): void {
    const speaker = this.#c.speaker();
    this.negotiated = negotiated;
    this.#isLimited = false;
    this.#c.setSource(this.#source(negotiated));
    for (const family of FAMILIES) this.retention.resume(family, negotiated);
    this.inbound = new Inbound(
      this.index,
      {
        ebgp: negotiated.ebgp,
        peerAs: negotiated.peerAs,
        ownAs: [...new Set([speaker.asNumber, negotiated.localAs])],
        allowOwnAs: this.#config.allowOwnAs,
        routerId: addrToId(speaker.routerId),
        clusterId: addrToId(speaker.clusterId ?? speaker.routerId),
        peerRole: negotiated.peerRole,
      },
      this.#importPolicy(negotiated),
      this.retention.runs,
      this.#c,
    );
    const outbound = new Outbound(this.index, this.#c.groups, negotiated.enhancedRouteRefresh, (bytes) =>
      this.machine.send(bytes),
    );
    this.outbound = outbound;
    outbound.isDeferred = this.#c.isDeferring();
    // The restart has been told; a session after this one is no restart.
    this.machine.setConfig(sessionConfig(speaker, this.#config, false));
    for (const family of negotiated.families)
      outbound.add(
        family,
        this.#c.groups.join(this.index, this.#profile(family, link, negotiated), this.#exportPolicy(negotiated)),
      );
    this.#watchLiveness(link);
    this.#c.loop.wake();
  }

  #onDown(reason: DownReason, negotiated: Negotiated): void {
    this.flaps++;
    this.#bfd?.close();
    this.#bfd = null;
    this.outbound?.close();
    this.outbound = null;
    this.inbound = null;
    this.negotiated = null;
    const kept = keepsRoutes(reason, negotiated) ? restartFamilies(negotiated) : [];
    for (const family of negotiated.families)
      if (kept.includes(family)) this.retention.retain(family, negotiated);
      else this.retention.forget(family);
    this.#c.onSynced(this);
  }

  #onRoutes(message: Extract<Message, { type: 'UPDATE' | 'ROUTE-REFRESH' }>): boolean {
    if (message.type === 'ROUTE-REFRESH') this.#onRefresh(message);
    else this.#onUpdate(message);
    return this.inbound !== null;
  }
  #onUpdate(update: Update): void {
    this.faults.note(update);
    if (this.inbound) this.faults.refuse(this.inbound.update(update));
    if (update.endOfRib !== null) this.retention.endOfRib(update.endOfRib);
    else if (update.announced.length > 0) this.#checkLimit();
  }
  #checkLimit(): void {
    const { maxPrefixes } = this.#config;
    if (maxPrefixes === undefined) return;
    for (const family of FAMILIES) {
      const { received } = this.#c.ribs[family].countsOf(this.index);
      const why = this.#limits.in.exceeded(family, received, maxPrefixes);
      if (why === null) continue;
      this.#stopForLimit(CEASE.maxPrefixes, limitData(family, maxPrefixes), why);
      return;
    }
  }
  #onRefresh({ family, subtype }: RouteRefresh): void {
    switch (subtype) {
      case 'request':
        this.outbound?.refresh(family);
        return;
      case 'begin':
        this.retention.begin(family);
        return;
      case 'end':
        this.retention.end(family);
    }
  }
  /** Asks the peer for everything again; false: there is no session, or the peer does not know route refresh. */
  requestRefresh(): boolean {
    if (!this.negotiated?.routeRefresh) return false;
    for (const family of this.negotiated.families) this.machine.send(encodeRouteRefresh(family, 'request'));
    return true;
  }

  #source(negotiated: Negotiated | null): Source {
    const { address, asNumbers, routeReflectorClient, ttlSecurity } = this.#config;
    const asNumber = negotiated?.peerAs ?? asNumbers[0];
    const ebgp = negotiated?.ebgp ?? asNumber !== localAsOf(this.#c.speaker(), this.#config);
    const order = orderOf(address);
    return {
      index: this.index,
      address,
      order,
      ebgp,
      asNumber,
      routerId: negotiated?.peerId ?? 0,
      client: routeReflectorClient,
      isDirect: ebgp && ttlSecurity === 1,
    };
  }
  #importPolicy({ ebgp }: Negotiated) {
    const { importPolicy, requirePolicy } = this.#config;
    return requirePolicy && ebgp && importPolicy.rules.length === 0 ? NOTHING : importPolicy;
  }
  #exportPolicy({ ebgp }: Negotiated) {
    const { exportPolicy, requirePolicy } = this.#config;
    return requirePolicy && ebgp && exportPolicy.rules.length === 0 ? NOTHING : exportPolicy;
  }
  #profile(family: Family, link: Link, negotiated: Negotiated): OutboundProfile {
    const speaker = this.#c.speaker();
    const { nextHop, nextHopSelf, routeReflectorClient, role } = this.#config;
    const local = link.tcp.localAddress;
    const sameFamily = familyOf(local) === family ? local : null;
    const own = sameFamily ?? nextHopSelf?.[family] ?? this.#c.ownAddress(family, local);
    return {
      family,
      ebgp: negotiated.ebgp,
      localAs: negotiated.localAs,
      client: routeReflectorClient,
      clusterId: addrToId(speaker.clusterId ?? speaker.routerId),
      nextHop,
      self: own ?? (family === 4 && negotiated.extendedNextHop ? local : null),
      selfLinkLocal: null,
      extendedNextHop: negotiated.extendedNextHop,
      fourOctetAs: negotiated.fourOctetAs,
      maxMessage: negotiated.maxMessage,
      addPath: negotiated.addPathSend[family] ? MOST_PATHS : 0,
      role: negotiated.peerRole === null || role === undefined ? null : role,
      drain: this.#c.isDraining(),
      longLived: negotiated.longLived !== null,
    };
  }
}

/** Rows that are judged between two looks at the clock. */
const SLICE_ROWS = 2048;
/** RFC 8212: no policy, no routes. */
const NOTHING = { rules: [], otherwise: 'reject' } as const;
/** Paths a prefix that are sent with add-path. */
const MOST_PATHS = 8;

/** Sorts as addresses do. */
export const orderOf = (address: Addr): string => Buffer.from(addrBytes(address)).toString('hex');
