import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { FakeClock, silentLog } from '#core';
import { decodeResource, MemoryStore, parseKey, startSyncer, type Update, type WorkloadEndpoint } from '#datastore';
import { RemoteEndpoints } from '../../../datastore/sync/remote-endpoints.ts';

const KEY = '/calico/resources/v3/projectcalico.org/workloadendpoints/prod/far-k8s-web--1-eth0';
type Key = Parameters<RemoteEndpoints['read']>[1];
const keyOf = (key: string) => parseKey(key) as Key;

const METADATA = {
  name: 'far-k8s-web--1-eth0',
  namespace: 'prod',
  uid: '5b0b3c9e-7d2f-4b39-9f6c-1c5a0a3de7f1',
  creationTimestamp: '2026-03-01T09:30:00Z',
  labels: { app: 'web', 'projectcalico.org/namespace': 'prod', 'projectcalico.org/orchestrator': 'k8s' },
  annotations: { note: 'one of many' },
};
const SPEC = {
  orchestrator: 'k8s',
  node: 'far',
  pod: 'web-1',
  containerID: '0123456789abcdef',
  endpoint: 'eth0',
  interfaceName: 'cali0123456789a',
  mac: '66:0a:11:22:33:44',
  ipNetworks: ['10.0.0.1/32', 'fd00::1/128'],
  profiles: ['kns.prod', 'ksa.prod.default'],
  serviceAccountName: 'default',
  ports: [{ name: 'http', protocol: 'TCP', port: 8080, hostPort: 0, hostIP: '' }],
  ipNATs: [],
  ipv4Gateway: '',
};
const textOf = (metadata: object, spec: object, more: object = {}) =>
  JSON.stringify({ kind: 'WorkloadEndpoint', apiVersion: 'projectcalico.org/v3', metadata, spec, ...more });

/** As it lies in an answer: with other bytes before and after. */
function read(text: string, { node = 'near', key = KEY } = {}): WorkloadEndpoint | null {
  const value = Buffer.from(text);
  const buffer = Buffer.concat([Buffer.from('{"'), value, Buffer.from('"}')]);
  return new RemoteEndpoints(node).read({ buffer, from: 2, to: 2 + value.length }, keyOf(key));
}

/** Holds what was read against what the whole way makes of it. */
function isPartOfWhole(found: WorkloadEndpoint, text: string): void {
  const whole = decodeResource({ key: KEY, value: text, modRevision: 1n }, keyOf(KEY));
  if (!whole.ok) throw new Error(`${text} is refused: ${whole.error}`);
  expect(whole.value.leftOut).toEqual([]);
  const { metadata, spec } = whole.value.resource as WorkloadEndpoint;
  const { name, namespace, labels = {} } = metadata;
  expect(found.metadata).toEqual({ name, namespace, labels });
  const asked = ['node', 'orchestrator', 'serviceAccountName', 'ipNetworks', 'profiles', 'ports'] as const;
  for (const field of asked) expect(found.spec[field]).toEqual(spec[field]);
}

describe('an endpoint of another node', () => {
  test('as programs write it is read at once, and is what the whole way gives', () => {
    for (const [metadata, spec] of [
      [METADATA, SPEC],
      [{ labels: {} }, { ...SPEC, ports: undefined, profiles: [], mac: '' }],
      [{ creationTimestamp: null }, { node: 'far', orchestrator: 'openstack', workload: 'vm', ...rest }],
    ]) {
      const text = textOf(metadata, spec);
      const found = read(text);
      expect(found).not.toBeNull();
      isPartOfWhole(found as WorkloadEndpoint, text);
    }
  });
  const rest = { endpoint: 'eth0', interfaceName: 'tap0', ipNetworks: ['10.0.0.1'] };

  test.each<[string, string]>([
    ['a blank', textOf(METADATA, SPEC).replace(':{', ': {')],
    ['an escape', textOf({ labels: { a: 'x\n' } }, SPEC)],
    ['another alphabet', textOf({ labels: { a: 'ü' } }, SPEC)],
    ['a label named as what every object has', textOf({ labels: { constructor: 'x' } }, SPEC)],
    ['a label without text', textOf({ labels: { a: 1 } }, SPEC)],
    ['labels of null', textOf({ labels: null }, SPEC)],
    ['an annotation without text', textOf({ annotations: { a: null } }, SPEC)],
    ['nested metadata', textOf({ ownerReferences: [{}] }, SPEC)],
    ['a field of the top', textOf(METADATA, SPEC, { status: {} })],
    ['an unknown field', textOf(METADATA, { ...SPEC, colour: 'red' })],
    ['limits', textOf(METADATA, { ...SPEC, qosControls: { ingressPacketRate: 1 } })],
    ['spoofing', textOf(METADATA, { ...SPEC, allowSpoofedSourcePrefixes: ['10.0.0.0/8'] })],
    ['floating addresses', textOf(METADATA, { ...SPEC, ipNATs: [{ internalIP: '10.0.0.1', externalIP: '1.1.1.1' }] })],
    ['a gateway', textOf(METADATA, { ...SPEC, ipv4Gateway: '10.0.0.1' })],
    ['a fraction', textOf(METADATA, SPEC).replace('8080', '8080.5')],
    ['a number that begins with 0', textOf(METADATA, SPEC).replace('8080', '08080')],
    ['a field twice', textOf(METADATA, SPEC).replace('"node":"far"', '"node":"far","node":"away"')],
    ['a label twice', textOf(METADATA, SPEC).replace('"app":"web"', '"app":"web","app":"db"')],
    ['metadata twice', `${textOf(METADATA, SPEC).slice(0, -1)},"metadata":{}}`],
    ['no spec', '{"metadata":{}}'],
    ['no metadata', JSON.stringify({ spec: SPEC })],
    ['less than an object', textOf(METADATA, SPEC).slice(0, -1)],
    ['more than an object', `${textOf(METADATA, SPEC)},`],
    ['an end after a comma', `${textOf(METADATA, SPEC).slice(0, -1)},}`],
    ['nothing', ''],
  ])('with %s is left to the whole way', (_, text) => {
    expect(read(text)).toBeNull();
  });

  test.each<[string, object]>([
    ['node', { node: 'Far' }],
    ['orchestrator', { orchestrator: '' }],
    ['pod', { pod: '-web' }],
    ['endpoint', { endpoint: 'eth0-' }],
    ['interfaceName', { interfaceName: 'much-too-long-name' }],
    ['interfaceName', { interfaceName: undefined }],
    ['containerID', { containerID: '_' }],
    ['mac', { mac: '66:0a' }],
    ['ipNetworks', { ipNetworks: ['10.0.0.0/24'] }],
    ['ipNetworks', { ipNetworks: [''] }],
    ['profiles', { profiles: ['Prod'] }],
    ['serviceAccountName', { serviceAccountName: 'a_b' }],
    ['ports', { ports: [{ protocol: 'TCP', port: 1 }] }],
    ['ports', { ports: [{ name: 'a', protocol: 'ICMP', port: 1 }] }],
    ['ports', { ports: [{ name: 'a', protocol: 'TCP', port: 0 }] }],
    ['ports', { ports: [{ name: 'a', protocol: 'TCP' }] }],
    ['ports', { ports: [{ name: 'a', protocol: 'TCP', port: 1, hostPort: 70_000 }] }],
    ['ports', { ports: [{ name: 'a', protocol: 'TCP', port: 1, hostIP: 'x' }] }],
  ])('with a wrong %s is left to the whole way, which says what is wrong', (field, wrong) => {
    const text = textOf(METADATA, { ...SPEC, ...wrong });
    expect(read(text)).toBeNull();
    const whole = decodeResource({ key: KEY, value: text, modRevision: 1n }, keyOf(KEY));
    expect(whole.ok ? '' : whole.error).toContain(`spec.${field}`);
  });

  test('of this node is read the whole way, as is one with a wrong name', () => {
    expect(read(textOf(METADATA, SPEC), { node: 'far' })).toBeNull();
    expect(read(textOf(METADATA, SPEC), { key: `${KEY}_` })).toBeNull();
    expect(read(textOf(METADATA, SPEC), { key: KEY.replace('prod', 'Prod') })).toBeNull();
  });

  test('with whatever changed in it is what the whole way gives, or is left to it', () => {
    const piece = fc.constantFrom(
      '"',
      '\\',
      ',',
      ':',
      '{',
      '}',
      '[',
      ']',
      'null',
      '0',
      ' ',
      'a',
      '"node":"x",',
      'é',
      '',
    );
    const text = textOf(METADATA, SPEC);
    fc.assert(
      fc.property(fc.nat(text.length), fc.nat(3), piece, (at, dropped, inserted) => {
        const changed = text.slice(0, at) + inserted + text.slice(at + dropped);
        const found = read(changed);
        if (found) isPartOfWhole(found, changed);
      }),
      { numRuns: 3000 },
    );
  });
});

test('a syncer that knows its node gives endpoints of others short, its own and unusual ones whole, and names the wrong ones', async () => {
  class AsBytes extends MemoryStore {
    override list(prefix: string) {
      const listed = super.list(prefix);
      async function* withBytes() {
        for await (const page of listed)
          yield page.map((entry) => {
            const buffer = Buffer.from(entry.value);
            return { ...entry, raw: { buffer, from: 0, to: buffer.length } };
          });
      }
      return Object.assign(withBytes(), { revision: listed.revision });
    }
  }
  const clock = new FakeClock();
  const store = new AsBytes(clock);
  const put = (name: string, spec: object) =>
    store.txn([], [{ op: 'put', key: KEY.replace('far-k8s-web--1-eth0', name), value: textOf(METADATA, spec) }]);
  await put('far', SPEC);
  await put('unusual', { ...SPEC, colour: 'red' });
  await put('near', { ...SPEC, node: 'near' });
  await put('wrong', { ...SPEC, mac: 'x' });
  const seen = new Map<string, Update>();
  const wrong: string[] = [];
  let status = '';
  const syncer = startSyncer({
    ...{ store, clock, log: silentLog, node: 'near' },
    sink: {
      onUpdates: (updates) => {
        for (const update of updates) seen.set(update.id, update);
      },
      onStatus: (now) => {
        status = now;
      },
      onInvalid: (where) => wrong.push(where),
    },
  });
  await vi.waitFor(() => expect(status).toBe('in-sync'));
  await syncer.stop();
  const pods = [...seen].map(([id, { value }]) => [id, (value as WorkloadEndpoint | null)?.metadata.uid !== undefined]);
  expect(Object.fromEntries(pods)).toEqual({
    'prod/far': false,
    'prod/unusual': true,
    'prod/near': true,
    'prod/wrong': false,
  });
  expect(seen.get('prod/wrong')?.value).toBeNull();
  expect(wrong).toEqual([KEY.replace('far-k8s-web--1-eth0', 'wrong')]);
});
