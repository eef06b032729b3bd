import { createRequire } from 'node:module';
import type { Logger } from 'pino';

/** Loaded when the first logger is made: programs that only answer start without it. */
const loadPino = (): typeof import('pino') => createRequire(import.meta.url)('pino');

/** A structured logger: `log.info({ endpoint, ifname }, 'endpoint programmed')`. Never given secrets or raw peer bytes. */
export type Log = Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** JSON lines on the given descriptor (stdout for daemons; stderr for programs whose stdout is an answer). */
export function createLog(name: string, level: LogLevel = 'info', fd: 1 | 2 = 1): Log {
  const { pino } = loadPino();
  return pino({ name, level, base: { pid: process.pid } }, pino.destination({ dest: fd, sync: true }));
}

/** A logger that says nothing, for tests and library use. */
export const silentLog: Log = (() => {
  const nothing = () => {};
  const silent = {
    level: 'silent',
    isLevelEnabled: () => false,
    bindings: () => ({}),
    setBindings: nothing,
    flush: nothing,
  };
  const levels = Object.fromEntries(LOG_LEVELS.map((level) => [level, nothing]));
  const log: unknown = { ...levels, ...silent, child: () => log };
  return log as Log;
})();
