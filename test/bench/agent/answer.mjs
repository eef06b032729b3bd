import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';

/**
 * Loaded into a measured agent by `--expose-gc --import`: SIGUSR2 leaves in its run directory how late its loop ran since the last one (milliseconds; the
 * metric begins anew with every scrape, so it cannot say it of a minute in which the agent is looked at), and what the process holds, in megabytes. With
 * COLLECT all garbage is collected before: what is in use then says whether something leaks; the resident size also counts garbage that nobody had a
 * reason to collect yet.
 */
const RESOLUTION = 10;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION });
delay.enable();

process.on('SIGUSR2', () => {
  const late = (percentile) => Math.max(0, Math.round(delay.percentile(percentile) / 1e5 - RESOLUTION * 10) / 10);
  const lag = { p50: late(50), p99: late(99), max: late(100) };
  if (process.env.COLLECT !== undefined) {
    globalThis.gc();
    globalThis.gc();
  }
  const entries = Object.entries(process.memoryUsage()).map(([kind, bytes]) => [
    kind,
    Math.round(bytes / 104_857.6) / 10,
  ]);
  const file = `${process.env.TSNET_RUN_DIR}/answer.json`;
  writeFileSync(`${file}.new`, JSON.stringify({ lag, memory: Object.fromEntries(entries) }));
  renameSync(`${file}.new`, file);
  delay.reset();
});
