import { CommanderError } from 'commander';
import { createSpeaker } from '#bgp';
import { createLog, messageOf, OperationalError, realClock, VERSION } from '#core';
import { type RunningAgent, startAgent } from './daemon.ts';
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
  let stopping = false;
  const start = () => startAgent({ config, version: VERSION, log, createSpeaker, onBeginAgain });
  const onBeginAgain = (why: string) => {
    if (stopping) return;
    log.info({ why }, 'tsnet-agent begins again in this process; routes, rules and sessions of peers stay in place');
    agent = again(agent, start);
    agent.catch((error) => {
      log.fatal({ error: messageOf(error) }, 'beginning again failed');
      process.exit(1);
    });
  };
  let agent = start();
  await agent;
  const stop = (signal: string) => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'tsnet-agent stops; routes, rules and sessions of peers stay in place');
    realClock.after(STOP_AT_MOST, () => process.exit(1));
    agent
      .then((running) => running.stop())
      .then(
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

/** As a stop and a start of the process, which is not there for this. */
async function again(agent: Promise<RunningAgent>, start: () => Promise<RunningAgent>): Promise<RunningAgent> {
  const running = await agent;
  const cancel = realClock.after(STOP_AT_MOST, () => process.exit(1));
  await running.stop();
  cancel();
  return start();
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
