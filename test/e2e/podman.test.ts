import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { run, runIn, waitFor } from '../../deploy/lab/index.ts';
import { useLab } from './use-lab.ts';

/** Containers that podman starts, on two nodes of a lab: podman 4.3 with its CNI backend, runc, and tsnet-cni from a directory of its own. */

const lab = useLab('pm', { nodes: 2, workloadsPerNode: 0 });
const NODES = ['node-1', 'node-2'];
const dir = mkdtempSync(join(tmpdir(), 'tsn-podman-'));
const started: { node: string; name: string }[] = [];

beforeAll(() => {
  const rootfs = join(dir, 'rootfs');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'tmp', 'etc', 'www'])
    mkdirSync(join(rootfs, name), { recursive: true });
  copyFileSync('/usr/bin/busybox', join(rootfs, 'bin/busybox'));
  symlinkSync('busybox', join(rootfs, 'bin/sh'));
  writeFileSync(join(rootfs, 'www/index.html'), 'hello from a container\n');
  mkdirSync(join(dir, 'bin'));
  copyFileSync(join(import.meta.dirname, '../../dist/cni-file/tsnet-cni'), join(dir, 'bin/tsnet-cni'));
  for (const node of NODES) configure(node);
});
afterAll(async () => {
  for (const { node, name } of started) await podman(node, 'rm', '-f', '-t', '0', name).catch(() => {});
  rmSync(dir, { recursive: true, force: true });
});

/** A node's podman: its own storage, its own networks. */
function configure(node: string): void {
  const own = join(dir, node);
  mkdirSync(join(own, 'net.d'), { recursive: true });
  writeFileSync(
    join(own, 'containers.conf'),
    `[network]
network_backend = "cni"
cni_plugin_dirs = ["${join(dir, 'bin')}", "/usr/lib/cni"]
network_config_dir = "${join(own, 'net.d')}"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
log_driver = "k8s-file"
`,
  );
  const conflist = {
    cniVersion: '0.4.0',
    name: 'pods',
    plugins: [
      {
        type: 'tsnet-cni',
        datastore_type: 'etcdv3',
        etcd_endpoints: lab().etcd.endpoint,
        nodename: node,
        mtu: 1400,
        ipam: { type: 'tsnet-ipam', assign_ipv4: 'true', assign_ipv6: 'true' },
        ipam_lock_file: join(own, 'ipam.lock'),
        run_dir: lab().node(node).runDirectory,
        policy_setup_timeout_seconds: 20,
      },
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
      { type: 'tuning', sysctl: { 'net.ipv4.tcp_syncookies': '1' } },
    ],
  };
  writeFileSync(join(own, 'net.d/10-pods.conflist'), JSON.stringify(conflist));
}

/** Not `ip netns exec`, which hides the control groups that runc needs. */
function podman(node: string, ...args: string[]): Promise<string> {
  const own = join(dir, node);
  const places = ['--root', join(own, 'root'), '--runroot', join(own, 'run'), '--tmpdir', join(own, 'tmp')];
  const command = [
    'env',
    `CONTAINERS_CONF=${join(own, 'containers.conf')}`,
    'podman',
    ...places,
    '--storage-driver',
    'vfs',
  ];
  return run(['nsenter', `--net=/run/netns/${lab().host(node).netns}`, '--', ...command, ...args]);
}

async function start(node: string, name: string, ...options: string[]): Promise<{ v4: string; v6: string }> {
  started.push({ node, name });
  const limits = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024'];
  const command = ['--rootfs', join(dir, 'rootfs'), '/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'];
  await podman(node, 'run', '-d', '--name', name, '--network', 'pods', ...limits, ...options, ...command);
  const format = '{{.NetworkSettings.Networks.pods.IPAddress}} {{.NetworkSettings.Networks.pods.GlobalIPv6Address}}';
  const [v4, v6] = (await podman(node, 'inspect', '-f', format, name)).trim().split(' ');
  return { v4, v6 };
}

const FETCH = `fetch(process.argv[1], { signal: AbortSignal.timeout(2000) }).then((r) => r.text()).then(console.log, (e) => console.log(String(e.cause ?? e)))`;

/** True when a container gets the page of a URL, else why not. Asked by our own Node.js in its namespace: the static busybox cannot resolve. */
async function fetches(node: string, name: string, url: string): Promise<true | string> {
  const sandbox = (await podman(node, 'inspect', '-f', '{{.NetworkSettings.SandboxKey}}', name)).trim();
  const text = await run(['nsenter', `--net=${sandbox}`, '--', process.execPath, '-e', FETCH, url]);
  return text.includes('hello from a container') || text.trim();
}

test('containers of two nodes talk through tsnet, policy applies, ports are mapped, and removal leaves nothing', async () => {
  const [a, b] = [await start('node-1', 'pm-a'), await start('node-2', 'pm-b', '-p', '18080:8080')];
  expect(a.v4).toMatch(/^10\.65\./);
  expect(b.v6).toMatch(/^fd00:65:/);
  const [node2] = lab().host('node-2').addresses;
  const reached = (url: string, wanted = true) =>
    waitFor(`${wanted ? 'an answer' : 'no answer'} of ${url}`, async () => {
      const outcome = await fetches('node-1', 'pm-a', url);
      return wanted ? outcome : outcome !== true || 'it is answered';
    });
  await reached(`http://${b.v4}:8080/`);
  await reached(`http://[${b.v6}]:8080/`);
  await reached(`http://${node2}:18080/`);

  const closed = {
    kind: 'GlobalNetworkPolicy',
    name: 'closed',
    spec: { order: 1, selector: 'has(pods)', types: ['Ingress'], ingress: [{ action: 'Deny' }] },
  };
  await lab().put(closed);
  await reached(`http://${b.v4}:8080/`, false);
  await reached(`http://[${b.v6}]:8080/`, false);
  await lab().remove(closed);
  await reached(`http://${b.v4}:8080/`);

  for (const { node, name } of started.splice(0)) await podman(node, 'rm', '-f', '-t', '0', name);
  for (const node of NODES) {
    expect(await runIn(lab().host(node).netns, ['ip', '-o', 'link'])).not.toContain(': cali');
    await waitFor(`no route of a container on ${node}`, async () => {
      const routes = await runIn(lab().host(node).netns, ['ip', 'route', 'show', 'proto', '80']);
      return !/dev cali/.test(routes) || routes;
    });
  }
  expect(await lab().node('node-1').ctl(['get', 'workloadendpoints', '-A'])).toMatchObject({ items: [] });
  expect(await lab().etcd.list('/calico/ipam/v2/handle/pods.')).toEqual([]);
});
