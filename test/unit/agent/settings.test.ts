import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { describe, expect, test } from 'vitest';
import { agentCommand, readSettings } from '../../../agent/read-settings.ts';

const read = (argv: string[], env: NodeJS.ProcessEnv = {}) =>
  readSettings(argv, env, agentCommand('0').configureOutput({ writeErr: () => {} }));

function file(content: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'tsnet-settings-')), 'config.yaml');
  writeFileSync(path, content);
  return path;
}

describe('where a setting comes from', () => {
  test('flag beats environment beats file beats default', () => {
    const config = file('nodeName: from-file\nas: 1\nlogLevel: debug\n');
    const all = read(['--config', config, '--node-name', 'from-flag'], { NODENAME: 'from-env', AS: '2' });
    expect(all).toMatchObject({ nodeName: 'from-flag', as: 2, logLevel: 'debug', bgpProfile: 'calico' });
    expect([...all.given].sort()).toEqual(['as', 'logLevel', 'nodeName']);
  });
  test('the datastore is etcd when endpoints are known, else the directory', () => {
    expect(read([]).datastore).toBe('directory');
    expect(read([], { ETCD_ENDPOINTS: 'http://a:2379,http://b:2379' })).toMatchObject({
      datastore: 'etcdv3',
      etcdEndpoints: ['http://a:2379', 'http://b:2379'],
    });
  });
  test('booleans: alone, with a value, as a variable', () => {
    expect(read(['--policy-only']).policyOnly).toBe(true);
    expect(read(['--policy-only=false'], { TSNET_POLICY_ONLY: 'true' }).policyOnly).toBe(false);
    expect(read(['--no-bgp']).noBgp).toBe(true);
    expect(read([], { TSNET_NO_BGP: 'true' }).noBgp).toBe(true);
  });
});

describe('a wrong setting is named with where it stands and what would be right', () => {
  test.each([
    [['--nope'], "tsnet-agent: unknown option '--nope'; see 'tsnet-agent --help'\n"],
    [
      ['--node-nam', 'x'],
      "tsnet-agent: unknown option '--node-nam' (Did you mean --node-name?); see 'tsnet-agent --help'\n",
    ],
    [['word'], "tsnet-agent: too many arguments. Expected 0 arguments but got 1; see 'tsnet-agent --help'\n"],
  ])('%j is answered in one line', (argv, line) => {
    const said: string[] = [];
    const command = agentCommand('0').configureOutput({ writeErr: (text) => said.push(text) });
    expect(() => readSettings(argv, {}, command)).toThrow(CommanderError);
    expect(said).toEqual([line]);
  });

  test.each([
    [['--as', 'x'], {}, "--as: 'x' must be an AS number, 1 to 4294967295"],
    [[], { AS: '0' }, "AS: '0' must be an AS number, 1 to 4294967295"],
    [
      ['--ip', '10.0.0.1/33'],
      {},
      "--ip: '10.0.0.1/33' must be an IPv4 address with its prefix length, 'autodetect' or 'none'",
    ],
    [['--ip6', '10.0.0.1/24'], {}, "--ip6: '10.0.0.1/24' must be an IPv6 address"],
    [
      ['--ip-autodetection-method', 'interface=eth[1'],
      {},
      '--ip-autodetection-method: \'interface=eth[1\' has "eth[1", which is no regular expression',
    ],
    [
      [],
      { IP6_AUTODETECTION_METHOD: 'cidr=fd00::/64,10.0.0.0/33' },
      'IP6_AUTODETECTION_METHOD: \'cidr=fd00::/64,10.0.0.0/33\' has "10.0.0.0/33", which is no network',
    ],
    [['--node-name', 'Node_1'], {}, "--node-name: 'Node_1' must be a lower-case DNS name"],
    [['--log-level', 'loud'], {}, "--log-level: 'loud' must be one of trace, debug"],
    [['--metrics-listen', '9091'], {}, "--metrics-listen: '9091' must be ADDRESS:PORT"],
    [['--datastore', 'etcdv3'], {}, 'no --etcd-endpoints'],
    [['--ip', 'none', '--ip6', 'none'], {}, 'both none'],
  ])('%j %j', (argv, env, message) => {
    expect(() => read(argv as string[], env as NodeJS.ProcessEnv)).toThrow(message as string);
  });
  test('an unknown key in the file', () => {
    const config = file('nodename: x\n');
    expect(() => read(['--config', config])).toThrow(`--config ${config}: unknown key 'nodename'`);
  });
  test('a file that is not YAML names the line', () => {
    const config = file('a: [\n');
    expect(() => read(['--config', config])).toThrow(/config.*line/s);
  });
});
