import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Addr, addrBytes, type Family } from '#core';
import { withNextHop } from '../../../../bgp/attributes.ts';
import { nextHopBytes } from '../../../../bgp/wire/attribute.ts';
import { attributesOfKey } from '../../../../bgp/wire/attribute-key.ts';
import { attributeKey, encodeAttributes } from '../../../../bgp/wire/attributes-out.ts';
import { nextFrame } from '../../../../bgp/wire/frame.ts';
import { decodeMessage } from '../../../../bgp/wire/message.ts';
import type { NlriColumns } from '../../../../bgp/wire/nlri.ts';
import { encodeOpen } from '../../../../bgp/wire/open.ts';
import { fits, patchNextHops, UpdateWriter } from '../../../../bgp/wire/pack.ts';
import type { DecodeContext, NlriBlock, PathAttributes, Update } from '../../../../bgp/wire/types.ts';
import { UpdateDecoder } from '../../../../bgp/wire/update.ts';
import { addrOf, asNumber, attributesOf, capability, columnsOf, linkLocal, uint32 } from './arbitrary.ts';
import { ibgp } from './build.ts';

/** What goes out comes in again as the same values, whatever they are and however the session carries them. */

const open: DecodeContext = {
  ...ibgp,
  extendedNextHop: true,
  options: { enforceFirstAs: false, acceptAsSet: true, dropMartians: false },
};

/** Every UPDATE in the bytes, each used before the next is read. */
function decodeAll(bytes: Uint8Array, ctx: DecodeContext, each: (update: Update, length: number) => void): void {
  const decoder = new UpdateDecoder(ctx);
  for (let at = 0; at < bytes.length; ) {
    const length = nextFrame(bytes, at, bytes.length, ctx.maxMessage);
    if (typeof length !== 'number' || length === 0) throw new Error(`no frame at ${at}`);
    const update = decoder.decode(bytes, at, at + length);
    if (!update.ok || update.value.fault) throw new Error(update.ok ? update.value.fault!.reason : update.error.reason);
    each(update.value, length);
    at += length;
  }
}

const columns = (family: Family): NlriColumns => ({
  family,
  addr: family === 4 ? Uint32Array.of(0x14000000) : Uint32Array.of(0x20010db8, 0, 0, 0),
  length: Uint8Array.of(24),
});

/** One route with the attributes, out and in. */
function through(attributes: PathAttributes, family: Family, ctx: DecodeContext): PathAttributes {
  const inBody = family === 4 && !attributes.nextHop.includes(':');
  const encoded = {
    bytes: encodeAttributes(attributes, ctx, inBody),
    nextHop: inBody ? null : nextHopBytes(attributes),
  };
  const writer = new UpdateWriter(new Uint8Array(65535), 65535);
  writer.announce(encoded, { from: columns(family), ids: null, pathIds: null }, 0, 1);
  let got: PathAttributes | undefined;
  decodeAll(writer.out.subarray(0, writer.at), { ...ctx, maxMessage: 65535 }, (update) => {
    got = update.announced[0].attributes;
  });
  return got!;
}

/** A view is overwritten by the next encoding. */
const keyOf = (attributes: PathAttributes) => Buffer.from(attributeKey(attributes));

describe('attributes', () => {
  const nextHops: [string, Family, fc.Arbitrary<Addr>][] = [
    ['IPv4', 4, addrOf(4)],
    ['IPv6', 6, addrOf(6)],
    ['IPv4 over IPv6', 4, addrOf(6)],
  ];
  for (const [name, family, nextHop] of nextHops)
    for (const fourOctetAs of [true, false])
      test(`${name}, ${fourOctetAs ? 'four' : 'two'}-octet AS numbers`, () => {
        fc.assert(
          fc.property(attributesOf(nextHop), (attributes) => {
            expect(through(attributes, family, { ...open, fourOctetAs })).toEqual(attributes);
          }),
          { numRuns: 150 },
        );
      });
  test('with a link-local next hop beside the global one', () => {
    fc.assert(
      fc.property(attributesOf(addrOf(6)), linkLocal, (attributes, nextHopLinkLocal) => {
        const value = { ...attributes, nextHopLinkLocal };
        expect(through(value, 6, open)).toEqual(value);
      }),
      { numRuns: 50 },
    );
  });
  test('keys are equal exactly when values are', () => {
    const value = attributesOf(fc.oneof(addrOf(4), addrOf(6)));
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(keyOf({ ...a })).toEqual(keyOf(a));
        let same = true;
        try {
          expect(a).toEqual(b);
        } catch {
          same = false;
        }
        expect(Buffer.compare(keyOf(a), keyOf(b)) === 0).toBe(same);
      }),
    );
  });
  test('a key holds the whole value', () => {
    const linkLocalOrNone = fc.option(linkLocal);
    fc.assert(
      fc.property(attributesOf(addrOf(4)), attributesOf(addrOf(6)), linkLocalOrNone, (four, six, nextHopLinkLocal) => {
        for (const value of [four, { ...six, nextHopLinkLocal }]) {
          const key = keyOf(value);
          const padded = Buffer.concat([Buffer.alloc(3, 7), key, Buffer.alloc(3, 7)]);
          expect(attributesOfKey(padded, 3, 3 + key.length)).toEqual(value);
        }
      }),
    );
  });
  test('a memo gives the same object for the same bytes, and never another value', () => {
    fc.assert(
      fc.property(fc.array(attributesOf(addrOf(4)), { minLength: 1, maxLength: 8 }), (values) => {
        const writer = new UpdateWriter(new Uint8Array(1 << 20), 65535);
        for (const value of [...values, ...values])
          writer.announce(
            { bytes: encodeAttributes(value, open, true), nextHop: null },
            { from: columns(4), ids: null, pathIds: null },
            0,
            1,
          );
        const got: PathAttributes[] = [];
        decodeAll(writer.out.subarray(0, writer.at), { ...open, maxMessage: 65535 }, (update) => {
          got.push(update.announced[0].attributes);
        });
        expect(got).toEqual([...values, ...values]);
      }),
      { numRuns: 30 },
    );
    const twice = new UpdateWriter(new Uint8Array(20000), 4096);
    const bytes = encodeAttributes({ ...SOME }, open, true);
    for (let i = 0; i < 2; i++)
      twice.announce({ bytes, nextHop: null }, { from: columns(4), ids: null, pathIds: null }, 0, 1);
    const seen: PathAttributes[] = [];
    decodeAll(twice.out.subarray(0, twice.at), open, (update) => seen.push(update.announced[0].attributes));
    expect(seen[0]).toBe(seen[1]);
  });
});

const SOME: PathAttributes = fc.sample(attributesOf(addrOf(4)), { numRuns: 1, seed: 7 })[0];
const small = (nextHop: fc.Arbitrary<Addr>) =>
  attributesOf(nextHop).map((a) => ({ ...a, unknown: [], asPath: [], communities: [], largeCommunities: [] }));

/** A prefix as text that is quick to compare. */
const key = (from: NlriColumns, i: number, pathId: number | undefined): string =>
  `${from.family === 4 ? from.addr[i] : from.addr.slice(i * 4, i * 4 + 4)}/${from.length[i]}#${pathId}`;

interface Feed {
  from: NlriColumns & { count: number };
  seed: Uint8Array;
  attributes: PathAttributes;
  maxMessage: number;
  withdraw: boolean;
}
const feed = (family: Family): fc.Arbitrary<Feed> =>
  fc.record({
    from: columnsOf(family),
    seed: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    attributes: small(addrOf(family)),
    maxMessage: fc.constantFrom(4096, 65535),
    withdraw: fc.boolean(),
  });

/** Writes the routes in runs of as much as a buffer holds, and reads them again. */
function exchange({ from, seed, attributes, maxMessage, withdraw }: Feed, addPath: boolean) {
  const ctx = { ...open, maxMessage, addPathReceive: { 4: addPath, 6: addPath } };
  // Some order of ids, with repetitions, as the RIB has them.
  const ids = Uint32Array.from({ length: from.count }, (_, i) => (i * 7 + seed[i % seed.length]) % from.count);
  const pathIds = addPath ? ids.map((id, i) => id ^ (i << 16)) : null;
  const nextHop = from.family === 4 ? null : nextHopBytes(attributes);
  const encoded = { bytes: encodeAttributes(attributes, ctx, nextHop === null), nextHop };
  const got: string[] = [];
  const lengths: number[] = [];
  for (let next = 0; next < ids.length; ) {
    const writer = new UpdateWriter(new Uint8Array(maxMessage * 2), maxMessage);
    const selection = { from, ids, pathIds };
    next = withdraw
      ? writer.withdraw(selection, next, ids.length)
      : writer.announce(encoded, selection, next, ids.length);
    decodeAll(writer.out.subarray(0, writer.at), ctx, (update, length) => {
      const blocks = withdraw ? update.withdrawn : update.announced.map(({ nlri }) => nlri);
      for (const block of blocks) got.push(...keysOf(block));
      lengths.push(length);
    });
  }
  return { want: Array.from(ids, (id, i) => key(from, id, pathIds?.[i])), got, lengths };
}

const keysOf = (block: NlriBlock): string[] =>
  Array.from({ length: block.count }, (_, i) => key(block, i, block.pathId?.[i]));

describe('prefixes', () => {
  for (const family of [4, 6] as const)
    for (const addPath of [false, true])
      test(`IPv${family}${addPath ? ' with path identifiers' : ''}: all of them, in order, in messages as full as they can be`, () => {
        fc.assert(
          fc.property(feed(family), (input) => {
            const { want, got, lengths } = exchange(input, addPath);
            expect(got).toEqual(want);
            // Only the last message of a run may have room for another prefix.
            for (const length of lengths.slice(0, -1)) expect(length).toBeGreaterThan(input.maxMessage - 22);
          }),
          { numRuns: 25 },
        );
      });

  test('a reused next hop is patched into every message', () => {
    fc.assert(
      fc.property(
        fc
          .constantFrom(4, 6)
          .chain((f) => fc.tuple(columnsOf(f as Family, 500), small(addrOf(f as Family)), addrOf(f as Family))),
        ([from, attributes, other]) => {
          const write = (value: PathAttributes): Uint8Array => {
            const writer = new UpdateWriter(new Uint8Array(1 << 17), 4096);
            const nextHop = from.family === 4 ? null : nextHopBytes(value);
            const bytes = encodeAttributes(value, open, nextHop === null);
            writer.announce({ bytes, nextHop }, { from, ids: null, pathIds: null }, 0, from.count);
            writer.withdraw({ from, ids: null, pathIds: null }, 0, from.count);
            writer.endOfRib(from.family);
            return writer.out.slice(0, writer.at);
          };
          const bytes = write(attributes);
          patchNextHops(bytes, 0, bytes.length, addrBytes(other));
          expect(bytes).toEqual(write(withNextHop(attributes, other)));
        },
      ),
      { numRuns: 50 },
    );
  });

  test('what does not fit is refused, and what fits is written', () => {
    const big: PathAttributes = { ...SOME, unknown: [{ code: 99, value: new Uint8Array(4000) }] };
    const bytes = encodeAttributes(big, open, true);
    expect(fits({ bytes, nextHop: null }, 4, false, 4096)).toBe(false);
    const writer = new UpdateWriter(new Uint8Array(65535), 4096);
    expect(() =>
      writer.announce({ bytes, nextHop: null }, { from: columns(4), ids: null, pathIds: null }, 0, 1),
    ).toThrow(/no room/);
  });

  const shapes = [4, 6].flatMap((f) => [false, true].map((addPath) => ({ family: f as Family, addPath })));
  test.each(shapes)('a prefix of any length goes with attributes that fit: %o', ({ family, addPath }) => {
    const from = { ...columns(family), length: Uint8Array.of(family === 4 ? 32 : 128) };
    const pathIds = addPath ? Uint32Array.of(1) : null;
    for (let size = 3900; size < 4096; size++) {
      const encoded = { bytes: new Uint8Array(size), nextHop: family === 4 ? null : new Uint8Array(16) };
      if (!fits(encoded, family, addPath, 4096)) continue;
      const out = new UpdateWriter(new Uint8Array(4096), 4096);
      expect(out.announce(encoded, { from, ids: null, pathIds }, 0, 1)).toBe(1);
    }
  });

  test('End-of-RIB of both families', () => {
    const writer = new UpdateWriter(new Uint8Array(8192), 4096);
    writer.endOfRib(4);
    writer.endOfRib(6);
    const got: unknown[] = [];
    decodeAll(writer.out.subarray(0, writer.at), open, (update) => got.push(update.endOfRib));
    expect(got).toEqual([4, 6]);
  });
});

describe('OPEN', () => {
  test('any capabilities', () => {
    const fields = fc.record({
      asNumber,
      holdTime: fc.constantFrom(0, 3, 90, 65535),
      identifier: uint32.filter((id) => id > 0),
      capabilities: fc.uniqueArray(capability, {
        maxLength: 12,
        selector: (c) => (c.name === 'graceful-restart' || c.name === 'four-octet-as' ? c.name : JSON.stringify(c)),
      }),
    });
    fc.assert(
      fc.property(fields, (value) => {
        // An AS that does not fit the two-octet field needs its capability, as in every OPEN of ours.
        const capabilities = value.capabilities.filter((c) => c.name !== 'four-octet-as');
        const sent = {
          ...value,
          capabilities: [...capabilities, { name: 'four-octet-as' as const, asNumber: value.asNumber }],
        };
        const bytes = encodeOpen(sent);
        expect(nextFrame(bytes, 0, bytes.length, 4096)).toBe(bytes.length);
        const got = decodeMessage(bytes, 0, bytes.length, null);
        const myAs = value.asNumber > 0xffff ? 23456 : value.asNumber;
        expect(got).toEqual({ ok: true, value: { type: 'OPEN', myAs, notes: [], ...sent } });
      }),
      { numRuns: 300 },
    );
  });
});
