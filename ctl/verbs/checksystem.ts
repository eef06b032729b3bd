import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { checkSystem, type Machine } from '#agent';
import { messageOf, OperationalError } from '#core';
import { type Io, painter } from '../io.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import type { Session } from '../session.ts';

/** `node checksystem`: whether this machine has what an agent needs. Exit status 1 when something that is required is missing. */
export async function checksystem(
  { io }: Session,
  options: { readonly kernelConfig?: string; readonly output?: string },
): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const checks = checkSystem(thisMachine(io, options.kernelConfig));
  const ok = checks.every((check) => check.ok || !check.required);
  if (type === 'json' || type === 'yaml') await printData(io, type, { ok, checks });
  else {
    const paint = painter(io.stdout, io.env);
    const width = Math.max(...checks.map(({ check }) => check.length));
    for (const { check, ok: there, required, detail } of checks) {
      const word = there ? paint('green', 'ok     ') : required ? paint('red', 'MISSING') : paint('yellow', 'absent ');
      io.stdout.write(`${check.padEnd(width)}   ${word}   ${detail}\n`);
    }
    io.stdout.write(
      ok ? 'System meets the requirements of tsnet-agent.\n' : 'System lacks what tsnet-agent requires.\n',
    );
  }
  return ok ? 0 : 1;
}

function thisMachine(io: Io, config: string | undefined): Machine {
  const read = (path: string): string | null => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      // Absence is an answer: the check says what was not found.
      return null;
    }
  };
  return {
    read,
    exists: existsSync,
    path: [...(io.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'].filter(Boolean),
    kernelConfig: config === undefined ? runningConfig() : givenConfig(resolve(io.cwd, config)),
  };
}

function runningConfig(): string | null {
  return existsSync('/proc/config.gz') ? gunzipSync(readFileSync('/proc/config.gz')).toString('utf8') : null;
}

function givenConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new OperationalError('CONFIG', `cannot read ${path}: ${messageOf(error)}`);
  }
}
