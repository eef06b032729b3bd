import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeClock } from '#core';
import { readConfig } from '../../../ctl/config.ts';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'ctl-config-'));
});
afterEach(() => rm(cwd, { recursive: true }));

const out = { write: () => {} };
const read = (file: string | undefined, env: Record<string, string> = {}) =>
  readConfig(file, {
    stdout: out,
    stderr: out,
    stdin: async () => '',
    env,
    cwd,
    clock: new FakeClock(),
    signal: new AbortController().signal,
  });
const cfg = async (text: string): Promise<string> => {
  await writeFile(join(cwd, 'c.cfg'), text);
  return 'c.cfg';
};
const HEAD = 'apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\nspec:\n';

describe('the environment', () => {
  test('endpoints make it etcd, nothing makes it the directory', async () => {
    expect(await read(undefined, { ETCD_ENDPOINTS: 'http://a:1, http://b:2' })).toEqual({
      type: 'etcdv3',
      endpoints: ['http://a:1', 'http://b:2'],
      tls: {},
    });
    expect(await read(undefined)).toEqual({ type: 'directory', directory: '/etc/tsnet/resources' });
    expect(await read(undefined, { TSNET_DIRECTORY: 'x' })).toEqual({ type: 'directory', directory: 'x' });
  });

  test('a CALICO_ prefix comes first; user and password count only together', async () => {
    const env = { ETCD_ENDPOINTS: 'http://a:1', CALICO_ETCD_ENDPOINTS: 'http://c:1', ETCD_USERNAME: 'u' };
    expect(await read(undefined, env)).toMatchObject({ endpoints: ['http://c:1'] });
    expect(await read(undefined, env)).not.toHaveProperty('username');
    expect(await read(undefined, { ...env, ETCD_PASSWORD: 'p' })).toMatchObject({ username: 'u', password: 'p' });
  });

  test.each([
    [{ DATASTORE_TYPE: 'kubernetes' }, "datastore type 'kubernetes' is not supported"],
    [{ DATASTORE_TYPE: 'etcd' }, "datastore type 'etcd' is unknown"],
    [{ DATASTORE_TYPE: 'etcdv3' }, 'no etcd endpoint is given'],
    [{ ETCD_ENDPOINTS: '10.0.0.1:2379' }, "'10.0.0.1:2379' is not an etcd URL"],
    [{ ETCD_ENDPOINTS: 'https://a:1', ETCD_CERT_FILE: 'c' }, 'go together'],
    [{ ETCD_ENDPOINTS: 'https://a:1', ETCD_DISCOVERY_SRV: 'x.org' }, 'not both'],
  ])('%j is refused', async (env, message) => {
    await expect(read(undefined, env as unknown as Record<string, string>)).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(message),
    });
  });
});

describe('the file', () => {
  test('is used instead of the environment, never mixed with it', async () => {
    const file = await cfg(
      `${HEAD}  datastoreType: etcdv3\n  etcdEndpoints: https://10.0.0.1:2379\n  etcdCACertFile: ca.pem\n`,
    );
    expect(await read(file, { ETCD_ENDPOINTS: 'http://a:1', ETCD_CERT_FILE: 'c', ETCD_KEY_FILE: 'k' })).toEqual({
      type: 'etcdv3',
      endpoints: ['https://10.0.0.1:2379'],
      tls: { ca: { file: 'ca.pem' } },
    });
  });

  test('credentials may stand in it as text, but not beside files', async () => {
    const inline = `${HEAD}  etcdEndpoints: https://a:1\n  etcdKey: |\n    K\n  etcdCert: C\n`;
    expect(await read(await cfg(inline))).toMatchObject({ tls: { key: { pem: 'K\n' }, cert: { pem: 'C' } } });
    await expect(read(await cfg(`${inline}  etcdCACertFile: x\n`))).rejects.toThrow('not both');
  });

  test('JSON, and keys for Kubernetes, are understood', async () => {
    const json = JSON.stringify({
      apiVersion: 'projectcalico.org/v3',
      kind: 'CalicoAPIConfig',
      spec: { etcdEndpoints: 'http://a:1', kubeconfig: '/root/.kube/config' },
    });
    expect(await read(await cfg(json))).toMatchObject({ endpoints: ['http://a:1'] });
  });

  test.each([
    [
      `${HEAD}  etcdEndpoint: x\n`,
      "c.cfg:5: spec.etcdEndpoint is not a key of the configuration; did you mean 'etcdEndpoints'?",
    ],
    [`${HEAD}  etcdEndpoints: 3\n`, 'c.cfg:5: spec.etcdEndpoints must be a text'],
    ['kind: Node\n', 'c.cfg:1: apiVersion must be'],
    ['a: [\n', 'c.cfg:2:'],
  ])('%j is refused with its line', async (text, message) => {
    await expect(read(await cfg(text))).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining(message),
    });
  });

  test('one that is named must be there', async () => {
    await expect(read('nowhere.cfg', { ETCD_ENDPOINTS: 'http://a:1' })).rejects.toMatchObject({ code: 'CONFIG' });
  });
});
