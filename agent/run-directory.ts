import { messageOf, OperationalError } from '#core';
import { makeDirectory } from '#datastore';

/** Makes the directory of sockets and status files. @throws OperationalError KERNEL, with what to do */
export function makeRunDirectory(path: string): void {
  try {
    makeDirectory(path);
  } catch (error) {
    const remedy = 'make it, or name another one with --run-dir or TSNET_RUN_DIR';
    throw new OperationalError('KERNEL', `--run-dir ${path} cannot be made: ${messageOf(error)}; ${remedy}`, {
      cause: error,
    });
  }
}
