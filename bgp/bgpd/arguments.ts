import { parseArgs } from 'node:util';
import { LOG_LEVELS, type LogLevel, messageOf } from '#core';

export const USAGE = `usage: tsnet-bgpd --config FILE [--socket PATH] [--metrics-listen A:P] [--log-level L]

A BGP speaker from one configuration file (YAML or JSON).

  --config FILE         the configuration; SIGHUP reads it again
  --socket PATH         control socket for tsnetctl bgp (none without this)
  --metrics-listen A:P  Prometheus metrics
  --log-level L         ${LOG_LEVELS.join(', ')}
  --help, --version
`;

export interface Arguments {
  readonly config: string;
  readonly socket?: string;
  readonly metricsListen?: string;
  readonly logLevel: LogLevel;
}

/** A wrong use of the program: exit 2. */
export class UsageError extends Error {}

/** @throws UsageError */
export function readArguments(args: readonly string[]): Arguments | 'help' | 'version' {
  const values = parse(args);
  if (values.help) return 'help';
  if (values.version) return 'version';
  const logLevel = (values['log-level'] ?? 'info') as LogLevel;
  if (!LOG_LEVELS.includes(logLevel)) throw new UsageError(`--log-level ${logLevel}: one of ${LOG_LEVELS.join(', ')}`);
  if (!values.config) throw new UsageError('--config FILE is missing; see tsnet-bgpd --help');
  return {
    config: values.config,
    logLevel,
    ...(values.socket !== undefined && { socket: values.socket }),
    ...(values['metrics-listen'] !== undefined && { metricsListen: values['metrics-listen'] }),
  };
}

function parse(args: readonly string[]) {
  const options = {
    config: { type: 'string' },
    socket: { type: 'string' },
    'metrics-listen': { type: 'string' },
    'log-level': { type: 'string' },
    help: { type: 'boolean' },
    version: { type: 'boolean' },
  } as const;
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError(`${messageOf(error)}; see tsnet-bgpd --help`);
  }
}
