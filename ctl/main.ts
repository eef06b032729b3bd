import { messageOf, realClock } from '#core';
import type { Io } from './io.ts';
import { run } from './run.ts';

/** The process as `Io`. */
function processIo(): Io {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      stop.abort();
      // Whatever does not listen to the abort ends here.
      process.exitCode = 128 + (signal === 'SIGINT' ? 2 : 15);
      setImmediate(() => realClock.after(200, () => process.exit()));
    });
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('utf8');
    },
    env: process.env,
    cwd: process.cwd(),
    clock: realClock,
    signal: stop.signal,
  };
}

// A reader that has seen enough (`tsnetctl get ... | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`tsnetctl: standard output cannot be written: ${messageOf(error)}\n`);
  process.exit(1);
});

run(process.argv.slice(2), processIo()).then((status) => {
  process.exitCode = status;
});
