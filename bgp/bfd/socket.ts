import { createSocket } from 'node:dgram';
import { type Addr, addr, familyOf } from '#core';
import { openUdp } from '../transport/libc.ts';
import type { OpenBfdSocket } from './endpoint.ts';

/** RFC 5881 §4: the source port of a session lies here. */
const FIRST_SOURCE_PORT = 49_152;
const SOURCE_PORTS = 16_384;

/** UDP with TTL 255. Single-hop packets that came through a router are dropped by a filter in the kernel (RFC 5881 §5). */
export const openBfdSocket: OpenBfdSocket = (port, local, multihop, onPacket) => {
  const type = familyOf(local) === 4 ? 'udp4' : 'udp6';
  const inbound = createSocket(type);
  inbound.on('message', (bytes, from) => onPacket(bytes, addr(from.address.replace(/%.*$/, ''))));
  // A machine that has lost its address makes every send fail; the detection time says the rest.
  inbound.on('error', () => {});
  inbound.bind({ fd: openUdp(local, port, multihop ? 0 : 255) });
  const outbound = createSocket(type);
  outbound.on('error', () => {});
  outbound.bind({ fd: boundSource(local, port) });
  let sending = 0;
  let isOver = false;
  const closeWhenSent = () => {
    if (isOver && sending === 0) outbound.close();
  };
  return {
    send: (bytes, to: Addr, toPort) => {
      sending++;
      outbound.send(bytes, toPort, to, () => {
        sending--;
        closeWhenSent();
      });
    },
    // The last word is AdminDown. Node.js sends in a later turn, and a peer that is not told takes the next session down by its detection time.
    close: () => {
      inbound.close();
      isOver = true;
      closeWhenSent();
    },
  };
};

/** A free source port, tried from a place that differs by address. */
function boundSource(local: Addr, salt: number): number {
  let start = salt;
  for (let i = 0; i < local.length; i++) start = (start * 31 + local.charCodeAt(i)) % SOURCE_PORTS;
  for (let i = 0; ; i++) {
    try {
      return openUdp(local, FIRST_SOURCE_PORT + ((start + i) % SOURCE_PORTS), 0);
    } catch (error) {
      if (i === 64) throw error;
    }
  }
}
