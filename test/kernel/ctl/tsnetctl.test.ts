import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { CLUSTER } from '../../unit/ctl/harness.ts';
import { EtcdServer } from '../datastore/etcd-server.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';

/** The built program, as a person starts it, on a real etcd, in real shells. */

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const BIN = join(PROJECT, 'bin');
const etcd = new EtcdServer();
let ns: Namespace;
let cwd: string;
const env = () => ({ PATH: `${BIN}${delimiter}${process.env.PATH}`, ETCD_ENDPOINTS: etcd.url, TERM: 'dumb' });

beforeAll(async () => {
  execFileSync('npm', ['run', '--silent', 'build'], { cwd: PROJECT, stdio: 'inherit' });
  ns = enterNamespace('ctl');
  cwd = mkdtempSync(join(tmpdir(), 'ctl-kernel-'));
  await etcd.start();
});
afterAll(async () => {
  await etcd.remove();
  ns.leave();
  rmSync(cwd, { recursive: true });
});
beforeEach(() => {
  etcd.ctl('del', '', '--prefix');
  expect(ctl(['apply', '-f', '-'], CLUSTER).stderr).toBe('');
});

function ctl(argv: string[], input = '', more: Record<string, string> = {}) {
  return spawnSync('tsnetctl', argv, { cwd, input, encoding: 'utf8', env: { ...env(), ...more } });
}

test('V8 takes what the build has kept compiled of it', () => {
  const cli = join(PROJECT, 'dist/cli');
  const kept = readdirSync(cli).filter((name) => name.endsWith('.v8'));
  expect(kept).toHaveLength(1);
  const cachedData = readFileSync(join(cli, kept[0]));
  expect(new Script(readFileSync(join(cli, 'tsnetctl.js'), 'utf8'), { cachedData }).cachedDataRejected).toBe(false);
});

describe('on etcd', () => {
  test('what is applied is what etcd holds, and what get gives', () => {
    const value = etcd.ctl('get', '/calico/resources/v3/projectcalico.org/ippools/pool-a', '--print-value-only');
    expect(JSON.parse(value)).toMatchObject({
      kind: 'IPPool',
      spec: { cidr: '10.65.0.0/16', natOutgoing: true, blockSize: 26 },
    });
    expect(ctl(['get', 'nodes', '-o', 'name']).stdout).toBe('node/n1\nnode/n2\nnode/n3\n');
    expect(ctl(['get', 'endpoints', '-o', 'json']).stdout).toContain('caliabc123');
  });

  test('a configuration file in the form of calicoctl', () => {
    writeFileSync(
      join(cwd, 'calicoctl.cfg'),
      `apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: etcdv3\n  etcdEndpoints: ${etcd.url}\n`,
    );
    const nowhere = { ETCD_ENDPOINTS: 'http://127.0.0.1:1' };
    expect(ctl(['-c', 'calicoctl.cfg', 'get', 'pools', '-o', 'name'], '', nowhere).stdout).toBe('ippool/pool-a\n');
    expect(ctl(['get', 'pools', '-o', 'name', '--config=calicoctl.cfg'], '', nowhere).stdout).toBe('ippool/pool-a\n');
  });

  test('two that change the same object at once: neither change is lost', async () => {
    const labels = Array.from({ length: 4 }, (_, i) => `l${i}`);
    const statuses = await Promise.all(
      labels.map(
        (label) =>
          new Promise((resolve) => {
            spawn('tsnetctl', ['label', 'node', 'n1', `${label}=x`], { cwd, env: env(), stdio: 'ignore' }).once(
              'exit',
              resolve,
            );
          }),
      ),
    );
    expect(statuses).toEqual([0, 0, 0, 0]);
    const { metadata } = JSON.parse(ctl(['get', 'node', 'n1', '-o', 'json']).stdout);
    expect(Object.keys(metadata.labels).sort()).toEqual([...labels, 'rack']);
  });

  test('--watch sees what others write, and ends at SIGINT', async () => {
    const child = spawn('tsnetctl', ['get', 'nodes', '--watch'], { cwd, env: env() });
    let seen = '';
    child.stdout.on('data', (chunk: Buffer) => {
      seen += chunk.toString();
    });
    await until('the first rows', () => seen.includes('n3'));
    ctl(['label', 'node', 'n2', 'x=y']);
    await until('the change', () => seen.includes('MODIFIED'));
    const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
    child.kill('SIGINT');
    await ended;
  });

  test('without etcd it fails with one line, soon', () => {
    const { status, stderr } = ctl(['get', 'nodes'], '', { ETCD_ENDPOINTS: 'http://127.0.0.1:1' });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^tsnetctl: .*127\.0\.0\.1:1.*\n$/);
  });

  test('a full disk under its output is said in one line', () => {
    const { status, stderr } = spawnSync('sh', ['-c', 'tsnetctl get nodes > /dev/full'], {
      env: env(),
      encoding: 'utf8',
    });
    expect([status, stderr.trim().split('\n')]).toEqual([1, [expect.stringContaining('tsnetctl: standard output')]]);
  });

  test('a reader that has seen enough is no failure', () => {
    const { status, stderr } = spawnSync(
      'bash',
      ['--norc', '-c', 'set -o pipefail; tsnetctl get nodes -o json | head -1'],
      {
        cwd,
        encoding: 'utf8',
        env: env(),
      },
    );
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe('completion', () => {
  /** What bash would offer for a line with the cursor at its end. */
  const bash = (line: string): string[] => {
    const script = `source <(tsnetctl completion bash)
      COMP_LINE=$1 COMP_POINT=\${#1}
      read -ra COMP_WORDS <<< "$1"; [[ $1 == *' ' ]] && COMP_WORDS+=('')
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      _tsnetctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script, 'bash', line], {
      cwd,
      encoding: 'utf8',
      env: env(),
    });
    expect(stderr).toBe('');
    return stdout.split('\n').filter(Boolean);
  };

  test('bash completes verbs, kinds and the names of resources', () => {
    expect(bash('tsnetctl de')).toEqual(['delete']);
    expect(bash('tsnetctl get ippo')).toEqual(['ippool', 'ippools']);
    expect(bash('tsnetctl get node ')).toEqual(['n1', 'n2', 'n3']);
    expect(bash('tsnetctl delete np -n prod w')).toEqual(['web']);
    expect(bash('tsnetctl get nodes -o ')).toContain('yaml');
  });

  test('an interactive bash completes with the tab key', () => {
    const keys = `source <(tsnetctl completion bash)\ntsnetctl get gnp ed\t -o name\nexit\n`;
    const { stdout } = spawnSync('script', ['-qec', 'bash --norc --noprofile -i', '/dev/null'], {
      cwd,
      input: keys,
      encoding: 'utf8',
      env: { ...env(), PS1: '$ ', TERM: 'xterm' },
    });
    expect(stdout).toContain('globalnetworkpolicy/edge-in');
  });

  test('zsh takes the script and offers names', () => {
    const script = `compdef() { print "compdef $*"; }; compadd() { shift; print -l -- \${(P)1}; }
      source <(tsnetctl completion zsh)
      words=(tsnetctl get node ''); CURRENT=4; _tsnetctl`;
    const { stdout, stderr } = spawnSync('zsh', ['-fc', script], { cwd, encoding: 'utf8', env: env() });
    expect(stderr).toBe('');
    expect(stdout.split('\n').filter(Boolean)).toEqual(['compdef _tsnetctl tsnetctl', 'n1', 'n2', 'n3']);
  });

  test('fish completes verbs and names', () => {
    const offer = (line: string) => {
      const script = `tsnetctl completion fish | source; complete -C '${line}'`;
      const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', script], {
        cwd,
        encoding: 'utf8',
        env: { ...env(), HOME: cwd },
      });
      expect(stderr).toBe('');
      return stdout.split('\n').filter(Boolean);
    };
    expect(offer('tsnetctl de')).toEqual(['delete']);
    expect(offer('tsnetctl get node ')).toEqual(['n1', 'n2', 'n3']);
  });
});
