import { type BgpdHost, type KernelRoutes, type RouteEvents, runBgpd } from '#bgp';
import { type Log, type Metrics, OperationalError, realClock } from '#core';
import { ForeignRoutes } from './foreign-routes.ts';
import { metricsPages, serve } from './http.ts';
import { createNetlink } from './kernel/netlink/index.ts';
import { LearnedKernel } from './learned-kernel.ts';

/** tsnet-bgpd with a kernel under it: the speaker's program, and the agent's ways to routes and metrics. */
const host: BgpdHost = { openKernel, serveMetrics, watchRoutes };

async function openKernel(log: Log): Promise<KernelRoutes> {
  const kernel = new LearnedKernel({ netlink: createNetlink(), clock: realClock, log });
  await kernel.start();
  return kernel;
}

async function watchRoutes(log: Log, events: RouteEvents): Promise<void> {
  await new ForeignRoutes({ netlink: createNetlink(), clock: realClock, log, ...events }).start();
}

async function serveMetrics(listen: string, metrics: Metrics): Promise<void> {
  const at = /^\[?([^\]]+)\]?:(\d{1,5})$/.exec(listen);
  if (!at) throw new OperationalError('CONFIG', `--metrics-listen ${listen}: want ADDRESS:PORT`);
  await serve('metrics', { host: at[1], port: Number(at[2]) }, metricsPages(metrics));
}

await runBgpd(process.argv.slice(2), host);
