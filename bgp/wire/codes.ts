import type { Family } from '#core';
import type { AddressFamily, Disposition, Malformed, MessageType, Role } from './types.ts';

/** Numbers of RFC 4271 and its successors, each with the name that people read. */

export const HEADER_LENGTH = 19;
/** RFC 4271 §4.1; RFC 8654 for the extended one. */
export const MAX_MESSAGE = 4096;
export const MAX_EXTENDED_MESSAGE = 65535;
/** RFC 6793 §9: stands for a four-octet AS in a two-octet field. */
export const AS_TRANS = 23456;
export const BGP_VERSION = 4;

export const MESSAGE_CODE: Readonly<Record<MessageType, number>> = {
  OPEN: 1,
  UPDATE: 2,
  NOTIFICATION: 3,
  KEEPALIVE: 4,
  'ROUTE-REFRESH': 5,
};

/** NOTIFICATION error codes (RFC 4271 §4.5, RFC 7313 §5, RFC 9687 §3). */
export const ERROR = {
  header: 1,
  open: 2,
  update: 3,
  holdTimer: 4,
  fsm: 5,
  cease: 6,
  routeRefresh: 7,
  sendHoldTimer: 8,
} as const;

export const HEADER_ERROR = { notSynchronised: 1, badLength: 2, badType: 3 } as const;
export const OPEN_ERROR = {
  unspecific: 0,
  unsupportedVersion: 1,
  badPeerAs: 2,
  badIdentifier: 3,
  unsupportedParameter: 4,
  unacceptableHoldTime: 6,
  unsupportedCapability: 7,
  roleMismatch: 11,
} as const;
export const UPDATE_ERROR = {
  malformedAttributeList: 1,
  unrecognisedWellKnown: 2,
  missingWellKnown: 3,
  attributeFlags: 4,
  attributeLength: 5,
  invalidOrigin: 6,
  invalidNextHop: 8,
  optionalAttribute: 9,
  invalidNetwork: 10,
  malformedAsPath: 11,
} as const;
/** RFC 6608. */
export const FSM_ERROR = { inOpenSent: 1, inOpenConfirm: 2, inEstablished: 3 } as const;
/** RFC 4486, RFC 8538 §3.1. */
export const CEASE = {
  maxPrefixes: 1,
  adminShutdown: 2,
  peerDeconfigured: 3,
  adminReset: 4,
  connectionRejected: 5,
  otherConfigurationChange: 6,
  collision: 7,
  outOfResources: 8,
  hardReset: 9,
  bfdDown: 10,
} as const;

/** Role numbers of RFC 9234 §4.1: what the speaker is towards its peer. */
export const ROLES: readonly Role[] = ['provider', 'rs', 'rs-client', 'customer', 'peer'];

const NAMES: Readonly<Record<number, readonly [string, Readonly<Record<number, string>>]>> = {
  1: ['message header', { 1: 'connection not synchronised', 2: 'bad message length', 3: 'bad message type' }],
  2: [
    'OPEN',
    {
      1: 'unsupported version',
      2: 'bad peer AS',
      3: 'bad BGP identifier',
      4: 'unsupported optional parameter',
      5: 'authentication failure',
      6: 'unacceptable hold time',
      7: 'unsupported capability',
      11: 'role mismatch',
    },
  ],
  3: [
    'UPDATE',
    {
      1: 'malformed attribute list',
      2: 'unrecognised well-known attribute',
      3: 'missing well-known attribute',
      4: 'attribute flags',
      5: 'attribute length',
      6: 'invalid ORIGIN',
      8: 'invalid NEXT_HOP',
      9: 'optional attribute',
      10: 'invalid network field',
      11: 'malformed AS_PATH',
    },
  ],
  4: ['hold timer expired', {}],
  5: ['finite state machine', { 1: 'in OpenSent', 2: 'in OpenConfirm', 3: 'in Established' }],
  6: [
    'cease',
    {
      1: 'maximum number of prefixes reached',
      2: 'administrative shutdown',
      3: 'peer deconfigured',
      4: 'administrative reset',
      5: 'connection rejected',
      6: 'other configuration change',
      7: 'connection collision resolution',
      8: 'out of resources',
      9: 'hard reset',
      10: 'BFD down',
    },
  ],
  7: ['ROUTE-REFRESH', { 1: 'invalid message length' }],
  8: ['send hold timer expired', {}],
};

/** `6/2 cease: administrative shutdown`; numbers alone for what has no name. */
export function notificationName(code: number, subcode: number): string {
  const [name, subcodes] = NAMES[code] ?? ['unknown', {}];
  const detail = subcodes[subcode];
  return `${code}/${subcode} ${name}${detail ? `: ${detail}` : ''}`;
}

const NO_DATA = new Uint8Array(0);

export const malformed = (
  disposition: Disposition,
  code: number,
  subcode: number,
  reason: string,
  data: Uint8Array = NO_DATA,
): Malformed => ({ disposition, code, subcode, data, reason });

const STRENGTH: Readonly<Record<Disposition, number>> = {
  close: 4,
  reset: 3,
  'treat-as-withdraw': 2,
  'attribute-discard': 1,
  ignore: 0,
};

/** The one that decides what happens to the message; of equals the first (RFC 7606 §3h). */
export const stronger = (a: Malformed | null, b: Malformed | null): Malformed | null =>
  !a || (b && STRENGTH[b.disposition] > STRENGTH[a.disposition]) ? b : a;

/** RFC 4760: the two families that tsnet routes, unicast. */
export const familyOfAfi = (afi: number, safi: number): Family | null =>
  safi !== 1 ? null : afi === 1 ? 4 : afi === 2 ? 6 : null;
export const afiOf = (family: Family): number => (family === 4 ? 1 : 2);
export const unicast = (family: Family): AddressFamily => ({ afi: afiOf(family), safi: 1 });
