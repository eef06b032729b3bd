import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Command } from 'commander';
import { messageOf } from '#core';
import { createLab, Lab } from './lab.ts';
import { inside } from './netns.ts';
import type { Host, LabOptions } from './plan.ts';
import { PROJECT } from './program.ts';
import { matrix, settledMatrix } from './reach.ts';
import { commandsText, matrixText, processesText, routesText, sessionsText } from './show.ts';
import { terminalSteps } from './steps.ts';
import { LabError, stopWaiting, waitFor } from './wait.ts';

/** The command line of the lab: `npm run lab`. */

const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

interface UpFlags {
  name: string;
  once?: boolean;
  keep?: boolean;
  nodes: string;
  torAs: string;
  torSessions: 'shared' | 'separate';
}

async function up(flags: UpFlags): Promise<number> {
  const steps = terminalSteps((text) => process.stdout.write(text));
  const options: LabOptions = {
    name: flags.name,
    nodes: Number(flags.nodes),
    tor: { asNumber: Number(flags.torAs), sessions: flags.torSessions },
    noDefaultRoute: [`node-${flags.nodes}`],
  };
  let stopped = false;
  const interrupted = interruption().then(() => {
    stopped = true;
    stopWaiting();
  });
  try {
    const lab = await createLab(options, steps);
    try {
      await check(lab, steps);
      if (flags.once) return 0;
      print(`\n${commandsText(lab)}\n\nThe lab stays up until Ctrl-C.`);
      await interrupted;
      print('\ntaking the lab down');
      return 0;
    } finally {
      if (!(flags.once && flags.keep)) await lab.down();
    }
  } catch (error) {
    if (!stopped) throw error;
    print('\ninterrupted; the lab is taken down');
    return INTERRUPTED;
  }
}
/** The exit code of a program that Ctrl-C ended. */
const INTERRUPTED = 130;

/** Sessions, routes and reachability, as they have to be; what is shown is what was seen. */
async function check(lab: Lab, steps: ReturnType<typeof terminalSteps>): Promise<void> {
  await steps.step('BGP sessions with the router', () => established(lab));
  await steps.step('every block known to the router', () => blocksKnown(lab));
  const cells = await steps.step('who reaches whom', () => settledMatrix(lab));
  print(`\n${matrixText(cells)}\n\n${await sessionsText(lab)}\n\n${await routesText(lab)}`);
}

const established = (lab: Lab): Promise<void> =>
  waitFor(
    'all sessions to be established',
    async () => {
      const down = (await lab.tor.sessions()).filter((s) => s.state !== 'Established');
      return down.length === 0 || down.map((s) => `${s.name}: ${s.state} ${s.info}`).join('; ');
    },
    { evidence: () => [...(lab.tor.daemon?.tail(8) ?? []), ...lab.nodes.flatMap((n) => n.agent.tail(6))] },
  );

const blocksKnown = (lab: Lab): Promise<void> =>
  waitFor(
    'the blocks of every node',
    async () => {
      const known = new Set((await lab.tor.routes()).map((route) => route.prefix));
      const missing = lab.plan.nodes.flatMap((node) => node.blocks).filter((block) => !known.has(block));
      return missing.length === 0 || `missing ${missing.join(', ')}`;
    },
    { evidence: () => lab.nodes.flatMap((n) => n.agent.tail(6)) },
  );

/** The first SIGINT or SIGTERM. */
function interruption(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
}

async function status(lab: Lab): Promise<number> {
  const cells = await matrix(lab);
  const cuts = await lab.cuts();
  print(matrixText(cells));
  if (cuts.length > 0) print(`\nCut: ${cuts.map((pair) => pair.join(' from ')).join(', ')}`);
  print(`\n${await sessionsText(lab)}\n\n${await routesText(lab)}\n\n${await processesText(lab)}`);
  return cells.every((cell) => cell.seen === cell.expected) ? 0 : 1;
}

/** Runs a command inside, on this terminal. */
function exec(lab: Lab, host: Host, command: readonly string[]): number {
  const node = lab.nodes.find((one) => one.name === host.name);
  const { PATH = '' } = process.env;
  const env = { ...process.env, ...node?.environment, PATH: `${join(PROJECT, 'bin')}:${PATH}:/usr/sbin:/sbin` };
  const [program, ...args] = inside(host.netns, command);
  const { status: code, error } = spawnSync(program, args, { stdio: 'inherit', env, cwd: lab.state.path() });
  if (error) throw new LabError(`${command[0]}: ${error.message}`);
  return code ?? 1;
}

function tsnetctl(lab: Lab, args: readonly string[]): number {
  const [node] = lab.nodes;
  return exec(lab, node.plan, ['tsnetctl', ...node.socketArguments, ...args]);
}

async function addWorkload(lab: Lab, node: string, app: string): Promise<number> {
  const { name, addresses, interfaceName } = await lab.addWorkload(node, app);
  print(`${name}: ${addresses.join(', ')} on ${node}, interface ${interfaceName}`);
  return 0;
}

function program(): Command {
  const all = new Command('lab')
    .description('A cluster in network namespaces: etcd, nodes with tsnet-agent, a BIRD top-of-rack router, workloads')
    .option('--name <name>', 'which lab; several can run at once', 'lab')
    .option('--once', 'check, take everything down, exit 0 or 1')
    .option('--keep', 'with --once: leave it up')
    .option('--nodes <count>', 'how many nodes', '3')
    .option('--tor-as <number>', 'AS of the router: 64512 makes its sessions iBGP', '65001')
    .option('--tor-sessions <shared|separate>', 'both address families in one session, or one session each', 'shared')
    .enablePositionalOptions()
    .action((flags: UpFlags) => finish(up(flags)));
  const attached = () => Lab.attach(all.opts<UpFlags>().name);
  all
    .command('down')
    .description('remove everything, also after a crash')
    .action(() => finish(new Lab({ name: all.opts<UpFlags>().name }).down().then(() => 0)));
  all
    .command('status')
    .description(
      'the matrix, sessions, routes and processes of the running lab; exit 1 when the matrix is not as expected',
    )
    .action(() => finish(status(attached())));
  all
    .command('exec <host> <command...>')
    .description('run a command on a node, in a workload, on tor, office, etcd or fabric')
    .passThroughOptions()
    .action((host: string, command: string[]) => finish(async () => exec(attached(), attached().host(host), command)));
  all
    .command('tsnetctl [args...]')
    .description('tsnetctl on the first node')
    .passThroughOptions()
    .allowUnknownOption()
    .helpOption(false)
    .action((args: string[]) => finish(async () => tsnetctl(attached(), args)));
  all
    .command('add-workload <node>')
    .description('one more workload on the node')
    .option('--app <app>', 'its label app: web or client', 'web')
    .action((node: string, { app }: { app: string }) => finish(addWorkload(attached(), node, app)));
  all
    .command('cut <a> <b>')
    .description('cut the wire between two of: the nodes, tor, etcd')
    .action((a: string, b: string) =>
      finish(
        attached()
          .cut(a, b)
          .then(() => 0),
      ),
    );
  all
    .command('heal <a> <b>')
    .description('take a cut back')
    .action((a: string, b: string) =>
      finish(
        attached()
          .heal(a, b)
          .then(() => 0),
      ),
    );
  return all;
}

async function finish(work: Promise<number> | (() => Promise<number>)): Promise<void> {
  process.exit(await (typeof work === 'function' ? work() : work));
}

program()
  .parseAsync()
  .catch((error) => {
    process.stderr.write(`lab: ${messageOf(error)}\n`);
    process.exit(1);
  });
