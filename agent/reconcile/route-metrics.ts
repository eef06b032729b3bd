import type { Metrics } from '#core';

/** What the route reconciler counts. @param counts asked at each scrape: routes by state */
export function declareRouteMetrics(metrics: Metrics, counts: () => Record<string, number>) {
  metrics.gauge('tsnet_routes', 'Routes of protocol 80, by state', ['state'], (gauge) => {
    for (const [state, count] of Object.entries(counts())) gauge.set({ state }, count);
  });
  return {
    writes: metrics.counter('tsnet_route_writes_total', 'Route changes sent to the kernel', ['op']),
    failures: metrics.counter('tsnet_route_failures_total', 'Route changes that the kernel refused'),
    repairs: metrics.counter('tsnet_route_repairs_total', 'Routes of ours that somebody else changed'),
    readBacks: metrics.counter('tsnet_route_readbacks_total', 'Times that all routes were read from the kernel'),
    overruns: metrics.counter('tsnet_netlink_overruns_total', 'Times that route events were lost'),
    flows: metrics.counter('tsnet_flows_removed_total', 'Tracked flows removed because their address went or moved'),
  };
}
