import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { parse as parseYaml } from 'yaml';
import { messageOf, OperationalError } from '#core';
import { type AgentConfig, SETTINGS, type Setting, type SettingName } from './settings.ts';

const entries = Object.entries(SETTINGS) as [SettingName, Setting<unknown>][];

/** The command line, for `--help` and parsing; a boolean's value may be given (`--policy-only=false` undoes a variable). */
export function agentCommand(version: string): Command {
  const command = new Command('tsnet-agent')
    .description('The per-node agent: endpoints to routes, proxy ARP and policy, with the BGP speaker inside.')
    .version(version)
    .option('--config <FILE>', 'YAML file with any of these settings; keys are the flags in camel case')
    .configureOutput({
      outputError: (text, write) =>
        write(`tsnet-agent: ${oneLine(text.replace(/^error: /, ''))}; see 'tsnet-agent --help'\n`),
    })
    .exitOverride();
  for (const [, s] of entries) {
    if (!s.flag) continue;
    const isNegation = s.flag.startsWith('no-'); // commander gives those no value
    const value = s.placeholder ? ` <${s.placeholder}>` : isNegation ? '' : ' [BOOL]';
    command.option(`--${s.flag}${value}`, `${s.help} [${s.env}]`);
  }
  return command;
}

const oneLine = (text: string): string =>
  text
    .trim()
    .replace(/\.$/, '')
    .replaceAll(/\s*\n\s*/g, ' ');

/**
 * Reads all settings.
 * @throws OperationalError (CONFIG) naming the setting, where it was given, and what would be right.
 */
export function readSettings(argv: readonly string[], env: NodeJS.ProcessEnv, command: Command): AgentConfig {
  const flags = parseFlags(argv, command);
  const file = flags.config === undefined ? {} : readFile(flags.config);
  const values: Record<string, unknown> = {};
  const given = new Set<SettingName>();
  const order = entries.filter(([key]) => key !== 'datastore').concat(entries.filter(([key]) => key === 'datastore'));
  for (const [key, s] of order) {
    const fromFile = file[key] ?? file[key as string];
    const source = pick(
      s.flag !== undefined && flags[s.flag] !== undefined ? [flags[s.flag] as string, `--${s.flag}`] : null,
      env[s.env] !== undefined && env[s.env] !== '' ? [env[s.env] as string, s.env] : null,
      fromFile !== undefined && fromFile !== null ? [asText(fromFile), `${flags.config}: ${key}`] : null,
    );
    if (source) given.add(key);
    try {
      values[key] = source ? s.read(source[0]) : s.fallback(values);
    } catch (error) {
      throw new OperationalError('CONFIG', `${source?.[1] ?? key}: '${source?.[0] ?? ''}' ${messageOf(error)}`);
    }
  }
  check(values);
  return { ...values, given } as unknown as AgentConfig;
}

const pick = <T>(...options: (T | null)[]): T | undefined => options.find((o): o is T => o !== null);

const asText = (value: unknown): string => (Array.isArray(value) ? value.join(',') : String(value));

function parseFlags(argv: readonly string[], command: Command): Record<string, string | undefined> {
  command.parse([...argv], { from: 'user' });
  if (command.args.length > 0)
    throw new CommanderError(2, 'tsnet.excess', `error: unexpected argument '${command.args[0]}'`);
  const flags: Record<string, string | undefined> = {};
  for (const option of command.options) {
    const value = command.getOptionValue(option.attributeName()) as string | boolean | undefined;
    // Of --no-bgp commander makes `bgp`, which is true unless the flag is there.
    const given = option.negate ? (value === false ? true : undefined) : value;
    if (option.long && given !== undefined) flags[option.long.slice(2)] = String(given);
  }
  return flags;
}

function readFile(path: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    throw new OperationalError('CONFIG', `--config ${path}: ${messageOf(error).split('\n')[0]}`);
  }
  if (typeof content !== 'object' || Array.isArray(content))
    throw new OperationalError('CONFIG', `--config ${path}: must be a mapping of settings`);
  const known = new Set<string>(Object.keys(SETTINGS));
  for (const key of Object.keys(content as object))
    if (!known.has(key))
      throw new OperationalError(
        'CONFIG',
        `--config ${path}: unknown key '${key}'; known are ${[...known].join(', ')}`,
      );
  return content as Record<string, unknown>;
}

function check(values: Record<string, unknown>): void {
  if (values.datastore === 'etcdv3' && (values.etcdEndpoints as string[]).length === 0)
    throw new OperationalError('CONFIG', 'the datastore is etcdv3, but no --etcd-endpoints (ETCD_ENDPOINTS) are given');
  if (values.ip === 'none' && values.ip6 === 'none')
    throw new OperationalError('CONFIG', '--ip and --ip6 are both none: the node needs an address of one family');
}
