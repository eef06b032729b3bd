import type { Milliseconds } from '#core';
import type { Negotiated } from '../wire/types.ts';
import type { Action, Connection, ConnectionId, Origin, Session, Step } from './types.ts';

/** Holding after errors: doubling from the first to the most, forgotten after a while without. */
const FIRST_HOLD: Milliseconds = 1_000;
const MOST_HOLD: Milliseconds = 30_000;
const FORGET: Milliseconds = 300_000;
/** The first attempt of many peers at once is spread over this time. */
const START_SPREAD: Milliseconds = 500;

const NO_DATA = new Uint8Array(0);

/** A session in the making: the next value and the actions on the way there. */
export class Draft {
  session: Session;
  readonly #now: Milliseconds;
  readonly #actions: Action[] = [];

  constructor(session: Session, now: Milliseconds) {
    this.session = session;
    this.#now = now;
  }
  done(): Step {
    return { session: this.session, actions: this.#actions };
  }
  act(action: Action): void {
    this.#actions.push(action);
  }

  // ---- dialling ---------------------------------------------------------------------------------------------------------------

  /** Leaves Idle: dials, or waits for the peer. */
  run(when: 'soon' | 'now'): void {
    this.#set({ phase: 'running' });
    if (this.session.config.passive) this.#set({ dial: { state: 'none' } });
    else if (when === 'now') this.dial();
    else this.#waitFor(START_SPREAD * this.#random());
  }
  dial(): void {
    const { config, dial, connections, nextId } = this.session;
    if (config.passive || connections.length > 0) return;
    // An attempt that TCP has not answered yet gives way to a new one (RFC 4271 §8.2.2, Connect).
    if (dial.state === 'connecting') this.act({ type: 'close', id: dial.id });
    this.#set({ dial: { state: 'connecting', id: nextId }, nextId: nextId + 1 });
    this.act({ type: 'connect', id: nextId });
    this.#retryIn(this.#jittered(config.connectRetry) * 2);
  }
  /** Tries again after the retry time; a passive session waits for its peer. */
  wait(): void {
    if (this.session.config.passive) this.#set({ dial: { state: 'none' } });
    else this.#waitFor(this.#jittered(this.session.config.connectRetry));
  }
  stopDialling(): void {
    const { dial } = this.session;
    if (dial.state === 'connecting') this.act({ type: 'close', id: dial.id });
    if (dial.state !== 'none') this.#retryIn(null);
    this.#set({ dial: { state: 'none' } });
  }
  #waitFor(delay: Milliseconds): void {
    this.#set({ dial: { state: 'waiting' } });
    this.#retryIn(delay);
  }
  #retryIn(delay: Milliseconds | null): void {
    this.act({ type: 'timer', timer: 'connectRetry', delay });
  }

  // ---- Idle -------------------------------------------------------------------------------------------------------------------

  stop(): void {
    this.stopDialling();
    if (this.session.phase === 'holding') this.act({ type: 'timer', timer: 'idleHold', delay: null });
    this.#set({ phase: 'stopped' });
  }
  /** After an error: Idle for a time that grows with every error, and at least for one that is given. */
  hold(least: Milliseconds = 0): void {
    this.stopDialling();
    const { penalty } = this.session;
    const next = this.#now - penalty.since > FORGET ? FIRST_HOLD : Math.max(FIRST_HOLD, penalty.next);
    this.#set({ phase: 'holding', penalty: { next: Math.min(MOST_HOLD, next * 2), since: this.#now } });
    this.act({ type: 'timer', timer: 'idleHold', delay: this.#jittered(Math.max(least, next)) });
  }

  // ---- connections ------------------------------------------------------------------------------------------------------------

  /** TCP is there: OPEN goes out. */
  opened(id: ConnectionId, origin: Origin, hold: Milliseconds): void {
    if (origin === 'outgoing') {
      this.#set({ dial: { state: 'none' } });
      this.#retryIn(null);
    }
    this.#set({ connections: [...this.session.connections, { state: 'OpenSent', id, origin }] });
    this.act({ type: 'sendOpen', id, open: this.session.config.open });
    this.act({ type: 'connectionTimer', timer: 'hold', id, delay: hold });
  }
  confirm({ id, origin }: Connection, negotiated: Negotiated): void {
    this.#replace({ state: 'OpenConfirm', id, origin, negotiated });
    this.act({ type: 'negotiated', id, negotiated });
    this.act({ type: 'sendKeepalive', id });
    this.restartHold(id, negotiated);
    this.restartKeepalive(id, negotiated);
  }
  establish({ id, origin, negotiated }: Connection & { negotiated: Negotiated }, sendHold: Milliseconds): void {
    this.#replace({ state: 'Established', id, origin, negotiated });
    this.restartHold(id, negotiated);
    if (negotiated.holdTime > 0) this.act({ type: 'connectionTimer', timer: 'sendHold', id, delay: sendHold });
    this.act({ type: 'up', id, negotiated });
  }
  remove(id: ConnectionId): void {
    this.#set({ connections: this.session.connections.filter((c) => c.id !== id) });
  }
  /** RFC 4271 §4.2: with a hold time of 0 there is no timer. */
  restartHold(id: ConnectionId, { holdTime }: Negotiated): void {
    this.act({ type: 'connectionTimer', timer: 'hold', id, delay: holdTime === 0 ? null : holdTime * 1000 });
  }
  restartKeepalive(id: ConnectionId, { holdTime }: Negotiated): void {
    const third = (holdTime * 1000) / 3;
    const every = Math.min(this.session.config.keepalive ?? third, third);
    this.act({ type: 'connectionTimer', timer: 'keepalive', id, delay: holdTime === 0 ? null : this.#jittered(every) });
  }
  /** NOTIFICATION, then close. */
  notify(id: ConnectionId, code: number, subcode: number, data: Uint8Array = NO_DATA): void {
    this.act({ type: 'sendNotification', id, code, subcode, data });
    this.close(id);
  }
  close(id: ConnectionId): void {
    this.act({ type: 'close', id });
  }

  #replace(connection: Connection): void {
    this.#set({ connections: this.session.connections.map((c) => (c.id === connection.id ? connection : c)) });
  }
  #set(change: Partial<Session>): void {
    this.session = { ...this.session, ...change };
  }
  /** RFC 4271 §10: shortened by up to a quarter at random. */
  #jittered(delay: Milliseconds): Milliseconds {
    return delay * (1 - this.#random() / 4);
  }
  #random(): number {
    const seed = (Math.imul(this.session.seed, 1664525) + 1013904223) >>> 0;
    this.#set({ seed });
    return seed / 0x1_0000_0000;
  }
}
