import { createRequire } from 'node:module';
import { constants } from 'node:os';
import type koffi from 'koffi';
import { OperationalError } from '#core';

/**
 * The C functions behind sockets to the kernel and locks, and nothing more: buffers in, integers out, no pointer kept. `load(null)` takes the symbols of
 * the process itself, so glibc and musl both serve. errno is read at once, before anything can overwrite it.
 */
function load() {
  const ffi: typeof koffi = createRequire(import.meta.url)('koffi');
  const libc = ffi.load(null);
  return {
    ffi,
    socket: libc.func('int socket(int, int, int)'),
    bind: libc.func('int bind(int, void *, uint32_t)'),
    getsockname: libc.func('int getsockname(int, void *, void *)'),
    setsockopt: libc.func('int setsockopt(int, int, int, void *, uint32_t)'),
    getsockopt: libc.func('int getsockopt(int, int, int, void *, void *)'),
    send: libc.func('int send(int, void *, size_t, int)'),
    recv: libc.func('int recv(int, void *, size_t, int)'),
    close: libc.func('int close(int)'),
    flock: libc.func('int flock(int, int)'),
    if_nametoindex: libc.func('uint32_t if_nametoindex(const char *)'),
    if_indextoname: libc.func('void *if_indextoname(uint32_t, void *)'),
  };
}
let loaded: ReturnType<typeof load> | undefined;
/** Loaded at the first socket: programs that only answer start without it. */
function native(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
export const SOL_NETLINK = 270;
/** setsockopt names at SOL_NETLINK (linux/netlink.h). */
export const NETLINK = { ADD_MEMBERSHIP: 1, CAP_ACK: 10, EXT_ACK: 11, GET_STRICT_CHK: 12 } as const;
/** Large enough that a burst of 100 000 events is read before it overflows. The kernel doubles what is asked for. */
const RECEIVE_BUFFER = 8 << 20;
/** The largest single send (request.ts), and what the kernel counts beside its bytes. */
const SEND_BUFFER = 1 << 20;

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));
/** `ENODEV` for 19; the number itself where Node knows no name. */
export const errnoName = (errno: number): string => ERRNO_NAMES.get(errno) ?? `errno ${errno}`;

function failed(call: string): OperationalError {
  const name = errnoName(native().ffi.errno());
  const remedy = name === 'EPERM' ? '; CAP_NET_ADMIN is missing: be root, or have it granted' : '';
  return new OperationalError('KERNEL', `${call}: ${name}${remedy}`);
}

/** What a receive gave: bytes, nothing yet, or the news that the kernel had to drop messages. */
export type Received = number | 'empty' | 'overrun';

/** One non-blocking netlink socket. `send` is synchronous: when it returns, the kernel has done the work and queued the answers. */
export class NetlinkSocket {
  readonly fd: number;
  /** Our port id: events that our own requests caused carry it. */
  readonly port: number;
  #open = true;

  /** @param protocol NETLINK_ROUTE 0 or NETLINK_NETFILTER 12. @throws OperationalError KERNEL */
  constructor(protocol: 0 | 12) {
    this.fd = native().socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (this.fd < 0) throw failed('netlink socket');
    const address = Buffer.alloc(12);
    address.set(Buffer.from(Uint16Array.of(AF_NETLINK).buffer));
    if (native().bind(this.fd, address, 12) < 0) throw failed('netlink bind');
    const length = Buffer.from(Uint32Array.of(12).buffer);
    if (native().getsockname(this.fd, address, length) < 0) throw failed('netlink getsockname');
    this.port = new Uint32Array(Uint8Array.from(address.subarray(4, 8)).buffer)[0];
    this.option(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER);
    this.option(SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER);
  }
  /** The kernel takes no single send that is longer than this. */
  allowSend(bytes: number): void {
    this.option(SOL_SOCKET, SO_SNDBUFFORCE, bytes);
  }
  option(level: number, name: number, value: number | Uint8Array): void {
    const bytes = typeof value === 'number' ? Buffer.from(Int32Array.of(value).buffer) : value;
    if (native().setsockopt(this.fd, level, name, bytes, bytes.length) < 0)
      throw failed(`netlink option ${level}/${name}`);
  }
  /** Attaches a classic BPF program, which decides in the kernel what reaches this socket. */
  filter(program: readonly { code: number; jt: number; jf: number; k: number }[]): void {
    const steps = Buffer.alloc(program.length * 8);
    program.forEach(({ code, jt, jf, k }, i) => {
      steps.set(Buffer.from(Uint16Array.of(code).buffer), i * 8);
      steps.set([jt, jf], i * 8 + 2);
      steps.set(Buffer.from(Uint32Array.of(k).buffer), i * 8 + 4);
    });
    // struct sock_fprog: a count, padding, and a pointer that the kernel reads during the call.
    const fprog = Buffer.alloc(16);
    fprog.set(Buffer.from(Uint16Array.of(program.length).buffer));
    fprog.set(Buffer.from(BigUint64Array.of(native().ffi.address(steps)).buffer), 8);
    this.option(SOL_SOCKET, SO_ATTACH_FILTER, fprog);
  }
  /** 0, or the errno of a send that the kernel refused whole. */
  send(bytes: Uint8Array, length: number): number {
    this.#check();
    return native().send(this.fd, bytes, length, 0) < 0 ? native().ffi.errno() : 0;
  }
  /** The same in a worker thread, for batches that may hold the kernel's lock for long. The buffer stays untouched until then. */
  sendAsync(bytes: Uint8Array, length: number): Promise<number> {
    this.#check();
    return new Promise((resolve, reject) => {
      native().send.async(this.fd, bytes, length, 0, (error: unknown, sent: number) => {
        if (error) reject(error);
        // errno belongs to the worker thread; a refused send has no answer either, which the reader of answers notices.
        else resolve(sent < 0 ? constants.errno.EIO : 0);
      });
    });
  }
  receive(into: Uint8Array): Received {
    this.#check();
    const count: number = native().recv(this.fd, into, into.length, 0);
    if (count >= 0) return count;
    const errno = native().ffi.errno();
    if (errno === constants.errno.EAGAIN || errno === constants.errno.EINTR) return 'empty';
    if (errno === constants.errno.ENOBUFS) return 'overrun';
    throw new OperationalError('KERNEL', `netlink receive: ${errnoName(errno)}`);
  }
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    native().close(this.fd);
  }
  #check(): void {
    if (!this.#open) throw new OperationalError('UNAVAILABLE', 'netlink is closed');
  }
}

/** A socket of the Internet that sends nothing: the kernel tells things by its options. */
export class OptionSocket {
  readonly #fd: number;

  /** @param domain AF_INET or AF_INET6. @throws OperationalError KERNEL */
  constructor(domain: number) {
    this.#fd = native().socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw failed('socket');
  }
  /** Asks in a worker thread; the buffer stays untouched until then. Resolves with whether the kernel has filled it. */
  read(level: number, name: number, into: Uint8Array): Promise<boolean> {
    const length = Buffer.from(Uint32Array.of(into.length).buffer);
    return new Promise((resolve, reject) => {
      native().getsockopt.async(this.#fd, level, name, into, length, (error: unknown, result: number) => {
        if (error) reject(error);
        // errno belongs to the worker thread.
        else resolve(result === 0);
      });
    });
  }
  /** Not before every read has resolved. */
  close(): void {
    native().close(this.#fd);
  }
}

const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/** flock(2) without a wait: false, if another open file holds it. @throws OperationalError KERNEL */
export function tryLock(fd: number): boolean {
  if (native().flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = native().ffi.errno();
  if (errno === constants.errno.EAGAIN || errno === constants.errno.EINTR) return false;
  throw failed('flock');
}
/** Lets go, also for processes that have inherited the open file. */
export function unlock(fd: number): void {
  if (native().flock(fd, LOCK_UN) !== 0) throw failed('flock');
}

/** Calls back whenever the socket has something to read; also after an overrun, where libuv stops the handle (it is started again). */
export function watchReadable(fd: number, ready: () => void): () => void {
  const handle = native().ffi.node.poll(fd, { readable: true }, onEvent);
  function onEvent(event: unknown): void {
    // A number instead of an event: the socket had an error pending (ENOBUFS), and libuv has stopped watching.
    if (typeof event === 'number') handle.start({ readable: true }, onEvent);
    ready();
  }
  return () => handle.close();
}

/** The index of the interface now; 0: there is none. Asked at each write, because a name may have moved to a new interface. */
export const indexOfLink = (name: string): number => native().if_nametoindex(name);

const nameBuffer = Buffer.alloc(16);
/** The interface's name now; empty: it is gone. */
export function nameOfLink(index: number): string {
  if (index === 0 || native().if_indextoname(index, nameBuffer) === null) return '';
  return nameBuffer.toString('utf8', 0, nameBuffer.indexOf(0));
}
