import type {
  BestChange,
  ConnectedNetwork,
  LocalRoute,
  PeerConfig,
  PeerStatus,
  ResolvingRoute,
  RouteInfo,
  RouteQuery,
  Speaker,
  SpeakerEvents,
} from '#bgp';
import {
  type Addr,
  type Cancel,
  type Clock,
  hostPrefix,
  type Log,
  type Milliseconds,
  type Prefix,
  prefixOf,
} from '#core';
import type { BgpIntent, IntentProblem, LearnedVerdict } from './bgp-intent/index.ts';
import { resolving } from './foreign-routes.ts';
import type { InterfaceMonitor } from './interfaces.ts';
import { type Route, routeKey, type Via } from './kernel/types.ts';
import { learnedRoute, MAIN_TABLE } from './learned-route.ts';
import type { Candidate, RouteTable } from './routes.ts';

/** Without a word from the speaker that all peers are back, inherited routes go after this time (RFC 4724 §4.1, Selection_Deferral_Timer). */
const INHERITED_AT_MOST: Milliseconds = 120_000;

export interface BgpOptions {
  readonly createSpeaker: (events: SpeakerEvents) => Speaker;
  readonly routes: RouteTable;
  readonly clock: Clock;
  readonly log: Log;
  /** Offers have changed: a turn is due. */
  readonly onDirty: () => void;
  /** Whether a desired route stands in the kernel. */
  readonly isProgrammed: (key: string) => boolean;
}

/**
 * The agent's side of the speaker: intents go in, best changes come out as offers to the route table. What this node originates is advertised
 * only when its blackhole stands in the kernel, and withdrawn before the blackhole goes (invariant I10).
 */
export class Bgp {
  readonly #o: BgpOptions;
  readonly #speaker: Speaker;
  #intent: BgpIntent | undefined;
  #verdict: LearnedVerdict = { key: '', of: () => null };
  /** Best changes as they came, so that a changed verdict can be applied to what was learned before. */
  readonly #learned = new Map<Prefix, NonNullable<BestChange['best']>>();
  /** The last line of log for each peer: empty for up, else the reason why it is down. */
  readonly #told = new Map<string, string>();
  #started = false;
  #restarting = false;
  #inheritedTimer: Cancel = () => {};
  #advertised: ReadonlySet<Prefix> = new Set();
  readonly #foreign = new Map<Prefix, ResolvingRoute>();
  readonly #ground = new Map<Prefix, ResolvingRoute>();

  constructor(options: BgpOptions) {
    this.#o = options;
    this.#speaker = options.createSpeaker({
      onBestChanges: (changes) => this.#onBestChanges(changes),
      onPeerState: (peer) => this.#onPeerState(peer),
      onRestartComplete: () => this.#dropInherited('all peers have told their tables'),
    });
  }

  /**
   * Routes by gateway that an earlier run left in the kernel: they go on working until the peers have told their tables.
   * Called once, after the first read-back and before the speaker starts.
   */
  inherit(routes: Iterable<Route>): void {
    let count = 0;
    for (const route of routes) {
      if (route.via.type !== 'gateway') continue;
      this.#o.routes.offer({ class: 'inherited', owner: 'an earlier run', route });
      count++;
    }
    this.#restarting = count > 0;
    if (!this.#restarting) return;
    this.#o.log.info({ routes: count }, 'learned routes of an earlier run stay until the peers are back');
    this.#inheritedTimer = this.#o.clock.after(INHERITED_AT_MOST, () =>
      this.#dropInherited('the restart time is over'),
    );
  }

  /** The whole intent; differences are the speaker's business. `verdict` says which learned routes stay out of the kernel, and why. */
  async set(intent: BgpIntent, verdict: LearnedVerdict): Promise<void> {
    const before = this.#intent;
    this.#intent = intent;
    const isSame = verdict.key === this.#verdict.key;
    this.#verdict = verdict;
    this.#o.routes.replaceClass(
      'blackhole',
      intent.blackholes.map((to) => blackhole(to)),
    );
    this.#o.routes.replaceClass('peer', intent.peers.flatMap(peerRoute));
    if (!isSame) for (const [prefix, best] of this.#learned) this.#offer(prefix, best);
    this.#report(before?.problems ?? [], intent.problems);
    if (!intent.speaker) {
      this.#speaker.setPeers([]);
      return;
    }
    this.#speaker.configure({ ...intent.speaker, restarting: this.#restarting });
    this.#speaker.setPeers(intent.peers);
    if (this.#started) return;
    this.#started = true;
    await this.#speaker.start();
  }

  /** Before routes are removed: what is no longer wanted is no longer advertised. */
  withdraw(): void {
    const wanted = new Map((this.#intent?.localRoutes ?? []).map((route) => [route.prefix, route]));
    this.#advertise([...this.#advertised].flatMap((prefix) => wanted.get(prefix) ?? []));
  }
  /** After routes are added: what is wanted and has its ground in the kernel. */
  advertise(): void {
    const grounded = new Set(
      this.#intent?.blackholes.filter((to) => this.#o.isProgrammed(routeKey(blackhole(to).route))),
    );
    const needs = new Set(this.#intent?.blackholes);
    this.#advertise(
      (this.#intent?.localRoutes ?? []).filter(({ prefix }) => !needs.has(prefix) || grounded.has(prefix)),
    );
  }

  /** Connected networks, for next hops and single-hop checks. */
  onLinks(interfaces: InterfaceMonitor, ignored: (name: string) => boolean): void {
    this.#speaker.setConnected(
      [...interfaces.links.values()]
        .filter((link) => link.up && !ignored(link.name))
        .flatMap((link) => interfaces.addressesOf(link.name).map((held) => ({ link, held })))
        .map(({ link, held }) => connected(link.name, held)),
    );
  }

  /** Routes of the kernel that are not ours; of ours, those that BGP did not learn. */
  noteForeign(changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void {
    this.#note(this.#foreign, changes);
  }
  noteGround(changes: ReadonlyMap<Prefix, Route | null>): void {
    this.#note(this.#ground, new Map([...changes].map(([to, route]) => [to, route && resolving(route)])));
  }

  peers(): PeerStatus[] {
    return this.#speaker.peers();
  }
  routes(query: RouteQuery): RouteInfo[] {
    return this.#speaker.routes(query).map((route) => {
      const inKernel = route.best && this.#isInKernel(route);
      const missing = route.best && !inKernel && route.source !== 'Local';
      return { ...route, inKernel, reason: route.reason ?? (missing ? this.#whyNotInKernel(route.prefix) : null) };
    });
  }
  /** Asks a peer for everything again (RFC 2918). @throws OperationalError NOT_FOUND, VALIDATION */
  refresh(peer: Addr): void {
    this.#speaker.refresh(peer);
  }
  /** MRT (RFC 6396). */
  dump(): Promise<Uint8Array> {
    return this.#speaker.dumpMrt();
  }
  get problems(): readonly IntentProblem[] {
    return this.#intent?.problems ?? [];
  }
  get isRestarting(): boolean {
    return this.#restarting;
  }

  /** Leaves the routes in the kernel and with the peers: TCP closes without a NOTIFICATION (RFC 4724). */
  async stop(): Promise<void> {
    this.#inheritedTimer();
    if (this.#started) await this.#speaker.stop('restart');
  }

  /** Whether the prefix leads where the route says: by a learned route, or for our own by what it stands for. */
  #isInKernel({ prefix, source }: RouteInfo): boolean {
    const winner = this.#o.routes.explain(prefix)?.winner;
    if (!winner || (winner.class === 'bgp') === (source === 'Local')) return false;
    return this.#o.isProgrammed(routeKey(winner.route));
  }

  #whyNotInKernel(prefix: Prefix): string {
    const verdict = this.#verdict.of(prefix);
    if (verdict) return verdict;
    const choice = this.#o.routes.explain(prefix);
    return choice && choice.winner.class !== 'bgp'
      ? `a ${choice.winner.class} route of ${choice.winner.owner} is preferred`
      : 'not yet written to the kernel';
  }

  /** Ours go before those of others, as they do in a kernel that takes the more preferred of the two. */
  #note(source: Map<Prefix, ResolvingRoute>, changes: ReadonlyMap<Prefix, ResolvingRoute | null>): void {
    for (const [to, route] of changes)
      if (route) source.set(to, route);
      else source.delete(to);
    const now = [...changes.keys()].map((to) => [to, this.#ground.get(to) ?? this.#foreign.get(to) ?? null] as const);
    this.#speaker.noteRoutes(new Map(now));
  }

  #advertise(routes: readonly LocalRoute[]): void {
    this.#advertised = new Set(routes.map((route) => route.prefix));
    this.#speaker.setLocalRoutes(routes);
  }

  #onBestChanges(changes: readonly BestChange[]): void {
    for (const { prefix, best } of changes) {
      if (best && best.nextHops.length > 0) {
        this.#learned.set(prefix, best);
        this.#offer(prefix, best);
      } else if (this.#learned.delete(prefix)) this.#o.routes.withdraw(prefix, 'bgp', OWNER);
    }
    this.#o.onDirty();
  }

  #offer(prefix: Prefix, best: NonNullable<BestChange['best']>): void {
    if (this.#verdict.of(prefix) !== null) this.#o.routes.withdraw(prefix, 'bgp', OWNER);
    else this.#o.routes.offer({ class: 'bgp', owner: OWNER, route: learnedRoute(prefix, best) });
  }

  #dropInherited(why: string): void {
    this.#inheritedTimer();
    if (!this.#restarting) return;
    this.#restarting = false;
    this.#o.log.info({ why }, 'routes of an earlier run that no peer confirmed are removed');
    this.#o.routes.replaceClass('inherited', []);
    this.#o.onDirty();
  }

  /** One line when a session comes up, one when it goes down, and one when the reason why it does not come up is another. */
  #onPeerState(peer: PeerStatus): void {
    const isUp = peer.state === 'Established';
    const why = isUp ? '' : (peer.reason ?? peer.lastError ?? '');
    const fields = { peer: peer.address, state: peer.state, resource: peer.resource, ...(why && { reason: why }) };
    const told = this.#told.get(peer.address);
    if (isUp && told !== '') this.#o.log.info(fields, 'BGP session is up');
    else if (!isUp && why !== '' && told !== why) this.#o.log.warn(fields, 'BGP session is down');
    if (isUp || why !== '') this.#told.set(peer.address, why);
    this.#o.onDirty();
  }

  #report(before: readonly IntentProblem[], now: readonly IntentProblem[]): void {
    const known = new Set(before.map((p) => `${p.resource} ${p.message}`));
    for (const { resource, message } of now)
      if (!known.has(`${resource} ${message}`)) this.#o.log.warn({ resource }, message);
  }
}

const OWNER = 'BGP';

const blackhole = (to: Prefix): Omit<Candidate, 'class'> => ({
  owner: 'own block',
  route: { to, metric: 1024, via: { type: 'blackhole' }, table: MAIN_TABLE },
});

/** `reachableBy`: the peer by a stated gateway. */
function peerRoute(peer: PeerConfig): Omit<Candidate, 'class'>[] {
  if (!peer.reachableBy) return [];
  const via: Via = { type: 'gateway', hops: [{ gateway: peer.reachableBy }] };
  return [{ owner: peer.resource, route: { to: hostPrefix(peer.address), metric: 1024, via, table: MAIN_TABLE } }];
}

const connected = (name: string, { address, length }: { address: Addr; length: number }): ConnectedNetwork => ({
  prefix: prefixOf(address, length),
  interface: name,
  local: address,
});
