import { Socket } from 'node:net';
import {
  type Addr,
  addr,
  covers,
  type Family,
  familyOf,
  hasCode,
  messageOf,
  type Prefix,
  prefixAddr,
  prefixLength,
} from '#core';
import {
  acceptSocket,
  bindSocket,
  closeSocket,
  listenSocket,
  openSocket,
  setGreatestTtl,
  setMd5,
  setNoDelay,
  setTtlSecurity,
  socketError,
  startConnect,
  watch,
} from './libc.ts';
import type { AcceptRule, ConnectionEvents, ConnectOptions, Listener, TcpConnection, Transport } from './types.ts';

/** One read; a full one of packed UPDATEs is a few milliseconds of work. */
const READ_BYTES = 1 << 16;
/** Room before a read for the rest of a message of the one before. */
export const HEADROOM = 1 << 16;
/** What may wait in the process for a peer that does not read. */
const HIGH_WATER = 1 << 18;
const BACKLOG = 1024;

/** Every socket reads into the same memory: what is read is used before the next read. */
const shared = Buffer.allocUnsafeSlow(HEADROOM + READ_BYTES);
const readBuffer = shared.subarray(HEADROOM);

class Connection implements TcpConnection {
  readonly localAddress: Addr;
  readonly localPort: number;
  readonly remoteAddress: Addr;
  readonly remotePort: number;
  readonly #socket: Socket;
  #events: ConnectionEvents | null = null;
  #paused = true;
  #closed = false;

  constructor(fd: number) {
    setNoDelay(fd);
    this.#socket = new Socket({
      fd,
      readable: true,
      writable: true,
      allowHalfOpen: false,
      writableHighWaterMark: HIGH_WATER,
      onread: { buffer: readBuffer, callback: (count: number) => this.#onRead(count) },
    } as ConstructorParameters<typeof Socket>[0]);
    this.#socket.pause();
    const { localAddress, localPort, remoteAddress, remotePort } = this.#socket;
    this.localAddress = withoutZone(localAddress);
    this.localPort = localPort ?? 0;
    this.remoteAddress = withoutZone(remoteAddress);
    this.remotePort = remotePort ?? 0;
    this.#socket.on('drain', () => this.#events?.onDrain());
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? messageOf(error)));
    this.#socket.on('end', () => this.#end('closed by the peer'));
    this.#socket.on('close', () => this.#end('closed'));
  }
  get isPaused(): boolean {
    return this.#paused;
  }
  get isBlocked(): boolean {
    return this.#socket.writableLength > 0;
  }
  open(events: ConnectionEvents): void {
    this.#events = events;
    this.resume();
  }
  write(bytes: Uint8Array): boolean {
    return this.#closed || this.#socket.write(bytes);
  }
  pause(): void {
    this.#paused = true;
  }
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.end();
    this.#socket.resume();
    this.#socket.setTimeout(1000, () => this.#socket.destroy());
  }

  /** False stops reading. */
  #onRead(count: number): boolean {
    if (this.#closed || !this.#events) return true;
    this.#events.onData(shared, HEADROOM, HEADROOM + count);
    if (this.#paused && !this.#closed) {
      this.#socket.pause();
      return false;
    }
    return true;
  }
  #end(error: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.destroy();
    this.#events?.onClose(error);
  }
}

/** The address of an end; of a connection that is gone already there is none. */
const withoutZone = (text: string | undefined): Addr => addr((text ?? '0.0.0.0').replace(/%.*$/, ''));

const keyOf = (password: string): Uint8Array => new TextEncoder().encode(password);

function prepare({ address, localAddress, password, ttlSecurity }: ConnectOptions): number {
  const family = familyOf(address);
  const fd = openSocket(family);
  try {
    if (password !== undefined) setMd5(fd, address, null, keyOf(password));
    if (ttlSecurity !== undefined) setTtlSecurity(fd, family, ttlSecurity);
    if (localAddress !== undefined && familyOf(localAddress) === family) bindSocket(fd, localAddress, 0);
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
  return fd;
}

/** The connection of a descriptor; null when the peer has reset it meanwhile. */
function opened(fd: number): Connection | null {
  try {
    return new Connection(fd);
  } catch {
    // Options cannot be set on a socket that is gone; there is nobody left to tell.
    closeSocket(fd);
    return null;
  }
}

function connect(options: ConnectOptions, done: (result: TcpConnection | string) => void): () => void {
  let fd: number;
  try {
    fd = prepare(options);
    try {
      startConnect(fd, options.address, options.port);
    } catch (error) {
      closeSocket(fd);
      throw error;
    }
  } catch (error) {
    queueMicrotask(() => done(messageOf(error)));
    return () => {};
  }
  let over = false;
  const unwatch = watch(fd, 'writable', () => {
    if (over) return;
    over = true;
    unwatch();
    const error = socketError(fd);
    if (error !== null) {
      closeSocket(fd);
      done(error);
    } else setImmediate(() => done(opened(fd) ?? 'the connection was reset at once'));
  });
  return () => {
    if (over) return;
    over = true;
    unwatch();
    closeSocket(fd);
  };
}

class TcpListener implements Listener {
  readonly port: number;
  readonly #fd: number;
  readonly #family: Family;
  readonly #unwatch: () => void;
  #keys = new Map<string, AcceptRule>();
  #rules: readonly AcceptRule[] = [];

  constructor(address: Addr, port: number, onConnection: (connection: TcpConnection) => void) {
    this.port = port;
    this.#family = familyOf(address);
    this.#fd = openSocket(this.#family);
    try {
      bindSocket(this.#fd, address, port);
      setGreatestTtl(this.#fd, this.#family);
      listenSocket(this.#fd, BACKLOG);
    } catch (error) {
      closeSocket(this.#fd);
      throw error;
    }
    this.#unwatch = watch(this.#fd, 'readable', () => this.#accept(onConnection));
  }
  setRules(rules: readonly AcceptRule[]): ReadonlyMap<string, string> {
    this.#rules = rules;
    const refused = new Map<string, string>();
    const wanted = new Map(rules.filter((r) => r.password !== undefined).map((rule) => [rule.from as string, rule]));
    for (const [from, rule] of this.#keys) if (!wanted.has(from)) this.#setKey(rule, new Uint8Array(0), refused);
    for (const rule of wanted.values())
      if (familyOf(rule.from) === this.#family) this.#setKey(rule, keyOf(rule.password ?? ''), refused);
    this.#keys = wanted;
    return refused;
  }
  close(): void {
    this.#unwatch();
    closeSocket(this.#fd);
  }

  #setKey({ from }: AcceptRule, key: Uint8Array, refused: Map<string, string>): void {
    if (familyOf(from) !== this.#family) return;
    const isNet = from.includes('/');
    try {
      setMd5(
        this.#fd,
        isNet ? prefixAddr(from as Prefix) : (from as Addr),
        isNet ? prefixLength(from as Prefix) : null,
        key,
      );
    } catch (error) {
      refused.set(from, messageOf(error));
    }
  }
  /** Without descriptors left nobody is let in; those who wait are taken when there are some again. */
  #next(): number | null {
    try {
      return acceptSocket(this.#fd);
    } catch (error) {
      if (hasCode(error, 'KERNEL')) return null;
      throw error;
    }
  }
  #accept(onConnection: (connection: TcpConnection) => void): void {
    // A bounded number a turn: the other sockets wait meanwhile.
    for (let i = 0; i < 64; i++) {
      const fd = this.#next();
      if (fd === null) return;
      const connection = opened(fd);
      if (!connection) continue;
      const rule = ruleFor(this.#rules, connection.remoteAddress);
      if (rule?.ttlSecurity !== undefined) setTtlSecurity(fd, this.#family, rule.ttlSecurity);
      onConnection(connection);
    }
  }
}

/** The rule of the address itself, else of a network that it lies in. */
export const ruleFor = (rules: readonly AcceptRule[], remote: Addr): AcceptRule | undefined =>
  rules.find(({ from }) => from === remote) ??
  rules.find(({ from }) => from.includes('/') && covers(from as Prefix, remote));

export const tcpTransport: Transport = {
  connect,
  listen: (address, port, onConnection) => new TcpListener(address, port, onConnection),
};
