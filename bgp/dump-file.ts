import { rename, writeFile } from 'node:fs/promises';
import { messageOf, OperationalError } from '#core';
import { readDumpFile } from './query.ts';

/**
 * `bgp.dump` of a control socket: writes the table to a file, which is there whole or not at all, for root alone.
 * @throws OperationalError VALIDATION, or UNAVAILABLE where the file cannot be written
 */
export async function dumpToFile(
  params: Readonly<Record<string, unknown>>,
  dump: () => Promise<Uint8Array>,
): Promise<{ file: string; bytes: number }> {
  const file = readDumpFile(params);
  const bytes = await dump();
  try {
    await writeFile(`${file}.part`, bytes, { mode: 0o600 });
    await rename(`${file}.part`, file);
  } catch (error) {
    throw new OperationalError('UNAVAILABLE', `the dump cannot be written: ${messageOf(error)}`);
  }
  return { file, bytes: bytes.length };
}
