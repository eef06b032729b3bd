import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Daemon, waitFor } from '../../deploy/lab/index.ts';
import { useLab, waitReach } from './use-lab.ts';

/** What a person and a monitoring system see: tsnetctl, /metrics by a real Prometheus, health, logs. */

const lab = useLab('op', { nodes: 2 });

describe('tsnetctl', () => {
  const ctl = async (...args: string[]) => {
    const output = await lab().node('node-1').tsnetctl(args);
    expect(output, args.join(' ')).toMatchObject({ code: 0 });
    return output.stdout;
  };
  const names = () => lab().workloads.map((w) => w.interfaceName);

  test('get endpoints: every form, the same content', async () => {
    for (const form of ['table', 'wide', 'yaml', 'json']) {
      const text = await ctl('get', 'endpoints', '-A', '-o', form);
      for (const name of names()) expect([form, text.includes(name)]).toEqual([form, true]);
    }
    const list = JSON.parse(await ctl('get', 'wep', '-A', '-o', 'json'));
    expect(list.kind).toBe('WorkloadEndpointList');
    expect(list.items.length).toBe(4);
    const plain = (await ctl('get', 'workloadendpoints', '-A', '-o', 'name')).trim().split('\n');
    expect(plain.length).toBe(4);
  });

  test('get: every kind that the cluster uses', async () => {
    const kinds = ['nodes', 'ippools', 'tiers', 'profiles', 'globalnetworkpolicies', 'globalnetworksets', 'bgppeers'];
    const more = ['bgpconfigurations', 'felixconfigurations', 'clusterinformations'];
    for (const kind of [...kinds, ...more]) {
      const { items } = JSON.parse(await ctl('get', kind, '-o', 'json'));
      expect([kind, items.length > 0]).toEqual([kind, true]);
    }
  });

  test('apply, replace, delete act on the cluster; create refuses what exists; validate names file and field', async () => {
    const node = lab().node('node-1');
    const file = lab().state.path('policy.yaml');
    const text = (action: string) =>
      `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: by-hand}\nspec:\n  order: 1\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n  - action: ${action}\n`;
    await waitReach(lab(), 'client-1', 'web-2', true);
    writeFileSync(file, text('Deny'));
    await ctl('create', '-f', file);
    await waitReach(lab(), 'client-1', 'web-2', false);
    const again = await node.tsnetctl(['create', '-f', file]);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('by-hand');
    writeFileSync(file, text('Allow'));
    await ctl('apply', '-f', file);
    await waitReach(lab(), 'web-1', 'web-2', true);
    writeFileSync(file, text('Deny'));
    await ctl('replace', '-f', file);
    await waitReach(lab(), 'client-1', 'web-2', false);
    await ctl('delete', 'globalnetworkpolicy', 'by-hand');
    await waitReach(lab(), 'client-1', 'web-2', true);
    writeFileSync(file, text('Permit'));
    const invalid = await node.tsnetctl(['validate', '-f', file]);
    expect(invalid.code).toBe(1);
    expect(invalid.stdout + invalid.stderr).toMatch(/policy\.yaml.*action|action.*policy\.yaml/s);
  });

  test('explain says of a connection what packets find, and of a staged policy what it would do', async () => {
    const node = lab().node('node-1');
    const explain = async (from: string, to: string, at: 0 | 1) => {
      const named = (name: string) => lab().workloads.find((w) => w.name === name)?.interfaceName;
      const end = (name: string) => named(name) ?? lab().host(name).addresses[at];
      const argv = ['--from', end(from), '--to', end(to), '--port', '8080', '--ip-version', at === 0 ? '4' : '6'];
      return (await node.ctl(['explain', ...argv])) as {
        verdict: string;
        steps: { policy: string | null; action: string }[];
        destination: { address: string };
        staged: { verdict: string; policies: { policy: string }[] };
      };
    };
    const file = lab().state.path('staged.yaml');
    const staged = `apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: shut-web}
spec: {order: 0, selector: app == 'web', types: [Ingress], ingress: [{action: Deny}]}
`;
    writeFileSync(file, staged);
    await ctl('create', '-f', file);
    // Another change, which packets show, so that the agents have seen the staged one before.
    writeFileSync(
      file,
      staged.replace('Staged', '').replace('shut-web', 'shut-client').replace("== 'web'", "== 'client'"),
    );
    await ctl('create', '-f', file);
    await waitReach(lab(), 'web-1', 'client-1', false);
    for (const [from, to, allowed] of [
      ['client-1', 'web-2', true],
      ['web-1', 'web-2', false],
      ['office', 'web-2', true],
      ['web-1', 'client-1', false],
      ['web-2', 'office', true],
    ] as const) {
      await waitReach(lab(), from, to, allowed);
      for (const at of [0, 1] as const) {
        const said = await explain(from, to, at);
        const what = [from, to, at];
        expect([...what, said.verdict]).toEqual([...what, allowed ? 'Allow' : 'Deny']);
        expect(said.destination.address).toBe(lab().host(to).addresses[at]);
        expect(said.steps.at(-1)?.action).toBe(said.verdict);
        const isStaged = to === 'web-2';
        expect(said.staged).toMatchObject({
          verdict: isStaged ? 'Deny' : said.verdict,
          policies: isStaged ? [{ policy: 'StagedGlobalNetworkPolicy/shut-web' }] : [],
        });
      }
    }
    expect((await explain('web-1', 'client-1', 0)).steps.at(-1)).toMatchObject({
      policy: 'GlobalNetworkPolicy/shut-client',
      rule: 0,
    });
    await ctl('delete', 'gnp', 'shut-client');
    await ctl('delete', 'sgnp', 'shut-web');
    const unknown = await node.tsnetctl(['explain', '--from', 'nobody', '--to', '192.0.2.1', '--port', '1']);
    expect([unknown.code, unknown.stdout]).toEqual([1, '']);
    expect(unknown.stderr).toContain("--from 'nobody' is not there");
  });

  test('node status, bgp peers and bgp routes', async () => {
    const node = lab().node('node-1');
    const status = (await node.ctl(['node', 'status'])) as Record<string, unknown>;
    expect(status).toMatchObject({
      node: 'node-1',
      ready: true,
      datastore: { type: 'etcdv3', state: 'in-sync' },
      endpoints: { total: 2, programmed: 2, failed: [] },
    });
    expect(await ctl('bgp', 'peers')).toContain(lab().plan.tor.addresses[0]);
    expect(await ctl('bgp', 'refresh', lab().plan.tor.addresses[0])).toContain('has been asked');
    const routes = (await node.ctl(['bgp', 'routes'])) as { prefix: string; best: boolean; source: string }[];
    const best = new Map(routes.filter((route) => route.best).map((route) => [route.prefix, route.source]));
    expect(best.get('10.65.1.0/26')).toBe('Local');
    expect(best.get('10.65.2.0/26')).toBe('10.99.0.12');
    expect(best.get('10.200.0.0/24')).toBe('10.99.0.1');
  });

  test('a kind that is not one suggests the near one; a wrong option is wrong usage', async () => {
    const node = lab().node('node-1');
    const typo = await node.tsnetctl(['get', 'ippol']);
    expect(typo.code).toBeGreaterThan(0);
    expect(typo.stderr).toContain('ippool');
    expect((await node.tsnetctl(['get', 'nodes', '--frobnicate'])).code).toBe(2);
    for (const verb of [[], ['get'], ['apply'], ['node'], ['bgp']])
      expect((await node.tsnetctl([...verb, '--help'])).code).toBe(0);
  });
});

describe('metrics', () => {
  test('promtool finds nothing to complain about', async () => {
    const node = lab().node('node-1');
    const { status, text } = await node.get('http://127.0.0.1:9091/metrics');
    expect(status).toBe(200);
    const { code, stdout, stderr } = await node.exec(['promtool', 'check', 'metrics'], text);
    expect([code, stdout, stderr]).toEqual([0, '', '']);
  });

  test('a real Prometheus scrapes them', async () => {
    const node = lab().node('node-1');
    const config = lab().state.path('prometheus.yml');
    writeFileSync(
      config,
      'global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: tsnet\n  static_configs: [{targets: ["127.0.0.1:9091"]}]\n',
    );
    const prometheus = await Daemon.start(lab().state, {
      name: 'prometheus',
      netns: node.plan.netns,
      command: [
        'prometheus',
        `--config.file=${config}`,
        `--storage.tsdb.path=${lab().state.path('prometheus')}`,
        '--web.listen-address=127.0.0.1:9090',
      ],
    });
    const query = async (text: string): Promise<number[]> => {
      const answer = await node.get(`http://127.0.0.1:9090/api/v1/query?query=${encodeURIComponent(text)}`);
      return JSON.parse(answer.text).data.result.map((sample: { value: [number, string] }) => Number(sample.value[1]));
    };
    await prometheus.waitFor('a scrape', async () => `${await query('up')}` === '1' || 'not up');
    const found = JSON.parse((await node.get('http://127.0.0.1:9090/api/v1/label/__name__/values')).text)
      .data as string[];
    const wanted = [
      'tsnet_apply_seconds_bucket',
      'tsnet_datastore_to_kernel_seconds_bucket',
      'tsnet_loop_lag_seconds',
      'tsnet_routes',
      'tsnet_rules',
      'tsnet_sets',
    ];
    expect(wanted.filter((name) => !found.includes(name))).toEqual([]);
    for (const subject of ['peer', 'endpoint', 'polic', 'error', 'failure', 'flaps', 'messages', 'prefixes'])
      expect([subject, found.some((name) => name.startsWith('tsnet_') && name.includes(subject))]).toEqual([
        subject,
        true,
      ]);
    await prometheus.stop();
  });
});

describe('health', () => {
  test('says yes, and while it is not ready says why', async () => {
    const node = lab().node('node-1');
    expect((await node.get('http://127.0.0.1:9099/liveness')).status).toBe(200);
    expect((await node.get('http://127.0.0.1:9099/readiness')).status).toBe(200);
    await lab().cut('node-2', 'etcd');
    const second = lab().node('node-2');
    await second.stop();
    await second.start();
    await waitFor('an answer', async () => {
      const { status, text } = await second.get('http://127.0.0.1:9099/readiness');
      return (status === 503 && /datastore|sync/i.test(text)) || `${status} ${text}`;
    });
    expect((await second.get('http://127.0.0.1:9099/liveness')).status).toBe(200);
    await lab().heal('node-2', 'etcd');
    await second.ready();
  });
});

test('the log is JSON, with a line for what an operator would ask about', async () => {
  const node = lab().node('node-1');
  const workload = await lab().addWorkload('node-1');
  await waitFor(
    'the log to name the new interface',
    () => node.logText().includes(workload.interfaceName) || 'not yet',
  );
  await lab().removeWorkload(workload.name);
  for (const line of node.logText().trim().split('\n'))
    expect(JSON.parse(line)).toMatchObject({ level: expect.any(Number), msg: expect.any(String) });
});
