import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '#datastore';
import { apply, CLUSTER, ctl, memoryStore } from './harness.ts';

let store: Store;
let cwd: string;
beforeEach(async () => {
  store = await memoryStore();
  cwd = await mkdtemp(join(tmpdir(), 'ctl-test-'));
});
afterEach(() => rm(cwd, { recursive: true }));

const pool = (name: string, spec: string) =>
  `apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: ${name}\nspec:\n  ${spec}\n`;
const names = async () => (await ctl(store, ['get', 'pools', '-o', 'name'])).out.split('\n').filter(Boolean);
const stored = async (...argv: string[]) => JSON.parse((await ctl(store, ['get', ...argv, '-o', 'json'])).out);

describe('apply', () => {
  test('makes, changes and leaves alone, with a line each and a summary', async () => {
    const two = `${pool('a', 'cidr: 10.1.0.0/16')}---\n${pool('b', 'cidr: 10.2.0.0/16')}`;
    expect(await ctl(store, ['apply', '-f', '-'], { stdin: two })).toEqual({
      status: 0,
      err: '',
      out: 'IPPool(a) created\nIPPool(b) created\napply: 2 resources: 2 created\n',
    });
    const changed = two.replace('10.1.0.0/16', '10.1.0.0/16\n  natOutgoing: true');
    expect((await ctl(store, ['apply', '-f', '-'], { stdin: changed })).out).toBe(
      'IPPool(a) updated\nIPPool(b) unchanged\napply: 2 resources: 1 updated, 1 unchanged\n',
    );
    expect((await stored('pool', 'a')).spec.natOutgoing).toBe(true);
  });

  test('what is unchanged is not written', async () => {
    await apply(store, CLUSTER);
    const { revision } = await store.status();
    await apply(store, CLUSTER);
    expect((await store.status()).revision).toBe(revision);
  });

  test('--dry-run says which fields would change, and writes nothing', async () => {
    await apply(store, pool('a', 'cidr: 10.1.0.0/16'));
    const { revision } = await store.status();
    const files = `${pool('a', 'cidr: 10.1.0.0/16\n  natOutgoing: true')}---\n${pool('b', 'cidr: 10.2.0.0/16')}`;
    expect((await ctl(store, ['apply', '--dry-run', '-f', '-'], { stdin: files })).out).toBe(
      'IPPool(a) would be updated\n  spec.natOutgoing: + true\nIPPool(b) would be created\napply (dry run): 2 resources: 1 updated, 1 created\n',
    );
    expect((await store.status()).revision).toBe(revision);
  });

  test('stops at the first document that fails, and says where and how many are left', async () => {
    const files = [pool('a', 'cidr: 10.1.0.0/16'), pool('b', 'cidr: 10.2.0.1/16'), pool('c', 'cidr: 10.3.0.0/16')].join(
      '---\n',
    );
    await writeFile(join(cwd, 'pools.yaml'), files);
    const { status, out, err } = await ctl(store, ['apply', '-f', 'pools.yaml'], { cwd });
    expect(status).toBe(1);
    expect(out).toBe('IPPool(a) created\napply: 3 resources: 1 created, 1 failed, 1 not attempted\n');
    expect(err).toMatch(/^tsnetctl: pools\.yaml:13: IPPool\(b\): spec\.cidr .*10\.2\.0\.1\/16.*\n$/);
    expect(await names()).toEqual(['ippool/a']);
  });

  test('--continue-on-error goes on with the others', async () => {
    const files = [pool('a', 'cidr: nonsense'), pool('b', 'cidr: 10.2.0.0/16'), 'kind: Polcy\n'].join('---\n');
    const { status, out, err } = await ctl(store, ['apply', '--continue-on-error', '-f', '-'], { stdin: files });
    expect(status).toBe(1);
    expect(out).toContain('apply: 3 resources: 2 failed, 1 created');
    expect(err.split('\n')).toHaveLength(3);
    expect(await names()).toEqual(['ippool/b']);
  });

  test('a file that is not understood stops everything before the first write', async () => {
    const { status, err } = await ctl(store, ['apply', '-f', '-'], {
      stdin: `${pool('a', 'cidr: 10.1.0.0/16')}---\napiVersion: projectcalico.org/v3\nkind: IPPol\nmetadata: {name: x}\n`,
    });
    expect(status).toBe(1);
    expect(err).toBe("tsnetctl: <stdin>:9: kind 'IPPol' is unknown, did you mean 'IPPool'?\n");
    expect(await names()).toEqual([]);
  });

  test('an unknown field is refused with the near one', async () => {
    const { status, err } = await ctl(store, ['apply', '-f', '-'], {
      stdin: pool('a', 'cidr: 10.1.0.0/16\n  natOutgoin: true'),
    });
    expect(status).toBe(1);
    expect(err).toMatch(/<stdin>:7: IPPool\(a\): spec\.natOutgoin .*natOutgoing/);
  });

  test('directories: their files in order of name; -R with what is under them', async () => {
    await mkdir(join(cwd, 'd/sub'), { recursive: true });
    await writeFile(join(cwd, 'd/2.yaml'), pool('b', 'cidr: 10.2.0.0/16'));
    await writeFile(
      join(cwd, 'd/1.json'),
      JSON.stringify({
        apiVersion: 'projectcalico.org/v3',
        kind: 'IPPool',
        metadata: { name: 'a' },
        spec: { cidr: '10.1.0.0/16' },
      }),
    );
    await writeFile(join(cwd, 'd/notes.txt'), 'kind: nothing');
    await writeFile(join(cwd, 'd/sub/3.yml'), pool('c', 'cidr: 10.3.0.0/16'));
    expect((await ctl(store, ['apply', '-f', 'd', '-o', 'name'], { cwd })).out).toBe('ippool/a\nippool/b\n');
    expect((await ctl(store, ['apply', '-R', '-f', 'd', '-o', 'name'], { cwd })).out).toBe(
      'ippool/a\nippool/b\nippool/c\n',
    );
    const missing = await ctl(store, ['apply', '-f', 'nowhere.yaml'], { cwd });
    expect([missing.status, missing.err]).toEqual([1, expect.stringContaining('cannot read nowhere.yaml')]);
  });

  test('-o json tells scripts what became of each', async () => {
    const { out } = await ctl(store, ['apply', '-f', '-', '-o', 'json'], { stdin: pool('a', 'cidr: 10.1.0.0/16') });
    expect(JSON.parse(out)).toMatchObject([
      { kind: 'IPPool', name: 'a', result: 'created', file: '<stdin>', line: 1, resource: { spec: { blockSize: 26 } } },
    ]);
  });

  test('a stale resourceVersion is a conflict that is explained; nothing is overwritten', async () => {
    await apply(store, pool('a', 'cidr: 10.1.0.0/16'));
    const read = await stored('pool', 'a');
    await ctl(store, ['label', 'pool', 'a', 'x=y']);
    const { status, err } = await ctl(store, ['apply', '-f', '-'], { stdin: JSON.stringify(read) });
    expect(status).toBe(1);
    expect(err).toMatch(
      /changed it since you read it; merge with 'tsnetctl get ippool a -o yaml', or remove the field/,
    );
    expect((await stored('pool', 'a')).metadata.labels).toEqual({ x: 'y' });
  });

  test('no resources at all is an error unless --skip-empty', async () => {
    expect(await ctl(store, ['apply', '-f', '-'], { stdin: '# nothing\n' })).toMatchObject({ status: 1 });
    expect(await ctl(store, ['apply', '--skip-empty', '-f', '-'], { stdin: '' })).toMatchObject({ status: 0 });
    expect(await ctl(store, ['apply'])).toMatchObject({ status: 2, err: expect.stringContaining('-f FILE') });
  });
});

describe('create, replace, delete', () => {
  test('create refuses what exists, unless --skip-exists', async () => {
    const a = pool('a', 'cidr: 10.1.0.0/16');
    expect((await ctl(store, ['create', '-f', '-'], { stdin: a })).status).toBe(0);
    const again = await ctl(store, ['create', '-f', '-'], { stdin: a });
    expect(again).toEqual({
      status: 1,
      out: '',
      err: 'tsnetctl: <stdin>:1: IPPool(a): resource already exists: IPPool(a)\n',
    });
    expect((await ctl(store, ['create', '--skip-exists', '-f', '-'], { stdin: a })).out).toBe('IPPool(a) unchanged\n');
  });

  test('replace needs it to exist', async () => {
    const a = pool('a', 'cidr: 10.1.0.0/16');
    expect(await ctl(store, ['replace', '-f', '-'], { stdin: a })).toMatchObject({
      status: 1,
      err: expect.stringContaining('resource does not exist: IPPool(a)'),
    });
    await apply(store, a);
    expect((await ctl(store, ['replace', '-f', '-'], { stdin: `${a}  disabled: true\n` })).out).toBe(
      'IPPool(a) updated\n',
    );
    expect((await stored('pool', 'a')).spec.disabled).toBe(true);
  });

  test('delete by name, by file, and of what is not there', async () => {
    await apply(store, CLUSTER);
    expect((await ctl(store, ['delete', 'node', 'n1', 'n2'])).out).toBe(
      'Node(n1) deleted\nNode(n2) deleted\ndelete: 2 resources: 2 deleted\n',
    );
    expect(await ctl(store, ['delete', 'node', 'n1'])).toMatchObject({ status: 1, out: '' });
    expect(await ctl(store, ['delete', 'node', 'n1', '-s'])).toMatchObject({ status: 0 });
    expect((await ctl(store, ['delete', 'np', 'web', '-n', 'prod', '--dry-run'])).out).toBe(
      'NetworkPolicy(prod/web) would be deleted\n',
    );
    expect((await ctl(store, ['delete', '-f', '-'], { stdin: pool('pool-a', 'cidr: 10.65.0.0/16') })).out).toBe(
      'IPPool(pool-a) deleted\n',
    );
    expect(await ctl(store, ['delete', 'node'])).toMatchObject({ status: 2 });
  });

  test('what other programs keep is refused', async () => {
    await apply(store, CLUSTER);
    expect(await ctl(store, ['delete', 'clusterinfo', 'default'])).toMatchObject({
      status: 1,
      err: expect.stringContaining('only be read'),
    });
    expect(await ctl(store, ['delete', 'np', 'knp.default.x'])).toMatchObject({
      status: 1,
      err: expect.stringContaining('Kubernetes'),
    });
    expect(await ctl(store, ['delete', 'tier', 'security'])).toMatchObject({
      status: 1,
      err: expect.stringContaining('NetworkPolicy(web)'),
    });
  });
});

describe('patch and label', () => {
  beforeEach(() => apply(store, CLUSTER));

  test('merge, strategic and json patches', async () => {
    const patch = (...argv: string[]) => ctl(store, ['patch', 'node', 'n1', ...argv]);
    expect((await patch('-p', '{"spec":{"bgp":{"asNumber":64999}}}')).out).toBe('Node(n1) updated\n');
    expect((await patch('-p', 'spec: {bgp: {ipv6Address: null}}', '-t', 'merge')).status).toBe(0);
    const op = '[{"op":"replace","path":"/spec/bgp/ipv4Address","value":"10.0.0.99/24"}]';
    expect((await patch('-t', 'json', '-p', op)).status).toBe(0);
    expect((await stored('node', 'n1')).spec.bgp).toEqual({ asNumber: 64999, ipv4Address: '10.0.0.99/24' });
    expect((await patch('-p', '{"spec":{"bgp":{"asNumber":64999}}}')).out).toBe('Node(n1) unchanged\n');
  });

  test.each([
    [['-p', '{"spec":{"bgb":{"asNumber":1}}}'], 1, 'spec.bgb'],
    [['-p', '{"metadata":{"name":"x"}}'], 1, 'cannot change kind, name or namespace'],
    [['-p', '{"spec":'], 2, '-p is no JSON or YAML'],
    [['-p', '{}', '-t', 'mrege'], 2, "did you mean 'merge'?"],
    [['-p', '[{"op":"remove","path":"/spec/none"}]', '-t', 'json'], 1, "nothing is at 'none'"],
    [['-p', '{"spec":{"bgp":{"ipv4Address":"x"}}}'], 1, 'spec.bgp.ipv4Address'],
  ])('%j is refused', async (argv, status, message) => {
    const ran = await ctl(store, ['patch', 'node', 'n1', ...argv]);
    expect([ran.status, ran.err]).toEqual([status, expect.stringContaining(message)]);
  });

  test('labels are added, changed only with --overwrite, and removed', async () => {
    const label = (...argv: string[]) => ctl(store, ['label', 'node', 'n1', ...argv]);
    expect((await label('a=1', 'b=2')).status).toBe(0);
    expect(await label('a=2')).toMatchObject({ status: 1, err: expect.stringContaining('--overwrite') });
    expect((await label('a=2', '--overwrite')).status).toBe(0);
    expect((await label('b-')).status).toBe(0);
    expect((await label('rack', '--remove')).status).toBe(0);
    expect((await stored('node', 'n1')).metadata.labels).toEqual({ a: '2' });
    expect(await label('a')).toMatchObject({ status: 2 });
    expect(await label('zz', '--remove')).toMatchObject({ status: 1 });
  });

  test('a change that loses a race is made again on what is there now', async () => {
    const key = '/calico/resources/v3/projectcalico.org/nodes/n1';
    let raced = false;
    const racing: Store = Object.assign(Object.create(store) as Store, {
      txn: async (...args: Parameters<Store['txn']>) => {
        if (!raced) {
          raced = true;
          await ctl(store, ['label', 'node', 'n1', 'other=x']);
        }
        return store.txn(...args);
      },
    });
    expect((await ctl(racing, ['label', 'node', 'n1', 'mine=y'])).status).toBe(0);
    expect(JSON.parse((await store.get(key))?.value ?? '{}').metadata.labels).toMatchObject({ other: 'x', mine: 'y' });
  });
});

describe('validate and diff', () => {
  test('validate gives every error with its place, and asks no datastore', async () => {
    const bad = `${pool('a', 'cidr: 10.1.0.1/16\n  natOutgoing: 3')}---\nkind: IPPool\n---\n${pool('a', 'cidr: 10.2.0.0/16')}---\nfoo: [\n`;
    await writeFile(join(cwd, 'bad.yaml'), bad);
    const { status, out } = await ctl(null, ['validate', '-f', 'bad.yaml', '-o', 'json'], { cwd });
    expect(status).toBe(1);
    const { ok, errors } = JSON.parse(out) as { ok: boolean; errors: Record<string, unknown>[] };
    expect(ok).toBe(false);
    expect(errors).toContainEqual(
      expect.objectContaining({ file: 'bad.yaml', line: 6, kind: 'IPPool', name: 'a', field: 'spec.cidr' }),
    );
    expect(errors).toContainEqual(expect.objectContaining({ line: 7, field: 'spec.natOutgoing' }));
    expect(errors).toContainEqual(expect.objectContaining({ line: 9, field: 'apiVersion' }));
    expect(errors).toContainEqual(
      expect.objectContaining({ line: 14, field: 'metadata.name', message: 'is already used by bad.yaml:1' }),
    );
    expect(errors.at(-1)).toMatchObject({ name: null, field: null });
  });

  test('validate of what is right', async () => {
    expect(await ctl(null, ['validate', '-f', '-'], { stdin: CLUSTER })).toEqual({
      status: 0,
      err: '',
      out: '12 resources are valid\n',
    });
    expect(JSON.parse((await ctl(null, ['validate', '-f', '-', '-o', 'json'], { stdin: CLUSTER })).out)).toEqual({
      ok: true,
      errors: [],
    });
  });

  test('diff shows objects and fields that apply would change', async () => {
    await apply(store, CLUSTER);
    const next = `${CLUSTER.replace('{action: Deny}, {action: Allow}', '{action: Allow}').replace('natOutgoing: true', 'natOutgoing: false')}---\n${pool('new', 'cidr: 10.9.0.0/16')}`;
    const { status, out } = await ctl(store, ['diff', '-f', '-', '-o', 'json'], { stdin: next });
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      objects: [
        { kind: 'IPPool', name: 'pool-a', change: 'update', fields: ['spec.natOutgoing'] },
        {
          kind: 'NetworkPolicy',
          name: 'web',
          namespace: 'prod',
          change: 'update',
          fields: ['spec.ingress[0].action', 'spec.ingress[1]'],
        },
        { kind: 'IPPool', name: 'new', change: 'add' },
      ],
    });
    expect((await ctl(store, ['diff', '-f', '-'], { stdin: next })).out).toBe(
      [
        '~ IPPool(pool-a)',
        '    spec.natOutgoing: true -> false',
        '~ NetworkPolicy(prod/web)',
        '    spec.ingress[0].action: "Deny" -> "Allow"',
        '    spec.ingress[1]: - {"action":"Allow"}',
        '+ IPPool(new)',
        '',
        'no traffic would be allowed or denied that was not before',
        '0 flows were compared: 0 ends that the change concerns with 3, for 3 ports and protocols',
        '',
      ].join('\n'),
    );
    expect((await ctl(store, ['diff', '-f', '-'], { stdin: CLUSTER })).out).toBe('nothing would change\n');
    expect(
      (await ctl(store, ['diff', '--delete', '-f', '-', '-o', 'json'], { stdin: pool('pool-a', 'cidr: 10.65.0.0/16') }))
        .out,
    ).toContain('"delete"');
  });
});
