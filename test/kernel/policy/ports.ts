import { closeSync, openSync } from 'node:fs';
import { constants } from 'node:os';
import koffi from 'koffi';
import { type Arrival, addressBytes, readArrival } from './datagram.ts';

/** Where packets go in and come out: a cable's far end, or the host itself. Nothing here waits. */
export interface Port {
  /** Sends a whole IP packet; that rules of this host forbade it is no error. */
  send(packet: Buffer, destination: string): void;
  /** What has come since the last look. */
  arrivals(): Arrival[];
  close(): void;
}

const libc = koffi.load(null);
const C = {
  socket: libc.func('int socket(int, int, int)'),
  bind: libc.func('int bind(int, void *, uint32_t)'),
  setsockopt: libc.func('int setsockopt(int, int, int, void *, uint32_t)'),
  send: libc.func('long send(int, void *, size_t, int)'),
  sendto: libc.func('long sendto(int, void *, size_t, int, void *, uint32_t)'),
  recv: libc.func('long recv(int, void *, size_t, int)'),
  setns: libc.func('int setns(int, int)'),
  if_nametoindex: libc.func('uint32_t if_nametoindex(const char *)'),
};
const AF_INET = 2;
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_RAW_NONBLOCK = 3 | 0o4000 | 0o2000000;
const IPPROTO_RAW = 255;
const ETH_P_ALL = 3;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

const must = (result: number, what: string): number => {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
  return result;
};

function within<T>(namespace: string, work: () => T): T {
  const home = openSync('/proc/self/ns/net', 'r');
  const there = openSync(`/var/run/netns/${namespace}`, 'r');
  try {
    must(C.setns(there, 0), 'setns');
    return work();
  } finally {
    must(C.setns(home, 0), 'setns home');
    closeSync(home);
    closeSync(there);
  }
}

const buffer = Buffer.alloc(65536);
function* received(fd: number): Iterable<Buffer> {
  for (;;) {
    const count = Number(C.recv(fd, buffer, buffer.length, 0));
    if (count >= 0) yield Buffer.from(buffer.subarray(0, count));
    else if (koffi.errno() === constants.errno.EAGAIN) return;
    else if (koffi.errno() !== constants.errno.ENETDOWN) must(count, 'recv');
  }
}

function rawSocket(family: number, protocol: number): number {
  const fd = must(C.socket(family, SOCK_RAW_NONBLOCK, protocol), 'socket');
  const size = Buffer.from(Int32Array.of(8 << 20).buffer);
  must(C.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, 4), 'SO_RCVBUFFORCE');
  return fd;
}

/** The end of a veth in another namespace: what is sent comes in at the router as from a cable, what arrives has left it. */
export function cable(namespace: string, link: string, own: string, router: string): Port {
  const fd = within(namespace, () => {
    const made = rawSocket(AF_PACKET, ETH_P_ALL << 8);
    must(
      C.setsockopt(made, SOL_PACKET, PACKET_IGNORE_OUTGOING, Buffer.from([1, 0, 0, 0]), 4),
      'PACKET_IGNORE_OUTGOING',
    );
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET);
    address.writeUInt16BE(ETH_P_ALL, 2);
    address.writeUInt32LE(C.if_nametoindex(link), 4);
    must(C.bind(made, address, 20), `bind ${link}`);
    return made;
  });
  const macs = Buffer.from((router + own).replaceAll(':', ''), 'hex');
  return {
    send(packet) {
      const type = packet[0] >> 4 === 4 ? 0x0800 : 0x86dd;
      const frame = Buffer.concat([macs, Buffer.from([type >> 8, type & 255]), packet]);
      must(Number(C.send(fd, frame, frame.length, 0)), 'send');
    },
    arrivals: () => [...received(fd)].flatMap((frame) => readArrival(frame, 14) ?? []),
    close: () => closeSync(fd),
  };
}

/** This host's own stack: packets pass OUTPUT when sent, and are seen here only after they passed INPUT. */
export function ownStack(protocols: readonly number[]): Port {
  const out = { 4: rawSocket(AF_INET, IPPROTO_RAW), 6: rawSocket(AF_INET6, IPPROTO_RAW) };
  const four = protocols.map((p) => rawSocket(AF_INET, p));
  const six = protocols.map((p) => rawSocket(AF_INET6, p));
  return {
    send(packet, destination) {
      const bytes = addressBytes(destination);
      const family = bytes.length === 4 ? 4 : 6;
      const to = Buffer.alloc(family === 4 ? 16 : 28);
      to.writeUInt16LE(family === 4 ? AF_INET : AF_INET6);
      bytes.copy(to, family === 4 ? 4 : 8);
      const sent = Number(C.sendto(out[family], packet, packet.length, 0, to, to.length));
      if (sent < 0 && koffi.errno() !== constants.errno.EPERM) must(sent, `send to ${destination}`);
    },
    arrivals: () => [
      ...four.flatMap((fd) => [...received(fd)].flatMap((packet) => readArrival(packet, 0) ?? [])),
      ...six.flatMap((fd) => [...received(fd)].flatMap((payload) => readArrival(payload, undefined) ?? [])),
    ],
    close: () => {
      for (const fd of [out[4], out[6], ...four, ...six]) closeSync(fd);
    },
  };
}
