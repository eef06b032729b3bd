import { declarePeerMetrics } from '#bgp';
import { type Metrics, realClock, silentLog } from '#core';
import { declareSyncMetrics } from '#datastore';
import { declareAgentMetrics } from '../agent/agent-metrics.ts';
import { Applier } from '../agent/apply.ts';
import type { Netlink, RuleBackend, SetBackend } from '../agent/kernel/types.ts';
import { LoopLag } from '../agent/loop-lag.ts';
import { configPage, metricsPage } from '../agent/manual.ts';
import { BandwidthReconciler } from '../agent/reconcile/bandwidth.ts';
import { ChainReconciler } from '../agent/reconcile/chains.ts';
import { OverlayReconciler } from '../agent/reconcile/overlay.ts';
import { createRouteReconciler } from '../agent/reconcile/routes.ts';
import { SetReconciler } from '../agent/reconcile/sets.ts';
import { RouteTable } from '../agent/routes.ts';
import type { StatusParts } from '../agent/status.ts';

/** Every part that declares metrics, made once without a kernel or a datastore beneath it. */
function declareAll(metrics: Metrics): void {
  const context = { clock: realClock, log: silentLog, metrics, onDirty: () => {} };
  const netlink = { watch: () => () => {} } as unknown as Netlink;
  new Applier({ ...context, steps: [] });
  new ChainReconciler({ ...context, backend: {} as RuleBackend, families: [4, 6] });
  new SetReconciler({ ...context, backend: {} as SetBackend, maxElements: 1 });
  new BandwidthReconciler({ ...context, netlink });
  new OverlayReconciler({ ...context, netlink });
  createRouteReconciler({ ...context, netlink, isWorkloadLink: () => false });
  declareSyncMetrics(metrics);
  new LoopLag(metrics).stop();
  declarePeerMetrics(metrics, () => []);
  declareAgentMetrics(metrics, { version: '', bgp: {} } as unknown as StatusParts, new RouteTable());
}

/** The generated pages of docs/, by path. */
export const manualPages = (): Map<string, string> =>
  new Map([
    ['docs/CONFIG.md', configPage()],
    ['docs/METRICS.md', metricsPage(declareAll)],
  ]);
