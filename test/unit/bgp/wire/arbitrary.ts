import fc from 'fast-check';
import { type Addr, bytesToAddr, type Family } from '#core';
import { joinSequences, sortedUnique } from '../../../../bgp/wire/as-path.ts';
import { sortLargeCommunities } from '../../../../bgp/wire/attribute.ts';
import type { NlriColumns } from '../../../../bgp/wire/nlri.ts';
import type { AsSegment, Capability, LargeCommunity, PathAttributes } from '../../../../bgp/wire/types.ts';

/** Values as the codec gives them, of any kind that it can give. */

export const uint8 = fc.integer({ min: 0, max: 0xff });
export const uint16 = fc.integer({ min: 0, max: 0xffff });
export const uint32 = fc.integer({ min: 0, max: 0xffffffff });
/** Two- and four-octet AS numbers in equal parts. */
export const asNumber = fc.oneof(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 0x10000, max: 0xffffffff }));

export const addrOf = (family: Family): fc.Arbitrary<Addr> =>
  fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 }).map(bytesToAddr);
export const linkLocal = fc
  .uint8Array({ minLength: 8, maxLength: 8 })
  .map((id) => bytesToAddr(Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...id)));

export const asPath: fc.Arbitrary<readonly AsSegment[]> = fc
  .array(
    fc.oneof(
      fc.record({
        type: fc.constant('sequence' as const),
        asNumbers: fc.array(asNumber, { minLength: 1, maxLength: 300 }),
      }),
      fc.record({
        type: fc.constant('set' as const),
        asNumbers: fc.array(asNumber, { minLength: 1, maxLength: 20 }).map(sortedUnique),
      }),
    ),
    { maxLength: 4 },
  )
  .map(joinSequences);

const largeCommunity: fc.Arbitrary<LargeCommunity> = fc.tuple(uint32, uint32, uint32);
const communities = (max: number) => fc.array(uint32, { maxLength: max }).map(sortedUnique);
/** Codes of attributes that the table does not have. */
const unknownCode = fc.constantFrom(0, 11, 12, 13, 19, 22, 23, 27, 29, 31, 33, 34, 40, 99, 128, 255);
const PARTIAL_CODES = [7, 8, 16, 32, 35] as const;

/** Attributes as they come from an internal peer; next hops of the family, or for IPv4 also of the other one. */
export const attributesOf = (nextHop: fc.Arbitrary<Addr>): fc.Arbitrary<PathAttributes> =>
  fc
    .record({
      origin: fc.constantFrom(0 as const, 1 as const, 2 as const),
      asPath,
      nextHop,
      nextHopLinkLocal: fc.constant(null),
      med: fc.option(uint32),
      localPref: fc.option(uint32),
      atomicAggregate: fc.boolean(),
      aggregator: fc.option(fc.record({ asNumber, identifier: uint32 })),
      communities: communities(80),
      originatorId: fc.option(uint32),
      clusterList: fc.array(uint32, { maxLength: 6 }),
      extendedCommunities: fc.option(
        fc
          .array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { minLength: 1, maxLength: 4 })
          .map((list) => Uint8Array.from(list.flatMap((c) => [...c]))),
      ),
      largeCommunities: fc.array(largeCommunity, { maxLength: 25 }).map(sortLargeCommunities),
      otc: fc.option(asNumber),
      unknown: fc
        .uniqueArray(fc.record({ code: unknownCode, value: fc.uint8Array({ maxLength: 300 }) }), {
          selector: (u) => u.code,
          maxLength: 3,
        })
        .map((list) => list.sort((a, b) => a.code - b.code)),
      partial: fc.subarray([...PARTIAL_CODES]),
    })
    .map((value) => ({ ...value, partial: value.partial.filter((code) => hasAttribute(value, code)) }));

function hasAttribute(value: Omit<PathAttributes, 'partial'>, code: number): boolean {
  if (code === 7) return value.aggregator !== null;
  if (code === 8) return value.communities.length > 0;
  if (code === 16) return value.extendedCommunities !== null;
  return code === 32 ? value.largeCommunities.length > 0 : value.otc !== null;
}

/** A column of prefixes with their host bits clear. */
export const columnsOf = (family: Family, max = 2000): fc.Arbitrary<NlriColumns & { count: number }> => {
  const bits = family === 4 ? 32 : 128;
  const words = bits / 32;
  return fc
    .array(fc.tuple(fc.array(uint32, { minLength: words, maxLength: words }), fc.integer({ min: 0, max: bits })), {
      maxLength: max,
      size: 'max',
    })
    .map((list) => {
      const addr = new Uint32Array(list.length * words);
      const length = new Uint8Array(list.length);
      list.forEach(([value, size], i) => {
        length[i] = size;
        value.forEach((word, w) => {
          const keep = size - w * 32;
          addr[i * words + w] = keep >= 32 ? word : keep <= 0 ? 0 : word & (-1 << (32 - keep));
        });
      });
      return { family, addr, length, count: list.length };
    });
};

const family = fc.record({ afi: fc.constantFrom(1, 2, 25), safi: fc.constantFrom(1, 2, 70, 128) });
const text = fc.string({ maxLength: 40, unit: fc.constantFrom(...'abcäß.-0123€') });

export const capability: fc.Arbitrary<Capability> = fc.oneof(
  family.map((f): Capability => ({ name: 'multiprotocol', ...f })),
  fc.constantFrom<Capability>(
    { name: 'route-refresh' },
    { name: 'extended-message' },
    { name: 'enhanced-route-refresh' },
  ),
  fc
    .array(fc.record({ afi: fc.constant(1), safi: uint8, nextHopAfi: fc.constant(2) }), { maxLength: 4 })
    .map((tuples): Capability => ({ name: 'extended-next-hop', tuples })),
  uint8.map((role): Capability => ({ name: 'role', role })),
  fc
    .record({
      restarting: fc.boolean(),
      notification: fc.boolean(),
      restartTime: fc.integer({ min: 0, max: 4095 }),
      families: fc.array(
        family.chain((f) => fc.boolean().map((forwarding) => ({ ...f, forwarding }))),
        { maxLength: 4 },
      ),
    })
    .map((gr): Capability => ({ name: 'graceful-restart', ...gr })),
  asNumber.map((as): Capability => ({ name: 'four-octet-as', asNumber: as })),
  fc
    .array(
      fc.tuple(
        family,
        fc.constantFrom({ receive: true, send: false }, { receive: false, send: true }, { receive: true, send: true }),
      ),
      { maxLength: 4 },
    )
    .map((list): Capability => ({ name: 'add-path', families: list.map(([f, mode]) => ({ ...f, ...mode })) })),
  fc.array(fc.tuple(family, fc.boolean(), fc.integer({ min: 0, max: 0xffffff })), { maxLength: 4 }).map(
    (list): Capability => ({
      name: 'long-lived-graceful-restart',
      families: list.map(([f, forwarding, staleTime]) => ({ ...f, forwarding, staleTime })),
    }),
  ),
  fc.tuple(text, text).map(([hostname, domain]): Capability => ({ name: 'fqdn', hostname, domain })),
  text.map((version): Capability => ({ name: 'software-version', version })),
  fc
    .tuple(fc.constantFrom(3, 7, 66, 128, 131, 200, 255), fc.uint8Array({ maxLength: 255 }))
    .map(([code, value]): Capability => ({ name: 'unknown', code, value })),
);
