import { assertNever, type Milliseconds } from '#core';
import { type BfdPacket, type BfdState, DIAGNOSTIC } from './packet.ts';

/** What is configured. */
export interface BfdSettings {
  /** Least time between packets in both directions. */
  readonly interval: Milliseconds;
  readonly multiplier: number;
}

/** One BFD session (RFC 5880 §6.8.1), as a value. */
export interface BfdSession {
  readonly settings: BfdSettings;
  readonly state: BfdState;
  readonly diagnostic: number;
  readonly mine: number;
  /** The peer's discriminator; 0: not known. */
  readonly yours: number;
  readonly remoteState: BfdState;
  /** Of the last packet. */
  readonly remoteMinRx: Milliseconds;
  readonly remoteMinTx: Milliseconds;
  readonly remoteMultiplier: number;
  /** We have new timers and want the peer's word that it knows them. */
  readonly polling: boolean;
}

/** RFC 5880 §6.8.3: while not Up, no faster than one packet a second. */
const SLOW: Milliseconds = 1_000;

export const newBfdSession = (settings: BfdSettings, discriminator: number): BfdSession => ({
  settings,
  state: 'Down',
  diagnostic: DIAGNOSTIC.none,
  mine: discriminator,
  yours: 0,
  remoteState: 'Down',
  remoteMinRx: 1,
  remoteMinTx: SLOW,
  remoteMultiplier: 3,
  polling: false,
});

/** A packet for the session (RFC 5880 §6.8.6). `answer`: the peer polls, and wants a packet with Final at once. */
export function receiveBfd(session: BfdSession, packet: BfdPacket): { session: BfdSession; answer: boolean } {
  const heard: BfdSession = {
    ...session,
    yours: packet.mine,
    remoteState: packet.state,
    remoteMinRx: packet.requiredMinRx / 1000,
    remoteMinTx: packet.desiredMinTx / 1000,
    remoteMultiplier: packet.multiplier,
    polling: session.polling && !packet.final,
  };
  if (session.state === 'AdminDown') return { session: heard, answer: false };
  const next = nextState(session.state, packet.state);
  const changed = next !== session.state;
  const fell = changed && next === 'Down';
  return {
    session: {
      ...heard,
      state: next,
      ...(fell ? { diagnostic: DIAGNOSTIC.neighbourDown } : next === 'Up' ? { diagnostic: DIAGNOSTIC.none } : {}),
      // RFC 5880 §6.8.3: the interval becomes shorter when the session is up.
      ...(changed && next === 'Up' ? { polling: true } : {}),
    },
    answer: packet.poll,
  };
}

function nextState(own: Exclude<BfdState, 'AdminDown'>, remote: BfdState): BfdState {
  if (remote === 'AdminDown') return 'Down';
  switch (own) {
    case 'Down':
      return remote === 'Down' ? 'Init' : remote === 'Init' ? 'Up' : 'Down';
    case 'Init':
      return remote === 'Init' || remote === 'Up' ? 'Up' : 'Init';
    case 'Up':
      return remote === 'Down' ? 'Down' : 'Up';
    default:
      return assertNever(own);
  }
}

/** Nothing came within the detection time (RFC 5880 §6.8.4). */
export const expireBfd = (session: BfdSession): BfdSession =>
  session.state === 'Init' || session.state === 'Up'
    ? { ...session, state: 'Down', diagnostic: DIAGNOSTIC.detectionTime, yours: 0, remoteMinRx: 1 }
    : { ...session, yours: 0 };

export const stopBfd = (session: BfdSession): BfdSession => ({
  ...session,
  state: 'AdminDown',
  diagnostic: DIAGNOSTIC.adminDown,
});

const desiredMinTx = (s: BfdSession): Milliseconds =>
  s.state === 'Up' ? s.settings.interval : Math.max(SLOW, s.settings.interval);

/** Time between our packets, before jitter; null: the peer wants none. */
export const txInterval = (s: BfdSession): Milliseconds | null =>
  s.remoteMinRx === 0 ? null : Math.max(desiredMinTx(s), s.remoteMinRx);

/** How long the silence may last. */
export const detectionTime = (s: BfdSession): Milliseconds =>
  s.remoteMultiplier * Math.max(s.settings.interval, s.remoteMinTx);

export const bfdPacket = (s: BfdSession, final: boolean): BfdPacket => ({
  state: s.state,
  diagnostic: s.diagnostic,
  poll: s.polling && !final,
  final,
  multiplier: s.settings.multiplier,
  mine: s.mine,
  yours: s.yours,
  desiredMinTx: Math.round(desiredMinTx(s) * 1000),
  requiredMinRx: Math.round(s.settings.interval * 1000),
});
