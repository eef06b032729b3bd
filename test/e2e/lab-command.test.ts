import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { attempt, Daemon, Lab, LabState, listNetns, netnsPrefix, PROJECT, waitFor } from '../../deploy/lab/index.ts';

/** `npm run lab` itself. */

const MAIN = join(PROJECT, 'dist/deploy/lab/main.js');
const NAME = `lc${process.pid}`;
const run = (...args: string[]) => attempt([process.execPath, MAIN, '--name', NAME, ...args]);
const leftovers = async () => [
  ...(await listNetns(netnsPrefix(NAME))),
  ...LabState.labs().filter((lab) => lab === NAME),
];

afterAll(() => new Lab({ name: NAME }).down());

test('--once checks, shows what it saw, exits 0 and leaves nothing', async () => {
  const { code, stdout, stderr } = await run('--once', '--nodes', '2');
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(/all as expected/);
  expect(stdout).toMatch(/node_1 +node-1 +Established/);
  expect(stdout).toMatch(/10\.65\.1\.0\/26 +.*10\.99\.0\.11/);
  expect(stdout).toMatch(/fd00:65:0:2::\/122 +.*fd00:99::12/);
  expect(await leftovers()).toEqual([]);
});

describe('a running lab', () => {
  let main: ChildProcess;
  let printed = '';

  test('stays up, and says what to try', async () => {
    main = spawn(process.execPath, [MAIN, '--name', NAME, '--nodes', '2'], { stdio: ['ignore', 'pipe', 'inherit'] });
    main.stdout?.on('data', (text) => {
      printed += text;
    });
    await waitFor('the lab to be up', () => printed.includes('until Ctrl-C') || `has ended: ${main.exitCode}`, {
      timeout: 90_000,
    });
    expect(printed).toContain(`npm run lab -- --name ${NAME} tsnetctl get endpoints -o wide`);
  });

  test('a second one of the same name is refused and harms nothing', async () => {
    const { code, stderr } = await run('--once');
    expect(code).toBe(1);
    expect(stderr).toContain('is there already');
    expect((await run('status')).code).toBe(0);
  });

  test('answers exec, tsnetctl, add-workload, cut, heal, status', async () => {
    expect((await run('exec', 'node-1', 'ip', '-br', 'addr', 'show', 'eth0')).stdout).toContain('10.99.0.11/24');
    expect((await run('exec', 'client-1', 'sh', '-c', 'exit 7')).code).toBe(7);
    expect((await run('exec', 'nobody', 'true')).stderr).toContain('there are node-1, node-2');
    expect((await run('tsnetctl', 'get', 'nodes', '-o', 'name')).stdout).toContain('node-2');
    expect((await run('add-workload', 'node-2')).stdout).toMatch(/web-2-3: 10\.65\.2\.3, fd00:65:0:2::3/);
    await waitFor('the matrix with the new workload', async () => {
      const { code, stdout } = await run('status');
      return (code === 0 && stdout.includes('web-2-3')) || stdout;
    });
    await run('cut', 'node-1', 'node-2');
    const broken = await run('status');
    expect(broken.code).toBe(1);
    expect(broken.stdout).toContain('Cut: node-1 from node-2');
    await run('heal', 'node-1', 'node-2');
    await waitFor('the matrix as before', async () => {
      const { code, stdout } = await run('status');
      return code === 0 || stdout;
    });
  });

  test('is removed by down after its own process was killed: namespaces, processes, state', async () => {
    const state = new LabState(NAME);
    const daemons = state.daemons().map((record) => new Daemon(state, record));
    expect(daemons.filter((daemon) => daemon.alive).length).toBeGreaterThan(7);
    main.kill('SIGKILL');
    expect((await run('exec', 'node-1', 'true')).code).toBe(0);
    expect((await run('down')).code).toBe(0);
    expect(await leftovers()).toEqual([]);
    expect(daemons.filter((daemon) => daemon.alive).map((daemon) => daemon.record.name)).toEqual([]);
    expect((await run('down')).code).toBe(0);
    expect((await run('status')).stderr).toContain('no lab');
  });
});
