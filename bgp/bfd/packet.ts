import { err, ok, type Result, Writer } from '#core';

/** The BFD control packet (RFC 5880 §4.1), without authentication. */

export const BFD_STATES = ['AdminDown', 'Down', 'Init', 'Up'] as const;
export type BfdState = (typeof BFD_STATES)[number];

/** RFC 5880 §4.1 diagnostic codes that are used here. */
export const DIAGNOSTIC = { none: 0, detectionTime: 1, neighbourDown: 3, adminDown: 7 } as const;

export interface BfdPacket {
  readonly state: BfdState;
  readonly diagnostic: number;
  readonly poll: boolean;
  readonly final: boolean;
  readonly multiplier: number;
  readonly mine: number;
  readonly yours: number;
  /** Microseconds, as on the wire. */
  readonly desiredMinTx: number;
  readonly requiredMinRx: number;
}

const LENGTH = 24;
const POLL = 0x20;
const FINAL = 0x10;
const AUTHENTICATION = 0x04;
const DEMAND = 0x02;
const MULTIPOINT = 0x01;

export function encodeBfd(packet: BfdPacket): Uint8Array {
  return new Writer(LENGTH)
    .u8((1 << 5) | packet.diagnostic)
    .u8((BFD_STATES.indexOf(packet.state) << 6) | (packet.poll ? POLL : 0) | (packet.final ? FINAL : 0))
    .u8(packet.multiplier)
    .u8(LENGTH)
    .u32(packet.mine)
    .u32(packet.yours)
    .u32(packet.desiredMinTx)
    .u32(packet.requiredMinRx)
    .u32(0)
    .done();
}

/** The checks of RFC 5880 §6.8.6 that need no session; an error says why the packet is dropped. */
export function decodeBfd(bytes: Uint8Array): Result<BfdPacket, string> {
  if (bytes.length < LENGTH) return err(`${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes[0] >> 5 !== 1) return err(`version ${bytes[0] >> 5}`);
  if (bytes[3] < LENGTH || bytes[3] > bytes.length) return err(`length ${bytes[3]} in ${bytes.length} bytes`);
  if (bytes[1] & AUTHENTICATION) return err('authentication, which is not configured');
  if (bytes[1] & MULTIPOINT) return err('multipoint');
  if (bytes[1] & DEMAND) return err('demand mode');
  if (bytes[2] === 0) return err('detection multiplier 0');
  const state = BFD_STATES[bytes[1] >> 6];
  const mine = view.getUint32(4);
  const yours = view.getUint32(8);
  if (mine === 0) return err('discriminator 0');
  if (yours === 0 && state !== 'Down' && state !== 'AdminDown') return err(`${state} without our discriminator`);
  return ok({
    state,
    diagnostic: bytes[0] & 0x1f,
    poll: (bytes[1] & POLL) !== 0,
    final: (bytes[1] & FINAL) !== 0,
    multiplier: bytes[2],
    mine,
    yours,
    desiredMinTx: view.getUint32(12),
    requiredMinRx: view.getUint32(16),
  });
}
