import { execa } from 'execa';
import { realClock } from '#core';
import type { CommandResult, RunnerReply, RunnerRequest } from './runner.ts';

/**
 * The process that starts commands (runner.ts). It holds nothing, so its forks are cheap; it ends when the agent does.
 */
const MAX_OUTPUT = 256 * 1024 * 1024;

async function run({ id, argv, stdin, timeout, maxOutput = MAX_OUTPUT }: RunnerRequest): Promise<CommandResult> {
  const [file, ...args] = argv;
  let ended: CommandResult['ended'];
  const child = execa(file, args, {
    input: stdin ?? '',
    reject: false,
    stripFinalNewline: false,
    maxBuffer: maxOutput,
    encoding: 'utf8',
    // A group of its own, so that what the command started ends with it; otherwise an orphan would hold its output open.
    detached: true,
    cleanup: false,
    // glibc looks whether /etc/resolv.conf has changed for every address that ipset reads.
    env: { LC_ALL: 'C', RES_OPTIONS: 'no-reload' },
  });
  if (child.pid !== undefined) reply({ id, started: child.pid });
  const cancel = realClock.after(timeout, () => {
    ended = 'timeout';
    endGroup(child.pid);
  });
  const result = await child;
  cancel();
  if (result.isMaxBuffer) {
    ended = 'output';
    endGroup(child.pid);
  }
  if (child.pid === undefined) throw new Error(`${file} cannot be started: ${result.shortMessage ?? 'unknown'}`);
  return {
    code: result.exitCode ?? null,
    stdout: result.stdout,
    stderr: result.stderr,
    pid: child.pid,
    ...(ended && { ended }),
  };
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
