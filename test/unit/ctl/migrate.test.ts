import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '#datastore';
import { HONOURED_FELIX_FIELDS, type Judgement } from '../../../ctl/migration.ts';
import { apply, CLUSTER, ctl, memoryStore } from './harness.ts';

let store: Store;
beforeEach(async () => {
  store = await memoryStore();
  await apply(store, CLUSTER);
});
const put = (path: string, value: object) =>
  store.txn([], [{ op: 'put', key: `/calico/resources/v3/projectcalico.org/${path}`, value: JSON.stringify(value) }]);
const check = async () => {
  const { out, status } = await ctl(store, ['migrate', 'check', '-o', 'json']);
  return { status, ...(JSON.parse(out) as { ok: boolean; objects: Judgement[] }) };
};

describe('migrate check', () => {
  test('an ordinary cluster is honoured', async () => {
    const { status, ok, objects } = await check();
    expect([status, ok]).toEqual([0, true]);
    expect(objects.filter(({ verdict }) => verdict !== 'honour')).toEqual([]);
    expect(objects.length).toBeGreaterThan(12);
  });

  test.each<[string, object, string, string, string | null]>([
    [
      'ippools/ipip',
      { metadata: { name: 'ipip' }, spec: { cidr: '10.9.0.0/16', ipipMode: 'Always' } },
      'ipip',
      'refuse',
      'spec.ipipMode',
    ],
    [
      'felixconfigurations/default',
      { metadata: { name: 'default' }, spec: { bpfEnabled: true } },
      'default',
      'refuse',
      'spec.bpfEnabled',
    ],
    [
      'felixconfigurations/default',
      { metadata: { name: 'default' }, spec: { healthPort: 9, bpfEnabled: false } },
      'default',
      'honour',
      'spec.healthPort',
    ],
    [
      'clusterinformations/default',
      { metadata: { name: 'default' }, spec: { datastoreReady: false } },
      'default',
      'refuse',
      'spec.datastoreReady',
    ],
    ['kubecontrollersconfigurations/default', { metadata: { name: 'default' }, spec: {} }, 'default', 'ignore', null],
    [
      'globalnetworkpolicies/h',
      { metadata: { name: 'h' }, spec: { ingress: [{ action: 'Allow', http: { methods: ['GET'] } }] } },
      'h',
      'honour',
      'spec.ingress[0].http',
    ],
    [
      'ippools/new',
      { metadata: { name: 'new' }, spec: { cidr: '10.9.0.0/16', inventedLater: 1 } },
      'new',
      'honour',
      'spec.inventedLater',
    ],
    ['ippools/bad', { metadata: { name: 'bad' }, spec: { cidr: 'nonsense' } }, 'bad', 'refuse', null],
    ['livemigrations/default/x', { metadata: { name: 'x' } }, 'default/x', 'ignore', null],
  ])('%s %j', async (path, value, name, verdict, field) => {
    await put(path, value);
    const { status, objects } = await check();
    const object = objects.find((one) => one.name === name && one.notes.length > 0);
    expect(object).toMatchObject({ verdict });
    expect(object?.notes.map((note) => note.field)).toContain(field);
    expect(status).toBe(verdict === 'refuse' ? 1 : 0);
  });

  test('for people: what is not honoured in full, and the counts', async () => {
    await put('ippools/ipip', { metadata: { name: 'ipip' }, spec: { cidr: '10.9.0.0/16', ipipMode: 'Always' } });
    const { out } = await ctl(store, ['migrate', 'check']);
    expect(out).toContain('refuse   IPPool(ipip)\n           spec.ipipMode is Always; tsnet has no IPIP tunnels');
    expect(out).toMatch(/IPPool +1 +0 +1 +\n/);
    expect(out).toContain('1 object to change before a node is switched.\n');
    expect(out).not.toContain('Node(n1)');
    expect((await ctl(store, ['migrate', 'check', '--all-objects'])).out).toContain('honour   Node(n1)');
  });
});

test('the fields of FelixConfiguration that are called honoured are read by the agent', () => {
  const agent = fileURLToPath(new URL('../../../agent', import.meta.url));
  const sources = readdirSync(agent, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(agent, name), 'utf8'))
    .join('\n');
  expect(HONOURED_FELIX_FIELDS.filter((field) => !new RegExp(`\\b${field}\\b`).test(sources))).toEqual([]);
  // Fields of the schema that are not called honoured are not read either: whoever makes the agent read one adds it to the list.
  const schema = readFileSync(
    fileURLToPath(new URL('../../../datastore/model/felix-configuration.ts', import.meta.url)),
    'utf8',
  );
  const fields = [
    ...(schema.match(/interface FelixConfigurationSpec \{([\s\S]*?)\n\}/)?.[1] ?? '').matchAll(/^ {2}(\w+)\??:/gm),
  ].map((m) => m[1]);
  expect(fields.length).toBeGreaterThan(30);
  const read = fields.filter((field) => new RegExp(`\\bspec(?:\\?)?\\.${field}\\b`).test(sources));
  expect(read.filter((field) => !HONOURED_FELIX_FIELDS.includes(field) && field !== 'logSeverityScreen')).toEqual([]);
});
