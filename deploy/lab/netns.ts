import { rm } from 'node:fs/promises';
import { attempt, lines, type Output, run } from './run.ts';

/** Network namespaces, by `ip netns`: they are files with names, so another process, or the next boot of the lab, finds them again. */

export const inside = (netns: string, command: readonly string[]): string[] => [
  'ip',
  'netns',
  'exec',
  netns,
  ...command,
];

export async function createNetns(netns: string): Promise<void> {
  await run(['ip', 'netns', 'add', netns]);
  await ip(netns, ['link set lo up']);
}

/** Removes the namespace if it is there. What still runs inside has to be ended before. */
export async function removeNetns(netns: string): Promise<void> {
  const { code } = await attempt(['ip', 'netns', 'del', netns]);
  if (code !== 0) await rm(`/run/netns/${netns}`, { force: true });
}

export async function listNetns(prefix: string): Promise<string[]> {
  return lines(await run(['ip', 'netns', 'list']))
    .map((line) => line.split(' ')[0])
    .filter((name) => name.startsWith(prefix));
}

/** Processes inside the namespace. */
export async function pidsIn(netns: string): Promise<number[]> {
  return lines((await attempt(['ip', 'netns', 'pids', netns])).stdout).map(Number);
}

/** Runs lines of `ip` inside the namespace, in one go; the first that fails ends it. */
export async function ip(netns: string, batch: readonly string[]): Promise<void> {
  await run(['ip', '-n', netns, '-batch', '-'], `${batch.join('\n')}\n`);
}

export async function sysctl(netns: string, values: Readonly<Record<string, number>>): Promise<void> {
  await run(inside(netns, ['sysctl', '-qw', ...Object.entries(values).map(([key, value]) => `${key}=${value}`)]));
}

export const attemptIn = (netns: string, command: readonly string[], input?: string): Promise<Output> =>
  attempt(inside(netns, command), input);

export const runIn = (netns: string, command: readonly string[], input?: string): Promise<string> =>
  run(inside(netns, command), input);
