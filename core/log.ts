import { type Logger, pino } from 'pino';

/** A structured logger: `log.info({ endpoint, ifname }, 'endpoint programmed')`. Never given secrets or raw peer bytes. */
export type Log = Logger;

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** JSON lines on the given descriptor (stdout for daemons; stderr for programs whose stdout is an answer). */
export function createLog(name: string, level: LogLevel = 'info', fd: 1 | 2 = 1): Log {
  return pino({ name, level, base: { pid: process.pid } }, pino.destination({ dest: fd, sync: true }));
}

/** A logger that says nothing, for tests and library use. */
export const silentLog: Log = pino({ level: 'silent' });
