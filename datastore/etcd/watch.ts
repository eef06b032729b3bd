import type { IResponseHeader, IWatchResponse, KVClient } from 'etcd3';
import { Backoff, type Clock, type Log, OperationalError, sleep } from '#core';
import type { WatchEvent, WatchMessage } from '../store.ts';
import type { Connection } from './connection.ts';
import { etcdError } from './errors.ts';
import { keyBytes } from './keys.ts';
import type { Identity } from './messages.ts';
import { WatchStream } from './watch-stream.ts';

export interface WatchOptions {
  readonly connection: Connection;
  readonly kv: KVClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefix: string;
  /** Events after this revision are wanted. */
  readonly from: bigint;
  /** Who the store was when the list was made that this watch continues. */
  readonly identity: Identity | null;
  readonly signal: AbortSignal;
}

/**
 * Watches a prefix through every failure of the connection. The one rule against loss: it resumes after the last event that was
 * delivered in full. What a response's header says is the store's revision, not the watch's, and during a catch-up is far ahead of it; so is
 * the answer to a progress request (watch_id -1). Only a progress notification of this watch itself may move the position.
 */
export async function* watchPrefix(options: WatchOptions): AsyncGenerator<WatchMessage> {
  const { signal, clock } = options;
  const position = new Position(options);
  const backoff = new Backoff(100, 3000);
  /** Reasons of this outage; with several endpoints they take turns. */
  const told = new Set<string>();
  while (!signal.aborted) {
    try {
      if (await position.rewound()) return yield { type: 'rewound' };
      for await (const message of attempt(options, position)) {
        if (message.type === 'connected') {
          backoff.reset();
          told.clear();
        }
        yield message;
        if (message.type === 'compacted' || message.type === 'rewound') return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const failure = judged(error, options.connection);
      if (!told.has(failure.message)) yield { type: 'disconnected', reason: failure.message };
      told.add(failure.message);
      await sleep(clock, backoff.next(), signal).catch(() => {});
    }
  }
}

/** What is worth another attempt; throws what is not. */
function judged(error: unknown, connection: Connection): OperationalError {
  const failure = etcdError(error, connection.endpoint);
  if (failure.code === 'PERMISSION') throw failure;
  if (failure.code === 'UNAUTHENTICATED') connection.forgetToken();
  return failure;
}

/** One stream: from its making until it ends, which is always an error, unless the watch cannot go on from here. */
async function* attempt(options: WatchOptions, position: Position): AsyncGenerator<WatchMessage> {
  const { connection, clock, prefix, signal } = options;
  const { stream, at } = await WatchStream.open(connection, clock, prefix, position.delivered + 1n);
  const end = () => stream.close(new OperationalError('UNAVAILABLE', 'the watch was ended'));
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    for (;;) {
      const response = await stream.next();
      if (response.canceled) {
        if (response.compact_revision !== '0') return yield { type: 'compacted' };
        throw refused(response, connection.endpoint);
      }
      if (response.created) {
        if (await position.suspicious(response.header)) return yield { type: 'rewound' };
        yield { type: 'connected' };
        continue;
      }
      const message = position.take(response);
      if (message) yield message;
    }
  } catch (error) {
    // A member may be alive and yet of no use: cut off from the others, or silent.
    connection.failover(at);
    throw error;
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

const refused = ({ cancel_reason }: IWatchResponse, endpoint: string): Error =>
  etcdError(Object.assign(new Error(cancel_reason || 'the watch was canceled'), { details: cancel_reason }), endpoint);

/** How far a watch has delivered, and on what store. */
class Position {
  delivered: bigint;
  readonly #options: WatchOptions;
  #identity: Identity | null;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.delivered = options.from;
    this.#identity = options.identity;
  }

  /**
   * Asks the cluster, not one member, which may lag behind: whether it is another cluster than before, or older than what was already seen of it, as
   * after a restore from a backup. The term of its elections starts anew then, too.
   */
  async rewound(): Promise<boolean> {
    const { kv, prefix } = this.#options;
    const { header } = await kv.range({ key: keyBytes(prefix), limit: 1, keys_only: true });
    const now: Identity = identityOf(header);
    const before = this.#identity;
    if (now.revision < this.delivered) return true;
    if (before && (now.clusterId !== before.clusterId || now.revision < before.revision || now.term < before.term))
      return true;
    this.#identity = now;
    return false;
  }

  /** Whether the member that took the watch is behind what was seen, and the cluster, too. */
  async suspicious(header: IResponseHeader): Promise<boolean> {
    const { clusterId, revision } = identityOf(header);
    if (this.#identity?.clusterId === clusterId && revision >= this.delivered) return false;
    return this.rewound();
  }

  /** Moves on by a response and gives what is to be told of it. */
  take(response: IWatchResponse): WatchMessage | null {
    const { events, header, watch_id, fragment } = response;
    if (events.length === 0) {
      if (watch_id === '-1') return null;
      this.#moveTo(BigInt(header.revision));
      return { type: 'progress', revision: this.delivered };
    }
    const told: WatchEvent[] = events.map(({ type, kv }) => ({
      key: kv.key.toString('utf8'),
      // The enumeration of the protocol is in capitals, whatever the typing says.
      value: String(type).toUpperCase() === 'DELETE' ? null : kv.value.toString('utf8'),
      revision: BigInt(kv.mod_revision),
    }));
    // A fragment may end in the middle of a revision, which then is to be sent again as a whole; those before it are complete.
    const last = told[told.length - 1].revision;
    this.#moveTo(fragment ? last - 1n : last);
    const identity = this.#identity;
    if (identity) identity.revision = BigInt(header.revision);
    return { type: 'events', events: told };
  }

  #moveTo(revision: bigint): void {
    if (revision > this.delivered) this.delivered = revision;
  }
}

export const identityOf = (header: IResponseHeader): Identity => ({
  clusterId: header.cluster_id,
  revision: BigInt(header.revision),
  term: BigInt(header.raft_term),
});
