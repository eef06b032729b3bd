import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nextHopBytes } from '../../bgp/wire/attribute.ts';
import { encodeAttributes } from '../../bgp/wire/attributes-out.ts';
import { nextFrame, typeAt, writeHeader } from '../../bgp/wire/frame.ts';
import { decodeMessage } from '../../bgp/wire/message.ts';
import { encodeNotification } from '../../bgp/wire/notification.ts';
import { encodeOpen } from '../../bgp/wire/open.ts';
import { fits, UpdateWriter } from '../../bgp/wire/pack.ts';
import { encodeRouteRefresh } from '../../bgp/wire/refresh.ts';
import type { DecodeContext, Message, NlriBlock, PathAttributes, Update } from '../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../bgp/wire/update.ts';
import {
  attr,
  BASE,
  ctx,
  ibgp,
  message,
  NEXT_HOP,
  ORIGIN,
  P24,
  twoOctet,
  u16,
  u32,
  update,
} from '../unit/bgp/wire/build.ts';
import { factor, randomFrom, seed, timeout } from './budget.ts';
import { mutate } from './mutate.ts';

/**
 * Any bytes at all: a decoder never throws, and what it accepts it gives back: encoded and decoded again it is the same value. A failure prints
 * the bytes; they belong into seeds/bgp/messages.hex, which every run replays first.
 */

const seeds = readFileSync(new URL('./seeds/bgp/messages.hex', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => Uint8Array.from(Buffer.from(line, 'hex')));

const lax: DecodeContext = {
  ...ibgp,
  extendedNextHop: true,
  maxMessage: 65535,
  options: { enforceFirstAs: false, acceptAsSet: true, dropMartians: false },
};
const contexts: Record<string, DecodeContext | null> = {
  external: ctx,
  internal: ibgp,
  'two-octet': twoOctet,
  'two-octet, lax': { ...lax, ebgp: true, fourOctetAs: false },
  lax,
  'add-path': { ...lax, addPathReceive: { 4: true, 6: true } },
  'IPv4 alone': { ...ctx, families: [4] },
  'IPv6 alone': { ...ctx, families: [6], routeRefresh: false },
  'before OPEN': null,
};

/** An UPDATE's routes in a form that outlives its buffers and compares. */
const routesOf = ({ withdrawn, announced, endOfRib }: Update) => ({
  withdrawn: withdrawn.flatMap(copyOf),
  announced: announced
    .map(({ nlri, attributes }) => ({ attributes, nlri: copyOf(nlri) }))
    .filter((a) => a.nlri.length > 0),
  endOfRib,
});
type Routes = ReturnType<typeof routesOf>;
const copyOf = (block: NlriBlock) =>
  Array.from({ length: block.count }, (_, i) => {
    const words = block.family === 4 ? 1 : 4;
    return {
      family: block.family,
      addr: [...block.addr.subarray(i * words, (i + 1) * words)],
      length: block.length[i],
      pathId: block.pathId ? block.pathId[i] : null,
    };
  });

function write(routes: Routes, context: DecodeContext): Uint8Array | null {
  const writer = new UpdateWriter(new Uint8Array(1 << 20), 65535);
  const select = (list: Routes['withdrawn'], family: 4 | 6) => {
    const rows = list.filter((row) => row.family === family);
    return {
      from: {
        family,
        addr: Uint32Array.from(rows.flatMap((row) => row.addr)),
        length: Uint8Array.from(rows, (row) => row.length),
      },
      ids: null,
      pathIds: context.addPathReceive[family] ? Uint32Array.from(rows, (row) => row.pathId!) : null,
    };
  };
  for (const family of [4, 6] as const) {
    const selection = select(routes.withdrawn, family);
    writer.withdraw(selection, 0, selection.from.length.length);
  }
  for (const { attributes, nlri } of routes.announced) {
    const { family } = nlri[0];
    const encoded = encode(attributes, family, context);
    if (!fits(encoded, family, context.addPathReceive[family], 65535)) return null;
    writer.announce(encoded, select(nlri, family), 0, nlri.length);
  }
  if (routes.endOfRib) writer.endOfRib(routes.endOfRib);
  return writer.out.subarray(0, writer.at);
}

function encode(attributes: PathAttributes, family: 4 | 6, context: DecodeContext) {
  const inBody = family === 4 && !attributes.nextHop.includes(':');
  return { bytes: encodeAttributes(attributes, context, inBody), nextHop: inBody ? null : nextHopBytes(attributes) };
}

/** All messages of a stream as one set of routes. */
function readBack(bytes: Uint8Array, context: DecodeContext): Routes {
  const wide = { ...context, maxMessage: 65535 };
  const decoder = new UpdateDecoder(wide);
  const all: Routes = { withdrawn: [], announced: [], endOfRib: null };
  for (let at = 0; at < bytes.length; ) {
    const length = nextFrame(bytes, at, bytes.length, 65535) as number;
    const decoded = decoder.decode(bytes, at, at + length);
    if (!decoded.ok || decoded.value.fault) throw new Error('our own message is refused');
    const routes = routesOf(decoded.value);
    all.withdrawn.push(...routes.withdrawn);
    all.announced.push(...routes.announced);
    all.endOfRib ??= routes.endOfRib;
    at += length;
  }
  return all;
}

/** Encodes a value that was accepted and holds what comes back against it. */
function checkReturns(value: Message, context: DecodeContext | null): void {
  const again = (bytes: Uint8Array) => {
    const decoded = decodeMessage(bytes, 0, bytes.length, context && new UpdateDecoder(context));
    return decoded.ok ? decoded.value : decoded.error;
  };
  if (value.type === 'UPDATE') {
    const routes = routesOf(value);
    // Withdrawals come back by family.
    routes.withdrawn.sort((a, b) => a.family - b.family);
    const bytes = write(routes, context!);
    if (bytes) expect(readBack(bytes, context!)).toEqual(routes);
  } else if (value.type === 'OPEN') {
    const { notes: _notes, myAs: _myAs, ...rest } = value;
    expect(again(encodeOpen(value))).toMatchObject(rest);
  } else if (value.type === 'NOTIFICATION') {
    expect(again(encodeNotification(value.code, value.subcode, value.data))).toEqual(value);
  } else if (value.type === 'ROUTE-REFRESH') {
    expect(again(encodeRouteRefresh(value.family, value.subtype))).toEqual(value);
  }
}

/** Frames and decodes as a session does; the name of the outcome. */
function run(bytes: Uint8Array, context: DecodeContext | null): string {
  const length = nextFrame(bytes, 0, bytes.length, context?.maxMessage ?? 4096);
  if (typeof length !== 'number') return length.disposition;
  if (length === 0) return 'more';
  const decoded = decodeMessage(bytes, 0, length, context && new UpdateDecoder(context));
  if (!decoded.ok) {
    expect(['reset', 'close', 'ignore']).toContain(decoded.error.disposition);
    return decoded.error.disposition;
  }
  const { value } = decoded;
  expect(value.type).toBe(typeAt(bytes, 0));
  if (value.type === 'UPDATE' && value.fault) expect(value.announced).toEqual([]);
  checkReturns(value, context);
  return value.type === 'UPDATE' && value.fault ? value.fault.disposition : 'accept';
}

function check(bytes: Uint8Array, name: string): string {
  try {
    return run(bytes, contexts[name]);
  } catch (cause) {
    throw new Error(`'${name}' FUZZ_SEED=${seed} fails on\n${Buffer.from(bytes).toString('hex')}`, { cause });
  }
}

const names = Object.keys(contexts);

describe('kept seeds', () => {
  test.each(names)('%s', (name) => {
    for (const bytes of seeds) check(bytes, name);
  });
});

describe('spoiled messages', () => {
  test.each(names)(
    '%s',
    (name) => {
      const random = randomFrom(seed * 1000 + names.indexOf(name));
      const outcomes = new Map<string, number>();
      for (let i = 0; i < 3000 * factor; i++) {
        const spoiled = mutate(
          seeds[random(seeds.length)].subarray(19),
          seeds[random(seeds.length)].subarray(19),
          random,
        );
        const type = seeds[random(seeds.length)][18];
        // Mostly a header that fits, so that the body is what is tested.
        const bytes = new Uint8Array(19 + spoiled.length);
        bytes.set(spoiled, 19);
        writeHeader(bytes, 0, bytes.length, 'UPDATE');
        if (random(8) === 0) bytes[18] = type;
        if (random(50) === 0) bytes[random(19)] = random(256);
        // A Buffer behaves unlike a Uint8Array in places.
        const outcome = check(random(2) ? bytes : Buffer.from(bytes), name);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      // The generator must not wear out into one kind of answer.
      expect(outcomes.size).toBeGreaterThan(name === 'before OPEN' ? 1 : 2);
    },
    timeout,
  );
  test(
    'with their own type',
    () => {
      const random = randomFrom(seed + 77);
      for (let i = 0; i < 10_000 * factor; i++) {
        const own = seeds[random(seeds.length)];
        const body = mutate(own.subarray(19), own.subarray(19), random);
        const bytes = new Uint8Array(19 + body.length);
        bytes.set(own.subarray(0, 19));
        bytes.set(body, 19);
        bytes[16] = bytes.length >> 8;
        bytes[17] = bytes.length & 0xff;
        check(bytes, names[random(names.length)]);
      }
    },
    timeout,
  );
  test(
    'bytes without any form',
    () => {
      const random = randomFrom(seed + 99);
      for (let i = 0; i < 5000 * factor; i++) {
        const bytes = Uint8Array.from({ length: random(80) }, () => (random(3) ? 255 : random(256)));
        check(bytes, names[random(names.length)]);
      }
    },
    timeout,
  );
});

describe('the longest messages that mean harm', () => {
  const many = (count: number, each: (i: number) => readonly number[]) =>
    Array.from({ length: count }, (_, i) => each(i)).flat();
  const wide = (code: number, value: readonly number[]) => [0xd0, code, ...u16(value.length), ...value];
  const path = (value: readonly number[]) =>
    update([...ORIGIN, 0x50, 2, ...u16(value.length), ...value, ...NEXT_HOP], P24);
  const cases: [string, Uint8Array][] = [
    [
      '65 000 default routes',
      update(
        BASE,
        many(65_000, () => [0]),
      ),
    ],
    ['21 000 empty attributes of one code', update([...BASE, ...many(21_000, () => [0xc0, 99, 0])], P24)],
    ['21 000 empty attributes of all codes', update([...BASE, ...many(21_000, (i) => [0xc0, 40 + (i % 200), 0])], P24)],
    [
      '16 000 communities, the largest first',
      update(
        [
          ...BASE,
          ...wide(
            8,
            many(16_000, (i) => u32(1e9 - i)),
          ),
        ],
        P24,
      ),
    ],
    [
      '5 000 large communities',
      update(
        [
          ...BASE,
          ...wide(
            32,
            many(15_000, (i) => u32(1e9 - i)),
          ),
        ],
        P24,
      ),
    ],
    ['10 000 segments of one AS', path(many(10_000, (i) => [2, 1, ...u32(i + 1)]))],
    ['10 000 segments, sets and sequences in turn', path(many(10_000, (i) => [1 + (i % 2), 1, ...u32(i + 1)]))],
    [
      '4 000 martians',
      update(
        BASE,
        many(20_000, () => [8, 127]),
      ),
    ],
    [
      'a long AS_PATH and a long AS4_PATH',
      update(
        [
          ...ORIGIN,
          ...wide(
            2,
            many(5000, (i) => [1 + (i % 2), 1, ...u16(i + 1)]),
          ),
          ...NEXT_HOP,
          ...wide(
            17,
            many(5000, (i) => [1 + (i % 2), 1, ...u32(i + 1)]),
          ),
        ].map((b, i) => (i === 4 ? 0x50 : b)),
        P24,
      ),
    ],
    [
      '1 900 capabilities',
      message('OPEN', [
        4,
        0,
        1,
        0,
        90,
        0,
        0,
        0,
        1,
        255,
        255,
        ...u16(4043),
        2,
        ...u16(4040),
        ...many(2020, (i) => [100 + (i % 100), 0]),
      ]),
    ],
  ];
  // Quadratic work on 65 000 bytes, 100 times over, would not end within the time that a test has.
  test.each(cases)('%s', (_name, bytes) => {
    expect(bytes.length).toBeLessThan(65536);
    for (let i = 0; i < 100; i++)
      for (const name of ['lax', 'two-octet, lax', 'add-path']) {
        const context = contexts[name]!;
        const length = nextFrame(bytes, 0, bytes.length, 65535);
        if (typeof length === 'number') decodeMessage(bytes, 0, length, new UpdateDecoder(context));
      }
    check(bytes, 'lax');
  });
  test('attributes of different kinds that are all discarded', () => {
    const block = [...BASE, ...attr(0x40, 6, [1]), ...many(250, (i) => attr(0x80, i, [1]))];
    for (const name of names) check(update(block, P24), name);
  });
});
