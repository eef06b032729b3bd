import { type IKeyValue, type IRequestOp, KVClient, LeaseClient, MaintenanceClient } from 'etcd3';
import { type Clock, type Log, OperationalError } from '#core';
import type { EtcdConfig } from '../open.ts';
import type { Compare, KeyValue, Store, TxnResult, WatchMessage, Write } from '../store.ts';
import { Connection } from './connection.ts';
import { keyBytes } from './keys.ts';
import type { Identity } from './messages.ts';
import { Pages } from './pages.ts';
import { watchPrefix } from './watch.ts';

/** etcd's default limit of operations in a transaction. */
const MOST_WRITES = 128;

/** The cluster's etcd. */
export class EtcdStore implements Store {
  readonly type = 'etcdv3';
  readonly #connection: Connection;
  readonly #kv: KVClient;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #closing = new AbortController();
  /** Who answered the last list of each prefix: a restore between a list and its watch is noticed, too. */
  readonly #listed = new Map<string, Identity>();

  /** Throws CONFIG when the configuration cannot work; connects on first use. */
  constructor(config: EtcdConfig, context: { clock: Clock; log: Log }) {
    this.#clock = context.clock;
    this.#log = context.log;
    this.#connection = new Connection(config, context.clock, context.log);
    this.#kv = new KVClient(this.#connection);
  }

  async get(key: string): Promise<KeyValue | null> {
    const { kvs } = await this.#kv.range({ key: keyBytes(key) });
    return kvs.length > 0 ? keyValue(kvs[0]) : null;
  }

  list(prefix: string): ReturnType<Store['list']> {
    const pages = new Pages((request) => this.#connection.range(request), this.#clock, prefix);
    const revision = pages.first.then(({ clusterId, revision, term }) => {
      this.#listed.set(prefix, { clusterId, revision, term });
      return revision;
    });
    // Whoever reads the pages gets the error there; nobody has to look at both.
    revision.catch(() => {});
    return Object.assign(pages.read(), { revision });
  }

  async txn(compares: readonly Compare[], writes: readonly Write[]): Promise<TxnResult> {
    if (writes.length > MOST_WRITES)
      throw new OperationalError('PROTOCOL', `a transaction has ${writes.length} writes; etcd takes ${MOST_WRITES}`);
    const success: IRequestOp[] = [];
    for (const write of writes) success.push(await this.#operation(write));
    const answer = await this.#kv.txn({
      compare: compares.map(({ key, mod }) => ({
        key: keyBytes(key),
        target: 'Mod',
        result: 'Equal',
        mod_revision: String(mod),
      })),
      success,
      failure: compares.map(({ key }) => ({ request_range: { key: keyBytes(key) } })),
    });
    if (answer.succeeded) return { ok: true, revision: BigInt(answer.header.revision) };
    const now = answer.responses.map(({ response_range }) =>
      response_range.kvs.length > 0 ? keyValue(response_range.kvs[0]) : null,
    );
    return { ok: false, now };
  }

  async #operation(write: Write): Promise<IRequestOp> {
    const key = keyBytes(write.key);
    if (write.op === 'delete') return { request_delete_range: { key } };
    const put = { key, value: Buffer.from(write.value, 'utf8') };
    if (!write.ttlSeconds) return { request_put: put };
    // A lease of its own for every write, as Calico does it: the next write's lease takes the key over.
    const { ID } = await new LeaseClient(this.#connection).leaseGrant({ TTL: Math.ceil(write.ttlSeconds) });
    return { request_put: { ...put, lease: ID } };
  }

  watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<WatchMessage> {
    return watchPrefix({
      connection: this.#connection,
      kv: this.#kv,
      clock: this.#clock,
      log: this.#log,
      prefix,
      from: fromRevision,
      identity: copyOf(this.#listed.get(prefix)),
      signal: AbortSignal.any([signal, this.#closing.signal]),
    });
  }

  async status(): Promise<{ revision: bigint; version?: string }> {
    const { header } = await this.#kv.range({ key: keyBytes('/calico/'), limit: 1, keys_only: true });
    const revision = BigInt(header.revision);
    try {
      const { version } = await new MaintenanceClient(this.#connection).status();
      return { revision, version };
    } catch {
      // The version is a courtesy, and may be asked for by privileged users only.
      return { revision };
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new OperationalError('UNAVAILABLE', 'the datastore was closed'));
    this.#connection.close();
  }
}

const copyOf = (identity: Identity | undefined): Identity | null => (identity ? { ...identity } : null);

const keyValue = (kv: IKeyValue): KeyValue => ({
  key: kv.key.toString('utf8'),
  value: kv.value.toString('utf8'),
  modRevision: BigInt(kv.mod_revision),
});
