import { type Addr, addr, FakeClock, type Family, type Prefix, prefix, silentLog } from '#core';
import type { OpenBfdSocket } from '../../../bgp/bfd/endpoint.ts';
import { createSpeaker } from '../../../bgp/speaker.ts';
import type {
  AcceptRule,
  ConnectionEvents,
  ConnectOptions,
  Listener,
  TcpConnection,
  Transport,
} from '../../../bgp/transport/types.ts';
import type { BestChange, PeerConfig, Speaker, SpeakerConfig } from '../../../bgp/types.ts';

/** Speakers on a network without a kernel: deliveries and deferred work run when the test says so, on a clock that moves when it is told to. */

const HEADROOM = 1 << 16;

class End implements TcpConnection {
  readonly localAddress: Addr;
  readonly localPort: number;
  readonly remoteAddress: Addr;
  readonly remotePort: number;
  far!: End;
  isPaused = false;
  /** Takes nothing: a closed window. */
  stuck = false;
  isClosed = false;
  #events: ConnectionEvents | null = null;
  #waiting: Uint8Array[] = [];
  readonly #net: Network;

  constructor(net: Network, local: Addr, remote: Addr) {
    this.#net = net;
    this.localAddress = local;
    this.remoteAddress = remote;
    this.localPort = 1024;
    this.remotePort = 179;
  }
  get isBlocked(): boolean {
    return this.#waiting.length > 0;
  }
  /** Bytes that wait for the far end. */
  get queued(): number {
    return this.#waiting.reduce((sum, bytes) => sum + bytes.length, 0);
  }
  open(events: ConnectionEvents): void {
    this.#events = events;
  }
  write(bytes: Uint8Array): boolean {
    if (this.isClosed) return true;
    this.#waiting.push(bytes);
    this.flush();
    return !this.isBlocked;
  }
  /** Hands what waits to the network. */
  flush(): void {
    if (this.far.stuck) return;
    const all = this.#waiting;
    this.#waiting = [];
    for (const bytes of all) this.#net.later(() => this.far.#deliver(bytes));
    if (all.length > 0) this.#net.later(() => !this.isBlocked && this.#events?.onDrain());
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#net.later(() => this.far.fail('closed by the peer'));
  }
  /** The connection breaks for this end. */
  fail(error: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#events?.onClose(error);
  }
  #deliver(bytes: Uint8Array): void {
    if (this.isClosed) return;
    for (let at = 0; at < bytes.length; at += 60_000) {
      const part = bytes.subarray(at, at + 60_000);
      const room = new Uint8Array(HEADROOM + part.length);
      room.set(part, HEADROOM);
      this.#events?.onData(room, HEADROOM, room.length);
    }
  }
}

export class Network {
  readonly clock = new FakeClock();
  readonly ends: End[] = [];
  /** Nobody connects any more. */
  isCut = false;
  /** What was dialled, and the rules of who may connect by listening address, in their last state. */
  readonly dialled: ConnectOptions[] = [];
  readonly rules = new Map<string, readonly AcceptRule[]>();
  #queue: (() => void)[] = [];
  /** BFD packets are lost. */
  isBfdCut = false;
  readonly #bfd = new Map<string, (bytes: Uint8Array, from: Addr) => void>();
  readonly #listeners = new Map<string, (connection: TcpConnection) => void>();

  later(run: () => void): void {
    this.#queue.push(run);
  }
  /** Everything that is due now. */
  settle(): void {
    for (let left = 100_000; this.#queue.length > 0; left--) {
      if (left === 0) throw new Error('the network never comes to rest');
      this.#queue.shift()?.();
    }
  }
  /** Time passes, in steps, so that timers and messages interleave. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds * 4; i++) {
      this.clock.advance(250);
      this.settle();
    }
  }
  /** All TCP connections break, without a word between the speakers. */
  breakAll(): void {
    for (const end of this.ends.splice(0)) {
      end.fail('ECONNRESET');
      end.far.fail('ECONNRESET');
    }
    this.settle();
  }
  /** Sockets of BFD: a datagram arrives at once, or not at all. */
  readonly openBfd: OpenBfdSocket = (port, local, _multihop, onPacket) => {
    this.#bfd.set(`${local} ${port}`, onPacket);
    return {
      send: (bytes, to, toPort) => {
        const copy = bytes.slice();
        if (!this.isBfdCut) this.later(() => this.#bfd.get(`${to} ${toPort}`)?.(copy, local));
      },
      close: () => this.#bfd.delete(`${local} ${port}`),
    };
  };
  transport(own: Addr): Transport {
    return {
      connect: (options, done) => this.#connect(own, options, done),
      listen: (address, port, onConnection): Listener => {
        this.#listeners.set(`${address} ${port}`, onConnection);
        const setRules = (rules: readonly AcceptRule[]) => {
          this.rules.set(address, rules);
          return new Map<string, string>();
        };
        return { port, setRules, close: () => this.#listeners.delete(`${address} ${port}`) };
      },
    };
  }
  #connect(own: Addr, options: ConnectOptions, done: (result: TcpConnection | string) => void): () => void {
    const { address, port } = options;
    let given = true;
    this.dialled.push(options);
    this.later(() => {
      if (!given) return;
      const accept = this.isCut ? undefined : this.#listeners.get(`${address} ${port}`);
      if (!accept) return done('ECONNREFUSED');
      const here = new End(this, own, address);
      const there = new End(this, address, own);
      here.far = there;
      there.far = here;
      this.ends.push(here);
      accept(there);
      done(here);
    });
    return () => {
      given = false;
    };
  }
}

/**
 * The far end of a session as a script: it says what the test wants, byte by byte, and keeps what it is told. It listens at its address, so the speaker
 * under test dials it, or is dialled by `connect`.
 */
export class Script {
  readonly address: Addr;
  readonly #net: Network;
  #tcp: TcpConnection | null = null;
  #rest = new Uint8Array(0);
  /** Every message since the last connection, oldest first; taken by `take`. */
  messages: Uint8Array[] = [];
  connections = 0;
  closed: string | null = null;

  constructor(net: Network, address: string) {
    this.#net = net;
    this.address = addr(address);
    net.transport(this.address).listen(this.address, 179, (tcp) => this.#take(tcp));
  }
  /** Dials the speaker. */
  connect(to: string): void {
    this.#net
      .transport(this.address)
      .connect({ address: addr(to), port: 179, localAddress: this.address }, (result) => {
        if (typeof result !== 'string') this.#take(result);
      });
    this.#net.settle();
  }
  send(...messages: Uint8Array[]): void {
    this.queue(...messages);
    this.#net.settle();
  }
  /** The bytes are on their way, and nobody has read them yet. */
  queue(...messages: Uint8Array[]): void {
    for (const bytes of messages) this.#tcp?.write(bytes);
  }
  close(): void {
    this.#tcp?.close();
    this.#net.settle();
  }
  /** The types of what came since the last call, NOTIFICATIONs with their code. */
  take(): string[] {
    const names = ['', 'OPEN', 'UPDATE', 'NOTIFICATION', 'KEEPALIVE', 'ROUTE-REFRESH'];
    return this.messages
      .splice(0)
      .map((m) => (m[18] === 3 ? `NOTIFICATION ${m[19]}/${m[20]}` : (names[m[18]] ?? String(m[18]))));
  }

  #take(tcp: TcpConnection): void {
    this.#tcp = tcp;
    this.#rest = new Uint8Array(0);
    this.messages = [];
    this.closed = null;
    this.connections++;
    tcp.open({
      onData: (bytes, start, end) => this.#read(bytes.slice(start, end)),
      onDrain: () => {},
      onClose: (error) => {
        if (this.#tcp === tcp) this.closed = error;
      },
    });
  }
  #read(bytes: Uint8Array): void {
    let left = Uint8Array.from([...this.#rest, ...bytes]);
    while (left.length >= 19) {
      const length = (left[16] << 8) | left[17];
      if (left.length < length) break;
      this.messages.push(left.slice(0, length));
      left = left.slice(length);
    }
    this.#rest = left;
  }
}

export const peerConfig = (address: string, asNumber: number, change: Partial<PeerConfig> = {}): PeerConfig => ({
  name: address,
  type: 'Static',
  resource: 'test',
  address: addr(address),
  port: 179,
  asNumbers: [asNumber],
  passive: false,
  families: [4],
  routeReflectorClient: false,
  addPath: { receive: false, send: false },
  gracefulRestart: null,
  nextHop: 'auto',
  allowOwnAs: 0,
  requirePolicy: false,
  importPolicy: { rules: [], otherwise: 'accept' },
  exportPolicy: { rules: [], otherwise: 'accept' },
  filterNames: [],
  ...change,
});

/** A speaker on the network, with what it told its owner. */
export class Node {
  readonly speaker: Speaker;
  readonly address: Addr;
  readonly asNumber: number;
  readonly best = new Map<Prefix, NonNullable<BestChange['best']>>();
  restartsComplete = 0;
  /** What was known when the owner heard that a restart is complete. */
  knownAtRestart: readonly string[] = [];
  peers: PeerConfig[] = [];
  readonly #net: Network;

  constructor(net: Network, address: string, asNumber: number, change: Partial<SpeakerConfig> = {}) {
    this.#net = net;
    this.address = addr(address);
    this.asNumber = asNumber;
    this.speaker = createSpeaker(
      {
        onBestChanges: (changes) => {
          for (const { prefix: to, best } of changes)
            if (best) this.best.set(to, best);
            else this.best.delete(to);
        },
        onRestartComplete: () => {
          this.restartsComplete++;
          this.knownAtRestart = this.learned();
        },
      },
      {
        clock: net.clock,
        log: silentLog,
        transport: net.transport(this.address),
        openBfd: net.openBfd,
        defer: (run) => net.later(run),
      },
    );
    this.speaker.configure({
      asNumber,
      routerId: this.address,
      listen: [{ address: this.address, port: 179 }],
      holdTime: 90,
      restartTime: 120,
      restarting: false,
      connectRetry: 5000,
      normalPriority: { 4: 1024, 6: 1024 },
      ...change,
    });
  }
  /** Sessions to all of them, and from them to here. */
  static mesh(nodes: readonly Node[], change: Partial<PeerConfig> = {}): void {
    for (const node of nodes)
      node.setPeers(
        nodes.filter((other) => other !== node).map((other) => peerConfig(other.address, other.asNumber, change)),
      );
  }
  setPeers(peers: PeerConfig[]): void {
    this.peers = peers;
    this.speaker.setPeers(peers);
  }
  originate(...prefixes: string[]): void {
    this.speaker.setLocalRoutes(prefixes.map((text) => ({ prefix: prefix(text), priority: 1024, reason: 'network' })));
    this.#net.settle();
  }
  async start(): Promise<void> {
    await this.speaker.start();
  }
  state(other: Node | string): string | undefined {
    const address = typeof other === 'string' ? other : other.address;
    return this.speaker.peers().find((peer) => peer.address === address)?.state;
  }
  /** The prefixes that were learned. */
  learned(): string[] {
    return [...this.best.keys()].sort();
  }
  received(other: Node, family: Family = 4): number {
    const name = family === 4 ? 'ipv4' : 'ipv6';
    const peer = this.speaker.peers().find(({ address }) => address === other.address);
    return peer?.prefixes[name]?.received ?? 0;
  }
}
