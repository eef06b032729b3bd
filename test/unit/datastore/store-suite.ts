import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Store, WatchMessage } from '#datastore';

/** A store to be tested, empty, and how to get rid of it. */
export interface Subject {
  readonly store: Store;
  /** Another way to the same keys, as another process has it; the same store when there is none. */
  readonly other: Store;
  /** Lets time pass for leases; milliseconds. */
  pass(ms: number): Promise<void>;
  remove(): Promise<void>;
}

/** Two ways to what `open` opens, in real time. */
export async function opened(open: () => Promise<Store>): Promise<Subject> {
  const [store, other] = await Promise.all([open(), open()]);
  return {
    store,
    other,
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    remove: async () => {
      await store.close();
      await other.close();
    },
  };
}

const NODES = '/calico/resources/v3/projectcalico.org/nodes/';
export const nodeKey = (name: string): string => `${NODES}${name}`;
/** A valid Node whose contents differ by the address. */
export const nodeValue = (name: string, host = 1): string =>
  JSON.stringify({
    kind: 'Node',
    apiVersion: 'projectcalico.org/v3',
    metadata: { name, uid: '5b0b3c9e-7d2f-4b39-9f6c-1c5a0a3de7f1', creationTimestamp: '2026-03-01T09:30:00Z' },
    spec: { bgp: { ipv4Address: `10.0.0.${host}/24` } },
  });

/** Follows a prefix and remembers what was told; the events alone are `events`. */
export function follow(store: Store, prefix: string, from: bigint) {
  const abort = new AbortController();
  const messages: WatchMessage[] = [];
  const wanted: { when: () => boolean; resolve: () => void }[] = [];
  const done = (async () => {
    for await (const message of store.watch(prefix, from, abort.signal)) {
      messages.push(message);
      for (const { when, resolve } of wanted) if (when()) resolve();
    }
  })();
  return {
    messages,
    done,
    get events() {
      return messages.flatMap((m) => (m.type === 'events' ? m.events : []));
    },
    /** Resolves when the condition holds, looked at after each message. */
    until: (when: () => boolean) =>
      new Promise<void>((resolve) => {
        if (when()) resolve();
        else wanted.push({ when, resolve });
      }),
    stop: async () => {
      abort.abort();
      await done;
    },
  };
}

export async function listAll(store: Store, prefix: string) {
  const pages = store.list(prefix);
  const entries = [];
  for await (const page of pages) entries.push(...page);
  return { entries, revision: await pages.revision };
}

/** What every store has to do; each run on memory, a directory, and real etcd. */
export function storeSuite(name: string, make: () => Promise<Subject>): void {
  describe(name, () => {
    let subject: Subject;
    let store: Store;

    beforeEach(async () => {
      subject = await make();
      store = subject.store;
    });
    afterEach(() => subject.remove());

    const put = async (key: string, value: string): Promise<bigint> => {
      const result = await store.txn([], [{ op: 'put', key, value }]);
      if (!result.ok) throw new Error('a write without compares cannot fail');
      return result.revision;
    };

    test('what is absent is null, in no list, and may be deleted', async () => {
      expect(await store.get(nodeKey('a'))).toBeNull();
      expect((await listAll(store, NODES)).entries).toEqual([]);
      expect(await store.txn([], [{ op: 'delete', key: nodeKey('a') }])).toMatchObject({ ok: true });
    });

    test('a put is read back with the revision of its transaction', async () => {
      const revision = await put(nodeKey('a'), nodeValue('a'));
      const entry = await store.get(nodeKey('a'));
      expect(entry?.modRevision).toBe(revision);
      expect(JSON.parse(entry?.value ?? '')).toEqual(JSON.parse(nodeValue('a')));
      expect(await put(nodeKey('a'), nodeValue('a', 2))).toBeGreaterThan(revision);
    });

    test('a compare that holds lets all writes happen at one revision', async () => {
      const a = await put(nodeKey('a'), nodeValue('a'));
      const done = await store.txn(
        [
          { key: nodeKey('a'), mod: a },
          { key: nodeKey('b'), mod: 0n },
        ],
        [
          { op: 'delete', key: nodeKey('a') },
          { op: 'put', key: nodeKey('b'), value: nodeValue('b') },
          { op: 'put', key: nodeKey('c'), value: nodeValue('c') },
        ],
      );
      expect(done).toMatchObject({ ok: true });
      const { entries } = await listAll(store, NODES);
      expect(entries.map((e) => e.key)).toEqual([nodeKey('b'), nodeKey('c')]);
      expect(entries[0].modRevision).toBe(entries[1].modRevision);
    });

    test('a compare that fails writes nothing and shows what is there', async () => {
      const a = await put(nodeKey('a'), nodeValue('a'));
      const lost = await store.txn(
        [
          { key: nodeKey('a'), mod: 0n },
          { key: nodeKey('b'), mod: 7n },
        ],
        [{ op: 'put', key: nodeKey('b'), value: nodeValue('b') }],
      );
      expect(lost).toMatchObject({ ok: false, now: [{ key: nodeKey('a'), modRevision: a }, null] });
      expect(await store.get(nodeKey('b'))).toBeNull();
    });

    test('of many who compare with the same revision exactly one wins', async () => {
      const mod = await put(nodeKey('a'), nodeValue('a'));
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          (i % 2 ? store : subject.other).txn(
            [{ key: nodeKey('a'), mod }],
            [{ op: 'put', key: nodeKey('a'), value: nodeValue('a', i + 2) }],
          ),
        ),
      );
      expect(results.filter((r) => r.ok)).toHaveLength(1);
    });

    test('a list holds its prefix only, in key order, with the revision to watch from', async () => {
      for (const n of ['c', 'a', 'b']) await put(nodeKey(n), nodeValue(n));
      await put('/calico/ipam/v2/handle/h1', '{"block":{},"deleted":false}');
      const { entries, revision } = await listAll(store, NODES);
      expect(entries.map((e) => e.key)).toEqual(['a', 'b', 'c'].map(nodeKey));
      const watch = follow(store, NODES, revision);
      await put(nodeKey('d'), nodeValue('d'));
      await watch.until(() => watch.events.length > 0);
      expect(watch.events.map((e) => e.key)).toEqual([nodeKey('d')]);
      await watch.stop();
    });

    test('keys of IPAM and of tsnet keep their text exactly', async () => {
      const key = '/calico/ipam/v2/assignment/ipv6/block/fd00:65::1c40-122';
      const value = '{"cidr":"fd00:65::1c40/122","sequenceNumber":1772357400000000005}';
      await put(key, value);
      await put('/tsnet/v1/status/node-1', '{"x":"ü\\n"}');
      expect((await subject.other.get(key))?.value).toBe(value);
      expect((await store.get('/tsnet/v1/status/node-1'))?.value).toBe('{"x":"ü\\n"}');
    });

    test('a watch tells every change after its revision, in order, of its prefix only', async () => {
      const start = await put(nodeKey('a'), nodeValue('a'));
      await put(nodeKey('b'), nodeValue('b'));
      await put('/calico/ipam/v2/handle/h1', '{"block":{},"deleted":false}');
      const watch = follow(store, NODES, start);
      await watch.until(() => watch.events.length >= 1);
      await put(nodeKey('a'), nodeValue('a', 9));
      await store.txn([], [{ op: 'delete', key: nodeKey('b') }]);
      await watch.until(() => watch.events.length >= 3);
      expect(watch.events.map((e) => [e.key, e.value === null])).toEqual([
        [nodeKey('b'), false],
        [nodeKey('a'), false],
        [nodeKey('b'), true],
      ]);
      const revisions = watch.events.map((e) => e.revision);
      expect([...revisions].sort((x, y) => Number(x - y))).toEqual(revisions);
      await watch.stop();
    });

    test('what one program writes another sees', async () => {
      const { revision } = await listAll(store, NODES);
      const watch = follow(store, NODES, revision);
      await subject.other.txn([], [{ op: 'put', key: nodeKey('x'), value: nodeValue('x') }]);
      await watch.until(() => watch.events.length >= 1);
      const [mine, theirs] = await Promise.all([store.get(nodeKey('x')), subject.other.get(nodeKey('x'))]);
      expect(mine?.modRevision).toBe(theirs?.modRevision);
      await watch.stop();
    });

    test('a watch ends when its signal aborts, and a loop that is left ends it too', async () => {
      const watch = follow(store, NODES, (await listAll(store, NODES)).revision);
      await watch.until(() => watch.messages.some((m) => m.type === 'connected'));
      await watch.stop();
      for await (const message of store.watch(NODES, 1n, new AbortController().signal))
        if (message.type === 'connected') break;
    });

    test('a put with a time to live goes away by itself', async () => {
      const key = '/calico/felix/v2/no-region/host/n1/status';
      await store.txn([], [{ op: 'put', key, value: '{}', ttlSeconds: 1 }]);
      const { revision } = await listAll(store, key);
      expect(await store.get(key)).not.toBeNull();
      const watch = follow(store, key, revision);
      await subject.pass(1500);
      await watch.until(() => watch.events.some((e) => e.value === null));
      expect(await store.get(key)).toBeNull();
      await watch.stop();
    });

    test('status gives the revision', async () => {
      const revision = await put(nodeKey('a'), nodeValue('a'));
      expect((await store.status()).revision).toBeGreaterThanOrEqual(revision);
    });
  });
}
