import { type BestChange, type BgpdHost, type KernelRoutes, runBgpd } from '#bgp';
import { type Log, type Metrics, OperationalError, realClock } from '#core';
import { metricsPages, serve } from './http.ts';
import { createNetlink } from './kernel/netlink/index.ts';
import { type Route, routeKey } from './kernel/types.ts';
import { learnedRoute } from './learned-route.ts';
import { RouteReconciler } from './reconcile/routes.ts';

/** tsnet-bgpd with a kernel under it: the speaker's program, and the agent's ways to routes and metrics. */
const host: BgpdHost = { openKernel, serveMetrics };

/** Milliseconds that routes of an earlier run wait for the peers to confirm them. */
const INHERITED_AT_MOST = 120_000;

/** Learned routes in the kernel, as routes of protocol 80. Those of an earlier run stay until the peers have told their tables. */
async function openKernel(log: Log, metrics: Metrics): Promise<KernelRoutes> {
  const netlink = createNetlink();
  const keys = new Map<string, string>();
  let due = false;
  const routes = new RouteReconciler({
    netlink,
    clock: realClock,
    log,
    metrics,
    onDirty: () => apply(),
    isWorkloadLink: () => false,
  });
  const apply = () => {
    if (due) return;
    due = true;
    setImmediate(() => {
      due = false;
      routes.applyDeletes().then(
        () => routes.applyUpdates(),
        (error) => log.error({ error: String(error) }, 'routes cannot be written'),
      );
    });
  };
  await routes.readBack();
  const inherited = new Map<string, Route | undefined>(routes.actual);
  routes.update(inherited);
  const confirmed = new Set<string>();
  const forget = () => {
    const gone = new Map<string, undefined>();
    for (const key of inherited.keys()) if (!confirmed.has(key)) gone.set(key, undefined);
    inherited.clear();
    routes.update(gone);
    apply();
  };
  const timer = realClock.after(INHERITED_AT_MOST, forget);
  return {
    isRestart: inherited.size > 0,
    apply: (changes: readonly BestChange[]) => {
      const wanted = new Map<string, Route | undefined>();
      for (const { prefix, best } of changes) {
        const before = keys.get(prefix);
        if (before !== undefined) wanted.set(before, undefined);
        keys.delete(prefix);
        if (!best) continue;
        const route = learnedRoute(prefix, best);
        const key = routeKey(route);
        keys.set(prefix, key);
        confirmed.add(key);
        wanted.set(key, route);
      }
      routes.update(wanted);
      apply();
    },
    restartComplete: () => {
      timer();
      forget();
    },
    stop: async () => {
      timer();
      routes.close();
      netlink.close();
    },
  };
}

async function serveMetrics(listen: string, metrics: Metrics): Promise<void> {
  const at = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(listen);
  if (!at) throw new OperationalError('CONFIG', `--metrics-listen ${listen}: want ADDRESS:PORT`);
  await serve('metrics', { host: at[1], port: Number(at[2]) }, metricsPages(metrics));
}

await runBgpd(process.argv.slice(2), host);
