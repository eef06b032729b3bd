import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { addr, type Prefix } from '#core';
import { prefixText } from '../../bgp/rib/text.ts';
import type { PeerConfig } from '../../bgp/types.ts';
import { decodeMessage } from '../../bgp/wire/message.ts';
import type { DecodeContext, PathAttributes } from '../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../bgp/wire/update.ts';
import { Network, Node, peerConfig, Script } from '../unit/bgp/network.ts';
import { ctx } from '../unit/bgp/wire/build.ts';

/**
 * Sessions that real daemons had with tsnet-bgpd, replayed: their bytes go in at their times, and every message that the speaker answers with, and its
 * table in the end, are held against a file that a person can read. `npx vitest run --project unit test/golden -u` writes the files anew; scripts/record-bgp.mjs
 * records another session.
 */

const DIR = join(import.meta.dirname, 'bgp');

interface Step {
  readonly connection: number;
  readonly at: number;
  /** `open`, `close`, or bytes as hexadecimal digits. */
  readonly what: string;
}
function readSession(name: string): { peer: Partial<PeerConfig>; steps: Step[] } {
  const lines = readFileSync(join(DIR, name), 'utf8').split('\n');
  const peer = lines.find((line) => line.startsWith('peer '))?.slice(5) ?? '{}';
  const steps = lines
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split(' '))
    .map(([connection, at, what]) => ({ connection: Number(connection), at: Number(at), what }));
  return { peer: JSON.parse(peer) as Partial<PeerConfig>, steps };
}

class Replay {
  readonly #net = new Network();
  readonly #here = new Node(this.#net, '10.99.0.1', 65001);
  readonly #peer = new Script(this.#net, '10.99.0.9');
  readonly #context: DecodeContext;
  readonly lines: string[] = [];

  constructor(change: Partial<PeerConfig>) {
    const addPath = change.addPath !== undefined;
    const options = { ...ctx.options, enforceFirstAs: false };
    this.#context = { ...ctx, addPathReceive: { 4: addPath, 6: false }, options };
    const nextHopSelf = { 6: addr('fd99::1') };
    this.#here.setPeers([peerConfig('10.99.0.9', 65002, { families: [4, 6], nextHopSelf, ...change })]);
    this.#here.originate('10.1.0.0/16', 'fd01::/48');
  }
  async run(steps: readonly Step[]): Promise<void> {
    await this.#here.start();
    let number = 0;
    let at = steps[0].at;
    for (const step of steps) {
      number++;
      this.#net.pass(Math.max(0, step.at - at) / 1000);
      at = step.at;
      this.#told();
      // Our own timers decide when the next connection comes.
      for (let i = 0; i < 240 && this.#peer.connections < step.connection; i++) this.#net.pass(0.25);
      expect(this.#peer.connections).toBeGreaterThanOrEqual(step.connection);
      this.#do(number, step);
      this.#told();
    }
    this.#net.pass(1);
    this.#told();
    this.#end();
  }

  #do(number: number, { what }: Step): void {
    if (what === 'open') this.lines.push(`${number}. a connection`);
    else if (what === 'close') {
      this.lines.push(`${number}. the daemon closes`);
      this.#peer.close();
    } else {
      const bytes = Uint8Array.from(Buffer.from(what, 'hex'));
      for (const text of this.#texts([bytes])) this.lines.push(`${number}. < ${text}`);
      this.#peer.send(bytes);
    }
  }
  #told(): void {
    for (const text of this.#texts(this.#peer.messages.splice(0))) this.lines.push(`   > ${text}`);
  }
  #end(): void {
    this.lines.push('', 'in the end');
    for (const route of this.#here.speaker.routes({})) this.lines.push(`   ${JSON.stringify(route)}`);
    const [status] = this.#here.speaker.peers();
    const { state, flaps, lastError, prefixes, messages } = status;
    this.lines.push(`   ${JSON.stringify({ state, flaps, lastError, prefixes, messages })}`);
  }
  /** Each message of the chunks, as a person reads it. */
  *#texts(chunks: readonly Uint8Array[]): Iterable<string> {
    for (const bytes of chunks)
      for (let start = 0; start < bytes.length; ) {
        const end = start + ((bytes[start + 16] << 8) | bytes[start + 17]);
        yield this.#text(bytes, start, end);
        start = end;
      }
  }
  #text(bytes: Uint8Array, start: number, end: number): string {
    const decoded = decodeMessage(bytes, start, end, new UpdateDecoder(this.#context));
    if (!decoded.ok) return `${Buffer.from(bytes.subarray(start, end)).toString('hex')} (${decoded.error.reason})`;
    const { type, ...rest } = decoded.value;
    if (decoded.value.type !== 'UPDATE') return `${type} ${JSON.stringify(rest, plain)}`;
    const { withdrawn, announced, endOfRib, fault } = decoded.value;
    const prefixes = (block: (typeof withdrawn)[number]): string[] =>
      Array.from({ length: block.count }, (_, i): Prefix | string =>
        block.pathId ? `${prefixText(block, i)} #${block.pathId[i]}` : prefixText(block, i),
      );
    return [
      type,
      ...(fault ? [`fault: ${fault.reason}`] : []),
      ...(endOfRib ? [`End-of-RIB IPv${endOfRib}`] : []),
      ...withdrawn.map((block) => `withdraws ${prefixes(block)}`),
      ...announced.map(({ nlri, attributes }) => `announces ${prefixes(nlri)} ${brief(attributes)}`),
    ].join(' ');
  }
}

/** What is set. */
const brief = (attributes: PathAttributes): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(attributes).filter(([, v]) => v !== null && v !== false && !(Array.isArray(v) && v.length === 0)),
    ),
    plain,
  );
const plain = (_: string, value: unknown): unknown =>
  value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;

describe('recorded sessions', () => {
  for (const name of readdirSync(DIR).filter((file) => file.endsWith('.session')))
    test(name, async () => {
      const { peer, steps } = readSession(name);
      const replay = new Replay(peer);
      await replay.run(steps);
      await expect(`${replay.lines.join('\n')}\n`).toMatchFileSnapshot(`bgp/${name.replace('.session', '.txt')}`);
    });
});
