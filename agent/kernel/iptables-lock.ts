import type { Command, CommandResult, HeldLock } from './runner.ts';

/**
 * Legacy iptables takes one lock for both families, though the kernel has one for each. So the runner holds it for the programs that stay, and these are given
 * lock files of their own: then both families are written at the same time, and strangers wait for both.
 */

/** A file of the process alone, whichever it is. */
const OF_THE_PROCESS = '/proc/self/status';
/** RESOURCE_PROBLEM of iptables: others hold the lock. */
const LOCKED = 4;
/** In a tenth of a second; meanwhile strangers wait. */
const ALARM = ['timeout', '--foreground', '--preserve-status', '-k', '1', '-s', 'ALRM', '0.1'] as const;
/** For what goes on after it, as the child of a script may. */
const TIMEOUT = 500;
/** Changes nothing; but a program takes the lock for it. The table is there: every change of ours has rules in it. */
const NOTHING = '*filter\nCOMMIT\n';

/** The command with a lock of its own. */
export const ownLock = (argv: readonly string[]): string[] => ['env', `XTABLES_LOCKFILE=${OF_THE_PROCESS}`, ...argv];

/**
 * Whether a restore program may be given a lock of its own while we hold the one of all: it locks the file that we do, and, when it is told so, another (iptables 1.8.9
 * does, by XTABLES_LOCKFILE). Both are tried out while we hold it. One that waits says so when its alarm goes, which is given to it after a short time; one that
 * has not come so far by then dies of it, and is not taken for one that waits.
 */
export async function sharesLock(
  run: (argv: readonly string[], rest: Omit<Command, 'argv'>) => Promise<CommandResult>,
  program: string,
  lock: HeldLock,
): Promise<boolean> {
  const restore = [...ALARM, program, '--noflush', '--wait', '10'];
  const code = async (argv: readonly string[]) => (await run(argv, { stdin: NOTHING, timeout: TIMEOUT, lock })).code;
  return (await code(restore)) === LOCKED && (await code(ownLock(restore))) === 0;
}
