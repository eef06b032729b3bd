import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { realClock } from '#core';
import type { CommandResult, RunnerReply, RunnerRequest } from './runner.ts';

/**
 * The process that starts commands (runner.ts). It holds nothing, so its forks are cheap; it ends when the agent does. It starts them without
 * more around it than they need: what execa does for a command takes as long as many a command of ours.
 */
const MAX_OUTPUT = 256 * 1024 * 1024;
const ENVIRONMENT = { ...process.env, LC_ALL: 'C' };

function run({ id, argv, stdin = '', timeout, maxOutput = MAX_OUTPUT }: RunnerRequest): Promise<CommandResult> {
  const [file, ...args] = argv;
  // A group of its own, so that what the command started ends with it; otherwise an orphan would hold its output open.
  const child = spawn(file, args, { detached: true, env: ENVIRONMENT, stdio: 'pipe' });
  const { pid } = child;
  if (pid !== undefined) reply({ id, started: pid });
  let ended: CommandResult['ended'];
  const end = (why: CommandResult['ended']) => {
    ended ??= why;
    endGroup(pid);
  };
  const stdout = collect(child.stdout, maxOutput, () => end('output'));
  const stderr = collect(child.stderr, maxOutput, () => end('output'));
  // A command that ends without reading all of its input says by its exit code whether that was right.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const cancel = realClock.after(timeout, () => end('timeout'));
  return new Promise<CommandResult>((resolve, reject) => {
    child.on('error', (error) => reject(new Error(`${file} cannot be started: ${error.message}`)));
    child.on('close', (code) => {
      if (pid !== undefined) resolve({ code, stdout: stdout(), stderr: stderr(), pid, ...(ended && { ended }) });
    });
  }).finally(cancel);
}

/** Keeps what comes, up to a bound; gives it as text. */
function collect(stream: ChildProcessWithoutNullStreams['stdout'], most: number, onTooMuch: () => void): () => string {
  const parts: Buffer[] = [];
  let size = 0;
  stream.on('data', (part: Buffer) => {
    if (size + part.length > most) return onTooMuch();
    size += part.length;
    parts.push(part);
  });
  return () => Buffer.concat(parts).toString('utf8');
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Ended by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function reply(message: RunnerReply): void {
  // The agent may end at any moment; `disconnect` then ends this process too.
  if (process.connected) process.send!(message);
}

process.on('message', (request: RunnerRequest) => {
  run(request).then(
    (result) => reply({ id: request.id, result }),
    (error: unknown) => reply({ id: request.id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit(0));
// Ctrl-C on a terminal reaches the whole group; the agent decides when the runner ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
