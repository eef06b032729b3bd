import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  createNetns,
  createWorkload,
  endpointManifest,
  expected,
  ip,
  Lab,
  LabState,
  type Manifest,
  planLab,
  startProbe,
  waitFor,
} from '../../deploy/lab/index.ts';
import { kernelText, waitReach } from './use-lab.ts';

/** The embedded default: one machine, no etcd, a directory of resource files. */

const name = `di${process.pid}`;
const directory = new LabState(name).path('resources');
const options = { name, nodes: 1, etcd: false, agentArgs: ['--directory', directory] };
const plan = planLab(options);
const lab = new Lab(options);
const node = lab.node('node-1');
const [web, client] = plan.workloads;

const asYaml = ({ kind, name, namespace, labels, spec }: Manifest): string =>
  `apiVersion: projectcalico.org/v3\nkind: ${kind}\nmetadata: ${JSON.stringify({ name, namespace, labels })}\nspec: ${JSON.stringify(spec)}\n`;
const policy = (action: string) => `apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: web
spec:
  order: 100
  selector: app == 'web'
  types: [Ingress]
  ingress:
  - action: ${action}
    protocol: TCP
    source:
      selector: app == 'client'
`;
const PROFILE: Manifest = {
  kind: 'Profile',
  name: 'lab',
  spec: {
    ingress: [{ action: 'Allow', source: { selector: 'has(lab)' } }],
    egress: [{ action: 'Allow' }],
    labelsToApply: { lab: '' },
  },
};
const write = (file: string, text: string) => writeFileSync(join(directory, file), text);
const reached = (wanted: boolean) => waitReach(lab, client.name, web.name, wanted, 20_000);

beforeAll(async () => {
  const { state } = lab;
  state.create(options);
  mkdirSync(directory);
  const [machine] = plan.nodes;
  await createNetns(machine.netns);
  await ip(machine.netns, [
    'link add eth0 type veth peer name wire',
    'addr add 10.99.0.11/24 dev eth0',
    'link set eth0 up',
    'link set wire up',
  ]);
  for (const workload of [web, client]) {
    state.saveWorkload(workload);
    await createWorkload(workload, machine);
    await startProbe(state, workload);
  }
});
afterAll(() => lab.down());

test('one machine does the same job from files, without etcd', async () => {
  const endpoints = [web, client].map((workload, n) => asYaml(endpointManifest(workload, `02:00:00:00:00:0${n + 1}`)));
  write('endpoints.yaml', endpoints.join('---\n'));
  const { kind, spec } = PROFILE;
  write('profile.json', JSON.stringify({ apiVersion: 'projectcalico.org/v3', kind, metadata: { name: 'lab' }, spec }));
  write('policy.yaml', policy('Allow'));
  await node.start();
  await node.ready();
  expect(expected(client, web)).toBe(true);
  await reached(true);
  await waitReach(lab, web.name, client.name, true);
  expect((await node.ownRoutes()).filter((route) => route.includes(' dev cali')).length).toBe(4);
});

test('an edit takes effect, and so does a file that comes or goes', async () => {
  write('policy.yaml', policy('Deny'));
  await reached(false);
  rmSync(join(directory, 'policy.yaml'));
  await reached(true); // by the profile
  write('policy.yaml', policy('Deny'));
  await reached(false);
  write('policy.yaml', policy('Allow'));
  await reached(true);
});

test('a broken file is named with line and field, and its last good content stays', async () => {
  const before = await kernelText(node);
  const broken = [
    { text: `${policy('Allow')}  selector: [\n`, says: /policy\.yaml:\d+/ },
    {
      text: policy('Allow').replace('order: 100', 'order: first'),
      says: /policy\.yaml:6.*order|order.*policy\.yaml:6/,
    },
    {
      text: policy('Allow').replace("app == 'web'", 'app =='),
      says: /policy\.yaml:7.*selector|selector.*policy\.yaml:7/,
    },
  ];
  for (const { text, says } of broken) {
    const logged = node.logText().length;
    write('policy.yaml', text);
    await waitFor(`the log to say ${says}`, () => {
      const said = node.logText().slice(logged);
      return said.split('\n').some((line) => says.test(line)) || said;
    });
    expect(await kernelText(node)).toBe(before);
  }
  write('policy.yaml', policy('Deny'));
  await reached(false);
});
