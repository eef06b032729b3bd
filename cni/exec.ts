import { spawn } from 'node:child_process';
import { type Clock, OperationalError } from '#core';

export interface Program {
  readonly file: string;
  readonly args: readonly string[];
  /** Standard input; closed at once when absent. */
  readonly input?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Longer than any healthy `ip` takes on a busy machine. */
const LIMIT = 20_000;
/** More than any result of a plugin. */
const MOST_OUTPUT = 4 << 20;

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program without a shell and waits for its end. @throws OperationalError EXEC (not started, too much output), TIMEOUT */
export function execute(program: Program, clock: Clock, limit = LIMIT): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program.file, program.args, { env: program.env as NodeJS.ProcessEnv, stdio: 'pipe' });
    const output = { stdout: '', stderr: '' };
    const fail = (code: 'EXEC' | 'TIMEOUT', message: string) => {
      cancel();
      child.kill('SIGKILL');
      reject(new OperationalError(code, message));
    };
    const cancel = clock.after(limit, () => fail('TIMEOUT', `${program.file} did not end within ${limit / 1000} s`));
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
        if (output[name].length > MOST_OUTPUT) fail('EXEC', `${program.file} writes without end`);
      });
    child.on('error', (error) => fail('EXEC', `${program.file} cannot be started: ${error.message}`));
    // Whoever ends without reading its input says so by its status.
    child.stdin.on('error', () => {});
    child.stdin.end(program.input ?? '');
    child.on('close', (status) => {
      cancel();
      resolve({ status: status ?? -1, ...output });
    });
  });
}

/** Runs a program that must succeed. @throws OperationalError KERNEL with what it said */
export async function demand(program: Program, what: string, clock: Clock): Promise<string> {
  const { status, stdout, stderr } = await execute(program, clock);
  if (status === 0) return stdout;
  throw new OperationalError('KERNEL', `${what}: ${stderr.trim() || `${program.file} ended with ${status}`}`);
}
