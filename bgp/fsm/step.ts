import { assertNever, type Milliseconds } from '#core';
import { CEASE, ERROR, FSM_ERROR, malformed, OPEN_ERROR } from '../wire/codes.ts';
import { negotiate } from '../wire/negotiate.ts';
import type { Malformed, Negotiated, Open } from '../wire/types.ts';
import { Draft } from './draft.ts';
import type { Connection, ConnectionId, DownReason, Event, Session, SessionConfig, Step } from './types.ts';

/** Waiting for the peer's OPEN (catalogue F12); RFC 4271 suggests four minutes. */
export const OPEN_HOLD: Milliseconds = 30_000;
/** RFC 9687 §5: eight minutes, or twice the hold time. */
const SEND_HOLD: Milliseconds = 480_000;

export const newSession = (config: SessionConfig, seed: number): Session => ({
  config,
  phase: 'stopped',
  dial: { state: 'none' },
  connections: [],
  nextId: 1,
  penalty: { next: 0, since: Number.NEGATIVE_INFINITY },
  seed: seed >>> 0,
});

/**
 * The state machine of RFC 4271 §8: what an event does to a session, and what is to be done about it, in order. Pure: the same values give the
 * same answer. Events about connections that are not there any more do nothing.
 *
 * @param now monotonic milliseconds.
 */
export function step(session: Session, event: Event, now: Milliseconds): Step {
  const draft = new Draft(session, now);
  switch (event.type) {
    case 'ManualStart':
      if (session.phase === 'stopped') draft.run('soon');
      return draft.done();
    case 'ManualStop':
      stop(draft, event);
      return draft.done();
    case 'AutomaticStop':
      automaticStop(draft, event);
      return draft.done();
    case 'IdleHoldTimer_Expires':
      if (session.phase === 'holding') draft.run('now');
      return draft.done();
    case 'ConnectRetryTimer_Expires':
      if (session.phase === 'running') draft.dial();
      return draft.done();
    case 'Tcp_CR_Acked':
      if (session.dial.state !== 'connecting' || session.dial.id !== event.id)
        draft.act({ type: 'close', id: event.id });
      else draft.opened(event.id, 'outgoing', OPEN_HOLD);
      return draft.done();
    case 'TcpConnectionConfirmed':
      accept(draft, event.id);
      return draft.done();
    case 'TcpConnectionFails':
      tcpFails(draft, event.id, event.error);
      return draft.done();
    case 'HoldTimer_Expires':
    case 'KeepaliveTimer_Expires':
    case 'SendHoldTimer_Expires':
    case 'BGPOpen':
    case 'BGPMsgErr':
    case 'NotifMsg':
    case 'KeepAliveMsg':
    case 'UpdateMsg': {
      const connection = session.connections.find((c) => c.id === event.id);
      if (connection) onConnection(draft, connection, event);
      return draft.done();
    }
    default:
      return assertNever(event);
  }
}

type ConnectionEvent = Extract<
  Event,
  {
    type:
      | 'HoldTimer_Expires'
      | 'KeepaliveTimer_Expires'
      | 'SendHoldTimer_Expires'
      | 'BGPOpen'
      | 'BGPMsgErr'
      | 'NotifMsg'
      | 'KeepAliveMsg'
      | 'UpdateMsg';
  }
>;

function onConnection(draft: Draft, connection: Connection, event: ConnectionEvent) {
  switch (connection.state) {
    case 'OpenSent':
      return openSent(draft, connection, event);
    case 'OpenConfirm':
      return openConfirm(draft, connection, event);
    case 'Established':
      return established(draft, connection, event);
    default:
      return assertNever(connection);
  }
}

function openSent(draft: Draft, connection: Connection, event: ConnectionEvent) {
  switch (event.type) {
    case 'BGPOpen':
      return received(draft, connection, event.open);
    case 'KeepaliveTimer_Expires':
      return;
    case 'KeepAliveMsg':
    case 'UpdateMsg':
      return unexpected(draft, connection, FSM_ERROR.inOpenSent, event);
    default:
      return ends(draft, connection, event);
  }
}

function openConfirm(draft: Draft, connection: Established, event: ConnectionEvent) {
  switch (event.type) {
    case 'KeepAliveMsg':
      return establish(draft, connection);
    case 'KeepaliveTimer_Expires':
      return keepalive(draft, connection);
    case 'BGPOpen':
    case 'UpdateMsg':
      return unexpected(draft, connection, FSM_ERROR.inOpenConfirm, event);
    default:
      return ends(draft, connection, event);
  }
}

type Established = Extract<Connection, { negotiated: Negotiated }>;

function established(draft: Draft, connection: Established, event: ConnectionEvent) {
  switch (event.type) {
    case 'KeepAliveMsg':
    case 'UpdateMsg':
      return draft.restartHold(connection.id, connection.negotiated);
    case 'KeepaliveTimer_Expires':
      return keepalive(draft, connection);
    case 'BGPOpen':
      return unexpected(draft, connection, FSM_ERROR.inEstablished, event);
    default:
      return ends(draft, connection, event);
  }
}

/** What ends a connection in every state (RFC 4271 §8.2.2). */
function ends(
  draft: Draft,
  connection: Connection,
  event: Extract<ConnectionEvent, { type: 'HoldTimer_Expires' | 'SendHoldTimer_Expires' | 'BGPMsgErr' | 'NotifMsg' }>,
) {
  const { id } = connection;
  switch (event.type) {
    case 'HoldTimer_Expires':
      draft.notify(id, ERROR.holdTimer, 0);
      return lost(draft, connection, { why: 'hold timer' }, true);
    case 'SendHoldTimer_Expires':
      draft.notify(id, ERROR.sendHoldTimer, 0);
      return lost(draft, connection, { why: 'send hold timer' }, true);
    case 'BGPMsgErr':
      return fault(draft, connection, event.fault);
    case 'NotifMsg':
      draft.close(id);
      return lost(
        draft,
        connection,
        { why: 'received', notification: event.notification },
        isPenalised(event.notification),
      );
    default:
      return assertNever(event);
  }
}

/**
 * The peer did nothing wrong by refusing our version or a second connection (catalogue N5, §6.8). One that holds after an error refuses us as well; if that made
 * us hold, the two could go on refusing each other (F6).
 */
const isPenalised = ({ code, subcode }: { code: number; subcode: number }): boolean =>
  !(code === ERROR.open && subcode === OPEN_ERROR.unsupportedVersion) &&
  !(code === ERROR.cease && (subcode === CEASE.collision || subcode === CEASE.connectionRejected));

function fault(draft: Draft, connection: Connection, what: Malformed): void {
  // RFC 4271 §6.4: a broken NOTIFICATION is not answered.
  if (what.disposition === 'close') draft.close(connection.id);
  else draft.notify(connection.id, what.code, what.subcode, what.data);
  const { code, subcode, reason } = what;
  lost(draft, connection, { why: 'sent', code, subcode, detail: reason }, isPenalised(what));
}

const unexpected = (draft: Draft, connection: Connection, subcode: number, event: { type: string }): void =>
  fault(draft, connection, malformed('reset', ERROR.fsm, subcode, `${event.type} in ${connection.state}`));

/** OPEN in OpenSent: who is it, is there another connection, and then KEEPALIVE. */
function received(draft: Draft, connection: Connection, open: Open) {
  const { config } = draft.session;
  const agreed = negotiate(config.open, open, config.expected);
  if (!agreed.ok) return fault(draft, connection, agreed.error);
  for (const other of draft.session.connections) {
    if (other.id === connection.id || other.state === 'OpenSent') continue;
    if (other.state === 'Established') {
      if (other.negotiated.gracefulRestart === null) return refuse(draft, connection.id);
      draft.close(other.id);
      draft.remove(other.id);
      draft.act({ type: 'down', reason: { why: 'replaced' }, negotiated: other.negotiated });
    } else if (survivor(config, open) === connection.origin) refuse(draft, other.id);
    else return refuse(draft, connection.id);
  }
  draft.confirm(connection, agreed.value);
}

/**
 * RFC 4271 §6.8 and RFC 6286 §2.3: of two connections the one stays that the speaker with the higher identifier opened, of equal identifiers
 * the one with the larger AS.
 */
function survivor({ open: ours, expected }: SessionConfig, theirs: Open): Connection['origin'] {
  const byId = ours.identifier - theirs.identifier;
  const higher = byId !== 0 ? byId : expected.localAs - theirs.asNumber;
  return higher > 0 ? 'outgoing' : 'incoming';
}

function refuse(draft: Draft, id: ConnectionId): void {
  draft.notify(id, ERROR.cease, CEASE.collision);
  draft.remove(id);
}

function establish(draft: Draft, connection: Established): void {
  for (const other of draft.session.connections) if (other.id !== connection.id) refuse(draft, other.id);
  draft.stopDialling();
  draft.establish(connection, Math.max(SEND_HOLD, 2000 * connection.negotiated.holdTime));
}

function keepalive(draft: Draft, { id, negotiated }: Established): void {
  draft.act({ type: 'sendKeepalive', id });
  draft.restartKeepalive(id, negotiated);
}

/** An incoming TCP connection. */
function accept(draft: Draft, id: ConnectionId) {
  const { phase, connections } = draft.session;
  // Catalogue F6: a peer that comes while the session holds is refused, which does not make it hold any longer.
  if (phase !== 'running') return draft.notify(id, ERROR.cease, CEASE.connectionRejected);
  const current = connections.find((c) => c.state === 'Established');
  // Catalogue F11; with graceful restart the new OPEN decides (F9, F10).
  if (current?.state === 'Established' && current.negotiated.gracefulRestart === null)
    return draft.notify(id, ERROR.cease, CEASE.collision);
  const rival = connections.find((c) => c.origin === 'incoming' && c.state !== 'Established');
  if (rival?.state === 'OpenConfirm') return draft.notify(id, ERROR.cease, CEASE.collision);
  // One that has said nothing yet gives way to the newer one.
  if (rival) refuse(draft, rival.id);
  draft.opened(id, 'incoming', OPEN_HOLD);
}

function tcpFails(draft: Draft, id: ConnectionId, error: string): void {
  const { dial, connections, phase } = draft.session;
  if (dial.state === 'connecting' && dial.id === id) {
    draft.act({ type: 'failed', reason: { why: 'tcp', error } });
    if (phase === 'running') draft.wait();
    return;
  }
  const connection = connections.find((c) => c.id === id);
  if (!connection) return;
  draft.close(id);
  lost(draft, connection, { why: 'tcp', error }, false);
}

/** The connection is over. With the last one the session is down, holds when it was an error, and tries again. */
function lost(draft: Draft, connection: Connection, reason: DownReason, penalise: boolean, hold?: Milliseconds): void {
  draft.remove(connection.id);
  if (connection.state === 'Established') draft.act({ type: 'down', reason, negotiated: connection.negotiated });
  else draft.act({ type: 'failed', reason });
  if (draft.session.connections.length > 0 || draft.session.phase !== 'running') return;
  if (penalise) draft.hold(hold);
  else if (draft.session.dial.state === 'none') draft.wait();
}

function stop(draft: Draft, { subcode, data, silent, returns }: Extract<Event, { type: 'ManualStop' }>): void {
  for (const connection of draft.session.connections) {
    if (silent) draft.close(connection.id);
    else draft.notify(connection.id, ERROR.cease, subcode, data);
    const reason: DownReason = { why: returns ? 'reconfigured' : 'stopped' };
    if (connection.state === 'Established') draft.act({ type: 'down', reason, negotiated: connection.negotiated });
    draft.remove(connection.id);
  }
  draft.stop();
}

function automaticStop(draft: Draft, { subcode, data, why, hold }: Extract<Event, { type: 'AutomaticStop' }>): void {
  const reason: DownReason = { why: 'sent', code: ERROR.cease, subcode, detail: why };
  for (const connection of draft.session.connections) {
    draft.notify(connection.id, ERROR.cease, subcode, data);
    lost(draft, connection, reason, true, hold);
  }
}
