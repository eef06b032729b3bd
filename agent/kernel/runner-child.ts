import { execa } from 'execa';
import { realClock } from '#core';
import type { Command, CommandResult, HeldLock, RunnerReply, RunnerRequest } from './runner.ts';
import { COMMAND, endGroup } from './runner-group.ts';
import { KeptChild } from './runner-kept.ts';
import { SharedLock } from './runner-lock.ts';

/**
 * The process that starts commands (runner.ts). It holds nothing, so its forks are cheap; it ends when the agent does.
 */
const MAX_OUTPUT = 256 * 1024 * 1024;

async function run(id: number, command: Command): Promise<CommandResult> {
  if (!command.lock) return runUnlocked(id, command);
  const lock = SharedLock.at(command.lock.path);
  if (!(await lock.hold(command.lock.wait))) return { code: null, stdout: '', stderr: '', pid: 0, ended: 'lock' };
  return runUnlocked(id, command).finally(() => lock.release());
}

async function runUnlocked(id: number, command: Command): Promise<CommandResult> {
  const { argv, stdin, timeout, maxOutput = MAX_OUTPUT } = command;
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

async function keep(id: number, argv: Command['argv'], lock?: HeldLock): Promise<CommandResult> {
  const child = new KeptChild(argv, () => reply({ id, answered: true }), lock);
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
  if ('feed' in request) return void kept.get(id)?.feed(request);
  const end = 'keep' in request ? keep(id, request.keep, request.lock) : run(id, request);
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
