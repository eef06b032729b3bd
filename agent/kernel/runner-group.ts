/** How the runner starts each command. */
export const COMMAND = {
  reject: false,
  stripFinalNewline: false,
  encoding: 'utf8',
  // A group of its own, so that what the command started ends with it; otherwise an orphan would hold its output open.
  detached: true,
  cleanup: false,
  env: { LC_ALL: 'C' },
} as const;

/** Kills a command with all that it started. */
export function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // Ended by itself meanwhile.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
