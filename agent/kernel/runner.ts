import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Log, type Milliseconds, OperationalError } from '#core';
import { type Kept, KeptProgram } from './kept.ts';

/** One command: program and arguments as they are, never through a shell. */
export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly stdin?: string;
  /** The whole process group is killed after this time. */
  readonly timeout: Milliseconds;
  /** Bytes of stdout or stderr kept; a command that writes more is killed. */
  readonly maxOutput?: number;
  /** A lock that is held while it runs. */
  readonly lock?: HeldLock;
}

/** A lock file that is held by the runner for its programs. */
export interface HeldLock {
  readonly path: string;
  /** For strangers who hold it. */
  readonly wait: Milliseconds;
}

export interface CommandResult {
  /** Exit code; null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Why it was ended by us. */
  readonly ended?: 'timeout' | 'output' | 'lock';
  readonly pid: number;
}

/**
 * Starts commands from a small process of its own: a fork from the process that holds the routing table stops its loop for 30 ms at
 * 1 GB, through the runner for 0.015 ms. Make it first, before the heap grows.
 */
export interface Runner {
  /** Rejects with EXEC when the program cannot be started or the runner died; a command that fails is a result. */
  run(command: Command): Promise<CommandResult>;
  /**
   * Starts a program that stays until it ends by itself, is killed for a bound, or the runner is closed.
   * @param lock that it has while it works off an input
   */
  keep(argv: Command['argv'], lock?: HeldLock): Kept;
  /** Whether a process id was that of a command started here, so that its kernel events are our own. */
  isOurs(pid: number): boolean;
  close(): void;
}

/** More input for a kept program, and what it writes when it has worked it off. */
export interface KeptRequest {
  readonly feed: string;
  readonly until: string;
  readonly timeout: Milliseconds;
  /** Whether it is an input for which the program needs its lock. */
  readonly needsLock: boolean;
}
export type RunnerRequest = (Command | { readonly keep: Command['argv']; readonly lock?: HeldLock } | KeptRequest) & {
  readonly id: number;
};
export type RunnerReply =
  | { readonly id: number; readonly started: number }
  | { readonly id: number; readonly answered: true }
  | { readonly id: number; readonly result: CommandResult }
  | { readonly id: number; readonly error: string };

interface Waiter {
  onStart?(pid: number): void;
  /** A kept program has written what was waited for. */
  answered?(): void;
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
  /** Commands that run, and feeds that are not answered. */
  let busy = 0;

  function remember(pid: number): void {
    ours.delete(pid);
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
      if ('answered' in reply) return waiter?.answered?.();
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
    // The idle runner does not keep the agent alive.
    fresh.unref();
    fresh.channel?.unref();
    return fresh;
  }
  child = start();

  /** What is begun keeps the agent alive while it runs. */
  function begin({ channel }: ChildProcess): () => void {
    if (busy++ === 0) channel?.ref();
    return () => {
      if (--busy === 0) channel?.unref();
    };
  }
  function send(to: ChildProcess, request: RunnerRequest): void {
    to.send(request, (error) => {
      const waiter = waiting.get(request.id);
      if (!error || !waiter) return;
      waiting.delete(request.id);
      waiter.reject(new OperationalError('EXEC', `the command runner does not answer: ${error.message}`));
    });
  }

  return {
    run(command) {
      if (closed) return Promise.reject(new OperationalError('EXEC', 'the command runner is closed'));
      child ??= start();
      const id = next++;
      const to = child;
      const done = begin(to);
      return new Promise<CommandResult>((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        send(to, { ...command, id });
      }).finally(done);
    },
    keep(argv, lock) {
      if (closed) {
        const gone = new KeptProgram(() => {});
        gone.reject(new OperationalError('EXEC', 'the command runner is closed'));
        return gone;
      }
      child ??= start();
      const id = next++;
      const to = child;
      let pid: number | undefined;
      const program = new KeptProgram((request) => {
        // News of what it does now are still to come when others have pushed it out.
        if (pid !== undefined) remember(pid);
        send(to, { ...request, id });
      });
      waiting.set(id, {
        onStart: (started) => {
          pid = started;
        },
        answered: () => program.answered(),
        resolve: (result) => program.resolve(result),
        reject: (error) => program.reject(error),
      });
      send(to, { keep: argv, id, ...(lock && { lock }) });
      return {
        get isGone() {
          return program.isGone;
        },
        feed: (...input) => program.feed(...input).finally(begin(to)),
      };
    },
    isOurs: (pid) => ours.has(pid),
    close() {
      closed = true;
      child?.disconnect();
    },
  };
}
