import type { Milliseconds } from '#core';
import type { SessionState } from '../types.ts';
import type { Expectation } from '../wire/negotiate.ts';
import type { OpenFields } from '../wire/open.ts';
import type { Malformed, Negotiated, Notification, Open } from '../wire/types.ts';

/** Who opened the TCP connection. */
export type Origin = 'outgoing' | 'incoming';
/** Names a TCP connection of a session; given by the session for what it dials, by the shell for what it accepts. */
export type ConnectionId = number;

/** A connection over which messages pass; the states before are the session's (`dial`). */
export type Connection =
  | { readonly state: 'OpenSent'; readonly id: ConnectionId; readonly origin: Origin }
  | {
      readonly state: 'OpenConfirm' | 'Established';
      readonly id: ConnectionId;
      readonly origin: Origin;
      readonly negotiated: Negotiated;
    };

/** What does not change while the session runs. */
export interface SessionConfig {
  readonly passive: boolean;
  /** What we say in OPEN; the same on every connection. */
  readonly open: OpenFields;
  readonly expected: Expectation;
  readonly connectRetry: Milliseconds;
  /** Overrides a third of the negotiated hold time. */
  readonly keepalive: Milliseconds | null;
}

/** One peer, as RFC 4271 §8 has it, with both connections that may exist while two speakers dial each other. */
export interface Session {
  readonly config: SessionConfig;
  /** `stopped` and `holding` (after an error, for a while) are Idle. */
  readonly phase: 'stopped' | 'holding' | 'running';
  /** Our own attempt: none, waiting for the retry timer, or a TCP connection on its way. */
  readonly dial: { readonly state: 'none' | 'waiting' } | { readonly state: 'connecting'; readonly id: ConnectionId };
  /** At most one that is Established, and one of each origin that is not. */
  readonly connections: readonly Connection[];
  readonly nextId: ConnectionId;
  /** The next time to hold after an error, and when the last error was. */
  readonly penalty: { readonly next: Milliseconds; readonly since: Milliseconds };
  /** State of the jitter's generator. */
  readonly seed: number;
}

export type Event =
  | { readonly type: 'ManualStart' }
  /**
   * Stops for good: shutdown, removal, or a configuration change. `silent`: without NOTIFICATION, so that the peer keeps our routes;
   * `returns`: another connection of the same peer follows.
   */
  | {
      readonly type: 'ManualStop';
      readonly subcode: number;
      readonly data: Uint8Array;
      readonly silent: boolean;
      readonly returns?: boolean;
    }
  /** The speaker's own doing: prefix limit, BFD; the session holds, for at least `hold` where that is given, and comes back. */
  | {
      readonly type: 'AutomaticStop';
      readonly subcode: number;
      readonly data: Uint8Array;
      readonly why: string;
      readonly hold?: Milliseconds;
    }
  | { readonly type: 'IdleHoldTimer_Expires' }
  | { readonly type: 'ConnectRetryTimer_Expires' }
  | { readonly type: 'HoldTimer_Expires'; readonly id: ConnectionId }
  | { readonly type: 'KeepaliveTimer_Expires'; readonly id: ConnectionId }
  | { readonly type: 'SendHoldTimer_Expires'; readonly id: ConnectionId }
  | { readonly type: 'Tcp_CR_Acked'; readonly id: ConnectionId }
  | { readonly type: 'TcpConnectionConfirmed'; readonly id: ConnectionId }
  | { readonly type: 'TcpConnectionFails'; readonly id: ConnectionId; readonly error: string }
  | { readonly type: 'BGPOpen'; readonly id: ConnectionId; readonly open: Open }
  /** BGPHeaderErr, BGPOpenMsgErr and UpdateMsgErr: the fault says which. */
  | { readonly type: 'BGPMsgErr'; readonly id: ConnectionId; readonly fault: Malformed }
  | { readonly type: 'NotifMsg'; readonly id: ConnectionId; readonly notification: Notification }
  | { readonly type: 'KeepAliveMsg'; readonly id: ConnectionId }
  /** UPDATE or ROUTE-REFRESH. */
  | { readonly type: 'UpdateMsg'; readonly id: ConnectionId };
export type EventType = Event['type'];

/** Why an Established session, or an attempt at one, ended. */
export type DownReason =
  | { readonly why: 'stopped' }
  /** Settings of the connection have changed; it comes back at once. */
  | { readonly why: 'reconfigured' }
  | { readonly why: 'tcp'; readonly error: string }
  | { readonly why: 'hold timer' }
  | { readonly why: 'send hold timer' }
  | { readonly why: 'sent'; readonly code: number; readonly subcode: number; readonly detail: string }
  | { readonly why: 'received'; readonly notification: Notification }
  /** The peer opened a new connection while the old one seemed to live (RFC 4724 §4.2). */
  | { readonly why: 'replaced' };

export type SessionTimer = 'idleHold' | 'connectRetry';
export type ConnectionTimer = 'hold' | 'keepalive' | 'sendHold';

export type Action =
  | { readonly type: 'connect'; readonly id: ConnectionId }
  /** Closes the connection once what was sent is with the kernel; unknown ids are closed already. */
  | { readonly type: 'close'; readonly id: ConnectionId }
  | { readonly type: 'sendOpen'; readonly id: ConnectionId; readonly open: OpenFields }
  | { readonly type: 'sendKeepalive'; readonly id: ConnectionId }
  | {
      readonly type: 'sendNotification';
      readonly id: ConnectionId;
      readonly code: number;
      readonly subcode: number;
      readonly data: Uint8Array;
    }
  /** Starts the timer anew, or stops it (null). */
  | { readonly type: 'timer'; readonly timer: SessionTimer; readonly delay: Milliseconds | null }
  | {
      readonly type: 'connectionTimer';
      readonly timer: ConnectionTimer;
      readonly id: ConnectionId;
      readonly delay: Milliseconds | null;
    }
  /** The OPEN is accepted: the connection's messages are read with this. */
  | { readonly type: 'negotiated'; readonly id: ConnectionId; readonly negotiated: Negotiated }
  | { readonly type: 'up'; readonly id: ConnectionId; readonly negotiated: Negotiated }
  | { readonly type: 'down'; readonly reason: DownReason; readonly negotiated: Negotiated }
  /** An attempt failed before the session was up. */
  | { readonly type: 'failed'; readonly reason: DownReason };

export interface Step {
  readonly session: Session;
  readonly actions: readonly Action[];
}

/** The state that people see: that of the connection that is furthest. */
export function stateOf(session: Session): SessionState {
  for (const state of ['Established', 'OpenConfirm', 'OpenSent'] as const)
    if (session.connections.some((c) => c.state === state)) return state;
  if (session.phase !== 'running') return 'Idle';
  return session.dial.state === 'connecting' ? 'Connect' : 'Active';
}
