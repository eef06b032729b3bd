import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { realClock, silentLog } from '#core';
import { openStore } from '#datastore';
import { EtcdServer } from '../kernel/datastore/etcd-server.ts';
import { enterNamespace } from '../kernel/namespace.ts';
import { concat, endpoint, endpoints, entryOf, LOCAL, namespaces, type Shaped, tagPolicies } from './shapes.ts';

/**
 * How long the built `tsnetctl explain` and `diff` take in a large cluster, and what memory. Root, etcd, `npm run build` before.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/explain.bench.ts [endpoints]
 */
const ENDPOINTS = Number(process.argv[2] ?? 250_000);
const BIN = join(import.meta.dirname, '../../bin/tsnetctl');
/** Seconds and megabytes of a child, as it has ended. */
const MEASURE = `import subprocess,resource,sys
r=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE)
u=resource.getrusage(resource.RUSAGE_CHILDREN)
print(r.stdout.decode().strip().split('\\n')[-1][:160], '- RSS %d MB, processor %.1f s' % (u.ru_maxrss/1024, u.ru_utime+u.ru_stime))`;

/** A change that concerns one endpoint and all that might speak to it. */
const SHUT = `apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: shut, namespace: mine}
spec: {selector: app == 'a', types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]}
`;

const ns = enterNamespace('explainbench');
const etcd = new EtcdServer({ extra: ['--unsafe-no-fsync', '--quota-backend-bytes', '8000000000'] });
try {
  await etcd.start();
  const store = await openStore({ type: 'etcdv3', endpoints: [etcd.url] }, { clock: realClock, log: silentLog });
  const rules = { ingress: [{ action: 'Allow' }], egress: [{ action: 'Allow' }] };
  const rest: Shaped[] = [
    { kind: 'Tier', id: 'default', spec: { order: 1_000_000, defaultAction: 'Deny' } },
    { kind: 'Profile', id: 'kns.mine', spec: rules },
  ];
  const pair = ['a', 'b'].map((app, i) => endpoint(i + 1, LOCAL, 'mine', { app }, `172.16.0.${i + 1}`));
  let batch: Shaped[] = [];
  const put = async () => {
    await store.txn(
      [],
      batch.map((shaped) => ({ op: 'put', ...entryOf(shaped) })),
    );
    batch = [];
  };
  for (const shaped of concat(tagPolicies(10_000), namespaces(100), endpoints(ENDPOINTS, 'remote'), pair, rest)) {
    batch.push(shaped);
    if (batch.length === 100) await put();
  }
  await put();
  await store.close();
  for (const argv of [
    ['explain', '--from', 'mine/pod-1', '--to', 'mine/pod-2', '--port', '80'],
    ['explain', '--from', '172.16.0.1', '--to', '10.0.3.4', '--port', '80'],
    ['diff', '-f', '-'],
  ]) {
    const start = performance.now();
    const env = { PATH: process.env.PATH, ETCD_ENDPOINTS: etcd.url };
    const { stdout, stderr } = spawnSync('python3', ['-c', MEASURE, BIN, ...argv], {
      env,
      encoding: 'utf8',
      input: SHUT,
    });
    console.log(
      `${argv.join(' ')}: ${((performance.now() - start) / 1000).toFixed(1)} s, ${stdout.trim()} ${stderr.trim()}`,
    );
  }
} finally {
  await etcd.remove();
  ns.leave();
}
