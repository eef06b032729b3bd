/** A capture file of one BGP session, as tshark reads it: raw IP packets with a TCP stream between a client and port 179. */

const LINKTYPE_RAW = 101;
const SEGMENT = 1400;
const SYN = 2;
const PSH = 8;
const ACK = 16;

/** The client's bytes, then the server's. */
export function capture(fromClient: Uint8Array, fromServer: Uint8Array): Uint8Array {
  const file = Buffer.alloc(24);
  file.writeUInt32LE(0xa1b2c3d4, 0);
  file.writeUInt16LE(2, 4);
  file.writeUInt16LE(4, 6);
  file.writeUInt32LE(65535, 16);
  file.writeUInt32LE(LINKTYPE_RAW, 20);
  const client = new Side([10, 0, 0, 1], [10, 0, 0, 2], 40000, 179);
  const server = new Side([10, 0, 0, 2], [10, 0, 0, 1], 179, 40000);
  const packets = [client.packet(SYN, server), server.packet(SYN | ACK, client), client.packet(ACK, server)];
  const send = (from: Side, to: Side, bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length; at += SEGMENT)
      packets.push(from.packet(ACK | PSH, to, bytes.subarray(at, at + SEGMENT)), to.packet(ACK, from));
  };
  send(client, server, fromClient);
  send(server, client, fromServer);
  return Buffer.concat([file, ...packets.flatMap((packet, i) => [recordHeader(packet.length, i), packet])]);
}

function recordHeader(length: number, index: number): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(1_700_000_000, 0);
  header.writeUInt32LE(index, 4);
  header.writeUInt32LE(length, 8);
  header.writeUInt32LE(length, 12);
  return header;
}

class Side {
  readonly #addresses: readonly number[];
  readonly #ports: readonly number[];
  /** The sequence number of the next byte. */
  sequence = 1000;

  constructor(from: readonly number[], to: readonly number[], fromPort: number, toPort: number) {
    this.#addresses = [...from, ...to];
    this.#ports = [fromPort, toPort];
  }

  packet(flags: number, other: Side, data: Uint8Array = new Uint8Array(0)): Buffer {
    const packet = Buffer.alloc(40 + data.length);
    packet[0] = 0x45;
    packet.writeUInt16BE(packet.length, 2);
    packet[8] = 64;
    packet[9] = 6;
    packet.set(this.#addresses, 12);
    packet.writeUInt16BE(this.#ports[0], 20);
    packet.writeUInt16BE(this.#ports[1], 22);
    packet.writeUInt32BE(this.sequence, 24);
    packet.writeUInt32BE(flags & ACK ? other.sequence : 0, 28);
    packet[32] = 5 << 4;
    packet[33] = flags;
    packet.writeUInt16BE(65535, 34);
    packet.set(data, 40);
    this.sequence += data.length + (flags & SYN ? 1 : 0);
    return packet;
  }
}
