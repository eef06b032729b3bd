import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, silentLog } from '#core';
import { openStore, type Store } from '#datastore';
import { follow, listAll, nodeKey, nodeValue } from '../../unit/datastore/store-suite.ts';
import { enterNamespace, type Namespace, until } from '../namespace.ts';
import { EtcdServer } from './etcd-server.ts';

/** Three members; what happens to one is not to be noticed by who reads and writes. */

let ns: Namespace;
const members = [0, 1, 2].map(
  (i) =>
    new EtcdServer({
      name: `m${i}`,
      clientPort: 12379 + i,
      peerPort: 12480 + i,
      cluster: [0, 1, 2].map((j) => `m${j}=http://127.0.0.1:${12480 + j}`).join(','),
    }),
);
const unhandled: unknown[] = [];
const remember = (error: unknown) => unhandled.push(error);
let store: Store;

beforeAll(async () => {
  ns = enterNamespace('etcdha');
  process.on('unhandledRejection', remember);
  for (const member of members) member.launch();
  for (const member of members) await member.ready();
  store = await openStore(
    { type: 'etcdv3', endpoints: members.map((m) => m.url) },
    { clock: realClock, log: silentLog },
  );
});
afterAll(async () => {
  await store?.close();
  for (const member of members) await member.remove();
  process.off('unhandledRejection', remember);
  ns.leave();
  expect(unhandled).toEqual([]);
});

const leader = () =>
  members.find((member) => {
    try {
      const [{ Status }] = JSON.parse(member.ctl('endpoint', 'status', '-w', 'json'));
      return Status.leader === Status.header.member_id;
    } catch {
      return false;
    }
  });

/** Writes n0, n1, … until told to stop; a write without an answer is written again. Gives how many are there. */
function writer(prefix: string) {
  let running = true;
  let retried = 0;
  const done = (async () => {
    let n = 0;
    while (running) {
      try {
        const name = `${prefix}${n}`;
        await store.txn([], [{ op: 'put', key: nodeKey(name), value: nodeValue(name) }]);
        n++;
      } catch {
        retried++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    return n;
  })();
  return {
    stop: () => {
      running = false;
      return done;
    },
    get retried() {
      return retried;
    },
  };
}

for (const [what, hurt, heal] of [
  ['killed', (m: EtcdServer) => m.stop('SIGKILL'), (m: EtcdServer) => m.start()],
  ['frozen', async (m: EtcdServer) => m.signal('SIGSTOP'), async (m: EtcdServer) => m.signal('SIGCONT')],
] as const)
  test(`the leader is ${what} under load: every write that was made arrives`, async () => {
    const { revision } = await listAll(store, '/calico/');
    const watch = follow(store, '/calico/', revision);
    const load = writer(`${what}-`);
    await watch.until(() => watch.events.length > 200);
    const hurtMember = leader();
    if (!hurtMember) throw new Error('the cluster has no leader');
    const at = performance.now();
    await hurt(hurtMember);
    const before = watch.events.length;
    await until('events flow again', () => watch.events.length > before + 300, 30_000);
    console.log(
      `leader ${what}: events flow again after ${Math.round(performance.now() - at)} ms, ${load.retried} writes repeated`,
    );
    const written = await load.stop();
    await heal(hurtMember);
    await watch.until(() => new Set(watch.events.map((e) => e.key)).size >= written);
    const keys = new Set(watch.events.map((e) => e.key));
    for (let n = 0; n < written; n++) expect(keys).toContain(nodeKey(`${what}-${n}`));
    await watch.stop();
  });

test('with the quorum gone the watch says so, and goes on when it is back', async () => {
  const { revision } = await listAll(store, '/calico/');
  const watch = follow(store, '/calico/', revision);
  await watch.until(() => watch.messages.some((m) => m.type === 'connected'));
  await members[0].stop();
  await members[1].stop();
  await watch.until(() => watch.messages.some((m) => m.type === 'disconnected'));
  await expect(store.get(nodeKey('x'))).rejects.toMatchObject({ code: expect.stringMatching(/TIMEOUT|UNAVAILABLE/) });
  members[0].launch();
  members[1].launch();
  for (const member of members) await member.ready();
  members[2].ctl('put', nodeKey('back'), nodeValue('back'));
  await watch.until(() => watch.events.some((e) => e.key === nodeKey('back')));
  await watch.stop();
});
