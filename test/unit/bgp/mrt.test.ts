import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addr, bytesToAddr, type Family, Reader } from '#core';
import { originate } from '../../../bgp/attributes.ts';
import { MrtDump, type MrtPath } from '../../../bgp/mrt.ts';
import { decodeAttributes } from '../../../bgp/wire/attributes-in.ts';
import type { DecodeContext, PathAttributes } from '../../../bgp/wire/types.ts';
import { addrOf, attributesOf, columnsOf, uint32 } from './wire/arbitrary.ts';
import { ibgp } from './wire/build.ts';

/** A reader of TABLE_DUMP_V2, from RFC 6396 and RFC 8050 alone. */
function read(bytes: Uint8Array) {
  const r = new Reader(bytes);
  const peers: { identifier: number; address: string; asNumber: number }[] = [];
  const rib: { time: number; subtype: number; sequence: number; prefix: number[]; length: number; paths: Path[] }[] =
    [];
  let collector = 0;
  let view = '';
  while (r.left > 0) {
    const [time, type, subtype, length] = [r.u32(), r.u16(), r.u16(), r.u32()];
    expect(type).toBe(13);
    const body = new Reader(r.take(length));
    if (subtype === 1) {
      collector = body.u32();
      view = new TextDecoder().decode(body.take(body.u16()));
      for (let count = body.u16(); count > 0; count--) {
        const kind = body.u8();
        expect(kind & 2).toBe(2);
        peers.push({
          identifier: body.u32(),
          address: bytesToAddr(body.take(kind & 1 ? 16 : 4)),
          asNumber: body.u32(),
        });
      }
    } else {
      const sequence = body.u32();
      const bits = body.u8();
      rib.push({
        time,
        subtype,
        sequence,
        length: bits,
        prefix: [...body.take((bits + 7) >> 3)],
        paths: readPaths(body, subtype),
      });
    }
    expect(body.left).toBe(0);
  }
  return { collector, view, peers, rib };
}

interface Path {
  peer: number;
  since: number;
  pathId: number | null;
  attributes: PathAttributes;
}

const ctx: DecodeContext = { ...ibgp, options: { enforceFirstAs: false, acceptAsSet: true, dropMartians: false } };

function readPaths(body: Reader, subtype: number): Path[] {
  return Array.from({ length: body.u16() }, () => {
    const [peer, since] = [body.u16(), body.u32()];
    const pathId = subtype === 8 || subtype === 10 ? body.u32() : null;
    return { peer, since, pathId, attributes: readAttributes(body.take(body.u16())) };
  });
}

/** MP_REACH_NLRI stands last in our dumps, and holds nothing but the next hop. */
function readAttributes(bytes: Uint8Array): PathAttributes {
  for (const size of [16, 32]) {
    const at = bytes.length - size - 4;
    if (at < 0 || bytes[at] !== 0x80 || bytes[at + 1] !== 14 || bytes[at + 2] !== size + 1 || bytes[at + 3] !== size)
      continue;
    const nextHop = bytesToAddr(bytes.subarray(at + 4, at + 20));
    const linkLocal = size === 32 ? bytesToAddr(bytes.subarray(at + 20)) : null;
    return decodeAttributes(bytes, 0, at, { nextHop, linkLocal }, ctx).attributes!;
  }
  return decodeAttributes(bytes, 0, bytes.length, 'body', ctx).attributes!;
}

describe('MRT', () => {
  test('peers of both families, and the speaker itself', () => {
    const peers = [
      { identifier: 1, address: addr('0.0.0.0'), asNumber: 65000 },
      { identifier: 2, address: addr('10.0.0.2'), asNumber: 4200000001 },
      { identifier: 3, address: addr('2001:db8::3'), asNumber: 65001 },
    ];
    const { rib, ...head } = read(new MrtDump(1000, 7, 'tsnet', peers).done());
    expect(head).toEqual({ collector: 7, view: 'tsnet', peers });
    expect(rib).toEqual([]);
  });

  for (const family of [4, 6] as Family[])
    test(`any IPv${family} routes`, () => {
      const nextHop = family === 4 ? fc.oneof(addrOf(4), addrOf(6)) : addrOf(6);
      const path = fc.record({
        peer: fc.integer({ min: 0, max: 65535 }),
        since: uint32,
        attributes: attributesOf(nextHop),
        pathId: fc.option(uint32),
      });
      fc.assert(
        fc.property(columnsOf(family, 20), fc.array(path, { minLength: 1, maxLength: 4 }), (from, paths) => {
          const dump = new MrtDump(123, 1, '', []);
          for (let id = 0; id < from.count; id++) dump.add(from, id, paths);
          const { rib } = read(dump.done());
          const plain = paths.filter((p) => p.pathId === null);
          const identified = paths.filter((p) => p.pathId !== null);
          const [withoutId, withId] = family === 4 ? [2, 8] : [4, 10];
          const want: unknown[] = [];
          const record = (id: number, subtype: number, list: MrtPath[]) =>
            list.length > 0 &&
            want.push({
              time: 123,
              subtype,
              sequence: want.length,
              length: from.length[id],
              prefix: expect.anything(),
              paths: list,
            });
          for (let id = 0; id < from.count; id++) {
            record(id, withoutId, plain);
            record(id, withId, identified);
          }
          expect(rib).toEqual(want);
        }),
        { numRuns: 15 },
      );
    });

  test('the prefix stands in as few bytes as its length needs', () => {
    const dump = new MrtDump(0, 1, '', []);
    const from = {
      family: 4 as const,
      addr: Uint32Array.of(0, 0x0a000000, 0xc0a80180),
      length: Uint8Array.of(0, 8, 25),
    };
    const attributes = originate(addr('10.0.0.1'));
    for (const id of [0, 1, 2]) dump.add(from, id, [{ peer: 0, since: 0, attributes, pathId: null }]);
    expect(read(dump.done()).rib.map((r) => r.prefix)).toEqual([[], [10], [192, 168, 1, 128]]);
  });
});
