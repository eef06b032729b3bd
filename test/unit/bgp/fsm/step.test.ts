import { describe, expect, test } from 'vitest';
import { newSession, step } from '../../../../bgp/fsm/step.ts';
import {
  type Action,
  type Event,
  type EventType,
  type Session,
  type SessionConfig,
  stateOf,
} from '../../../../bgp/fsm/types.ts';
import { malformed } from '../../../../bgp/wire/codes.ts';
import type { Capability, Open } from '../../../../bgp/wire/types.ts';

const RESTART: Capability = {
  name: 'graceful-restart',
  restarting: false,
  notification: true,
  restartTime: 120,
  families: [{ afi: 1, safi: 1, forwarding: true }],
};
const CAPABILITIES: Capability[] = [{ name: 'multiprotocol', afi: 1, safi: 1 }];
const config = (change: Partial<SessionConfig> = {}): SessionConfig => ({
  passive: false,
  open: { asNumber: 65000, holdTime: 90, identifier: 20, capabilities: CAPABILITIES },
  expected: { asNumbers: [65001], localAs: 65000 },
  connectRetry: 5000,
  keepalive: null,
  ...change,
});
const open = (change: Partial<Open> = {}): Open => ({
  type: 'OPEN',
  asNumber: 65001,
  myAs: 65001,
  holdTime: 30,
  identifier: 10,
  capabilities: CAPABILITIES,
  notes: [],
  ...change,
});
const notification = (code: number, subcode: number) =>
  ({ type: 'NOTIFICATION', code, subcode, data: new Uint8Array(0), text: null }) as const;
const stop = { type: 'ManualStop', subcode: 2, data: new Uint8Array(0), silent: false } as const;

/** A session after these events, with the actions of the last one. */
function reach(events: readonly Event[], given = config(), now = 0): { session: Session; actions: readonly Action[] } {
  let result: { session: Session; actions: readonly Action[] } = { session: newSession(given, 1), actions: [] };
  for (const event of events) result = step(result.session, event, now);
  return result;
}
const START: Event[] = [{ type: 'ManualStart' }];
const CONNECT: Event[] = [...START, { type: 'ConnectRetryTimer_Expires' }];
const OPEN_SENT: Event[] = [...CONNECT, { type: 'Tcp_CR_Acked', id: 1 }];
const OPEN_CONFIRM: Event[] = [...OPEN_SENT, { type: 'BGPOpen', id: 1, open: open() }];
const ESTABLISHED: Event[] = [...OPEN_CONFIRM, { type: 'KeepAliveMsg', id: 1 }];
const STATES = {
  Idle: [],
  Active: START,
  Connect: CONNECT,
  OpenSent: OPEN_SENT,
  OpenConfirm: OPEN_CONFIRM,
  Established: ESTABLISHED,
} as const;
type Name = keyof typeof STATES;

const fault = malformed('reset', 3, 1, 'broken');
const EVENTS: Record<EventType, Event> = {
  ManualStart: { type: 'ManualStart' },
  ManualStop: stop,
  AutomaticStop: { type: 'AutomaticStop', subcode: 1, data: new Uint8Array(0), why: 'too many' },
  IdleHoldTimer_Expires: { type: 'IdleHoldTimer_Expires' },
  ConnectRetryTimer_Expires: { type: 'ConnectRetryTimer_Expires' },
  HoldTimer_Expires: { type: 'HoldTimer_Expires', id: 1 },
  KeepaliveTimer_Expires: { type: 'KeepaliveTimer_Expires', id: 1 },
  SendHoldTimer_Expires: { type: 'SendHoldTimer_Expires', id: 1 },
  Tcp_CR_Acked: { type: 'Tcp_CR_Acked', id: 1 },
  TcpConnectionConfirmed: { type: 'TcpConnectionConfirmed', id: -1 },
  TcpConnectionFails: { type: 'TcpConnectionFails', id: 1, error: 'ECONNRESET' },
  BGPOpen: { type: 'BGPOpen', id: 1, open: open() },
  BGPMsgErr: { type: 'BGPMsgErr', id: 1, fault },
  NotifMsg: { type: 'NotifMsg', id: 1, notification: notification(6, 2) },
  KeepAliveMsg: { type: 'KeepAliveMsg', id: 1 },
  UpdateMsg: { type: 'UpdateMsg', id: 1 },
};

/** What is done, without what does not matter for the table. */
const brief = (actions: readonly Action[]): string =>
  actions
    .flatMap((a): string[] => {
      if (a.type === 'sendNotification') return [`${a.code}/${a.subcode}`];
      if (a.type === 'timer') return [`${a.timer}${a.delay === null ? ' off' : ''}`];
      if (a.type === 'connectionTimer') return [`${a.timer}${a.delay === null ? ' off' : ''}`];
      if (a.type === 'down' || a.type === 'failed') return [`${a.type} ${a.reason.why}`];
      return [a.type];
    })
    .join(', ');

/** RFC 4271 §8.2.2, each cell: the state after, and what is done; '-' is nothing at all. */
const TABLE: Record<Name, Record<EventType, [Name, string]>> = {
  Idle: {
    ManualStart: ['Active', 'connectRetry'],
    ManualStop: ['Idle', '-'],
    AutomaticStop: ['Idle', '-'],
    IdleHoldTimer_Expires: ['Idle', '-'],
    ConnectRetryTimer_Expires: ['Idle', '-'],
    HoldTimer_Expires: ['Idle', '-'],
    KeepaliveTimer_Expires: ['Idle', '-'],
    SendHoldTimer_Expires: ['Idle', '-'],
    Tcp_CR_Acked: ['Idle', 'close'],
    TcpConnectionConfirmed: ['Idle', '6/5, close'],
    TcpConnectionFails: ['Idle', '-'],
    BGPOpen: ['Idle', '-'],
    BGPMsgErr: ['Idle', '-'],
    NotifMsg: ['Idle', '-'],
    KeepAliveMsg: ['Idle', '-'],
    UpdateMsg: ['Idle', '-'],
  },
  Active: {
    ManualStart: ['Active', '-'],
    ManualStop: ['Idle', 'connectRetry off'],
    AutomaticStop: ['Active', '-'],
    IdleHoldTimer_Expires: ['Active', '-'],
    ConnectRetryTimer_Expires: ['Connect', 'connect, connectRetry'],
    HoldTimer_Expires: ['Active', '-'],
    KeepaliveTimer_Expires: ['Active', '-'],
    SendHoldTimer_Expires: ['Active', '-'],
    Tcp_CR_Acked: ['Active', 'close'],
    TcpConnectionConfirmed: ['OpenSent', 'sendOpen, hold'],
    TcpConnectionFails: ['Active', '-'],
    BGPOpen: ['Active', '-'],
    BGPMsgErr: ['Active', '-'],
    NotifMsg: ['Active', '-'],
    KeepAliveMsg: ['Active', '-'],
    UpdateMsg: ['Active', '-'],
  },
  Connect: {
    ManualStart: ['Connect', '-'],
    ManualStop: ['Idle', 'close, connectRetry off'],
    AutomaticStop: ['Connect', '-'],
    IdleHoldTimer_Expires: ['Connect', '-'],
    ConnectRetryTimer_Expires: ['Connect', 'close, connect, connectRetry'],
    HoldTimer_Expires: ['Connect', '-'],
    KeepaliveTimer_Expires: ['Connect', '-'],
    SendHoldTimer_Expires: ['Connect', '-'],
    Tcp_CR_Acked: ['OpenSent', 'connectRetry off, sendOpen, hold'],
    TcpConnectionConfirmed: ['OpenSent', 'sendOpen, hold'],
    TcpConnectionFails: ['Active', 'failed tcp, connectRetry'],
    BGPOpen: ['Connect', '-'],
    BGPMsgErr: ['Connect', '-'],
    NotifMsg: ['Connect', '-'],
    KeepAliveMsg: ['Connect', '-'],
    UpdateMsg: ['Connect', '-'],
  },
  OpenSent: {
    ManualStart: ['OpenSent', '-'],
    ManualStop: ['Idle', '6/2, close'],
    AutomaticStop: ['Idle', '6/1, close, failed sent, idleHold'],
    IdleHoldTimer_Expires: ['OpenSent', '-'],
    ConnectRetryTimer_Expires: ['OpenSent', '-'],
    HoldTimer_Expires: ['Idle', '4/0, close, failed hold timer, idleHold'],
    KeepaliveTimer_Expires: ['OpenSent', '-'],
    SendHoldTimer_Expires: ['Idle', '8/0, close, failed send hold timer, idleHold'],
    Tcp_CR_Acked: ['OpenSent', 'close'],
    TcpConnectionConfirmed: ['OpenSent', 'sendOpen, hold'],
    TcpConnectionFails: ['Active', 'close, failed tcp, connectRetry'],
    BGPOpen: ['OpenConfirm', 'negotiated, sendKeepalive, hold, keepalive'],
    BGPMsgErr: ['Idle', '3/1, close, failed sent, idleHold'],
    NotifMsg: ['Idle', 'close, failed received, idleHold'],
    KeepAliveMsg: ['Idle', '5/1, close, failed sent, idleHold'], // F1
    UpdateMsg: ['Idle', '5/1, close, failed sent, idleHold'], // F1
  },
  OpenConfirm: {
    ManualStart: ['OpenConfirm', '-'],
    ManualStop: ['Idle', '6/2, close'],
    AutomaticStop: ['Idle', '6/1, close, failed sent, idleHold'],
    IdleHoldTimer_Expires: ['OpenConfirm', '-'],
    ConnectRetryTimer_Expires: ['OpenConfirm', '-'],
    HoldTimer_Expires: ['Idle', '4/0, close, failed hold timer, idleHold'],
    KeepaliveTimer_Expires: ['OpenConfirm', 'sendKeepalive, keepalive'],
    SendHoldTimer_Expires: ['Idle', '8/0, close, failed send hold timer, idleHold'],
    Tcp_CR_Acked: ['OpenConfirm', 'close'],
    TcpConnectionConfirmed: ['OpenConfirm', 'sendOpen, hold'],
    TcpConnectionFails: ['Active', 'close, failed tcp, connectRetry'], // F29
    BGPOpen: ['Idle', '5/2, close, failed sent, idleHold'], // F4
    BGPMsgErr: ['Idle', '3/1, close, failed sent, idleHold'],
    NotifMsg: ['Idle', 'close, failed received, idleHold'],
    KeepAliveMsg: ['Established', 'hold, sendHold, up'],
    UpdateMsg: ['Idle', '5/2, close, failed sent, idleHold'], // F2
  },
  Established: {
    ManualStart: ['Established', '-'],
    ManualStop: ['Idle', '6/2, close, down stopped'],
    AutomaticStop: ['Idle', '6/1, close, down sent, idleHold'],
    IdleHoldTimer_Expires: ['Established', '-'],
    ConnectRetryTimer_Expires: ['Established', '-'],
    HoldTimer_Expires: ['Idle', '4/0, close, down hold timer, idleHold'], // F13
    KeepaliveTimer_Expires: ['Established', 'sendKeepalive, keepalive'],
    SendHoldTimer_Expires: ['Idle', '8/0, close, down send hold timer, idleHold'], // F14
    Tcp_CR_Acked: ['Established', 'close'],
    TcpConnectionConfirmed: ['Established', '6/7, close'], // F11
    TcpConnectionFails: ['Active', 'close, down tcp, connectRetry'],
    BGPOpen: ['Idle', '5/3, close, down sent, idleHold'], // F3
    BGPMsgErr: ['Idle', '3/1, close, down sent, idleHold'],
    NotifMsg: ['Idle', 'close, down received, idleHold'],
    KeepAliveMsg: ['Established', 'hold'],
    UpdateMsg: ['Established', 'hold'],
  },
};

describe.each(Object.keys(TABLE) as Name[])('%s', (state) => {
  test.each(Object.entries(TABLE[state]))('%s', (type, [next, actions]) => {
    const { session } = reach(STATES[state]);
    expect(stateOf(session)).toBe(state);
    const result = step(session, EVENTS[type as EventType], 0);
    expect(stateOf(result.session)).toBe(next);
    expect(brief(result.actions) || '-').toBe(actions);
  });
});

describe('two connections', () => {
  const both = (identifier: number, given = config()) =>
    reach(
      [
        ...OPEN_CONFIRM.slice(0, -1),
        { type: 'BGPOpen', id: 1, open: open({ identifier }) },
        { type: 'TcpConnectionConfirmed', id: -1 },
      ],
      given,
    ).session;
  const closed = (actions: readonly Action[]) => actions.flatMap((a) => (a.type === 'close' ? [a.id] : []));
  test('F7: the one that the lower identifier opened is closed', () => {
    expect(closed(step(both(10), { type: 'BGPOpen', id: -1, open: open({ identifier: 10 }) }, 0).actions)).toEqual([
      -1,
    ]);
    expect(closed(step(both(30), { type: 'BGPOpen', id: -1, open: open({ identifier: 30 }) }, 0).actions)).toEqual([1]);
  });
  test('F8: of equal identifiers the larger AS wins', () => {
    const { actions } = step(both(20), { type: 'BGPOpen', id: -1, open: open({ identifier: 20 }) }, 0);
    expect(closed(actions)).toEqual([1]);
  });
  test('F9, F10: with graceful restart a valid OPEN on a new connection replaces the old session, an invalid one does not', () => {
    const capabilities = [...CAPABILITIES, RESTART];
    const given = config({ open: { ...config().open, capabilities } });
    const up = reach(
      [
        ...OPEN_SENT,
        { type: 'BGPOpen', id: 1, open: open({ capabilities }) },
        { type: 'KeepAliveMsg', id: 1 },
        { type: 'TcpConnectionConfirmed', id: -1 },
      ],
      given,
    ).session;
    expect(stateOf(up)).toBe('Established');
    const bad = step(up, { type: 'BGPOpen', id: -1, open: open({ asNumber: 5, capabilities }) }, 0);
    expect(stateOf(bad.session)).toBe('Established');
    expect(brief(bad.actions)).toBe('2/2, close, failed sent');
    const never = step(up, { type: 'HoldTimer_Expires', id: -1 }, 0);
    expect(stateOf(never.session)).toBe('Established');
    const good = step(up, { type: 'BGPOpen', id: -1, open: open({ capabilities }) }, 0);
    expect(brief(good.actions)).toBe('close, down replaced, negotiated, sendKeepalive, hold, keepalive');
    expect(stateOf(good.session)).toBe('OpenConfirm');
  });
  test('F29: a reset right after KEEPALIVE leaves the other connection alone', () => {
    const result = step(both(10), { type: 'TcpConnectionFails', id: 1, error: 'ECONNRESET' }, 0);
    expect(result.session.connections.map((c) => c.id)).toEqual([-1]);
  });
  test('F30: an event about a connection that is gone does nothing', () => {
    const gone = step(reach(ESTABLISHED).session, { type: 'HoldTimer_Expires', id: 1 }, 0).session;
    expect(step(gone, { type: 'NotifMsg', id: 1, notification: notification(4, 0) }, 0).actions).toEqual([]);
  });
});

describe('holding after errors', () => {
  const holdOf = (actions: readonly Action[]) => {
    const timer = actions.find((a) => a.type === 'timer' && a.timer === 'idleHold');
    return timer?.type === 'timer' ? (timer.delay ?? 0) : 0;
  };
  test('doubles up to 30 s, shortened by up to a quarter, and is forgotten after five minutes', () => {
    let { session } = reach(START);
    const delays: number[] = [];
    let now = 0;
    for (let i = 0; i < 8; i++) {
      if (i === 7) now += 400_000;
      session = step(session, { type: 'ConnectRetryTimer_Expires' }, now).session;
      const id = session.dial.state === 'connecting' ? session.dial.id : 0;
      session = step(session, { type: 'Tcp_CR_Acked', id }, now).session;
      const failed = step(session, { type: 'HoldTimer_Expires', id }, now);
      delays.push(holdOf(failed.actions));
      session = step(failed.session, { type: 'IdleHoldTimer_Expires' }, now).session;
      const dialling = session.dial;
      if (dialling.state === 'connecting')
        session = step(session, { type: 'TcpConnectionFails', id: dialling.id, error: 'x' }, now).session;
      now += 1000;
    }
    const most = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 1000];
    delays.forEach((delay, i) => {
      expect(delay).toBeLessThanOrEqual(most[i]);
      expect(delay).toBeGreaterThanOrEqual(most[i] * 0.75);
    });
  });
  test('N5, O1, F6: not after an unsupported version, a collision, or a peer that holds itself', () => {
    for (const [code, subcode] of [
      [2, 1],
      [6, 7],
      [6, 5],
    ] as const) {
      const { actions, session } = step(
        reach(OPEN_SENT).session,
        { type: 'NotifMsg', id: 1, notification: notification(code, subcode) },
        0,
      );
      expect(brief(actions)).toBe('close, failed received, connectRetry');
      expect(stateOf(session)).toBe('Active');
    }
  });
  test('F6: a connection while holding is refused and holds nothing up', () => {
    const holding = step(reach(OPEN_SENT).session, { type: 'HoldTimer_Expires', id: 1 }, 0).session;
    const { session, actions } = step(holding, { type: 'TcpConnectionConfirmed', id: -1 }, 10);
    expect(brief(actions)).toBe('6/5, close');
    expect(session).toBe(holding);
  });
});

test('a passive session never dials', () => {
  const { session, actions } = reach(START, config({ passive: true }));
  expect(actions).toEqual([]);
  expect(stateOf(session)).toBe('Active');
  expect(step(session, { type: 'ConnectRetryTimer_Expires' }, 0).actions).toEqual([]);
});
test('hold time 0: no timers (O13)', () => {
  const { actions } = reach([...OPEN_SENT, { type: 'BGPOpen', id: 1, open: open({ holdTime: 0 }) }]);
  expect(brief(actions)).toBe('negotiated, sendKeepalive, hold off, keepalive off');
});
test('the same values give the same answer', () => {
  expect(reach(ESTABLISHED)).toEqual(reach(ESTABLISHED));
});
