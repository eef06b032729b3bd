import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { silentLog } from '#core';
import type { WorkloadEndpoint } from '#datastore';
import { EndpointStatusFiles, statusFileName } from '../../../agent/endpoint-status.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tsnet-status-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const endpoint = (pod: string): WorkloadEndpoint => ({
  apiVersion: 'projectcalico.org/v3',
  kind: 'WorkloadEndpoint',
  metadata: { name: 'x', namespace: 'default' },
  spec: { orchestrator: 'k8s', pod, node: 'n', endpoint: 'eth0', interfaceName: 'cali1', ipNetworks: ['10.0.0.1/32'] },
});

test('the name is what a Calico CNI plugin waits for', () => {
  expect(statusFileName(endpoint('web-0'))).toBe('k8s default%2Fweb-0 eth0');
  expect(statusFileName(endpoint('../../etc/passwd'))).toBe('k8s default%2F..%2F..%2Fetc%2Fpasswd eth0');
});

test('files follow the endpoints, those of an earlier run included', async () => {
  writeFileSync(join(dir, 'k8s default%2Fgone eth0'), 'old');
  const files = new EndpointStatusFiles(dir, silentLog);
  files.start();
  files.set([endpoint('web-0'), endpoint('web-1')]);
  await files.written();
  expect(readdirSync(dir).sort()).toEqual(['k8s default%2Fweb-0 eth0', 'k8s default%2Fweb-1 eth0']);
  expect(JSON.parse(readFileSync(join(dir, 'k8s default%2Fweb-0 eth0'), 'utf8'))).toEqual({
    status: 'up',
    interfaceName: 'cali1',
    ipNetworks: ['10.0.0.1/32'],
  });
  files.set([endpoint('web-1')]);
  await files.written();
  expect(readdirSync(dir)).toEqual(['k8s default%2Fweb-1 eth0']);
});

test('what changes while files are being written is written too; what is wanted no more goes', async () => {
  const files = new EndpointStatusFiles(dir, silentLog);
  files.start();
  const content = (pod: string) => JSON.parse(readFileSync(join(dir, `k8s default%2F${pod} eth0`), 'utf8'));
  files.set([endpoint('a'), endpoint('b')]);
  const moved = endpoint('a');
  files.set([{ ...moved, spec: { ...moved.spec, ipNetworks: ['10.0.0.9/32'] } }]);
  await files.written();
  expect(readdirSync(dir)).toEqual(['k8s default%2Fa eth0']);
  expect(content('a').ipNetworks).toEqual(['10.0.0.9/32']);
});

test('a file that cannot be written is tried again with the next call', async () => {
  const files = new EndpointStatusFiles(dir, silentLog);
  files.start();
  const same = endpoint('a');
  mkdirSync(join(dir, '.new'));
  files.set([same]);
  await files.written();
  expect(readdirSync(dir)).toEqual(['.new']);
  rmdirSync(join(dir, '.new'));
  files.set([same]);
  await files.written();
  expect(readdirSync(dir)).toEqual(['k8s default%2Fa eth0']);
});
