import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CNI_CODE } from '../../../cni/error.ts';
import { Rig } from './rig.ts';

/** tsnet-cni for pods: what it asks an API server, by a kubeconfig as the installer writes it, and what becomes of the answers. */

const TOKEN = 'the-token-of-the-secret';
const POD = {
  metadata: {
    labels: { app: 'web', 'app.kubernetes.io/name': 'web' },
    annotations: {
      'cni.projectcalico.org/ipv4pools': '["other"]',
      'cni.projectcalico.org/hwAddr': '02:00:5E:00:00:07',
      'qos.projectcalico.org/egressBandwidth': '10M',
    },
  },
  spec: {
    serviceAccountName: 'shop',
    containers: [
      { ports: [{ name: 'HTTP', containerPort: 8080 }] },
      { ports: [{ containerPort: 53, protocol: 'UDP', hostPort: 5353 }, { containerPort: 9 }] },
    ],
  },
};

let rig: Rig;
let server: Server;
const objects = new Map<string, object>();
beforeAll(async () => {
  rig = new Rig('cnik8s');
  await rig.start();
  for (const name of ['ca', 'stranger'])
    execFileSync(
      'openssl',
      [
        ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', `/CN=${name}`],
        ...['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${name}.key`, '-out', `${name}.pem`],
      ],
      { cwd: rig.dir, stdio: 'ignore' },
    );
  const pem = (file: string) => readFileSync(join(rig.dir, file));
  server = createServer({ key: pem('ca.key'), cert: pem('ca.pem') }, (request, response) => {
    const found = objects.get(request.url ?? '');
    const allowed = request.headers.authorization === `Bearer ${TOKEN}`;
    response.statusCode = !allowed ? 401 : found ? 200 : 404;
    response.end(JSON.stringify(allowed && found ? found : { kind: 'Status' }));
  }).listen(6443, '127.0.0.1');
  await once(server, 'listening');
  objects.set('/api/v1/namespaces/prod/pods/web-0', POD);
  objects.set('/api/v1/namespaces/prod', { metadata: { labels: { team: 'net' } } });
});
afterEach(async () => expect(await rig.held()).toEqual({ endpoints: [], handles: 0, addresses: 0 }));
afterAll(async () => {
  server?.close();
  await rig?.stop();
});

/** As deploy/install-cni.mjs writes it. */
function kubeconfig({ token = TOKEN, ca = 'ca.pem', port = 6443 } = {}): string {
  const authority = readFileSync(join(rig.dir, ca)).toString('base64');
  const path = join(rig.dir, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'tsnet',
    contexts: [{ name: 'tsnet', context: { cluster: 'tsnet', user: 'tsnet' } }],
    clusters: [
      { name: 'tsnet', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': authority } },
    ],
    users: [{ name: 'tsnet', user: { token } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}
const ARGS = { CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=x' };

test('an endpoint has the labels, ports, account and wishes of its pod; DEL asks no API server', async () => {
  const container = rig.container('pod1');
  const conf = rig.conf({ ipam: { type: 'calico-ipam' }, kubernetes: { kubeconfig: kubeconfig() } });
  const result = await rig.add(container, conf, ARGS);
  expect(result.ips.map(({ address }) => address)).toEqual([expect.stringMatching(/^10\.66\.0\.\d+\/32$/)]);
  const { metadata, spec } = await rig.resources.get('WorkloadEndpoint', 'node--1-k8s-web--0-eth0', 'prod');
  expect(metadata.labels).toEqual({
    ...POD.metadata.labels,
    'projectcalico.org/namespace': 'prod',
    'projectcalico.org/orchestrator': 'k8s',
  });
  expect(spec).toMatchObject({
    pod: 'web-0',
    containerID: 'pod1',
    mac: '02:00:5e:00:00:07',
    serviceAccountName: 'shop',
    qosControls: { egressBandwidth: 10_000_000 },
    profiles: ['net1'],
    ports: [
      { name: 'http', protocol: 'TCP', port: 8080, hostPort: 0 },
      { name: '', protocol: 'UDP', port: 53, hostPort: 5353 },
    ],
  });
  await rig.del(container, { ...conf, kubernetes: { kubeconfig: '/nonexistent' } }, ARGS);

  const profiled = { ...conf, policy: { type: 'k8s' } };
  await rig.add(container, profiled, ARGS);
  const again = await rig.resources.get('WorkloadEndpoint', 'node--1-k8s-web--0-eth0', 'prod');
  expect(again.spec.profiles).toEqual(['kns.prod', 'ksa.prod.shop']);
  await rig.del(container, profiled, ARGS);
});

test.each([
  ['a wrong token', () => ({ token: 'old' }), 'web-0', CNI_CODE.denied, 'refused with 401'],
  ['a pod that is gone', () => ({}), 'web-1', CNI_CODE.missing, 'pods/web-1: there is no such object'],
  ['another authority', () => ({ ca: 'stranger.pem' }), 'web-0', CNI_CODE.tryAgain, 'self-signed certificate'],
  ['nobody there', () => ({ port: 9 }), 'web-0', CNI_CODE.tryAgain, 'ECONNREFUSED'],
] as const)('%s is said, and nothing is left', async (_, wrong, pod, code, words) => {
  const conf = rig.conf({ kubernetes: { kubeconfig: kubeconfig(wrong()) } });
  const container = rig.container(`w${pod}${code}${words.length}`);
  const { status, stdout } = await rig.run('ADD', container, conf, { CNI_ARGS: ARGS.CNI_ARGS.replace('web-0', pod) });
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({ code, msg: expect.stringContaining(words) });
});

test('a kubeconfig that cannot be used is named', async () => {
  const conf = rig.conf({ kubernetes: { kubeconfig: '/nonexistent' } });
  const { stdout } = await rig.run('ADD', rig.container('none'), conf, ARGS);
  expect(JSON.parse(stdout)).toMatchObject({
    code: CNI_CODE.configuration,
    msg: expect.stringMatching(/kubernetes\.kubeconfig: \/nonexistent cannot be used/),
  });
});
