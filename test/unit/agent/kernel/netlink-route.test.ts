import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { kernelMetric, type Route, type Via } from '#agent';
import { addr, bigIntToAddr, prefix, prefixOf } from '#core';
import { Datagram, decodeAnswer, F, MessageWriter } from '../../../../agent/kernel/netlink/message.ts';
import { decodeRoute, encodeRoute, encodeRouteDump, RTM } from '../../../../agent/kernel/netlink/route.ts';

/** Bytes as x86 and arm write them; the tests are skipped on a big-endian machine, whose kernel wants others. */
const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const indexes: Record<string, number> = { cali1: 7, eth0: 2 };
const indexOf = (name: string) => indexes[name] ?? 0;
const nameOf = (index: number) => Object.keys(indexes).find((name) => indexes[name] === index) ?? '';

function bytes(route: Route, op: 'add' | 'replace' | 'delete'): string {
  const w = new MessageWriter(4096);
  expect(encodeRoute(w, { op, route }, 5, indexOf)).toBeNull();
  return Buffer.from(w.bytes.subarray(0, w.length))
    .toString('hex')
    .replace(/(.{8})/g, '$1 ')
    .trim();
}
const route = (to: string, via: Via, metric = 1024, table = 254): Route => ({ to: prefix(to), via, metric, table });

describe.runIf(little)('bytes on the wire', () => {
  test('a workload route: protocol 80, scope link, on its interface', () => {
    expect(bytes(route('10.65.0.1/32', { type: 'link', link: 'cali1' }), 'add')).toBe(
      [
        '34000000 18000106 05000000 00000000', // length 52, RTM_NEWROUTE, REQUEST|EXCL|CREATE|… , sequence 5
        '02200000 fe50fd01 00000000', // AF_INET /32, table main, protocol 80, scope link, unicast
        '08000100 0a410001', // RTA_DST
        '08000600 00040000', // RTA_PRIORITY 1024
        '08000400 07000000', // RTA_OIF 7
      ]
        .join(' ')
        .replace('18000106', `1800${hex16(F.REQUEST | F.CREATE | F.EXCL)}`),
    );
  });
  test('a delete names table, metric and protocol, and any type and scope', () => {
    expect(bytes(route('fd00::/64', { type: 'blackhole' }), 'delete')).toBe(
      [
        `38000000 1900${hex16(F.REQUEST)} 05000000 00000000`,
        '0a400000 fe50ff00 00000000',
        '14000100 fd000000 00000000 00000000 00000000',
        '08000600 00040000',
      ].join(' '),
    );
  });
  test('a table beyond 255 goes into its attribute', () => {
    expect(bytes(route('10.0.0.0/8', { type: 'blackhole' }, 0, 1000), 'replace')).toContain('08000f00 e8030000');
  });
  test('an IPv4 route through an IPv6 hop uses RTA_VIA (RFC 8950)', () => {
    const via: Via = { type: 'gateway', hops: [{ gateway: addr('fe80::5'), link: 'eth0' }] };
    expect(bytes(route('10.66.0.0/26', via), 'add')).toContain('16001200 0a00fe80 00000000 00000000 00000000 00050000');
  });
  test('onlink is a flag of the route, or of the hop among several', () => {
    const hop = { gateway: addr('10.9.9.9'), link: 'eth0', onlink: true };
    expect(bytes(route('10.66.0.0/26', { type: 'gateway', hops: [hop] }), 'add')).toContain(
      '021a0000 fe500001 04000000',
    );
    expect(bytes(route('10.66.0.0/26', { type: 'gateway', hops: [hop, hop] }), 'add')).toContain(
      '24000900 10000400 02000000 08000500 0a090909 10000400 02000000 08000500 0a090909',
    );
  });
  test('a dump asks for protocol 80 only', () => {
    const w = new MessageWriter(256);
    encodeRouteDump(w, 6, 9);
    expect(Buffer.from(w.bytes.subarray(16, w.length)).toString('hex')).toBe('0a0000000050000000000000');
  });
});

const hex16 = (value: number): string => {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16LE(value);
  return buffer.toString('hex');
};

test('an interface that does not exist is named, and nothing is written', () => {
  const w = new MessageWriter(256);
  const missing = route('10.65.0.1/32', { type: 'link', link: 'cali9' });
  expect(encodeRoute(w, { op: 'add', route: missing }, 1, indexOf)).toBe('cali9');
  expect(w.length).toBe(0);
  expect(encodeRoute(w, { op: 'delete', route: missing }, 1, indexOf)).toBeNull();
});

const address = (family: 4 | 6) =>
  fc.bigInt({ min: 1n, max: family === 4 ? 0xdfff_ffffn : 2n ** 127n }).map((n) => bigIntToAddr(n, family));
const hop = (family: 4 | 6) =>
  fc.record({ gateway: fc.oneof(address(family), address(6)), link: fc.constantFrom('cali1', 'eth0') });
const via = (family: 4 | 6): fc.Arbitrary<Via> =>
  fc.oneof(
    fc.constant<Via>({ type: 'blackhole' }),
    fc.record({ type: fc.constant('link' as const), link: fc.constantFrom('cali1', 'eth0') }),
    fc.record({ type: fc.constant('gateway' as const), hops: fc.array(hop(family), { minLength: 1, maxLength: 64 }) }),
  );
const anyRoute = fc.constantFrom(4 as const, 6 as const).chain((family) =>
  fc
    .record({
      address: address(family),
      length: fc.integer({ min: 0, max: family === 4 ? 32 : 128 }),
      metric: fc.integer({ min: 0, max: 2 ** 31 }),
      table: fc.integer({ min: 1, max: 100_000 }),
      via: via(family),
      source: fc.option(address(family), { nil: undefined }),
    })
    .map(({ address, length, source, ...rest }): Route => {
      return { to: prefixOf(address, length), ...rest, ...(source && { source }) };
    }),
);

test('what is encoded decodes to the same route', () => {
  fc.assert(
    fc.property(anyRoute, (original) => {
      const w = new MessageWriter(8192);
      expect(encodeRoute(w, { op: 'add', route: original }, 1, indexOf)).toBeNull();
      const d = new Datagram(w.bytes, w.length);
      const [m, ...more] = [...d.messages()];
      expect([m.type, more.length]).toEqual([RTM.NEWROUTE, 0]);
      expect(decodeRoute(d, m, nameOf)).toEqual({
        route: { ...original, metric: kernelMetric(original) },
        family: original.to.includes(':') ? 6 : 4,
        ours: true,
      });
    }),
  );
});

test('damaged bytes never read past their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), anyRoute, fc.nat(), (noise, original, at) => {
      const w = new MessageWriter(8192);
      encodeRoute(w, { op: 'add', route: original }, 1, indexOf);
      const bytes = new Uint8Array(w.bytes.subarray(0, w.length));
      bytes.set(noise.subarray(0, bytes.length - (at % bytes.length)), at % bytes.length);
      const d = new Datagram(bytes, bytes.length);
      for (const m of d.messages()) {
        expect(m.end).toBeLessThanOrEqual(bytes.length);
        d.attributes(m.start + 12, m.end, (_, from, to) => {
          expect(from).toBeLessThanOrEqual(to);
          expect(to).toBeLessThanOrEqual(m.end);
        });
      }
    }),
  );
});

test("a refusal carries the kernel's own words (NETLINK_EXT_ACK)", () => {
  const w = new MessageWriter(256);
  w.begin(2, F.CAPPED | F.ACK_TLVS, 77).u32(-101 >>> 0);
  w.zero(16).text(1, 'Nexthop has invalid gateway').end();
  const d = new Datagram(w.bytes, w.length);
  const [m] = [...d.messages()];
  expect(decodeAnswer(d, m)).toEqual({ seq: 77, errno: 101, message: 'Nexthop has invalid gateway' });
});
