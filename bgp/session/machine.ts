import { assertNever, type Cancel, type Clock, type Milliseconds } from '#core';
import { reasonText } from '../fsm/reason.ts';
import { newSession, step } from '../fsm/step.ts';
import type {
  Action,
  ConnectionId,
  ConnectionTimer,
  DownReason,
  Event,
  Session,
  SessionConfig,
  SessionTimer,
} from '../fsm/types.ts';
import { stateOf } from '../fsm/types.ts';
import type { Loop } from '../loop.ts';
import type { TcpConnection } from '../transport/types.ts';
import type { SessionState } from '../types.ts';
import { frame, lengthAt, typeAt } from '../wire/frame.ts';
import { encodeNotification } from '../wire/notification.ts';
import { encodeOpen } from '../wire/open.ts';
import type { Malformed, Message, MessageType, Negotiated } from '../wire/types.ts';
import type { UpdateScratch } from '../wire/update.ts';
import { Link } from './link.ts';

const KEEPALIVE = frame('KEEPALIVE', new Uint8Array(0));

export interface MachineOptions {
  readonly clock: Clock;
  readonly loop: Loop;
  readonly scratch: UpdateScratch;
  readonly seed: number;
  /** Starts to dial; the outcome comes once. */
  dial(done: (result: TcpConnection | string) => void): () => void;
  onUp(link: Link, negotiated: Negotiated): void;
  onDown(reason: DownReason, negotiated: Negotiated): void;
  onState(state: SessionState): void;
  /** A message of an Established session, other than KEEPALIVE and those that end it; false: the session is over. */
  onRoutes(message: Extract<Message, { type: 'UPDATE' | 'ROUTE-REFRESH' }>): boolean;
  /** The Established session can take more. */
  onDrain(): void;
}

interface Deadline {
  delay: Milliseconds;
  at: Milliseconds;
  cancel: Cancel;
}

/** The shell around the state machine: it has the connections and timers that the pure step speaks of. */
export class Machine {
  readonly #o: MachineOptions;
  #session: Session;
  readonly #links = new Map<ConnectionId, Link>();
  #giveUpDial: { id: ConnectionId; cancel: () => void } | null = null;
  readonly #timers = new Map<SessionTimer, Cancel>();
  readonly #deadlines = new Map<string, Deadline>();
  #incoming = 0;
  #up: Link | null = null;
  #hold: Deadline | null = null;
  #queue: Event[] = [];
  #busy = false;
  readonly messages: Record<MessageType, { in: number; out: number }> = {
    OPEN: { in: 0, out: 0 },
    UPDATE: { in: 0, out: 0 },
    NOTIFICATION: { in: 0, out: 0 },
    KEEPALIVE: { in: 0, out: 0 },
    'ROUTE-REFRESH': { in: 0, out: 0 },
  };
  lastError: string | null = null;
  state: SessionState = 'Idle';

  constructor(config: SessionConfig, options: MachineOptions) {
    this.#o = options;
    this.#session = newSession(config, options.seed);
  }
  get session(): Session {
    return this.#session;
  }
  /** The link of the Established session. */
  get link(): Link | null {
    return this.#up;
  }
  /** Any link, for showing addresses before the session is up. */
  get anyLink(): Link | null {
    return this.#up ?? this.#links.values().next().value ?? null;
  }
  /** For the next connection; what runs goes on as it was agreed. */
  setConfig(config: SessionConfig): void {
    this.#session = { ...this.#session, config };
  }
  accept(tcp: TcpConnection): void {
    const id = -++this.#incoming;
    this.#open(id, 'incoming', tcp);
    this.dispatch({ type: 'TcpConnectionConfirmed', id });
  }
  dispatch(event: Event): void {
    this.#queue.push(event);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) this.#step(next);
    } finally {
      this.#busy = false;
    }
  }
  /** Sends whole messages on the Established session; false: wait for `onDrain`. */
  send(bytes: Uint8Array): boolean {
    if (this.#up === null) return true;
    for (let at = 0; at < bytes.length; at += lengthAt(bytes, at)) this.messages[typeAt(bytes, at)].out++;
    return this.#up.tcp.write(bytes);
  }

  #step(event: Event): void {
    const { session, actions } = step(this.#session, event, this.#o.clock.now());
    this.#session = session;
    for (const action of actions) this.#act(action);
    const state = stateOf(session);
    if (state === this.state) return;
    this.state = state;
    this.#o.onState(state);
  }

  #act(action: Action) {
    switch (action.type) {
      case 'connect':
        return this.#dial(action.id);
      case 'close':
        return this.#close(action.id);
      case 'sendOpen':
        return this.#write(action.id, 'OPEN', encodeOpen(action.open));
      case 'sendKeepalive':
        return this.#write(action.id, 'KEEPALIVE', KEEPALIVE);
      case 'sendNotification':
        return this.#write(action.id, 'NOTIFICATION', encodeNotification(action.code, action.subcode, action.data));
      case 'timer':
        return this.#setTimer(action.timer, action.delay);
      case 'connectionTimer':
        return this.#setDeadline(action.timer, action.id, action.delay);
      case 'negotiated':
        this.#links.get(action.id)?.agree(action.negotiated);
        return;
      case 'up': {
        const link = this.#links.get(action.id);
        if (!link) return;
        this.#up = link;
        this.#hold = this.#deadlines.get(`hold ${action.id}`) ?? null;
        return this.#o.onUp(link, action.negotiated);
      }
      case 'down':
        this.lastError = reasonText(action.reason);
        return this.#o.onDown(action.reason, action.negotiated);
      case 'failed':
        this.lastError = reasonText(action.reason);
        return;
      default:
        return assertNever(action);
    }
  }

  #dial(id: ConnectionId) {
    const cancel = this.#o.dial((result) => {
      this.#giveUpDial = null;
      if (typeof result === 'string') return this.dispatch({ type: 'TcpConnectionFails', id, error: result });
      this.#open(id, 'outgoing', result);
      this.dispatch({ type: 'Tcp_CR_Acked', id });
    });
    this.#giveUpDial = { id, cancel };
  }
  #open(id: ConnectionId, origin: 'outgoing' | 'incoming', tcp: TcpConnection): void {
    const link = new Link(id, origin, tcp, this.#o.scratch, {
      onMessage: (message) => this.#onMessage(link, message),
      onFault: (fault) => this.#onFault(id, fault),
      onTurn: (heard) => this.#onTurn(link, heard),
    });
    this.#links.set(id, link);
    tcp.open({
      onData: (bytes, start, end) => link.receive(bytes, start, end),
      onDrain: () => this.#onDrain(link),
      onClose: (error) => this.dispatch({ type: 'TcpConnectionFails', id, error }),
    });
  }
  #close(id: ConnectionId): void {
    if (this.#giveUpDial?.id === id) {
      this.#giveUpDial.cancel();
      this.#giveUpDial = null;
    }
    const link = this.#links.get(id);
    if (!link) return;
    this.#links.delete(id);
    if (this.#up === link) {
      this.#up = null;
      this.#hold = null;
    }
    for (const timer of ['hold', 'keepalive', 'sendHold'] as const) this.#setDeadline(timer, id, null);
    link.tcp.close();
  }
  #write(id: ConnectionId, type: MessageType, bytes: Uint8Array): void {
    const link = this.#links.get(id);
    if (!link) return;
    this.messages[type].out++;
    link.tcp.write(bytes);
  }

  #onMessage(link: Link, message: Message): boolean {
    this.messages[message.type].in++;
    const { id } = link;
    switch (message.type) {
      case 'UPDATE':
      case 'ROUTE-REFRESH':
        if (link !== this.#up) {
          this.dispatch({ type: 'UpdateMsg', id });
          return this.#links.has(id);
        }
        return this.#o.onRoutes(message) && this.#up === link;
      case 'KEEPALIVE':
        // The usual case takes no step: its only effect is the hold timer, which every read restarts.
        if (link !== this.#up) this.dispatch({ type: 'KeepAliveMsg', id });
        return this.#links.has(id);
      case 'OPEN':
        this.dispatch({ type: 'BGPOpen', id, open: message });
        return this.#links.has(id);
      case 'NOTIFICATION':
        this.dispatch({ type: 'NotifMsg', id, notification: message });
        return false;
      default:
        return assertNever(message);
    }
  }
  #onFault(id: ConnectionId, fault: Malformed): void {
    this.dispatch({ type: 'BGPMsgErr', id, fault });
  }
  /** Half a message is no sign of life (catalogue H14). */
  #onTurn(link: Link, heard: boolean) {
    if (heard && link === this.#up && this.#hold) this.#hold.at = this.#o.clock.now() + this.#hold.delay;
    this.#o.loop.wake();
    if (!this.#o.loop.isSpent || link !== this.#up) return;
    link.tcp.pause();
    this.#o.loop.add(() => {
      link.tcp.resume();
      return false;
    });
  }
  #onDrain(link: Link): void {
    if (link !== this.#up) return;
    const sendHold = this.#deadlines.get(`sendHold ${link.id}`);
    if (sendHold) sendHold.at = this.#o.clock.now() + sendHold.delay;
    this.#o.onDrain();
  }

  #setTimer(timer: SessionTimer, delay: Milliseconds | null): void {
    this.#timers.get(timer)?.();
    this.#timers.delete(timer);
    if (delay === null) return;
    const type = timer === 'idleHold' ? 'IdleHoldTimer_Expires' : 'ConnectRetryTimer_Expires';
    this.#timers.set(
      timer,
      this.#o.clock.after(delay, () => this.dispatch({ type })),
    );
  }
  /** Timers of a connection are restarted so often that only their deadline moves; the timer looks at it when it fires. */
  #setDeadline(timer: ConnectionTimer, id: ConnectionId, delay: Milliseconds | null): void {
    const key = `${timer} ${id}`;
    const known = this.#deadlines.get(key);
    if (delay === null || !this.#links.has(id)) {
      known?.cancel();
      this.#deadlines.delete(key);
      return;
    }
    const at = this.#o.clock.now() + delay;
    if (known && known.delay === delay && timer === 'hold') {
      known.at = at;
      return;
    }
    known?.cancel();
    const deadline: Deadline = { delay, at, cancel: () => {} };
    this.#deadlines.set(key, deadline);
    if (this.#up?.id === id && timer === 'hold') this.#hold = deadline;
    this.#arm(timer, id, deadline);
  }
  #arm(timer: ConnectionTimer, id: ConnectionId, deadline: Deadline): void {
    const left = Math.max(0, deadline.at - this.#o.clock.now());
    deadline.cancel = this.#o.clock.after(left, () => this.#expires(timer, id, deadline));
  }
  #expires(timer: ConnectionTimer, id: ConnectionId, deadline: Deadline) {
    if (this.#deadlines.get(`${timer} ${id}`) !== deadline) return;
    if (deadline.at > this.#o.clock.now()) return this.#arm(timer, id, deadline);
    switch (timer) {
      case 'keepalive':
        return this.dispatch({ type: 'KeepaliveTimer_Expires', id });
      case 'sendHold':
        return this.#sendHoldExpires(id, deadline);
      case 'hold':
        return this.#holdExpires(id, deadline);
      default:
        return assertNever(timer);
    }
  }
  /** A peer is not silent when it is us who have not read (catalogue F15). */
  #holdExpires(id: ConnectionId, deadline: Deadline) {
    this.#o.loop.afterReading(() => {
      if (this.#deadlines.get(`hold ${id}`) !== deadline) return;
      const paused = this.#links.get(id)?.tcp.isPaused ?? false;
      if (paused) deadline.at = this.#o.clock.now() + 100;
      if (deadline.at > this.#o.clock.now()) return this.#arm('hold', id, deadline);
      this.dispatch({ type: 'HoldTimer_Expires', id });
    });
  }
  /** RFC 9687: only a peer that takes nothing at all. */
  #sendHoldExpires(id: ConnectionId, deadline: Deadline) {
    if (this.#links.get(id)?.tcp.isBlocked) return this.dispatch({ type: 'SendHoldTimer_Expires', id });
    deadline.at = this.#o.clock.now() + deadline.delay;
    this.#arm('sendHold', id, deadline);
  }
}
