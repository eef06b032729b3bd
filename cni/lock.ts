import { spawn } from 'node:child_process';
import { dirname } from 'node:path';
import { messageOf } from '#core';
import { makeDirectory } from '#datastore';
import type { Call } from './call.ts';

/** How long others' turns may take before we go on without the lock; seconds. */
const PATIENCE = 90;

/**
 * Runs one assignment at a time on this node, among all plugins that take the same file (Calico's, too). Only a courtesy that saves lost races:
 * compare-and-swap is what keeps addresses unique, so without the lock the turn is taken nevertheless.
 */
export async function withIpamLock<T>(call: Call, turn: () => Promise<T>): Promise<T> {
  const unlock = await lock(call);
  try {
    return await turn();
  } finally {
    unlock();
  }
}

/** flock(1) holds the lock for as long as its child reads; that it echoes a byte says that it has it. */
async function lock({ conf, journal }: Call): Promise<() => void> {
  const file = conf.ipam_lock_file;
  const failed = (why: string) => {
    journal.write('warn', { file, why }, 'IPAM lock not taken; going on without it');
    return () => {};
  };
  try {
    makeDirectory(dirname(file));
  } catch (error) {
    return failed(messageOf(error));
  }
  const child = spawn('flock', ['-x', '-w', String(PATIENCE), file, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.on('error', () => {});
  child.stdin.write('.');
  const answer = await new Promise<string | null>((resolve) => {
    child.once('error', (error) => resolve(messageOf(error)));
    child.once('exit', (status) => resolve(`flock ended with ${status}`));
    child.stdout.once('data', () => resolve(null));
  });
  return answer === null ? () => void child.stdin.end() : failed(answer);
}
