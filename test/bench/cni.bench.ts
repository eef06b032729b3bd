import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { exchange, Rig } from '../kernel/cni/rig.ts';

/**
 * Time of ADD and DEL of tsnet-cni (etcd on this machine, no wait for an agent) beside ptp with host-local of containernetworking-plugins, which give the
 * same link and addresses but keep them in files and know no cluster; and what the start of an empty Node.js takes. With both families ptp waits
 * until duplicate address detection is over, which tsnet-cni has turned off. Each in turn, then as many at once as a node starts pods. Root, etcd,
 * /usr/lib/cni.
 *
 *     node --conditions=tsnet-source --import tsx test/bench/cni.bench.ts [rounds [at once]]
 */
const ROUNDS = Number(process.argv[2] ?? 30);
const AT_ONCE = Number(process.argv[3] ?? 10);

const rig = new Rig('cnib');
await rig.start();
const ranges = [[{ subnet: '10.70.0.0/16' }], [{ subnet: 'fd00:70::/64' }]];
const ptp = (families: 1 | 2) => ({
  cniVersion: '1.0.0',
  name: 'ptp',
  type: 'ptp',
  mtu: 1440,
  ipam: {
    type: 'host-local',
    ranges: ranges.slice(0, families),
    routes: [{ dst: '0.0.0.0/0' }, { dst: '::/0' }].slice(0, families),
    dataDir: join(rig.dir, 'host-local'),
  },
});
const PLUGINS: Record<string, { file: string; conf: object }> = {
  'tsnet-cni': { file: join(rig.dir, 'bin/tsnet-cni'), conf: rig.conf() },
  'tsnet-cni, IPv4': { file: join(rig.dir, 'bin/tsnet-cni'), conf: rig.conf({ ipam: { type: 'tsnet-ipam' } }) },
  'ptp, host-local': { file: '/usr/lib/cni/ptp', conf: ptp(2) },
  'ptp, host-local, IPv4': { file: '/usr/lib/cni/ptp', conf: ptp(1) },
};
const times = new Map<string, number[]>();

async function timed(what: string, work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await work();
  const taken = performance.now() - start;
  times.set(what, [...(times.get(what) ?? []), taken]);
}
async function call(plugin: string, command: string, id: string, netns: string): Promise<void> {
  const { file, conf } = PLUGINS[plugin];
  const attachment = { CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: 'eth0' };
  const env = { PATH: process.env.PATH, CNI_COMMAND: command, CNI_PATH: '/usr/lib/cni', ...attachment };
  const { status, stdout } = await exchange(file, env, JSON.stringify(conf));
  if (status !== 0) throw new Error(`${plugin} ${command}: ${stdout}`);
}

try {
  for (let round = 0; round < ROUNDS; round++) {
    await timed('empty Node.js', async () => execFileSync(process.execPath, ['-e', '0']));
    for (const plugin of Object.keys(PLUGINS)) {
      const container = rig.container(`r${round}p${Object.keys(PLUGINS).indexOf(plugin)}`);
      for (const command of ['ADD', 'DEL'])
        await timed(`${plugin} ${command}`, () => call(plugin, command, container.id, container.netns));
      container.end();
    }
  }
  for (const plugin of Object.keys(PLUGINS)) {
    const containers = Array.from({ length: AT_ONCE }, (_, i) =>
      rig.container(`m${i}p${Object.keys(PLUGINS).indexOf(plugin)}`),
    );
    for (const command of ['ADD', 'DEL'])
      await timed(`${plugin} ${command}, ${AT_ONCE} at once`, () =>
        Promise.all(containers.map(({ id, netns }) => call(plugin, command, id, netns))),
      );
  }
} finally {
  await rig.stop();
}
for (const [what, all] of times) {
  const sorted = all.sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(0);
  console.log(`${what.padEnd(40)} p50 ${at(0.5).padStart(4)} ms  p95 ${at(0.95).padStart(4)} ms  (${sorted.length})`);
}
