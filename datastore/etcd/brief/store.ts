import { type Clock, type Log, OperationalError } from '#core';
import type { EtcdConfig } from '../../open.ts';
import type { Compare, KeyValue, Store, TxnResult, WatchMessage, Write } from '../../store.ts';
import { keyBytes } from '../keys.ts';
import {
  type Operation,
  type RangeAnswer,
  type RangeQuery,
  rangeAnswer,
  rangeRequest,
  textOf,
  txnAnswer,
  txnRequest,
} from '../messages.ts';
import { Pages } from '../pages.ts';
import type { EtcdStore } from '../store.ts';
import { BriefChannel } from './channel.ts';

/** etcd's default limit of operations in a transaction. */
const MOST_WRITES = 128;

/**
 * The cluster's etcd for programs that ask a little and end: the same answers as `EtcdStore`, without the time that loading a client of
 * gRPC takes. What needs streams or leases is left to an `EtcdStore`, loaded when it is asked for.
 */
export class BriefEtcdStore implements Store {
  readonly type = 'etcdv3';
  readonly #config: EtcdConfig;
  readonly #context: { clock: Clock; log: Log };
  readonly #channel: BriefChannel;
  #whole: Promise<EtcdStore> | null = null;

  /** Throws CONFIG when the configuration cannot work; connects on first use. */
  constructor(config: EtcdConfig, context: { clock: Clock; log: Log }) {
    this.#config = config;
    this.#context = context;
    this.#channel = new BriefChannel(config, context.clock);
  }

  #store(): Promise<EtcdStore> {
    this.#whole ??= import('../store.ts').then((module) => new module.EtcdStore(this.#config, this.#context));
    return this.#whole;
  }

  async #range(query: RangeQuery): Promise<RangeAnswer> {
    return rangeAnswer(await this.#channel.call('KV/Range', rangeRequest(query), true));
  }

  async get(key: string): Promise<KeyValue | null> {
    return (await this.#range({ key: keyBytes(key) })).entries[0] ?? null;
  }

  list(prefix: string): ReturnType<Store['list']> {
    const pages = new Pages((request) => this.#channel.call('KV/Range', request, true), this.#context.clock, prefix);
    const revision = pages.first.then((page) => page.revision);
    // Whoever reads the pages gets the error there; nobody has to look at both.
    revision.catch(() => {});
    return Object.assign(pages.read(), { revision });
  }

  async txn(compares: readonly Compare[], writes: readonly Write[]): Promise<TxnResult> {
    if (writes.some((write) => write.op === 'put' && write.ttlSeconds))
      return (await this.#store()).txn(compares, writes);
    if (writes.length > MOST_WRITES)
      throw new OperationalError('PROTOCOL', `a transaction has ${writes.length} writes; etcd takes ${MOST_WRITES}`);
    const operations = writes.map((write): Operation => {
      const key = keyBytes(write.key);
      return write.op === 'delete' ? { delete: key } : { put: { key, value: Buffer.from(write.value, 'utf8') } };
    });
    const answer = txnAnswer(await this.#channel.call('KV/Txn', txnRequest(compares, operations), false));
    return answer.succeeded ? { ok: true, revision: answer.revision } : { ok: false, now: answer.read };
  }

  async *watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncGenerator<WatchMessage> {
    const store = await this.#store();
    yield* store.watch(prefix, fromRevision, signal);
  }

  async status(): Promise<{ revision: bigint; version?: string }> {
    const { revision } = await this.#range({ key: keyBytes('/calico/'), limit: 1, keysOnly: true });
    try {
      return { revision, version: textOf(await this.#channel.call('Maintenance/Status', Buffer.alloc(0), true)) };
    } catch {
      // The version is a courtesy, and may be asked for by privileged users only.
      return { revision };
    }
  }

  async close(): Promise<void> {
    this.#channel.close();
    await (await this.#whole)?.close();
  }
}
