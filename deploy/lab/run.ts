import { spawn } from 'node:child_process';
import { LabError } from './wait.ts';

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; no shell. A command that cannot start counts as exit code 127. */
export function attempt(command: readonly string[], input = ''): Promise<Output> {
  return new Promise((resolve) => {
    const child = spawn(command[0], command.slice(1), { stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.on('error', (error) => resolve({ code: 127, stdout, stderr: error.message }));
    child.on('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
    child.stdin.on('error', () => {}); // a command may end without reading its input; its exit code tells
    child.stdin.end(input);
  });
}

/** Runs a command that has to succeed, and gives its stdout. */
export async function run(command: readonly string[], input?: string): Promise<string> {
  const { code, stdout, stderr } = await attempt(command, input);
  if (code !== 0) throw new LabError(`${command.join(' ')}: exit ${code}`, lines(stderr || stdout));
  return stdout;
}

export const lines = (text: string): string[] => text.split('\n').filter((line) => line.trim() !== '');
