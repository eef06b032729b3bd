import type { Metrics } from '#core';
import type { RouteTable } from './routes.ts';
import { endpointStates, type StatusParts } from './status.ts';

/** What the agent as a whole counts; its parts declare their own. */
export function declareAgentMetrics(metrics: Metrics, parts: StatusParts, table: RouteTable): void {
  metrics.gauge(
    'tsnet_routes_offered',
    'Prefixes for which a route is offered, by kind of route',
    ['kind'],
    (gauge) => {
      for (const [kind, count] of table.counts) gauge.set({ kind }, count);
    },
  );
  metrics.gauge('tsnet_build_info', 'Always 1; the version is a label', ['version']).set({ version: parts.version }, 1);
  metrics.gauge('tsnet_ready', '1 when the agent is ready', [], (gauge) =>
    gauge.set(parts.health.notReadyReasons.length === 0 ? 1 : 0),
  );
  metrics.gauge('tsnet_endpoints', 'Local workload endpoints, by state', ['state'], (gauge) => {
    const counts: Record<string, number> = { programmed: 0, pending: 0, down: 0, failed: 0 };
    for (const { state } of endpointStates(parts).values()) counts[state]++;
    for (const [state, count] of Object.entries(counts)) gauge.set({ state }, count);
  });
  metrics.gauge('tsnet_policies_active', 'Policies that match a local endpoint', [], (gauge) =>
    gauge.set(parts.policies()),
  );
  metrics.gauge('tsnet_datastore_in_sync', '1 while the datastore is followed without a gap', [], (gauge) =>
    gauge.set(parts.pipeline.status === 'in-sync' ? 1 : 0),
  );
  metrics.gauge('tsnet_invalid_objects', 'Objects in the datastore that are treated as absent', [], (gauge) =>
    gauge.set(parts.pipeline.invalid.filter(({ used }) => !used).length),
  );
  metrics.gauge('tsnet_update_queue_length', 'Updates that wait to be taken in', [], (gauge) =>
    gauge.set(parts.pipeline.queued),
  );
  if (!parts.bgp) return;
  const { bgp } = parts;
  metrics.gauge('tsnet_bgp_problems', 'Settings of BGP resources that cannot be honoured', [], (gauge) =>
    gauge.set(bgp.problems.length),
  );
}
