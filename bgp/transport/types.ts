import type { Addr, Prefix } from '#core';

/** What a TCP connection tells; `bytes` are valid during the call only. */
export interface ConnectionEvents {
  onData(bytes: Uint8Array, start: number, end: number): void;
  /** There is room for more after `write` said that there is none. */
  onDrain(): void;
  /** The connection is over; said once, and not after `close`. */
  onClose(error: string): void;
}

/** One established TCP connection. */
export interface TcpConnection {
  readonly localAddress: Addr;
  readonly localPort: number;
  readonly remoteAddress: Addr;
  readonly remotePort: number;
  /** Who listens; bytes begin to flow. */
  open(events: ConnectionEvents): void;
  /** Queues the bytes, which must not change any more; false: wait for `onDrain` before more of them. */
  write(bytes: Uint8Array): boolean;
  /** Stops reading until `resume`: the bytes wait in the kernel. */
  pause(): void;
  resume(): void;
  readonly isPaused: boolean;
  /** Something written still waits for the peer to take it. */
  readonly isBlocked: boolean;
  /** Sends what is queued, then closes; what the peer does not take within a moment is dropped. */
  close(): void;
}

export interface ConnectOptions {
  readonly address: Addr;
  readonly port: number;
  readonly localAddress?: Addr;
  readonly password?: string;
  readonly ttlSecurity?: number;
}

/** A password or TTL limit that belongs to connections from an address or network. */
export interface AcceptRule {
  readonly from: Addr | Prefix;
  readonly password?: string;
  readonly ttlSecurity?: number;
}

/** The one way to BGP's sockets; tests have one without a kernel. */
export interface Transport {
  /** @returns how to give up. */
  connect(options: ConnectOptions, done: (result: TcpConnection | string) => void): () => void;
  /** @throws OperationalError KERNEL */
  listen(address: Addr, port: number, onConnection: (connection: TcpConnection) => void): Listener;
}
export interface Listener {
  readonly port: number;
  /** Sets the keys for those addresses; keys of others are removed. Returns the rules that the kernel refused, with the reason. */
  setRules(rules: readonly AcceptRule[]): ReadonlyMap<string, string>;
  close(): void;
}
