import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { IWatchResponse } from 'etcd3';
import { type Cancel, type Clock, type Milliseconds, OperationalError } from '#core';
import type { Connection } from './connection.ts';
import { etcdError } from './errors.ts';
import { keyBytes, prefixEnd } from './keys.ts';

/** After this silence the server is asked whether it is still there. */
const QUIET: Milliseconds = 5000;
/** How long it may take to answer that. */
const PATIENCE: Milliseconds = 3000;

type Raw = ClientDuplexStream<unknown, IWatchResponse>;

/**
 * One watch on one connection, from its making to its end. Answers are pulled, so that a consumer that is busy slows the server down and memory stays
 * bounded. Silence of the server is noticed within eight seconds, but only while somebody waits for an answer.
 */
export class WatchStream {
  readonly #clock: Clock;
  readonly #raw: Raw;
  readonly #answers: AsyncIterator<IWatchResponse>;
  readonly #endpoint: string;
  /** Why the stream was ended from this side. */
  #reason: OperationalError | null = null;

  private constructor(raw: Raw, clock: Clock, endpoint: string) {
    this.#raw = raw;
    this.#clock = clock;
    this.#endpoint = endpoint;
    // Errors are taken by whoever pulls; one that comes when nobody does must not end the process.
    raw.on('error', () => {});
    this.#answers = raw[Symbol.asyncIterator]() as AsyncIterator<IWatchResponse>;
  }

  /** Asks for all events of keys under the prefix from `start` on. */
  static async open(
    connection: Connection,
    clock: Clock,
    prefix: string,
    start: bigint,
  ): Promise<{ stream: WatchStream; at: number }> {
    const { client, at, metadata } = await connection.open('Watch');
    // A member that has lost its quorum would otherwise stay connected and silent.
    metadata.set('hasleader', 'true');
    const raw = (client as unknown as { watch(metadata: unknown): Raw }).watch(metadata);
    const stream = new WatchStream(raw, clock, connection.endpoint);
    stream.#raw.write({
      create_request: {
        key: keyBytes(prefix),
        range_end: prefixEnd(prefix),
        start_revision: String(start),
        progress_notify: true,
        fragment: true,
      },
    });
    return { stream, at };
  }

  /** The next answer; rejects with an OperationalError when the stream ends or the server is silent. */
  async next(): Promise<IWatchResponse> {
    let cancel: Cancel = this.#clock.after(QUIET, () => {
      this.#raw.write({ progress_request: {} });
      cancel = this.#clock.after(PATIENCE, () => this.#silent());
    });
    try {
      const { value, done } = await this.#answers.next();
      if (!done) return value;
      throw this.#reason ?? new OperationalError('UNAVAILABLE', `etcd at ${this.#endpoint} ended the watch`);
    } catch (error) {
      throw this.#reason ?? etcdError(error, this.#endpoint);
    } finally {
      cancel();
    }
  }

  #silent(): void {
    const seconds = (QUIET + PATIENCE) / 1000;
    this.close(new OperationalError('TIMEOUT', `etcd at ${this.#endpoint} did not answer for ${seconds} s`));
  }

  /** Ends the stream; a pending `next` rejects with the reason. */
  close(reason: OperationalError): void {
    this.#reason ??= reason;
    this.#raw.cancel();
  }
}
