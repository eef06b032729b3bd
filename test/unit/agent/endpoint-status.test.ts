import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

test('files follow the endpoints, those of an earlier run included', () => {
  writeFileSync(join(dir, 'k8s default%2Fgone eth0'), 'old');
  const files = new EndpointStatusFiles(dir, silentLog);
  files.start();
  files.set([endpoint('web-0'), endpoint('web-1')]);
  expect(readdirSync(dir).sort()).toEqual(['k8s default%2Fweb-0 eth0', 'k8s default%2Fweb-1 eth0']);
  expect(JSON.parse(readFileSync(join(dir, 'k8s default%2Fweb-0 eth0'), 'utf8'))).toEqual({
    status: 'up',
    interfaceName: 'cali1',
    ipNetworks: ['10.0.0.1/32'],
  });
  files.set([endpoint('web-1')]);
  expect(readdirSync(dir)).toEqual(['k8s default%2Fweb-1 eth0']);
});
