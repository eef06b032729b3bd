import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ctl } from './harness.ts';

/** tsnetctl on a directory of resource files, found by the environment as a person's. */

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ctl-dir-'));
});
afterEach(() => rmSync(root, { recursive: true }));
const run = (directory: string, ...argv: string[]) => ctl(null, argv, { env: { TSNET_DIRECTORY: directory } });

test('one that is not there is a mistake, and is not made', async () => {
  const missing = join(root, 'missing');
  const ran = await run(missing, 'get', 'nodes');
  expect(ran).toMatchObject({ status: 2, out: '' });
  expect(ran.err).toContain(`the directory ${missing} does not exist; set ETCD_ENDPOINTS, or TSNET_DIRECTORY`);
  expect(existsSync(missing)).toBe(false);
});

test('files that are wrong are named beside what still counts', async () => {
  const node = (spec: string) =>
    writeFileSync(
      join(root, 'n.yaml'),
      `apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n1}\nspec: ${spec}\n`,
    );
  node('{bgp: {asNumber: 64513}}');
  expect(await run(root, 'get', 'nodes', '-o', 'name')).toEqual({ status: 0, out: 'node/n1\n', err: '' });
  node('{bgp: {asNumber: none}}');
  const ran = await run(root, 'get', 'nodes', '-o', 'custom-columns=NAME,ASN');
  expect(ran).toMatchObject({ status: 0, out: expect.stringMatching(/n1 +64513/) });
  expect(ran.err).toMatch(/warning: n\.yaml:4:\d+ .*spec\.bgp\.asNumber .*; what it last said rightly counts/);
  expect(readdirSync(root).sort()).toEqual(['.tsnet', 'n.yaml']);
});
