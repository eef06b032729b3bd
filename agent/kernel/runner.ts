import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Log, type Milliseconds, OperationalError } from '#core';

/** One command: program and arguments as they are, never through a shell. */
export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly stdin?: string;
  /** The whole process group is killed after this time. */
  readonly timeout: Milliseconds;
  /** Bytes of stdout or stderr kept; a command that writes more is killed. */
  readonly maxOutput?: number;
}

export interface CommandResult {
  /** Exit code; null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why it was ended by us. */
  readonly ended?: 'timeout' | 'output';
  readonly pid: number;
}

/**
 * Starts commands from a small process of its own: a fork from the process that holds the routing table stops its loop for 30 ms at
 * 1 GB, through the runner for 0.015 ms. Make it first, before the heap grows.
 */
export interface Runner {
  /** Rejects with EXEC when the program cannot be started or the runner died; a command that fails is a result. */
  run(command: Command, onStart?: (pid: number) => void): Promise<CommandResult>;
  /** Whether a process id was that of a command started here, so that its kernel events are our own. */
  isOurs(pid: number): boolean;
  close(): void;
}

export type RunnerRequest = Command & { readonly id: number };
export type RunnerReply =
  | { readonly id: number; readonly started: number }
  | { readonly id: number; readonly result: CommandResult }
  | { readonly id: number; readonly error: string };

interface Waiter {
  readonly onStart: ((pid: number) => void) | undefined;
  resolve(result: CommandResult): void;
  reject(error: Error): void;
}

/** Process ids remembered after their commands ended; events of the kernel come a little later. */
const REMEMBERED = 1024;

export function createRunner(options: { readonly log: Log }): Runner {
  const waiting = new Map<number, Waiter>();
  const ours = new Set<number>();
  let child: ChildProcess | undefined;
  let next = 1;
  let closed = false;

  function remember(pid: number): void {
    ours.add(pid);
    if (ours.size > REMEMBERED) ours.delete(ours.values().next().value!);
  }

  function start(): ChildProcess {
    const source = import.meta.url.endsWith('.ts');
    const path = fileURLToPath(new URL(source ? './runner-child.ts' : './runner-child.js', import.meta.url));
    const fresh = fork(path, [], {
      execArgv: source ? ['--import', 'tsx', '--conditions', 'tsnet-source'] : [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    fresh.on('message', (reply: RunnerReply) => {
      const waiter = waiting.get(reply.id);
      if ('started' in reply) {
        remember(reply.started);
        return waiter?.onStart?.(reply.started);
      }
      waiting.delete(reply.id);
      if ('result' in reply) waiter?.resolve(reply.result);
      else waiter?.reject(new OperationalError('EXEC', reply.error));
    });
    const gone = (why: string) => {
      if (child !== fresh) return;
      child = undefined;
      if (!closed) options.log.error({ why }, 'the command runner ended; it is started again for the next command');
      for (const waiter of waiting.values())
        waiter.reject(new OperationalError('EXEC', `the command runner ended: ${why}`));
      waiting.clear();
    };
    fresh.on('error', (error) => gone(error.message));
    fresh.on('exit', (code, signal) => gone(`exit ${code ?? signal}`));
    // A command keeps the agent alive while it runs; the idle runner does not.
    fresh.unref();
    fresh.channel?.unref();
    return fresh;
  }
  child = start();

  return {
    run(command, onStart) {
      if (closed) return Promise.reject(new OperationalError('EXEC', 'the command runner is closed'));
      child ??= start();
      const id = next++;
      const to = child;
      return new Promise((resolve, reject) => {
        to.channel?.ref();
        const done = () => {
          if (waiting.size === 0) to.channel?.unref();
        };
        waiting.set(id, {
          onStart,
          resolve(result) {
            done();
            resolve(result);
          },
          reject(error) {
            done();
            reject(error);
          },
        });
        to.send({ ...command, id } satisfies RunnerRequest, (error) => {
          if (!error || !waiting.delete(id)) return;
          done();
          reject(new OperationalError('EXEC', `the command runner does not answer: ${error.message}`));
        });
      });
    },
    isOurs: (pid) => ours.has(pid),
    close() {
      closed = true;
      child?.disconnect();
    },
  };
}
