import { beforeAll, describe, expect, test } from 'vitest';
import type { Store } from '#datastore';
import { apply, CLUSTER, ctl, memoryStore } from './harness.ts';

let store: Store;
beforeAll(async () => {
  store = await memoryStore();
  await apply(store, CLUSTER);
});

/** Rows as calicoctl prints them, each padded to its end; '·' stands for a blank so that trailing ones are seen. */
const table = async (...argv: string[]): Promise<string> => {
  const { out, err, status } = await ctl(store, ['get', ...argv]);
  expect([status, err]).toEqual([0, '']);
  return out.replaceAll(' ', '·');
};

describe('tables', () => {
  test('nodes', async () => {
    expect(await table('nodes')).toMatchInlineSnapshot(`
      "NAME···
      n1·····
      n2·····
      n3·····

      "
    `);
    expect(await table('node', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAME···ASN·······IPV4···········IPV6··········
      n1·····(64600)···10.0.0.11/24···fd00::11/64···
      n2·····64513·····10.0.0.12/24·················
      n3············································

      "
    `);
  });
  test('pools', async () => {
    expect(await table('pools')).toMatchInlineSnapshot(`
      "NAME·····CIDR···········SELECTOR···
      pool-a···10.65.0.0/16···all()······

      "
    `);
    expect(await table('ipp', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAME·····CIDR···········NAT····IPIPMODE···VXLANMODE···DISABLED···DISABLEBGPEXPORT···SELECTOR···ASSIGNMENTMODE···
      pool-a···10.65.0.0/16···true···Never······Never·······false······false··············all()······Automatic········

      "
    `);
  });
  test('policies', async () => {
    expect(await table('gnp', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAME······TIER······ORDER···SELECTOR·········
      edge-in···default···100·····role·==·'edge'···

      "
    `);
    expect(await table('policy', '-n', 'prod')).toMatchInlineSnapshot(`
      "NAMESPACE···NAME···TIER·······
      prod········web····security···

      "
    `);
    expect(await table('np', '-A', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAMESPACE···NAME···TIER·······ORDER···SELECTOR·······
      prod········web····security···<nil>···app·==·'web'···

      "
    `);
    expect(await table('np')).toMatchInlineSnapshot(`
      "NAME···TIER···

      "
    `);
  });
  test('endpoints', async () => {
    expect(await table('endpoints')).toMatchInlineSnapshot(`
      "WORKLOAD···NODE···NETWORKS··························INTERFACE····
      ···········n1·····10.65.3.70/32,fd00:65::1c42/128···caliabc123···

      "
    `);
    expect(await table('wep', '-A', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAMESPACE···NAME·················WORKLOAD···NODE···NETWORKS··························INTERFACE····PROFILES···NATS···
      default·····n1-cni-abc123-eth0··············n1·····10.65.3.70/32,fd00:65::1c42/128···caliabc123···net1··············

      "
    `);
  });
  test('the rest', async () => {
    expect(await table('tiers')).toMatchInlineSnapshot(`
      "NAME············ORDER······
      security········300········
      kube-admin······1000·······
      default·········1000000····
      kube-baseline···10000000···

      "
    `);
    expect(await table('bgpconfig')).toMatchInlineSnapshot(`
      "NAME······LOGSEVERITY···MESHENABLED···ASNUMBER···
      default···Info··········true··········64600······

      "
    `);
    expect(await table('bgppeer')).toMatchInlineSnapshot(`
      "NAME···PEERIP·····NODE·······ASN·····
      tor····10.0.0.1···(global)···65001···

      "
    `);
    expect(await table('gnetsets', '-o', 'wide')).toMatchInlineSnapshot(`
      "NAME······NETS····························
      blocked···198.51.100.0/24,fd00:bad::/64···

      "
    `);
  });
  test('chosen columns', async () => {
    expect(await table('node', '-o', 'custom-columns=name,ipv6')).toMatchInlineSnapshot(`
      "NAME···IPV6··········
      n1·····fd00::11/64···
      n2···················
      n3···················

      "
    `);
  });
});

describe('data', () => {
  const json = async (...argv: string[]) => JSON.parse((await ctl(store, ['get', ...argv, '-o', 'json'])).out);

  test('one name is the resource, a kind is a list with its revision, several names an array', async () => {
    expect(await json('node', 'n1')).toMatchObject({ kind: 'Node', metadata: { name: 'n1' } });
    const list = await json('nodes');
    expect(list).toMatchObject({ apiVersion: 'projectcalico.org/v3', kind: 'NodeList' });
    expect(list.items.map((i: { metadata: { name: string } }) => i.metadata.name)).toEqual(['n1', 'n2', 'n3']);
    expect(list.metadata.resourceVersion).toMatch(/^[0-9]+$/);
    expect(await json('node', 'n1', 'n2')).toHaveLength(2);
  });

  test('yaml is the same data', async () => {
    const { parse } = await import('yaml');
    const { out } = await ctl(store, ['get', 'nodes', '-o', 'yaml']);
    expect(parse(out)).toEqual(await json('nodes'));
  });

  test('a format of calicoctl that is not there says what to use instead', async () => {
    const { status, err } = await ctl(store, ['get', 'nodes', '-o', 'go-template={{.}}']);
    expect([status, err]).toEqual([2, expect.stringContaining('use -o json with jq')]);
  });

  test('names', async () => {
    expect((await ctl(store, ['get', 'nodes', '-o', 'name'])).out).toBe('node/n1\nnode/n2\nnode/n3\n');
  });

  test('a selector chooses by labels', async () => {
    expect((await ctl(store, ['get', 'nodes', '-l', "rack in {'r2'}", '-o', 'name'])).out).toBe('node/n2\n');
    expect((await ctl(store, ['get', 'nodes', '-l', '!has(rack)', '-o', 'name'])).out).toBe('node/n3\n');
  });

  test('--export leaves out what is only of this cluster', async () => {
    const { out } = await ctl(store, ['get', 'np', 'web', '-n', 'prod', '-o', 'json', '--export']);
    expect(Object.keys(JSON.parse(out).metadata).sort()).toEqual(['labels', 'name']);
  });
});

describe('what is not there', () => {
  test('a missing name: 1, with the near one', async () => {
    expect(await ctl(store, ['get', 'node', 'n4'])).toEqual({
      status: 1,
      out: expect.any(String),
      err: "tsnetctl: resource does not exist: Node(n4); did you mean 'n1'?\n",
    });
  });

  test('a name of another namespace says which', async () => {
    const { status, err } = await ctl(store, ['get', 'np', 'web']);
    expect(status).toBe(1);
    expect(err).toBe('tsnetctl: resource does not exist: NetworkPolicy(default/web); it is in namespace prod\n');
  });

  test.each([
    [['get', 'polcy'], "unknown kind 'polcy', did you mean 'policy'?"],
    [['gte', 'nodes'], "unknown command 'gte', did you mean 'get'?"],
    [['get', 'nodes', '--selecter', 'x'], "unknown option '--selecter', did you mean '--selector'?"],
    [['get', 'nodes', '-o', 'josn'], "unknown output format 'josn', did you mean 'json'?"],
    [['get', 'nodes', '-o', 'custom-columns=nmae'], "Node has no column 'nmae', did you mean 'NAME'?"],
    [['get', 'nodes', '-l', "a == 'b"], "-l 'a == 'b':"],
    [['get'], 'which kind?'],
    [['get', 'np', '-n', 'a', '-A'], 'not both'],
  ])('%j is wrong usage, and says what is near', async (argv, message) => {
    const { status, out, err } = await ctl(store, argv);
    expect(status).toBe(2);
    expect(out).toBe('');
    expect(err).toContain(message);
    expect(err.trimEnd()).not.toContain('\n');
  });
});

describe('an object that cannot be used', () => {
  test('is named, and hides no other', async () => {
    const broken = await memoryStore();
    await apply(broken, CLUSTER);
    const key = '/calico/resources/v3/projectcalico.org/nodes/n2';
    const mod = (await broken.get(key))?.modRevision ?? 0n;
    await broken.txn([{ key, mod }], [{ op: 'put', key, value: '{"kind":' }]);
    const { status, out, err } = await ctl(broken, ['get', 'nodes', '-o', 'name']);
    expect([status, out]).toEqual([0, 'node/n1\nnode/n3\n']);
    expect(err).toContain('warning: Node(n2) cannot be used');
  });

  test('control characters of a label never reach the terminal', async () => {
    const evil = await memoryStore();
    const key = '/calico/resources/v3/projectcalico.org/bgppeers/x';
    const value = JSON.stringify({
      metadata: { name: 'x' },
      spec: { peerIP: '10.0.0.1', asNumber: 1, node: 'a\u001b[2J' },
    });
    await evil.txn([{ key, mod: 0n }], [{ op: 'put', key, value }]);
    const { out, err } = await ctl(evil, ['get', 'bgppeers']);
    expect(out + err).not.toContain('\u001b');
  });
});

describe('--watch', () => {
  test('prints what is there, then what changes, until told to stop', async () => {
    const watched = await memoryStore();
    await apply(watched, CLUSTER);
    const stop = new AbortController();
    let seen = '';
    const until = (text: string) =>
      new Promise<void>((resolve) => {
        waiting = () => seen.includes(text) && resolve();
        waiting();
      });
    let waiting = () => {};
    const running = ctl(watched, ['get', 'nodes', '--watch'], {
      signal: stop.signal,
      onOut: (text) => {
        seen += text;
        waiting();
      },
    });
    await until('n3');
    await ctl(watched, ['label', 'node', 'n1', 'new=x']);
    await until('MODIFIED');
    await ctl(watched, ['delete', 'node', 'n2']);
    await until('DELETED');
    stop.abort();
    expect((await running).status).toBe(0);
    expect(seen.replace(/ +$/gm, '')).toBe(
      'EVENT      NAME\nADDED      n1\nADDED      n2\nADDED      n3\nMODIFIED   n1\nDELETED    n2\n',
    );
  });

  test('a resource that leaves the selection is deleted for the watcher; JSON is one object a line', async () => {
    const watched = await memoryStore();
    await apply(watched, CLUSTER);
    const stop = new AbortController();
    const lines: { type: string; object: { metadata: { name: string } } }[] = [];
    const running = ctl(watched, ['get', 'nodes', '-w', '-l', "rack == 'r1'", '-o', 'json'], {
      signal: stop.signal,
      onOut: (text) => {
        lines.push(JSON.parse(text));
        if (lines.length === 1) void ctl(watched, ['label', 'node', 'n1', 'rack=r9', '--overwrite']);
        else stop.abort();
      },
    });
    expect((await running).status).toBe(0);
    expect(lines.map(({ type, object }) => [type, object.metadata.name])).toEqual([
      ['ADDED', 'n1'],
      ['DELETED', 'n1'],
    ]);
  });
});
