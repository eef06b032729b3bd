import { beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeClock } from '#core';
import {
  API_VERSION,
  createResources,
  type IPPool,
  initialiseCluster,
  MemoryStore,
  type NetworkPolicy,
  type ResourceEvent,
  type Resources,
  resourceKey,
  ValidationError,
} from '#datastore';

const pool = (name: string, cidr: string, more: object = {}): IPPool => ({
  apiVersion: API_VERSION,
  kind: 'IPPool',
  metadata: { name },
  spec: { cidr, ...more },
});
const policy = (name: string, spec: NetworkPolicy['spec'] = {}): NetworkPolicy => ({
  apiVersion: API_VERSION,
  kind: 'NetworkPolicy',
  metadata: { name, namespace: 'prod' },
  spec,
});
const oldPolicy = (stored: object) => ({
  op: 'put' as const,
  key: resourceKey('NetworkPolicy', 'default.web', 'prod'),
  value: JSON.stringify(stored),
});

describe('resources', () => {
  const clock = new FakeClock(Date.UTC(2026, 2, 1, 9, 30));
  let store: MemoryStore;
  let resources: Resources;

  beforeEach(async () => {
    store = new MemoryStore(clock);
    resources = createResources(store, clock);
    await initialiseCluster(store, clock, {});
  });

  test('create gives identity and revision, and refuses what exists', async () => {
    const made = await resources.create(pool('a', '10.65.0.0/16'));
    expect(made.metadata).toEqual({
      name: 'a',
      uid: expect.stringMatching(/^[0-9a-f]{8}-/),
      creationTimestamp: '2026-03-01T09:30:00Z',
      resourceVersion: String(store.table.revision),
    });
    expect(await resources.get('IPPool', 'a')).toEqual(made);
    const stored = JSON.parse((await store.get(resourceKey('IPPool', 'a')))?.value ?? '');
    expect(stored.metadata).not.toHaveProperty('resourceVersion');
    await expect(resources.create(pool('a', '10.66.0.0/16'))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: 'resource already exists: IPPool(a)',
    });
  });

  test('what is wrong is said field by field', async () => {
    const failure = await resources.create(pool('a', '10.65.0.1/16', { ipipMode: 'always' })).catch((e) => e);
    expect(failure).toBeInstanceOf(ValidationError);
    expect((failure as ValidationError).errors.map((e) => e.field)).toEqual(['spec.cidr', 'spec.ipipMode']);
    expect(failure.message).toContain('IPPool(a) is not valid: spec.cidr');
  });

  test('update compares revisions, keeps identity, and names the conflict', async () => {
    const made = await resources.create(pool('a', '10.65.0.0/16'));
    const changed = { ...made, spec: { ...made.spec, natOutgoing: true } };
    const updated = await resources.update(changed);
    expect(updated.metadata.uid).toBe(made.metadata.uid);
    await expect(resources.update(changed)).rejects.toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('update conflict: IPPool(a)'),
    });
    // Without a revision it replaces whatever is there.
    await resources.update(pool('a', '10.65.0.0/16'));
    expect((await resources.get('IPPool', 'a')).spec.natOutgoing).toBeUndefined();
    await expect(resources.update(pool('b', '10.67.0.0/16'))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'resource does not exist: IPPool(b)',
    });
  });

  test('what a newer release stored in the spec and beside it survives a replacement', async () => {
    const stored = { kind: 'Node', metadata: { name: 'n', uid: 'u' }, spec: { future: [1] }, status: { x: 1 } };
    await store.txn([], [{ op: 'put', key: resourceKey('Node', 'n'), value: JSON.stringify(stored) }]);
    await resources.apply({ apiVersion: API_VERSION, kind: 'Node', metadata: { name: 'n' }, spec: {} });
    const after = await resources.get('Node', 'n');
    expect(after).toMatchObject({ metadata: { uid: 'u' }, spec: { future: [1] }, status: { x: 1 } });
  });

  test('apply creates, changes or leaves alone; labels and annotations are those of the file', async () => {
    const file = { ...pool('a', '10.65.0.0/16'), metadata: { name: 'a', labels: { x: '1' } } };
    expect((await resources.apply(file)).change).toBe('created');
    const revision = store.table.revision;
    expect((await resources.apply(file)).change).toBe('unchanged');
    expect(store.table.revision).toBe(revision);
    const next = await resources.apply({ ...file, metadata: { name: 'a', labels: { y: '2' } } });
    expect(next).toMatchObject({ change: 'updated', resource: { metadata: { labels: { y: '2' } } } });
    expect(next.resource.metadata.labels).toEqual({ y: '2' });
  });

  test('a dry run says what would be and writes nothing', async () => {
    const revision = store.table.revision;
    const would = await resources.apply(pool('a', '10.65.0.0/16'), { dryRun: true });
    expect(would).toMatchObject({ change: 'created', resource: { spec: { blockSize: 26 } } });
    expect(store.table.revision).toBe(revision);
  });

  test('pools do not overlap and do not move', async () => {
    await resources.create(pool('a', '10.65.0.0/16'));
    await expect(resources.create(pool('b', '10.65.4.0/24'))).rejects.toThrow(
      /overlaps 10\.65\.0\.0\/16 of IPPool\(a\)/,
    );
    await expect(resources.update(pool('a', '10.70.0.0/16'))).rejects.toThrow(/spec\.cidr cannot be changed/);
  });

  test('a policy needs its tier, a peer its filters; a tier with policies and a built-in one stay', async () => {
    await expect(resources.create(policy('web', { tier: 'sec' }))).rejects.toThrow(/tier 'sec', which does not exist/);
    await resources.create({ apiVersion: API_VERSION, kind: 'Tier', metadata: { name: 'sec' }, spec: {} });
    await resources.create(policy('web', { tier: 'sec' }));
    await expect(resources.delete('Tier', 'sec')).rejects.toThrow(/still has NetworkPolicy\(web\)/);
    await resources.delete('NetworkPolicy', 'web', { namespace: 'prod' });
    await resources.delete('Tier', 'sec');
    await expect(resources.delete('Tier', 'default')).rejects.toThrow(/built in/);
    await expect(
      resources.create({
        apiVersion: API_VERSION,
        kind: 'BGPPeer',
        metadata: { name: 'p' },
        spec: { peerIP: '10.0.0.1', asNumber: 1, filters: ['nope'] },
      }),
    ).rejects.toThrow(/spec\.filters\[0\] names BGPFilter 'nope'/);
  });

  test('delete gives what was there, compares when asked to, and says what is missing', async () => {
    const made = await resources.create(pool('a', '10.65.0.0/16'));
    await expect(resources.delete('IPPool', 'a', { resourceVersion: '1' })).rejects.toMatchObject({ code: 'CONFLICT' });
    expect(await resources.delete('IPPool', 'a', { resourceVersion: made.metadata.resourceVersion })).toEqual(made);
    await expect(resources.delete('NetworkPolicy', 'x', { namespace: 'prod' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: 'resource does not exist: NetworkPolicy(prod/x)',
    });
  });

  test('a policy of an older cluster is found by its name, and written where it was', async () => {
    const spec = { selector: 'all()', ingress: null, types: ['Ingress'] };
    await store.txn([], [oldPolicy({ metadata: { name: 'default.web', namespace: 'prod' }, spec })]);
    const found = await resources.get('NetworkPolicy', 'web', 'prod');
    expect(found.metadata.name).toBe('web');
    await resources.update({ ...found, spec: { ...found.spec, order: 7 } });
    expect(await store.get(resourceKey('NetworkPolicy', 'web', 'prod'))).toBeNull();
    const stored = JSON.parse((await store.get(resourceKey('NetworkPolicy', 'default.web', 'prod')))?.value ?? '');
    expect(stored).toMatchObject({
      metadata: { name: 'default.web', annotations: { 'projectcalico.org/metadata': '{"name":"web"}' } },
      spec: { order: 7, tier: 'default' },
    });
    await expect(resources.create(policy('web'))).rejects.toMatchObject({ code: 'ALREADY_EXISTS' });
    await resources.delete('NetworkPolicy', 'web', { namespace: 'prod' });
    expect((await resources.list('NetworkPolicy')).items).toEqual([]);
  });

  test('the recorded name wins over the stored one, its annotation is not shown, a newer key wins over an older', async () => {
    const annotations = { 'projectcalico.org/metadata': '{"name":"web"}', mine: 'x' };
    await store.txn([], [oldPolicy({ metadata: { name: 'default.web', annotations }, spec: { order: 1 } })]);
    const found = await resources.get('NetworkPolicy', 'web', 'prod');
    expect(found.metadata).toMatchObject({ name: 'web', annotations: { mine: 'x' } });
    expect(found.metadata.annotations).not.toHaveProperty(['projectcalico.org/metadata']);
    const value = JSON.stringify({ metadata: { name: 'web' }, spec: { order: 2 } });
    await store.txn([], [{ op: 'put', key: resourceKey('NetworkPolicy', 'web', 'prod'), value }]);
    expect((await resources.get('NetworkPolicy', 'web', 'prod')).spec.order).toBe(2);
  });

  test('the profile that allows everything is there without being stored', async () => {
    expect((await resources.get('Profile', 'projectcalico-default-allow')).spec.egress).toEqual([{ action: 'Allow' }]);
    expect((await resources.list('Profile')).items).toHaveLength(1);
    await expect(resources.delete('Profile', 'projectcalico-default-allow')).rejects.toThrow(/built in/);
  });

  test('a list names what cannot be used; get shows it, so that it can be repaired', async () => {
    await resources.create(pool('a', '10.65.0.0/16'));
    const bad = JSON.stringify({ metadata: { name: 'bad' }, spec: { cidr: 'x' } });
    await store.txn(
      [],
      [
        { op: 'put', key: resourceKey('IPPool', 'bad'), value: bad },
        { op: 'put', key: resourceKey('IPPool', 'worse'), value: '{' },
      ],
    );
    const { items, invalid } = await resources.list('IPPool');
    expect(items.map((p) => p.metadata.name)).toEqual(['a']);
    expect(invalid.map((i) => i.id)).toEqual(['bad', 'worse']);
    expect((await resources.get('IPPool', 'bad')).spec.cidr).toBe('x');
    await expect(resources.get('IPPool', 'worse')).rejects.toThrow(/IPPool\(worse\) cannot be read/);
    await resources.apply(pool('bad', '10.80.0.0/16'));
    await resources.delete('IPPool', 'worse');
    expect((await resources.list('IPPool')).invalid).toEqual([]);
  });

  test('a watch tells what is there, then every change, also over forgotten history', async () => {
    await resources.create(pool('a', '10.65.0.0/16'));
    const abort = new AbortController();
    const seen: string[] = [];
    const tell = (event: ResourceEvent<'IPPool'>) =>
      'resource' in event ? `${event.type} ${event.resource.metadata.name}` : event.type;
    const done = (async () => {
      for await (const event of resources.watch('IPPool', { signal: abort.signal })) seen.push(tell(event));
    })();
    await vi.waitFor(() => expect(seen).toEqual(['added a', 'in-sync']));
    await resources.update(pool('a', '10.65.0.0/16', { disabled: true }));
    await resources.create(pool('b', '10.66.0.0/16'));
    await resources.delete('IPPool', 'a');
    await vi.waitFor(() => expect(seen.slice(2)).toEqual(['modified a', 'added b', 'deleted a']));
    const value = (await store.get(resourceKey('IPPool', 'b')))?.value ?? '';
    store.table.restore([[resourceKey('IPPool', 'c'), value]], 3n);
    await vi.waitFor(() => expect(seen.slice(5)).toEqual(['added c', 'deleted b', 'in-sync']));
    abort.abort();
    await done;
  });

  test('a cluster is initialised once, and an operator’s decisions stay', async () => {
    const info = await resources.get('ClusterInformation', 'default');
    expect(info.spec).toMatchObject({ clusterGUID: expect.stringMatching(/^[0-9a-f]{32}$/), datastoreReady: true });
    expect(info.spec.calicoVersion).toBeUndefined();
    const tiers = (await resources.list('Tier')).items.map((t) => [
      t.metadata.name,
      t.spec.order,
      t.spec.defaultAction,
    ]);
    expect(tiers).toEqual([
      ['default', 1_000_000, 'Deny'],
      ['kube-admin', 1000, 'Pass'],
      ['kube-baseline', 10_000_000, 'Pass'],
    ]);
    await resources.update({ ...info, spec: { ...info.spec, datastoreReady: false, calicoVersion: 'v3.30.0' } });
    await initialiseCluster(store, clock, { clusterTypes: ['tsnet', 'bgp'] });
    await initialiseCluster(store, clock, { clusterTypes: ['bgp'] });
    expect((await resources.get('ClusterInformation', 'default')).spec).toEqual({
      ...info.spec,
      datastoreReady: false,
      calicoVersion: 'v3.30.0',
      clusterType: 'tsnet,bgp',
    });
  });
});
