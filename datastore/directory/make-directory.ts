import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory, and those above it that are missing; returns the topmost that had to be made, undefined if none had. Node's own `recursive` never ends where the kernel
 * says ENOENT of a name whose parent is there, as it does under /proc. Throws what the file system says.
 */
export function makeDirectory(path: string, mode = 0o755): string | undefined {
  const missing: string[] = [];
  for (let at = resolve(path); !isDirectory(at); at = dirname(at)) missing.unshift(at);
  for (const each of missing)
    try {
      mkdirSync(each, { mode });
    } catch (error) {
      // Another program may have made it just now.
      if (!isDirectory(each)) throw error;
    }
  return missing[0];
}

const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
