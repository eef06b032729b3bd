import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import type { Call } from './call.ts';
import { CNI_CODE, CniError } from './error.ts';
import { execute } from './exec.ts';
import type { Command } from './request.ts';

/** Runs another plugin of CNI_PATH as the specification has it and gives what it printed. @throws CniError what it said, or that it is missing */
export async function delegate(call: Call, type: string, command: Command): Promise<unknown> {
  const env = { ...call.env, CNI_COMMAND: command };
  const { status, stdout, stderr } = await execute(
    { file: findPlugin(type, call.env.CNI_PATH ?? ''), args: [], input: call.input, env },
    call.clock,
    60_000,
  );
  if (stderr.trim()) call.journal.write('info', { plugin: type, stderr: stderr.trim() }, 'said by the IPAM plugin');
  const answer = parsed(stdout);
  if (status === 0) return answer;
  const { code, msg, details } = (answer ?? {}) as { code?: number; msg?: string; details?: string };
  throw new CniError(
    code ?? CNI_CODE.internal,
    `${type} ${command}: ${msg ?? (stderr.trim() || `ended with ${status}`)}`,
    details ?? '',
  );
}

function parsed(text: string): unknown {
  if (text.trim() === '') return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new CniError(CNI_CODE.decode, `a plugin printed no JSON: ${JSON.stringify(text.slice(0, 200))}`);
  }
}

/** The first directory of the path that has it. A name with a slash would lead out of the path. */
export function findPlugin(type: string, path: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(type))
    throw new CniError(CNI_CODE.configuration, `ipam.type: ${JSON.stringify(type)} is no name of a plugin`);
  for (const directory of path.split(':').filter((one) => one !== '')) {
    const file = join(directory, type);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // The next one, then.
    }
  }
  throw new CniError(
    CNI_CODE.configuration,
    `ipam.type: no plugin ${JSON.stringify(type)} in CNI_PATH ${JSON.stringify(path)}`,
  );
}
