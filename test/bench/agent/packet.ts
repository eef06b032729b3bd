import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import {
  createLab,
  createWorkload,
  endpointManifest,
  HOST_MAC,
  inside,
  type Lab,
  PORT,
  planWorkload,
  removeNetns,
  runIn,
  WORKLOAD_GATEWAYS,
} from '../../../deploy/lab/index.ts';
import { metricsOf, percentiles, stepTimes } from './rig.ts';
import type { Report } from './start.ts';

/**
 * From the call that puts an endpoint into etcd until its first packet has come back from a workload of another node: this node must make it reachable,
 * and the other must let it in, by a set of addresses of which it becomes a member there.
 */

/** As many as a block has addresses for. */
const ROUNDS = Math.min(Number(process.env.ROUNDS ?? 50), 58);

const METRICS = 'http://127.0.0.1:9091/metrics';

/** Sends a datagram each millisecond, and says when the first answer came, by the clock that all processes share (nanoseconds). */
const SENDER = `
const [to, port] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.on('error', () => {});
socket.once('message', () => { console.log(process.hrtime.bigint().toString()); process.exit(0); });
const send = () => socket.send('x', Number(port), to, () => {});
socket.bind(0, () => { setInterval(send, 1); setTimeout(() => console.log('sending'), 50); });
`;

export async function measureFirstPacket(line: string, report: Report): Promise<void> {
  const lab = await createLab({ name: `first${process.pid % 10_000}`, nodes: 2 });
  try {
    const times: number[] = [];
    const all = () => Promise.all(lab.nodes.map(async (node) => metricsOf((await node.get(METRICS)).text)));
    const before = await all();
    for (let round = 0; round < ROUNDS; round++) times.push(await firstPacket(lab, round + 3));
    const after = await all();
    const { p50, p99, max } = percentiles(times);
    const [of, by] = lab.nodes.map((_, i) => stepTimes(before[i], after[i]));
    report(line, {
      rounds: ROUNDS,
      p50_ms: p50,
      p99_ms: p99,
      max_ms: max,
      steps_of_server_ms: of,
      steps_of_client_ms: by,
    });
  } finally {
    await lab.down();
  }
}

/** Milliseconds for one new client on the second node that talks to the web server of the first. */
async function firstPacket(lab: Lab, ordinal: number): Promise<number> {
  const node = lab.node('node-2');
  const workload = planWorkload(lab.plan.name, node.plan, 'client', ordinal);
  const mac = await createWorkload(workload, node.plan);
  // Otherwise it would be the kernel's patience of a second between two ARP requests that is measured.
  const neighbour = ['ip', 'neigh', 'replace', WORKLOAD_GATEWAYS[0], 'lladdr', HOST_MAC, 'dev', 'eth0'];
  await runIn(workload.netns, [...neighbour, 'nud', 'permanent']);
  const to = lab.host('web-1').addresses[0];
  const [command, ...args] = inside(workload.netns, [process.execPath, '-e', SENDER, to, String(PORT.echo)]);
  const sender = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = linesOf(sender);
  await lines.next();
  const started = process.hrtime.bigint();
  await lab.put(endpointManifest(workload, mac));
  const { value } = await lines.next();
  await lab.remove(endpointManifest(workload, mac));
  await removeNetns(workload.netns);
  return Number(BigInt(value) - started) / 1e6;
}

function linesOf(child: ChildProcess): AsyncIterator<string> {
  return createInterface(child.stdout!)[Symbol.asyncIterator]();
}
