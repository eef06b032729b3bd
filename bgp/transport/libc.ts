import { constants } from 'node:os';
import koffi from 'koffi';
import { type Addr, addrBytes, type Family, familyOf, OperationalError } from '#core';
import { MD5_KEY_MAX } from './md5.ts';

/**
 * Sockets as C has them, because Node.js gives no way to set TCP-MD5, TTLs or the source address before connecting. Buffers in, integers
 * out, no pointer kept; errno is read at once.
 */
const libc = koffi.load(null);
const c = {
  socket: libc.func('int socket(int, int, int)'),
  bind: libc.func('int bind(int, void *, uint32_t)'),
  listen: libc.func('int listen(int, int)'),
  accept4: libc.func('int accept4(int, void *, void *, int)'),
  connect: libc.func('int connect(int, void *, uint32_t)'),
  setsockopt: libc.func('int setsockopt(int, int, int, void *, uint32_t)'),
  getsockopt: libc.func('int getsockopt(int, int, int, void *, void *)'),
  close: libc.func('int close(int)'),
};

const AF = { 4: 2, 6: 10 } as const;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_ATTACH_FILTER = 26;
const IPPROTO = { ip: 0, tcp: 6, ipv6: 41 } as const;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_MINHOPCOUNT = 73;
const TCP_NODELAY = 1;
const TCP_MD5SIG = 14;
const TCP_MD5SIG_EXT = 32;
const MD5SIG_FLAG_PREFIX = 1;

const ERRNO = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
const errnoName = (number: number): string => ERRNO.get(number) ?? `errno ${number}`;
const failed = (call: string, errno = koffi.errno()): OperationalError =>
  new OperationalError('KERNEL', `${call}: ${errnoName(errno)}`);

/** struct sockaddr_in or sockaddr_in6. */
function sockaddr(address: Addr, port: number, size = 28): Buffer {
  const six = familyOf(address) === 6;
  const out = Buffer.alloc(six ? Math.max(28, size) : Math.max(16, size));
  out.set(new Uint8Array(Uint16Array.of(AF[six ? 6 : 4]).buffer));
  out.writeUInt16BE(port, 2);
  out.set(addrBytes(address), six ? 8 : 4);
  return out;
}
const sockaddrLength = (address: Addr): number => (familyOf(address) === 6 ? 28 : 16);

/** @throws OperationalError KERNEL */
export function openSocket(family: Family): number {
  const fd: number = c.socket(AF[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed('socket');
  if (family === 6) setNumber(fd, IPPROTO.ipv6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY');
  setNumber(fd, SOL_SOCKET, SO_REUSEADDR, 1, 'SO_REUSEADDR');
  return fd;
}
export const closeSocket = (fd: number): void => void c.close(fd);

/** @throws OperationalError KERNEL */
export function bindSocket(fd: number, address: Addr, port: number): void {
  if (c.bind(fd, sockaddr(address, port), sockaddrLength(address)) < 0) throw failed(`bind ${address} port ${port}`);
}
export function listenSocket(fd: number, backlog: number): void {
  if (c.listen(fd, backlog) < 0) throw failed('listen');
}
/**
 * A bound UDP descriptor that sends with TTL 255; with `minTtl` the kernel drops what arrives with less.
 * @throws OperationalError KERNEL
 */
export function openUdp(address: Addr, port: number, minTtl: number): number {
  const family = familyOf(address);
  const fd: number = c.socket(AF[family], SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed('socket');
  try {
    if (family === 6) setNumber(fd, IPPROTO.ipv6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY');
    if (family === 4) setNumber(fd, IPPROTO.ip, IP_TTL, 255, 'IP_TTL');
    else setNumber(fd, IPPROTO.ipv6, IPV6_UNICAST_HOPS, 255, 'IPV6_UNICAST_HOPS');
    if (minTtl > 0) attachTtlFilter(fd, family, minTtl);
    bindSocket(fd, address, port);
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  return fd;
}

/** A classic BPF program: load the TTL (offset 8 of IPv4, 7 of IPv6) from the network header; keep the packet if it is at least that. */
function attachTtlFilter(fd: number, family: Family, least: number): void {
  const SKF_NET_OFF = 0xfff00000;
  const steps: [number, number, number, number][] = [
    [0x30, 0, 0, (SKF_NET_OFF + (family === 4 ? 8 : 7)) >>> 0], // ldb
    [0x35, 0, 1, least], // jge
    [0x06, 0, 0, 0xffff], // ret all
    [0x06, 0, 0, 0], // ret nothing
  ];
  const program = Buffer.alloc(steps.length * 8);
  steps.forEach(([code, jt, jf, k], i) => {
    program.set(new Uint8Array(Uint16Array.of(code).buffer), i * 8);
    program.set([jt, jf], i * 8 + 2);
    program.set(new Uint8Array(Uint32Array.of(k).buffer), i * 8 + 4);
  });
  // struct sock_fprog: a count, padding, and a pointer that the kernel reads during the call.
  const fprog = Buffer.alloc(16);
  fprog.set(new Uint8Array(Uint16Array.of(steps.length).buffer));
  fprog.set(new Uint8Array(BigUint64Array.of(koffi.address(program)).buffer), 8);
  if (c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, fprog, fprog.length) < 0) throw failed('SO_ATTACH_FILTER');
}

/** A new connection's descriptor, or null when none waits. */
export function acceptSocket(fd: number): number | null {
  for (;;) {
    const accepted: number = c.accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) return accepted;
    const errno = koffi.errno();
    if (errno === constants.errno.EAGAIN) return null;
    // What happened to a connection that was still waiting is no fault of the listener.
    if (errno !== constants.errno.EINTR && errno !== constants.errno.ECONNABORTED) throw failed('accept', errno);
  }
}
/** Starts to connect; the outcome is `socketError` once the descriptor is writable. */
export function startConnect(fd: number, address: Addr, port: number): void {
  if (c.connect(fd, sockaddr(address, port), sockaddrLength(address)) >= 0) return;
  const errno = koffi.errno();
  if (errno !== constants.errno.EINPROGRESS) throw failed('connect', errno);
}
/** Null: connected. */
export function socketError(fd: number): string | null {
  const value = Buffer.alloc(4);
  const length = Buffer.from(Uint32Array.of(4).buffer);
  if (c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length) < 0) return errnoName(koffi.errno());
  const errno = new Int32Array(Uint8Array.from(value).buffer)[0];
  return errno === 0 ? null : errnoName(errno);
}

/** RFC 5082: we send with the greatest TTL, and packets that have come further than `hops` are dropped by the kernel. */
export function setTtlSecurity(fd: number, family: Family, hops: number): void {
  if (family === 4) {
    setNumber(fd, IPPROTO.ip, IP_TTL, 255, 'IP_TTL');
    setNumber(fd, IPPROTO.ip, IP_MINTTL, 256 - hops, 'IP_MINTTL');
  } else {
    setNumber(fd, IPPROTO.ipv6, IPV6_UNICAST_HOPS, 255, 'IPV6_UNICAST_HOPS');
    setNumber(fd, IPPROTO.ipv6, IPV6_MINHOPCOUNT, 256 - hops, 'IPV6_MINHOPCOUNT');
  }
}
/** For a listening socket: its half of the handshake goes out with the greatest TTL, or a peer with GTSM drops it. */
export function setGreatestTtl(fd: number, family: Family): void {
  if (family === 4) setNumber(fd, IPPROTO.ip, IP_TTL, 255, 'IP_TTL');
  else setNumber(fd, IPPROTO.ipv6, IPV6_UNICAST_HOPS, 255, 'IPV6_UNICAST_HOPS');
}
export const setNoDelay = (fd: number): void => setNumber(fd, IPPROTO.tcp, TCP_NODELAY, 1, 'TCP_NODELAY');

/**
 * TCP-MD5 (RFC 2385) between this socket and the address, or with `length` every address of that network; an empty key removes it.
 * @throws OperationalError KERNEL
 */
export function setMd5(fd: number, address: Addr, length: number | null, key: Uint8Array): void {
  // struct tcp_md5sig: sockaddr_storage, flags, prefix length, key length, ifindex, key.
  const value = Buffer.alloc(216);
  value.set(sockaddr(address, 0));
  if (length !== null) {
    value[128] = MD5SIG_FLAG_PREFIX;
    value[129] = length;
  }
  value.set(new Uint8Array(Uint16Array.of(key.length).buffer), 130);
  value.set(key.subarray(0, MD5_KEY_MAX), 136);
  const name = length === null ? TCP_MD5SIG : TCP_MD5SIG_EXT;
  if (c.setsockopt(fd, IPPROTO.tcp, name, value, value.length) < 0) {
    const errno = koffi.errno();
    // Removing a key that is not there.
    if (key.length === 0 && errno === constants.errno.ENOENT) return;
    throw failed('TCP_MD5SIG', errno);
  }
}

function setNumber(fd: number, level: number, name: number, value: number, label: string): void {
  const bytes = Buffer.from(Int32Array.of(value).buffer);
  if (c.setsockopt(fd, level, name, bytes, 4) < 0) throw failed(label);
}

/** Calls back when the descriptor can be read (or written). Returns how to end that. */
export function watch(fd: number, what: 'readable' | 'writable', ready: () => void): () => void {
  const options = what === 'readable' ? { readable: true } : { writable: true };
  const handle = koffi.node.poll(fd, options, () => ready());
  return () => handle.close();
}
