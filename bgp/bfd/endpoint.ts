import { type Addr, type Cancel, type Clock, type Log, type Milliseconds, messageOf } from '#core';
import { decodeBfd, encodeBfd } from './packet.ts';
import {
  type BfdSession,
  type BfdSettings,
  bfdPacket,
  detectionTime,
  expireBfd,
  newBfdSession,
  receiveBfd,
  stopBfd,
  txInterval,
} from './session.ts';

/** RFC 5881 §4, RFC 5883 §5. */
export const BFD_PORT = { singleHop: 3784, multihop: 4784 } as const;

/** Datagrams in and out; a real one sends with TTL 255 and lets the kernel drop what came further than it may. */
export interface BfdSocket {
  send(bytes: Uint8Array, address: Addr, port: number): void;
  close(): void;
}
export type OpenBfdSocket = (
  port: number,
  local: Addr,
  multihop: boolean,
  onPacket: (bytes: Uint8Array, from: Addr) => void,
) => BfdSocket;

export interface BfdTarget extends BfdSettings {
  readonly peer: Addr;
  readonly local: Addr;
  readonly multihop: boolean;
}
export interface BfdEvents {
  /** Was Up, and is not any more. */
  onDown(reason: string): void;
  onState(): void;
}

/** One session with its timers. */
class Endpoint {
  readonly target: BfdTarget;
  readonly events: BfdEvents;
  session: BfdSession;
  readonly #clock: Clock;
  readonly #socket: BfdSocket;
  #transmit: Cancel = () => {};
  #detect: Cancel = () => {};
  #heard: Milliseconds = 0;
  #seed: number;
  #closed = false;

  constructor(target: BfdTarget, events: BfdEvents, discriminator: number, clock: Clock, socket: BfdSocket) {
    this.target = target;
    this.events = events;
    this.#clock = clock;
    this.#socket = socket;
    this.#seed = discriminator;
    this.session = newBfdSession(target, discriminator);
    this.#send(false);
  }
  receive(bytes: Uint8Array): void {
    const packet = decodeBfd(bytes);
    if (!packet.ok || (packet.value.yours !== 0 && packet.value.yours !== this.session.mine)) return;
    const { session, answer } = receiveBfd(this.session, packet.value);
    const before = txInterval(this.session);
    this.#heard = this.#clock.now();
    this.#watch();
    const changed = session.state !== this.session.state;
    this.#set(session, 'the neighbour signals BFD down');
    if (answer) this.#put(true);
    if (changed) this.#send(false);
    else if (isSooner(txInterval(this.session), before)) this.#arm();
  }
  close(): void {
    this.#transmit();
    this.#detect();
    this.session = stopBfd(this.session);
    this.#put(false);
    this.#closed = true;
  }

  #watch(): void {
    this.#detect();
    this.#detect = this.#clock.after(detectionTime(this.session), () => this.#check());
  }
  #check(): void {
    const left = this.#heard + detectionTime(this.session) - this.#clock.now();
    if (left > 0) {
      this.#detect = this.#clock.after(left, () => this.#check());
      return;
    }
    const time = Math.round(detectionTime(this.session));
    this.#set(expireBfd(this.session), `no BFD packet within ${time} ms`);
    this.#send(false);
  }
  #set(session: BfdSession, why: string): void {
    const before = this.session.state;
    this.session = session;
    if (before === session.state) return;
    this.events.onState();
    if (before === 'Up') this.events.onDown(why);
  }
  /** Sends now, and goes on at the interval. */
  #send(final: boolean): void {
    this.#put(final);
    this.#arm();
  }
  /** The next packet after the interval, shortened by up to a quarter (RFC 5880 §6.8.7), by 10 to 25 % with multiplier 1. */
  #arm(): void {
    this.#transmit();
    const interval = txInterval(this.session);
    if (interval === null || this.#closed) return;
    const least = this.session.settings.multiplier === 1 ? 0.1 : 0;
    const delay = interval * (1 - least - this.#random() * (0.25 - least));
    this.#transmit = this.#clock.after(delay, () => this.#send(false));
  }
  #put(final: boolean): void {
    // Whoever was told of the end may have closed this session meanwhile.
    if (this.#closed) return;
    const port = this.target.multihop ? BFD_PORT.multihop : BFD_PORT.singleHop;
    this.#socket.send(encodeBfd(bfdPacket(this.session, final)), this.target.peer, port);
  }
  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return this.#seed / 0x1_0000_0000;
  }
}

/** A peer that comes up asks for a shorter interval, and counts on it from then on: the packet that is due by the longer one comes too late. */
const isSooner = (now: Milliseconds | null, before: Milliseconds | null): boolean =>
  now !== null && (before === null || now < before);

export interface BfdHandle {
  readonly state: string;
  close(): void;
}

/** All BFD sessions of the speaker, and the sockets that they share. */
export class Bfd {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #open: OpenBfdSocket;
  readonly #sockets = new Map<string, { socket: BfdSocket; users: Set<Endpoint> }>();
  #discriminator: number;

  constructor(clock: Clock, log: Log, open: OpenBfdSocket, seed: number) {
    this.#clock = clock;
    this.#log = log;
    this.#open = open;
    this.#discriminator = seed >>> 0;
  }
  /** Begins a session; null, with a line in the log, where the machine has no socket for it. */
  watch(target: BfdTarget, events: BfdEvents): BfdHandle | null {
    try {
      const key = `${target.local} ${target.multihop}`;
      const shared = this.#sockets.get(key) ?? this.#socket(key, target);
      const endpoint = new Endpoint(target, events, this.#nextDiscriminator(), this.#clock, shared.socket);
      shared.users.add(endpoint);
      return {
        get state() {
          return endpoint.session.state;
        },
        close: () => {
          endpoint.close();
          shared.users.delete(endpoint);
          if (shared.users.size > 0) return;
          shared.socket.close();
          this.#sockets.delete(key);
        },
      };
    } catch (error) {
      this.#log.error({ peer: target.peer, error: messageOf(error) }, 'BFD cannot listen');
      return null;
    }
  }

  #socket(key: string, { local, multihop }: BfdTarget) {
    const users = new Set<Endpoint>();
    const port = multihop ? BFD_PORT.multihop : BFD_PORT.singleHop;
    const socket = this.#open(port, local, multihop, (bytes, from) => {
      for (const endpoint of users) if (endpoint.target.peer === from) endpoint.receive(bytes);
    });
    const shared = { socket, users };
    this.#sockets.set(key, shared);
    return shared;
  }
  #nextDiscriminator(): number {
    this.#discriminator = (this.#discriminator + 1) >>> 0 || 1;
    return this.#discriminator;
  }
}
