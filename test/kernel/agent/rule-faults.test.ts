import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, silentLog } from '#core';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG } from '#policy';
import { Commits } from '../../../agent/kernel/commits.ts';
import { createIptables } from '../../../agent/kernel/iptables.ts';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** An iptables-restore that fails, hangs, lies or dies, put in front of the real one: what the reconciler makes of it. */

let ns: Namespace;
let runner: Runner;
let dir: string;
beforeAll(() => {
  ns = enterNamespace('faults');
  runner = createRunner({ log: silentLog });
  dir = mkdtempSync(join(tmpdir(), 'tsn-faults-'));
});
afterEach(() => {
  ns.sh('nft flush ruleset');
});
afterAll(() => {
  runner?.close();
  if (dir) rmSync(dir, { recursive: true });
  ns?.leave();
});

/** A reconciler whose restore program is a script; `real` in it stands for the real program. */
function bench(script: string, commits?: Commits) {
  const path = join(dir, 'restore');
  writeFileSync(join(dir, 'calls'), '');
  writeFileSync(path, `#!/bin/sh\necho call >> ${dir}/calls\nreal() { exec iptables-nft-restore "$@"; }\n${script}\n`);
  chmodSync(path, 0o755);
  const clock = new FakeClock();
  const programs = { restore: () => path };
  const backend = createIptables({ runner, variant: 'nft', timeout: 1_000, programs, ...(commits && { commits }) });
  const chains = new ChainReconciler({ backend, families: [4], clock, log: silentLog, metrics: createMetrics() });
  const engine = createPolicyEngine({ node: 'n', config: { ...DEFAULT_RENDER_CONFIG, families: [4] } });
  chains.update(engine.flush());
  const repair = () => writeFileSync(path, '#!/bin/sh\nexec iptables-nft-restore "$@"\n');
  const calls = () => readFileSync(join(dir, 'calls'), 'utf8').split('\n').length - 1;
  return { chains, clock, repair, calls };
}
const standing = () => ns.sh('iptables-nft -S FORWARD').includes('-j cali-FORWARD');

describe('iptables-restore', () => {
  test('fails whatever it is given: nothing is quarantined, it is tried again with back-off, and then it stands', async () => {
    const b = bench('echo "cannot get the lock" >&2; exit 4');
    const first = await b.chains.apply();
    expect(first.failures.map((f) => f.error)).toEqual(['EXEC', 'EXEC']);
    expect(first.failures[0].detail).toContain('cannot get the lock');
    expect(first.again).toBeGreaterThan(0);
    expect(b.chains.quarantined).toEqual([]);
    const calls = b.calls();
    expect((await b.chains.apply()).failures).toHaveLength(2);
    expect(b.calls()).toBe(calls); // not before its time
    b.repair();
    b.clock.advance(first.again! + 1000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toBe(true);
  });

  test('hangs, with a child of its own that keeps its output open: both are killed and the loop goes on', async () => {
    const b = bench(`sleep 7331 & sleep 7331`);
    const outcome = await b.chains.apply();
    expect(outcome.failures.map((f) => f.error)).toEqual(['TIMEOUT', 'TIMEOUT']);
    expect(() => ns.sh('pgrep -x sleep -a | grep -w 7331')).toThrow();
    b.repair();
    b.clock.advance(60_000);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toBe(true);
  });

  test('lies that it has written: the next look finds out and writes again', async () => {
    const b = bench('cat > /dev/null; exit 0');
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toBe(false);
    b.repair();
    expect(await b.chains.check()).toBe(true);
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toBe(true);
    expect(await b.chains.check()).toBe(false);
  });

  test('writes and then says that it failed: what stands is read back and not written twice', async () => {
    const b = bench('iptables-nft-restore "$@"; exit 1');
    const first = await b.chains.apply();
    b.repair();
    b.clock.advance((first.again ?? 0) + 1000);
    const second = await b.chains.apply();
    expect(second.failures).toEqual([]);
    expect(standing()).toBe(true);
    expect(ns.sh('iptables-nft -S FORWARD').match(/-j cali-FORWARD/g)).toHaveLength(1);
  });

  test('has written and does not end: the write is done when the kernel says so, and what hangs is killed in its time', async () => {
    const commits = new Commits();
    // The same process goes on waiting for input after the COMMIT.
    const b = bench(`exec bash -c 'exec iptables-nft-restore "$@" < <(cat; sleep 7332)' restore "$@"`, commits);
    const sleeping = () => ns.sh('pgrep -f "^sleep 7332$" || true').trim();
    expect((await b.chains.apply()).failures).toEqual([]);
    expect(standing()).toBe(true);
    expect(sleeping()).not.toBe('');
    await until('the end of what hangs', () => sleeping() === '');
    expect(await b.chains.check()).toBe(false);
    commits.stop();
  });

  test('is not there: said as a failure of the table, not of a rule', async () => {
    const b = bench('');
    rmSync(join(dir, 'restore'));
    const { failures } = await b.chains.apply();
    expect(failures[0].detail).toContain('restore');
    expect(b.chains.quarantined).toEqual([]);
  });

  test('somebody who undoes our rules again and again is called a fight', async () => {
    const b = bench('real "$@"');
    await b.chains.apply();
    for (let i = 0; i < 5; i++) {
      expect(b.chains.fights).toEqual([]);
      ns.sh('iptables-nft -F cali-FORWARD');
      expect(await b.chains.check()).toBe(true);
      await b.chains.apply();
    }
    expect(b.chains.fights).toEqual([{ family: 4, table: 'filter' }]);
  });
});

describe('the runner', () => {
  test('bounds what a command may write', async () => {
    const result = await runner.run({ argv: ['yes'], timeout: 10_000, maxOutput: 100_000 });
    expect(result.ended).toBe('output');
  });
  test('passes arguments as they are, never through a shell', async () => {
    const hostile = '$(id); `id` | x > /tmp/y "\n';
    expect((await runner.run({ argv: ['printf', '%s', hostile], timeout: 5_000 })).stdout).toBe(hostile);
  });
  test('that is killed rejects what it had begun, and is there again for the next command', async () => {
    const other = createRunner({ log: silentLog });
    const running = other.run({ argv: ['sleep', '5'], timeout: 30_000 });
    const pid = (await other.run({ argv: ['sh', '-c', 'echo $PPID'], timeout: 5_000 })).stdout.trim();
    process.kill(Number(pid), 'SIGKILL');
    await expect(running).rejects.toThrow('runner ended');
    expect((await other.run({ argv: ['echo', 'again'], timeout: 20_000 })).stdout).toBe('again\n');
    other.close();
  });
});
