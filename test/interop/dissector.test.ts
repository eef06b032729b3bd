import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { addr, bytesToAddr, type Family } from '#core';
import { originate } from '../../bgp/attributes.ts';
import { MrtDump } from '../../bgp/mrt.ts';
import { nextHopBytes } from '../../bgp/wire/attribute.ts';
import { encodeAttributes } from '../../bgp/wire/attributes-out.ts';
import { unicast } from '../../bgp/wire/codes.ts';
import { frame } from '../../bgp/wire/frame.ts';
import type { NlriColumns } from '../../bgp/wire/nlri.ts';
import { encodeHardReset, encodeNotification, shutdownCommunication } from '../../bgp/wire/notification.ts';
import { encodeOpen } from '../../bgp/wire/open.ts';
import { UpdateWriter } from '../../bgp/wire/pack.ts';
import { encodeRouteRefresh } from '../../bgp/wire/refresh.ts';
import type { Capability, PathAttributes } from '../../bgp/wire/types.ts';
import { addrOf, attributesOf } from '../unit/bgp/wire/arbitrary.ts';
import { BASE, update } from '../unit/bgp/wire/build.ts';
import { capture } from './pcap.ts';

/** What others who have never seen our code make of our bytes: tshark's dissector, and bgpdump for table dumps. */

const dir = mkdtempSync(join(tmpdir(), 'tsnet-dissector-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
function tshark(bytes: Uint8Array, ...args: string[]): string {
  const path = join(dir, `${files++}.pcap`);
  writeFileSync(path, bytes);
  return execFileSync('tshark', ['-n', '-r', path, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 28,
  });
}

/** The values of fields in order, over all packets. */
const fields = (bytes: Uint8Array, field: string): string[] =>
  tshark(bytes, '-T', 'fields', '-e', field)
    .split(/[\n,]/)
    .filter((value) => value !== '');

function expectWellFormed(bytes: Uint8Array): void {
  const complaints = tshark(bytes, '-Y', '_ws.malformed || (_ws.expert.severity >= "Warning" && bgp)', '-V');
  expect(complaints.slice(0, 4000)).toBe('');
}

const capabilities: Capability[] = [
  { name: 'multiprotocol', ...unicast(4) },
  { name: 'multiprotocol', ...unicast(6) },
  { name: 'route-refresh' },
  { name: 'enhanced-route-refresh' },
  { name: 'extended-message' },
  { name: 'extended-next-hop', tuples: [{ ...unicast(4), nextHopAfi: 2 }] },
  { name: 'role', role: 3 },
  { name: 'four-octet-as', asNumber: 4200000001 },
  {
    name: 'graceful-restart',
    restarting: true,
    notification: true,
    restartTime: 120,
    families: [
      { ...unicast(4), forwarding: true },
      { ...unicast(6), forwarding: false },
    ],
  },
  { name: 'long-lived-graceful-restart', families: [{ ...unicast(4), forwarding: true, staleTime: 86400 }] },
];
const OPEN = encodeOpen({ asNumber: 4200000001, holdTime: 90, identifier: 0x0a000001, capabilities });

/** Prefixes as they occur; short ones make tshark guess at path identifiers. */
function prefixes(family: Family, count: number): NlriColumns {
  const words = family === 4 ? 1 : 4;
  const from = { family, addr: new Uint32Array(count * words), length: new Uint8Array(count) };
  for (let i = 0; i < count; i++) {
    const length = family === 4 ? 22 + (i % 11) : 48 + (i % 81);
    from.length[i] = length;
    if (family === 4) from.addr[i] = (0x14000000 + (i << 10)) & (-1 << (32 - length));
    else from.addr.set([0x20010db8, (i & 0xffff) << 16, 0, 0], i * 4);
  }
  return from;
}

const some = (family: Family, runs: number): PathAttributes[] =>
  fc.sample(attributesOf(addrOf(family)), { numRuns: runs, seed: 11 }).map((a) => ({ ...a, unknown: [] }));

function updates(
  family: Family,
  sets: readonly PathAttributes[],
  from: NlriColumns,
  pathIds: Uint32Array | null,
): Uint8Array {
  const writer = new UpdateWriter(new Uint8Array(1 << 22), 4096);
  const count = from.length.length;
  for (const set of sets) {
    const nextHop = family === 4 ? null : nextHopBytes(set);
    const bytes = encodeAttributes(set, { fourOctetAs: true }, nextHop === null);
    writer.announce({ bytes, nextHop }, { from, ids: null, pathIds }, 0, count);
  }
  writer.withdraw({ from, ids: null, pathIds }, 0, count);
  writer.endOfRib(family);
  return writer.out.slice(0, writer.at);
}

describe('tshark', () => {
  test('OPEN with every capability, and without any', () => {
    const bytes = capture(OPEN, encodeOpen({ asNumber: 65001, holdTime: 0, identifier: 1, capabilities: [] }));
    expectWellFormed(bytes);
    expect(fields(bytes, 'bgp.cap.type')).toEqual(['1', '1', '2', '70', '6', '5', '9', '65', '64', '71']);
    expect(fields(bytes, 'bgp.open.myas')).toEqual(['23456', '65001']);
  });

  test('OPEN with extended optional parameters', () => {
    const many: Capability[] = Array.from({ length: 4 }, (_, i) => ({
      name: 'unknown',
      code: 240 + i,
      value: new Uint8Array(90),
    }));
    const bytes = capture(
      encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 1, capabilities: [...capabilities, ...many] }),
      OPEN,
    );
    expect(fields(bytes, 'bgp.type')).toEqual(['1', '1']);
    expectWellFormed(bytes);
  });

  for (const family of [4, 6] as const)
    for (const addPath of [false, true])
      test(`UPDATE of IPv${family}${addPath ? ' with path identifiers' : ''}: any attributes, every prefix`, () => {
        const from = prefixes(family, 700);
        const pathIds = addPath ? Uint32Array.from({ length: 700 }, (_, i) => i + 1) : null;
        const sets = some(family, 25);
        const mode = { ...unicast(family), receive: true, send: true };
        const extra: Capability[] = addPath ? [{ name: 'add-path', families: [mode] }] : [];
        const open = encodeOpen({
          asNumber: 4200000001,
          holdTime: 90,
          identifier: 1,
          capabilities: [...capabilities, ...extra],
        });
        const bytes = capture(Buffer.concat([open, updates(family, sets, from, pathIds)]), open);
        expectWellFormed(bytes);
        const field =
          family === 4
            ? ['bgp.nlri_prefix', 'bgp.withdrawn_prefix']
            : ['bgp.mp_reach_nlri_ipv6_prefix', 'bgp.mp_unreach_nlri_ipv6_prefix'];
        expect(fields(bytes, field[0])).toHaveLength(700 * sets.length);
        const withdrawn = fields(bytes, field[1]);
        expect(withdrawn).toHaveLength(700);
        const words = family === 4 ? 1 : 4;
        const text = (i: number) =>
          bytesToAddr(
            Uint8Array.from(
              [...from.addr.subarray(i * words, (i + 1) * words)].flatMap((w) => [
                w >>> 24,
                (w >>> 16) & 255,
                (w >>> 8) & 255,
                w & 255,
              ]),
            ),
          );
        expect(withdrawn).toEqual(Array.from({ length: 700 }, (_, i) => text(i)));
        if (addPath) expect(fields(bytes, 'bgp.nlri_path_id')).toHaveLength(700 * (sets.length + 1));
      });

  test('and it does complain about a broken one', () => {
    const open = encodeOpen({ asNumber: 65001, holdTime: 90, identifier: 1, capabilities });
    const broken = update([...BASE, 0x80, 4, 3, 0, 0, 1], [24, 20, 0]);
    expect(() => expectWellFormed(capture(Buffer.concat([open, broken]), open))).toThrow();
  });

  test('paths and values are the ones that were meant', () => {
    const attributes = originate(addr('192.0.2.1'), {
      asPath: [{ type: 'sequence', asNumbers: [4200000001, 65001, 1] }],
      med: 7,
      localPref: 2147482623,
      communities: [65000 * 65536 + 7],
      largeCommunities: [[4200000000, 1, 2]],
    });
    const bytes = capture(Buffer.concat([OPEN, updates(4, [attributes], prefixes(4, 1), null)]), OPEN);
    expect(fields(bytes, 'bgp.update.path_attribute.as_path_segment.as4')).toEqual(['4200000001', '65001', '1']);
    expect(fields(bytes, 'bgp.update.path_attribute.next_hop')).toEqual(['192.0.2.1']);
    expect(fields(bytes, 'bgp.update.path_attribute.multi_exit_disc')).toEqual(['7']);
    expect(fields(bytes, 'bgp.update.path_attribute.local_pref')).toEqual(['2147482623']);
    expect(fields(bytes, 'bgp.update.path_attribute.community_value')).toEqual(['7']);
    expect(fields(bytes, 'bgp.large_communities.ga')).toEqual(['4200000000']);
  });

  test('KEEPALIVE, NOTIFICATION and ROUTE-REFRESH', () => {
    const bytes = capture(
      Buffer.concat([
        OPEN,
        frame('KEEPALIVE', new Uint8Array(0)),
        ...(['request', 'begin', 'end'] as const).flatMap((s) => [encodeRouteRefresh(4, s), encodeRouteRefresh(6, s)]),
        encodeNotification(6, 2, shutdownCommunication('drained for maintenance')),
      ]),
      Buffer.concat([OPEN, encodeHardReset(6, 4), encodeNotification(1, 2, Uint8Array.of(0, 20))]),
    );
    expectWellFormed(bytes);
    expect(fields(bytes, 'bgp.type').join('')).toBe('145555553133');
    expect(fields(bytes, 'bgp.notify.communication')).toEqual(['drained for maintenance']);
    expect(fields(bytes, 'bgp.route_refresh.subtype')).toEqual(['0', '0', '1', '1', '2', '2']);
  });
});

describe('MRT', () => {
  const peers = [
    { identifier: 1, address: addr('10.0.0.2'), asNumber: 65001 },
    { identifier: 2, address: addr('2001:db8::2'), asNumber: 4200000001 },
  ];
  const attributes = (nextHop: string): PathAttributes =>
    originate(addr(nextHop), {
      asPath: [{ type: 'sequence', asNumbers: [65001, 4200000002] }],
      localPref: 100,
      med: 5,
      communities: [65000 * 65536 + 7],
    });

  test('bgpdump reads the table', () => {
    const dump = new MrtDump(1_700_000_000, 7, 'tsnet', peers);
    for (const [family, nextHop] of [
      [4, '10.0.0.2'],
      [6, '2001:db8::2'],
    ] as const) {
      const from = prefixes(family, 200);
      for (let id = 0; id < 200; id++)
        dump.add(from, id, [
          { peer: family === 4 ? 0 : 1, since: 1_700_000_000, attributes: attributes(nextHop), pathId: null },
        ]);
    }
    const path = join(dir, 'table.mrt');
    writeFileSync(path, dump.done());
    const lines = execFileSync('bgpdump', ['-m', path], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
      .trim()
      .split('\n');
    expect(lines).toHaveLength(400);
    expect(lines[0]).toBe(
      'TABLE_DUMP2|1700000000|B|10.0.0.2|65001|20.0.0.0/22|65001 4200000002|IGP|10.0.0.2|100|5|65000:7|NAG||',
    );
    expect(lines[200]).toBe(
      'TABLE_DUMP2|1700000000|B|2001:db8::2|4200000001|2001:db8::/48|65001 4200000002|IGP|2001:db8::2|100|5|65000:7|NAG||',
    );
  });
});
