import { type Clock, realClock } from '#core';
import type { Compare, KeyValue, Store, TxnResult, WatchMessage, Write } from './store.ts';
import { KeyTable } from './table.ts';

/** A store that ends with the process: for tests, simulations and dry runs. */
export class MemoryStore implements Store {
  readonly type = 'memory';
  /** Open to tests: compaction and restores are done here. */
  readonly table: KeyTable;

  constructor(clock: Clock = realClock) {
    this.table = new KeyTable(clock);
  }
  async get(key: string): Promise<KeyValue | null> {
    return this.table.get(key);
  }
  list(prefix: string): ReturnType<Store['list']> {
    return this.table.list(prefix);
  }
  async txn(compares: readonly Compare[], writes: readonly Write[]): Promise<TxnResult> {
    return this.table.failed(compares) ?? { ok: true, revision: this.table.write(writes) };
  }
  watch(prefix: string, fromRevision: bigint, signal: AbortSignal): AsyncIterable<WatchMessage> {
    return this.table.watch(prefix, fromRevision, signal);
  }
  async status(): Promise<{ revision: bigint }> {
    return { revision: this.table.revision };
  }
  async close(): Promise<void> {
    this.table.close();
  }
}
