import { execFileSync } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { openStore } from '#datastore';
import { follow, listAll, nodeKey, nodeValue } from '../../unit/datastore/store-suite.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';
import { EtcdServer } from './etcd-server.ts';

let ns: Namespace;
let dir: string;
let etcd: EtcdServer | null = null;
const context = { clock: realClock, log: silentLog };

beforeAll(() => {
  ns = enterNamespace('etcdsec');
  dir = mkdtempSync(join(tmpdir(), 'tsn-tls-'));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
  ns.leave();
});
afterEach(async () => {
  await etcd?.remove();
});

const file = (name: string) => join(dir, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe', cwd: dir });

function makeAuthority(name: string): void {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
  );
}
function makeCertificate(name: string, authority: string): void {
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.csr`,
  );
  writeFileSync(file('ext'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  openssl(
    ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${authority}.pem`, '-CAkey', `${authority}.key`],
    ...['-CAcreateserial', '-days', '1', '-extfile', 'ext', '-out', `${name}.pem`],
  );
}

test('client certificates are needed, shown, and read again when they change', async () => {
  makeAuthority('ca');
  makeAuthority('stranger');
  makeCertificate('server', 'ca');
  makeCertificate('good', 'ca');
  makeCertificate('bad', 'stranger');
  const tls = [
    '--cert-file',
    file('server.pem'),
    '--key-file',
    file('server.key'),
    '--client-cert-auth',
    '--trusted-ca-file',
    file('ca.pem'),
  ];
  const server = new EtcdServer({ scheme: 'https', extra: tls });
  etcd = server;
  await server.launch();
  const flags = ['--cacert', file('ca.pem'), '--cert', file('good.pem'), '--key', file('good.key')];
  await server.ready(...flags);
  const config = { type: 'etcdv3', endpoints: [server.url], caFile: file('ca.pem') } as const;

  const refused = [
    [config, 'etcd refuses the client certificate'],
    [{ ...config, caFile: file('stranger.pem') }, "etcd's certificate is not of the CA that is configured"],
    [{ ...config, endpoints: [server.url.replace('https', 'http')] }, 'is TLS spoken there'],
    [{ ...config, endpoints: ['https://127.0.0.1:9'] }, 'nobody listens there'],
  ] as const;
  // The daemons' client and the brief one say the same, in one line.
  for (const brief of [false, true])
    for (const [wrong, words] of refused) {
      const without = await openStore(wrong, { ...context, brief });
      const { code, message } = await without.get('/x').then(
        () => ({ code: 'none', message: 'it came through' }),
        (error) => error,
      );
      expect([code, message]).toEqual(['UNAVAILABLE', expect.stringContaining(words)]);
      expect(message).not.toContain('\n');
      await without.close();
    }
  for (const [files, words] of [
    [{ certFile: file('good.pem'), keyFile: file('bad.key') }, 'bad.key does not belong to'],
    [{ certFile: file('good.pem'), keyFile: file('none') }, 'none cannot be read: no such file'],
    [{ certFile: file('good.key'), keyFile: file('good.key') }, 'good.key is no certificate in PEM'],
    [{ certFile: file('good.pem'), keyFile: file('good.pem') }, 'good.pem is no key in PEM'],
  ] as const)
    for (const brief of [false, true])
      await expect(openStore({ ...config, ...files }, { ...context, brief })).rejects.toMatchObject({
        code: 'CONFIG',
        message: expect.stringContaining(words),
      });

  const use = (name: string) => {
    for (const kind of ['pem', 'key']) {
      execFileSync('cp', [file(`${name}.${kind}`), file(`fresh.${kind}`)]);
      renameSync(file(`fresh.${kind}`), file(`client.${kind}`));
    }
  };
  use('bad');
  const store = await openStore({ ...config, certFile: file('client.pem'), keyFile: file('client.key') }, context);
  await expect(store.get('/x')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  use('good');
  let got: unknown = 'nothing';
  for (let i = 0; i < 50 && got !== null; i++) {
    got = await store.get('/x').catch(() => 'nothing');
    if (got !== null) await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(got).toBeNull();
  // Half-written files change nothing.
  writeFileSync(file('client.pem'), 'garbage');
  await new Promise((resolve) => setTimeout(resolve, 1200));
  expect(await store.get('/x')).toBeNull();
  await store.close();
});

test('user and password: tokens are renewed, roles hold, a wrong password is said to be one', async () => {
  const server = new EtcdServer({ extra: ['--auth-token-ttl', '2'] });
  etcd = server;
  await server.start();
  for (const args of [
    ['user', 'add', 'root:rootpw'],
    ['role', 'add', 'agent'],
    ['role', 'grant-permission', 'agent', '--prefix=true', 'readwrite', '/calico/'],
    ['user', 'add', 'agent:agentpw'],
    ['user', 'grant-role', 'agent', 'agent'],
    ['user', 'grant-role', 'root', 'root'],
  ])
    server.ctl(...args);
  const config = { type: 'etcdv3', endpoints: [server.url], username: 'agent', password: 'agentpw' } as const;
  // A user may be configured before authentication is turned on.
  const early = await openStore(config, context);
  expect(await early.get(nodeKey('a'))).toBeNull();
  server.ctl('auth', 'enable');

  const store = await openStore(config, context);
  await store.txn([], [{ op: 'put', key: nodeKey('a'), value: nodeValue('a') }]);
  const { revision } = await listAll(store, '/calico/');
  const watch = follow(store, '/calico/', revision);
  await watch.until(() => watch.messages.some((m) => m.type === 'connected'));
  await expect(store.get('/secret')).rejects.toMatchObject({ code: 'PERMISSION' });
  await expect(follow(store, '/', 1n).done).rejects.toMatchObject({ code: 'PERMISSION' });
  // Past the life of the token, for calls and for a watch that has to be made anew.
  await new Promise((resolve) => setTimeout(resolve, 5000));
  await store.txn([], [{ op: 'put', key: nodeKey('b'), value: nodeValue('b') }]);
  await watch.until(() => watch.events.some((e) => e.key === nodeKey('b')));
  await server.stop();
  await server.launch();
  await server.ready('--user', 'root:rootpw');
  await new Promise((resolve) => setTimeout(resolve, 3000));
  for (let tries = 0; tries < 20; tries++)
    if (await store.txn([], [{ op: 'put', key: nodeKey('c'), value: nodeValue('c') }]).catch(() => null)) break;
  await watch.until(() => watch.events.some((e) => e.key === nodeKey('c')));
  await watch.stop();
  expect((await early.get(nodeKey('a')))?.value).toBe(nodeValue('a'));

  const wrong = await openStore({ ...config, password: 'guess' }, context);
  await expect(wrong.get(nodeKey('a'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  const nobody = await openStore({ type: 'etcdv3', endpoints: [server.url] }, context);
  await expect(nobody.get(nodeKey('a'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  for (const each of [early, store, wrong, nobody]) await each.close();
});
