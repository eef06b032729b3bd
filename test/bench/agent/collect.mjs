import { renameSync, writeFileSync } from 'node:fs';

/**
 * Loaded into a measured agent by `--expose-gc --import`: SIGUSR2 collects all garbage and leaves what the process then holds, in megabytes, in its run
 * directory. What is in use says whether something leaks; the resident size also counts garbage that nobody had a reason to collect yet.
 */
process.on('SIGUSR2', () => {
  globalThis.gc();
  globalThis.gc();
  const entries = Object.entries(process.memoryUsage()).map(([kind, bytes]) => [
    kind,
    Math.round(bytes / 104_857.6) / 10,
  ]);
  const file = `${process.env.TSNET_RUN_DIR}/memory.json`;
  writeFileSync(`${file}.new`, JSON.stringify(Object.fromEntries(entries)));
  renameSync(`${file}.new`, file);
});
