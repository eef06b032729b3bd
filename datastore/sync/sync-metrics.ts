import type { Counter, Metrics } from '#core';

export interface SyncMetrics {
  readonly snapshots: Counter;
  readonly disconnects: Counter;
}

/** What following the datastore counts. */
export const declareSyncMetrics = (metrics: Metrics): SyncMetrics => ({
  snapshots: metrics.counter(
    'tsnet_datastore_snapshots_total',
    'Snapshots read to their end: one a watched prefix at start, more after compactions, restores and failures',
  ),
  disconnects: metrics.counter(
    'tsnet_datastore_disconnects_total',
    'Times that a watched prefix could not be followed any more: a lost connection, or a failed snapshot',
  ),
});
