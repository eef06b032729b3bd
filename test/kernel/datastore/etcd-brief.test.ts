import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { type EtcdConfig, openStore } from '#datastore';
import { opened, storeSuite } from '../../unit/datastore/store-suite.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';
import { listsOfOneRevision } from './etcd-lists.ts';
import { EtcdServer } from './etcd-server.ts';

/** The store for programs that ask a little and end, on a real etcd: the same suite as the whole one, and what is its own. */

let ns: Namespace;
let directory: string;
const etcd = new EtcdServer();

beforeAll(async () => {
  ns = enterNamespace('brief');
  directory = mkdtempSync(join(tmpdir(), 'tsn-brief-'));
  await etcd.start();
});
afterAll(async () => {
  await etcd.remove();
  ns.leave();
  rmSync(directory, { recursive: true });
});

const open = (config: Partial<EtcdConfig> = {}) =>
  openStore({ type: 'etcdv3', endpoints: [etcd.url], ...config }, { clock: realClock, log: silentLog, brief: true });

storeSuite('brief etcd store', async () => {
  etcd.ctl('del', '', '--prefix');
  return opened(open);
});

listsOfOneRevision(etcd, open);

test('values larger than a frame of HTTP/2, and keys and values of any text, come through', async () => {
  const store = await open();
  const value = 'ü\u0000\n'.repeat(200_000);
  await store.txn([], [{ op: 'put', key: '/tsnet/v1/größe', value }]);
  expect((await store.get('/tsnet/v1/größe'))?.value).toBe(value);
  await store.close();
});

test('an endpoint that does not answer is passed over; none that does is an error', async () => {
  const store = await open({ endpoints: ['http://127.0.0.1:1', etcd.url] });
  expect(await store.get('/none')).toBeNull();
  await store.close();
  const nowhere = await open({ endpoints: ['http://127.0.0.1:1'] });
  await expect(nowhere.get('/x')).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('127.0.0.1:1'),
  });
  await nowhere.close();
});

test('an endpoint that swallows what is sent to it is given up, and nothing goes on dialling', async () => {
  ns.sh('ip link add hole0 type veth peer name hole1 && ip link set hole0 up && ip link set hole1 up');
  ns.sh('ip addr add 10.98.0.1/24 dev hole0 && ip neigh add 10.98.0.2 lladdr 02:00:00:00:00:02 dev hole0');
  const hole = await open({ endpoints: ['http://10.98.0.2:2379'] });
  await expect(hole.get('/x')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await hole.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(ns.sh('ss -Htn state syn-sent dst 10.98.0.2')).toBe('');
  ns.sh('ip link del hole0');
});

test('a compacted revision is said to be one', async () => {
  const store = await open();
  const { revision } = await store.status();
  await store.txn([], [{ op: 'put', key: '/a', value: '1' }]);
  etcd.ctl('compact', String(revision + 1n));
  const messages = [];
  for await (const message of store.watch('/', revision - 1n, new AbortController().signal)) {
    messages.push(message.type);
    if (message.type === 'compacted') break;
  }
  expect(messages).toContain('compacted');
  await store.close();
});

describe('with authentication on', () => {
  const root = ['--user', 'root:secret'];
  beforeAll(() => {
    for (const line of [
      'user add root:secret',
      'user grant-role root root',
      'user add reader:pw',
      'role add r',
      'role grant-permission r read /calico/ /calico0',
      'user grant-role reader r',
      'auth enable',
    ])
      etcd.ctl(...line.split(' '));
  });
  afterAll(() => {
    etcd.ctl(...root, 'auth', 'disable');
  });

  test('user and password open it, as far as the role goes', async () => {
    const store = await open({ username: 'reader', password: 'pw' });
    expect(await store.get('/calico/none')).toBeNull();
    await expect(store.get('/other')).rejects.toMatchObject({ code: 'PERMISSION' });
    await expect(store.txn([], [{ op: 'put', key: '/calico/x', value: 'y' }])).rejects.toMatchObject({
      code: 'PERMISSION',
    });
    await store.close();
  });

  test('a wrong password, or none, is refused', async () => {
    const wrong = await open({ username: 'reader', password: 'no' });
    await expect(wrong.get('/calico/none')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await wrong.close();
    const none = await open();
    await expect(none.get('/calico/none')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
    await none.close();
  });
});

describe('with TLS', () => {
  const file = (name: string) => join(directory, name);
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'pipe', 'pipe'] });
  const sign = (name: string, extension: string) => {
    openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-subj',
      `/CN=${name}`,
      '-out',
      `${name}.csr`,
    );
    writeFileSync(file(`${name}.ext`), extension);
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '1',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`,
    );
  };
  let secure: EtcdServer;
  beforeAll(async () => {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'ca.key',
      '-subj',
      '/CN=ca',
      '-days',
      '1',
      '-out',
      'ca.pem',
    );
    sign('server', 'subjectAltName=IP:127.0.0.1,DNS:localhost');
    sign('client', 'extendedKeyUsage=clientAuth');
    secure = new EtcdServer({
      clientPort: 2479,
      peerPort: 2480,
      scheme: 'https',
      extra: [
        '--cert-file',
        file('server.pem'),
        '--key-file',
        file('server.key'),
        '--client-cert-auth',
        '--trusted-ca-file',
        file('ca.pem'),
      ],
    });
    secure.launch();
    await secure.ready('--cacert', file('ca.pem'), '--cert', file('client.pem'), '--key', file('client.key'));
  });
  afterAll(() => secure.remove());

  test('a client certificate opens it', async () => {
    const store = await open({
      endpoints: [secure.url],
      caFile: file('ca.pem'),
      certFile: file('client.pem'),
      keyFile: file('client.key'),
    });
    expect(await store.txn([{ key: '/x', mod: 0n }], [{ op: 'put', key: '/x', value: 'y' }])).toMatchObject({
      ok: true,
    });
    expect((await store.get('/x'))?.value).toBe('y');
    await store.close();
  });

  test.each([
    ['no client certificate', () => ({ caFile: file('ca.pem') })],
    ['an unknown authority', () => ({ certFile: file('client.pem'), keyFile: file('client.key') })],
  ])('%s is refused', async (_, config) => {
    const store = await open({ endpoints: [secure.url], ...config() });
    await expect(store.get('/x')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await store.close();
  });

  test('files that are not there are a mistake of the configuration', async () => {
    await expect(open({ endpoints: [secure.url], caFile: file('none.pem') })).rejects.toMatchObject({ code: 'CONFIG' });
  });
});
