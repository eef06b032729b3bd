/**
 * What load does to sessions, on the built tsnet-bgpd in a network namespace of its own (root):
 *
 *     unshare -n node --conditions=tsnet-source --import tsx test/bench/sessions.bench.ts [PREFIXES]
 *
 * keepalives: 100 sessions with a hold time of 9 s while a million prefixes arrive; the longest time between two KEEPALIVEs, and flaps.
 * lost: 500 peers with 20 routes each whose TCP ends in one moment; the time until no route is left.
 * memory: 50 feeds and withdrawals of 100 000 prefixes; the resident size after the first and after the last.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { callControl, type PeerStatus } from '#bgp';
import { unicast } from '../../bgp/wire/codes.ts';
import { frame } from '../../bgp/wire/frame.ts';
import { encodeOpen } from '../../bgp/wire/open.ts';

const PREFIXES = Number(process.argv[2] ?? 1_000_000);
const KEEPALIVE = frame('KEEPALIVE', new Uint8Array(0));
const PER_MESSAGE = 1000;
const dir = mkdtempSync(join(tmpdir(), 'tsn-sessions-'));
const socket = join(dir, 'bgpd.sock');
const sleep = (time: number) => new Promise((resolve) => setTimeout(resolve, time));
const address = (group: number, i: number) => `10.98.${group + Math.floor(i / 250)}.${(i % 250) + 1}`;

/** The far end of a session: keeps it alive, and the time between the KEEPALIVEs that it hears. */
class Peer {
  readonly address: string;
  #tcp!: Socket;
  #heard = 0;
  longest = 0;
  isUp = false;
  readonly #hold: number;

  constructor(from: string, hold: number) {
    this.address = from;
    this.#hold = hold;
  }
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#tcp = connect({ host: '10.99.0.1', port: 179, localAddress: this.address });
      this.#tcp.on('error', reject);
      const capabilities = [
        { name: 'multiprotocol', ...unicast(4) },
        { name: 'four-octet-as', asNumber: 65001 },
      ] as const;
      const [a, b, c, d] = this.address.split('.').map(Number);
      const identifier = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
      this.#tcp.on('connect', () => {
        this.#tcp.write(encodeOpen({ asNumber: 65001, holdTime: this.#hold, identifier, capabilities }));
        this.#tcp.write(KEEPALIVE);
      });
      let rest = Buffer.alloc(0);
      this.#tcp.on('data', (bytes) => {
        rest = Buffer.concat([rest, bytes]);
        for (; rest.length >= 19 && rest.length >= rest.readUInt16BE(16); rest = rest.subarray(rest.readUInt16BE(16)))
          if (rest[18] === 4) this.#onKeepalive(resolve);
      });
      setInterval(() => this.#tcp.writable && this.#tcp.write(KEEPALIVE), (this.#hold * 1000) / 3).unref();
    });
  }
  #onKeepalive(up: () => void): void {
    const now = performance.now();
    if (this.#heard > 0) this.longest = Math.max(this.longest, now - this.#heard);
    this.#heard = now;
    this.isUp = true;
    up();
  }
  /** Resolves when the kernel has taken everything. */
  async send(messages: Iterable<Uint8Array>): Promise<void> {
    for (const message of messages)
      if (!this.#tcp.write(message)) await new Promise<void>((resolve) => this.#tcp.once('drain', () => resolve()));
  }
  reset(): void {
    this.#tcp.removeAllListeners('error').on('error', () => {});
    this.#tcp.resetAndDestroy();
  }
}

function* feed(base: number, count: number, withdraw = false): Iterable<Uint8Array> {
  for (let from = 0; from < count; from += PER_MESSAGE) {
    const size = Math.min(PER_MESSAGE, count - from);
    const nlri = Buffer.alloc(size * 4);
    for (let i = 0; i < size; i++) nlri.writeUInt32BE(((24 << 24) | (0x140000 + base + from + i)) >>> 0, i * 4);
    const path = Buffer.alloc(8);
    path.writeUInt32BE(65001, 0);
    path.writeUInt32BE(100_000 + from, 4);
    const attributes = Buffer.from([0x40, 1, 1, 0, 0x40, 2, 10, 2, 2, ...path, 0x40, 3, 4, 10, 98, 0, 1]);
    const empty = Buffer.alloc(2);
    const length = Buffer.alloc(2);
    length.writeUInt16BE(withdraw ? nlri.length : attributes.length);
    yield frame(
      'UPDATE',
      withdraw ? Buffer.concat([length, nlri, empty]) : Buffer.concat([empty, length, attributes, nlri]),
    );
  }
}

const peers = async () => (await callControl(socket, 'bgp.peers', {}, 60_000)) as PeerStatus[];
const received = async () => (await peers()).reduce((sum, { prefixes }) => sum + (prefixes.ipv4?.received ?? 0), 0);
async function waitFor(condition: () => Promise<boolean>, what: string): Promise<number> {
  const began = performance.now();
  while (!(await condition())) {
    if (performance.now() - began > 120_000) throw new Error(`waited in vain for ${what}`);
    await sleep(20);
  }
  return performance.now() - began;
}

function startDaemon(groups: readonly { group: number; count: number; hold: number }[]): ChildProcess {
  const entries = groups.flatMap(({ group, count, hold }) =>
    Array.from({ length: count }, (_, i) => ({
      address: address(group, i),
      asNumber: 65001,
      passive: true,
      holdTime: hold,
      export: [{ action: 'Reject' }],
    })),
  );
  const config = { asNumber: 65000, routerId: '10.99.0.1', listen: { address: '10.99.0.1' }, peers: entries };
  writeFileSync(join(dir, 'bgpd.json'), JSON.stringify(config));
  const program = join(import.meta.dirname, '../../bin/tsnet-bgpd');
  return spawn(program, ['--config', join(dir, 'bgpd.json'), '--socket', socket], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}
async function withDaemon(
  groups: Parameters<typeof startDaemon>[0],
  run: (pid: number) => Promise<object>,
): Promise<void> {
  const daemon = startDaemon(groups);
  try {
    await waitFor(
      () =>
        peers().then(
          () => true,
          () => false,
        ),
      'the control socket',
    );
    console.log(JSON.stringify(await run(daemon.pid as number)));
  } finally {
    daemon.kill('SIGKILL');
  }
}
const group = (at: number, count: number, hold: number) =>
  Array.from({ length: count }, (_, i) => new Peer(address(at, i), hold));
const rss = (pid: number) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);

execFileSync('ip', ['link', 'set', 'lo', 'up']);
for (const net of ['10.98.0.1/16', '10.99.0.1/32']) execFileSync('ip', ['addr', 'add', net, 'dev', 'lo']);

await withDaemon(
  [
    { group: 0, count: 1, hold: 90 },
    { group: 1, count: 100, hold: 9 },
  ],
  async () => {
    const [feeder] = group(0, 1, 90);
    const others = group(1, 100, 9);
    for (const peer of [feeder, ...others]) await peer.start();
    await sleep(4000);
    for (const peer of others) peer.longest = 0;
    const began = performance.now();
    await feeder.send(feed(0, PREFIXES));
    await waitFor(async () => (await received()) >= PREFIXES, 'the prefixes');
    const seconds = (performance.now() - began) / 1000;
    await sleep(10_000);
    const gaps = others.map(({ longest }) => longest);
    const flaps = (await peers()).reduce((sum, peer) => sum + peer.flaps, 0);
    return { line: 'keepalives', prefixes: PREFIXES, fed_s: seconds, longest_gap_ms: Math.max(...gaps), flaps };
  },
);
await withDaemon([{ group: 2, count: 500, hold: 90 }], async () => {
  const all = group(2, 500, 90);
  for (const [i, peer] of all.entries()) {
    await peer.start();
    await peer.send(feed(i * 20, 20));
  }
  await waitFor(async () => (await received()) === 10_000, 'the routes');
  const began = performance.now();
  for (const peer of all) peer.reset();
  const lost = performance.now() - began;
  await waitFor(async () => (await received()) === 0, 'the end of the routes');
  return { line: 'lost', peers: 500, routes: 10_000, resets_ms: lost, clean_ms: performance.now() - began };
});
await withDaemon([{ group: 0, count: 1, hold: 90 }], async (pid) => {
  const [feeder] = group(0, 1, 90);
  await feeder.start();
  const sizes: number[] = [];
  for (let i = 0; i < 50; i++) {
    await feeder.send(feed(0, 100_000));
    await waitFor(async () => (await received()) === 100_000, 'the feed');
    await feeder.send(feed(0, 100_000, true));
    await waitFor(async () => (await received()) === 0, 'the withdrawal');
    sizes.push(rss(pid));
  }
  return {
    line: 'memory',
    feeds: 50,
    rss_mb: { first: sizes[0], tenth: sizes[9], last: sizes[49], most: Math.max(...sizes) },
  };
});
rmSync(dir, { recursive: true });
process.exit(0);
