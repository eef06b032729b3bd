import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { run, settledMatrix, waitFor } from '../../deploy/lab/index.ts';
import { buildImage, type Image } from './dockerfile.ts';
import { onNode, Pod } from './pod.ts';
import { useLab, waitReach } from './use-lab.ts';

/**
 * deploy/Dockerfile and the manifest of Kubernetes, proven without an engine for images: the steps of the one are done in a Debian made by debootstrap, and the
 * pod of the other is started from it on a node of a lab, in place of the agent there.
 */

const PROJECT = join(import.meta.dirname, '../..');
const MANIFEST = join(PROJECT, 'deploy/kubernetes/tsnet.yaml');
/** linux/capability.h */
const CAPABILITY: Record<string, number> = { NET_BIND_SERVICE: 10, NET_ADMIN: 12, NET_RAW: 13 };
const scratch = mkdtempSync(join(tmpdir(), 'tsn-image-'));
const lab = useLab('im', { nodes: 2 });
let image: Image;
let pod: Pod;

beforeAll(async () => {
  image = await buildImage(join(PROJECT, 'deploy/Dockerfile'), PROJECT, scratch);
  const node = lab().host('node-2');
  await lab().node('node-2').stop();
  pod = new Pod(MANIFEST, image, {
    netns: node.netns,
    fields: { 'spec.nodeName': 'node-2', 'status.hostIP': node.addresses[0] },
    config: { 'etcd-endpoints': lab().etcd.endpoint },
    secrets: {
      'tsnet-node-token': { token: 'secret', 'ca.crt': 'PEM' },
      'tsnet-etcd': { username: 'agent', password: 'a', 'cni-username': 'plugin', 'cni-password': 'p' },
    },
    env: { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' },
    // As the manifest says, where etcd has no TLS.
    without: ['ETCD_CA_CERT_FILE', 'ETCD_CERT_FILE', 'ETCD_KEY_FILE'],
  });
}, 600_000);
afterAll(async () => {
  await pod?.remove();
  rmSync(scratch, { recursive: true, force: true });
  expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(scratch);
});

test('the init container installs the plugin without any capability', async () => {
  const [install] = pod.spec.initContainers;
  const { code, stdout, stderr } = await pod.runInit(install);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toContain('installed /host/opt/cni/bin/tsnet-cni');
  const { plugins } = JSON.parse(readFileSync(pod.path('cni-net', '10-tsnet.conflist'), 'utf8'));
  expect(plugins[0]).toMatchObject({
    nodename: 'node-2',
    etcd_endpoints: lab().etcd.endpoint,
    etcd_username: 'plugin',
    etcd_password: 'p',
    kubernetes: { kubeconfig: '/etc/cni/net.d/tsnet-kubeconfig' },
  });
  const kubeconfig = parse(readFileSync(pod.path('cni-net', 'tsnet-kubeconfig'), 'utf8'));
  expect(kubeconfig.users[0].user.token).toBe('secret');
});

test('the agent is ready, and reaches and is reached by BGP on port 179, with three capabilities and a root that it cannot write', async () => {
  const node = lab().node('node-2');
  const [agent] = pod.spec.containers;
  await pod.start(agent);
  const { host, port, path } = agent.readinessProbe.httpGet;
  await waitFor('the agent in the container to be ready', async () => {
    const answer = await node
      .get(`http://${host}:${port}${path}`)
      .catch(({ message }) => ({ status: 0, text: message }));
    return answer.status === 200 || `${answer.text} ${await pod.logs(agent)}`;
  });

  const pid = await pod.pid(agent);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mask = (agent.securityContext.capabilities.add ?? []).reduce((sum, name) => sum | (1 << CAPABILITY[name]), 0);
  for (const set of ['CapPrm', 'CapEff', 'CapBnd'])
    expect(status).toMatch(new RegExp(`^${set}:\\s*0*${mask.toString(16)}$`, 'm'));
  expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
  expect(status).toMatch(/^Seccomp:\s*2$/m);
  const write = await pod.exec(agent, ['sh', '-c', 'echo x > /opt/tsnet/x']);
  expect(write.stderr).toContain('Read-only file system');

  expect(await node.run(['ss', '-Hltn', 'sport', '=', ':179'])).toContain(':179');
  await waitFor('the router to have its session with the container', async () => {
    const sessions = await lab().tor.sessions();
    const one = sessions.find(({ name }) => name.startsWith('node_2'));
    return one?.state === 'Established' || JSON.stringify(sessions);
  });
  const seen = await pod.exec(agent, ['tsnetctl', 'bgp', 'peers', '-o', 'json']);
  const peers: { state: string }[] = JSON.parse(seen.stdout);
  expect(peers.map(({ state }) => state)).toEqual(peers.map(() => 'Established'));
  expect(readFileSync(pod.path('var-lib-calico', 'nodename'), 'utf8')).toBe('node-2');
});

test('its node forwards, and a new workload is reached as policy says', async () => {
  await settledMatrix(lab());
  const added = await lab().addWorkload('node-2');
  await waitReach(lab(), 'client-1', added.name, true);
  const closed = {
    kind: 'GlobalNetworkPolicy',
    name: 'closed',
    spec: { order: 1, selector: "app == 'web'", types: ['Ingress'], ingress: [{ action: 'Deny' }] },
  };
  await lab().put(closed);
  await waitReach(lab(), 'client-1', added.name, false);
  await lab().remove(closed);
  await waitReach(lab(), 'client-1', added.name, true);
  await lab().removeWorkload(added.name);
});

test('the plugin that was installed connects a container on the node, with the agent’s word that policy is in place', async () => {
  const { netns } = lab().host('node-2');
  const container = `${netns}-cni`;
  await run(['ip', 'netns', 'add', container]);
  try {
    const { plugins, name, cniVersion } = JSON.parse(readFileSync(pod.path('cni-net', '10-tsnet.conflist'), 'utf8'));
    const conf = { ...plugins[0], name, cniVersion, log_file_path: undefined };
    const call = (command: string) => {
      const where = { CNI_CONTAINERID: 'pod1', CNI_IFNAME: 'eth0', CNI_NETNS: `/run/netns/${container}` };
      const env = { CNI_COMMAND: command, CNI_PATH: '/opt/cni/bin', PATH: process.env.PATH, ...where };
      const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
      return onNode(pod, netns, ['env', '-i', ...words, '/opt/cni/bin/tsnet-cni'], JSON.stringify(conf));
    };
    const { ips }: { ips: { address: string }[] } = JSON.parse(await call('ADD'));
    expect(readdirSync(pod.path('run', 'endpoint-status'))).toContain('cni default%2Fpod1 eth0');
    expect(await lab().node('node-2').run(['ip', 'route', 'show', ips[0].address])).toContain('dev calipod1');
    await call('DEL');
  } finally {
    await run(['ip', 'netns', 'del', container]);
  }
});

test('SIGTERM ends it well, and its node goes on forwarding', async () => {
  const [agent] = pod.spec.containers;
  expect(await pod.stop(agent)).toBe(0);
  await waitReach(lab(), 'client-1', 'web-2', true);
});
