import { appendFileSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, messageOf } from '#core';
import { makeDirectory } from '#datastore';
import type { Conf } from './conf.ts';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
type Level = (typeof LEVELS)[number];

/** Lines about what is done, as JSON: never on standard output, which is the runtime's. */
export interface Journal {
  write(level: Level, fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** To standard error, and to the file that the configuration names, which is renamed to `<file>.1` when it has grown too large. */
export function createJournal(conf: Conf, clock: Clock, stderr: { write(text: string): unknown }): Journal {
  const named = conf.log_level?.toLowerCase() as Level | 'warning' | undefined;
  const least = Math.max(
    0,
    LEVELS.indexOf(named === 'warning' ? 'warn' : LEVELS.includes(named as Level) ? (named as Level) : 'warn'),
  );
  const file = conf.log_file_path;
  let failed = false;
  return {
    write(level, fields, message) {
      if (LEVELS.indexOf(level) < least) return;
      const line = `${JSON.stringify({ level, time: clock.date().toISOString(), name: 'tsnet-cni', pid: process.pid, ...fields, msg: message })}\n`;
      stderr.write(line);
      if (!file || failed) return;
      try {
        append(file, line, conf.log_file_max_size * 1e6);
      } catch (error) {
        // The network matters more than the record of it; standard error has both.
        failed = true;
        stderr.write(`tsnet-cni: ${file} cannot be written: ${messageOf(error)}\n`);
      }
    },
  };
}

function append(file: string, line: string, most: number): void {
  makeDirectory(dirname(file));
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > most) renameSync(file, `${file}.1`);
  appendFileSync(file, line, { mode: 0o644 });
}
