import { execa } from 'execa';
import { realClock } from '#core';
import type { Command, CommandResult, RunnerReply, RunnerRequest } from './runner.ts';
import { COMMAND, endGroup } from './runner-group.ts';
import { KeptChild } from './runner-kept.ts';

/**
 * The process that starts commands (runner.ts). It holds nothing, so its forks are cheap; it ends when the agent does.
 */
const MAX_OUTPUT = 256 * 1024 * 1024;

async function run(id: number, { argv, stdin, timeout, maxOutput = MAX_OUTPUT }: Command): Promise<CommandResult> {
  const [file, ...args] = argv;
  let ended: CommandResult['ended'];
  const child = execa(file, args, { ...COMMAND, input: stdin ?? '', maxBuffer: maxOutput });
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

const kept = new Map<number, KeptChild>();

function keep(id: number, argv: Command['argv']): Promise<CommandResult> {
  const child = new KeptChild(argv, () => reply({ id, answered: true }));
  kept.set(id, child);
  if (child.pid !== undefined) reply({ id, started: child.pid });
  return child.end.finally(() => kept.delete(id));
}

function reply(message: RunnerReply): void {
  // The agent may end at any moment; `disconnect` then ends this process too.
  if (process.connected) process.send!(message);
}

process.on('message', (request: RunnerRequest) => {
  const { id } = request;
  // One that has ended says so by its own result.
  if ('feed' in request) return kept.get(id)?.feed(request);
  const end = 'keep' in request ? keep(id, request.keep) : run(id, request);
  end.then(
    (result) => reply({ id, result }),
    (error: unknown) => reply({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
// Their input ends with this process, and so do kept programs.
process.on('disconnect', () => process.exit(0));
// Ctrl-C on a terminal reaches the whole group; the agent decides when the runner ends.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});
