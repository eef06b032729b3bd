import { randomUUID } from 'node:crypto';
import { open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { type Clock, type Milliseconds, OperationalError, sleep } from '#core';

/** How long to wait for another program's turn. */
const PATIENCE: Milliseconds = 10_000;
/** A lock held for longer than this belongs to a program that died: turns take milliseconds. */
const STALE: Milliseconds = 5000;

/** Runs one turn at a time among all programs that use the directory. Rejects with TIMEOUT when the turn does not come. */
export async function withLock<T>(path: string, clock: Clock, turn: () => Promise<T>): Promise<T> {
  const token = randomUUID();
  await acquire(path, token, clock);
  try {
    return await turn();
  } finally {
    // Somebody who took it for stale has made it his own; his is not to be removed.
    if ((await readFile(path, 'utf8').catch(() => '')) === token) await unlink(path).catch(() => {});
  }
}

async function acquire(path: string, token: string, clock: Clock): Promise<void> {
  const end = clock.now() + PATIENCE;
  for (let wait = 1; ; wait = Math.min(wait * 2, 50)) {
    if (await taken(path, token)) return;
    await removeStale(path, clock);
    if (clock.now() > end)
      throw new OperationalError('TIMEOUT', `${path} is held by another program; remove it if none is running`);
    await sleep(clock, wait * (0.5 + Math.random()));
  }
}

/** Creates the lock if nobody has it. */
async function taken(path: string, token: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx');
    try {
      await file.writeFile(token);
    } catch (error) {
      // On a full disk a file can be made and not be filled.
      await unlink(path);
      throw error;
    } finally {
      await file.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string, clock: Clock): Promise<void> {
  const seen = await stat(path).catch(() => null);
  if (!seen || clock.date().getTime() - seen.mtimeMs < STALE) return;
  // Renaming lets exactly one of several removers have it; a fresh lock that slipped in between is put back.
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    const moved = await stat(aside);
    if (moved.ino === seen.ino && moved.mtimeMs === seen.mtimeMs) await unlink(aside);
    else await rename(aside, path);
  } catch {
    // Somebody else was quicker.
  }
}
