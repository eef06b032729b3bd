import { CommanderError } from 'commander';
import { createSpeaker } from '#bgp';
import { createLog, messageOf, OperationalError, realClock, VERSION } from '#core';
import { startAgent } from './daemon.ts';
import { agentCommand, readSettings } from './read-settings.ts';
import type { AgentConfig } from './settings.ts';

/** Time that a clean stop may take before the process ends anyway. */
const STOP_AT_MOST = 10_000;

async function main(): Promise<void> {
  const config = settings();
  const log = createLog('tsnet-agent', config.logLevel);
  log.info({ version: VERSION, node: config.nodeName, datastore: config.datastore }, 'tsnet-agent starts');
  process.on('uncaughtException', (error) => {
    // A broken invariant: end, and leave the kernel as it is; it is fail-closed.
    log.fatal({ error: messageOf(error), stack: error.stack }, 'tsnet-agent ends');
    process.exit(1);
  });
  const agent = await startAgent({ config, version: VERSION, log, createSpeaker });
  let stopping = false;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'tsnet-agent stops; routes, rules and sessions of peers stay in place');
    realClock.after(STOP_AT_MOST, () => process.exit(1));
    agent.stop().then(
      () => process.exit(0),
      (error) => {
        log.error({ error: messageOf(error) }, 'stopping failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => stop('SIGTERM'));
  process.on('SIGINT', () => stop('SIGINT'));
}

function settings(): AgentConfig {
  try {
    return readSettings(process.argv.slice(2), process.env, agentCommand(VERSION));
  } catch (error) {
    // commander has written its own message for usage, help and version.
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2);
    process.stderr.write(`tsnet-agent: ${messageOf(error)}\n`);
    process.exit(2);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`tsnet-agent: ${messageOf(error)}\n`);
  process.exit(error instanceof OperationalError && error.code === 'CONFIG' ? 2 : 1);
});
