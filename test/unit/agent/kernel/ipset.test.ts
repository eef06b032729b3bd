import { describe, expect, test } from 'vitest';
import { FakeClock, hasCode } from '#core';
import type { SetType } from '#policy';
import { createIpset } from '../../../../agent/kernel/ipset/index.ts';
import { MemberReader, writeFormerMember, writeMember } from '../../../../agent/kernel/ipset/members.ts';
import { MemberListing, revisionOf, stateOf } from '../../../../agent/kernel/ipset/read.ts';
import { IpsetSocket } from '../../../../agent/kernel/ipset/socket.ts';
import { phasesOf } from '../../../../agent/kernel/ipset/steps.ts';
import * as wire from '../../../../agent/kernel/ipset/wire.ts';
import { Datagram, F, MessageWriter } from '../../../../agent/kernel/netlink/message.ts';
import type { Requester, Writes } from '../../../../agent/kernel/netlink/request.ts';
import type { SetWrite } from '../../../../agent/kernel/types.ts';

/** What goes to ip_set and what comes from it, as bytes. Those of members and listings were recorded of the program ipset and of Linux 6.18. */

const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const hexOf = (write: (w: MessageWriter) => void): string => {
  const w = new MessageWriter(1 << 16);
  write(w);
  return w.bytes.toString('hex', 0, w.length);
};
const clean = (text: string) => text.replaceAll(/\s/g, '');

/** Members as the program sends them, without its line numbers. */
const MEMBERS: readonly (readonly [family: 4 | 6, member: string, hex: string])[] = [
  [4, '10.0.0.1', '10000780 0c000180 08000140 0a000001'],
  [4, '10.0.0.0/24', '18000780 0c000180 08000140 0a000000 05000300 18000000'],
  [
    6,
    'fd00::1,tcp:80',
    '2c000780 18000180 14000240 fd000000000000000000000000000001 06000440 00500000 05000700 06000000',
  ],
];

describe.skipIf(!little)('members', () => {
  test.each(MEMBERS)('IPv%i %s is written as the program writes it', (family, member, hex) => {
    expect(hexOf((w) => writeMember(w, member, family))).toBe(clean(hex));
  });

  test.each([
    [4, '1.2.3.4'],
    [4, '255.255.255.255'],
    [4, '0.0.0.0/1'],
    [4, '128.0.0.0/31'],
    [4, '1.2.3.4,udp:53'],
    [4, '1.2.3.4,58:65535'],
    [6, '::/1'],
    [6, '2001:db8::ffff:0:1'],
    [6, 'fd00::/127'],
    [6, '::1,sctp:1'],
    [6, '::1,udplite:0'],
  ] as const)('IPv%i %s comes back as it was', (family, member) => {
    const w = new MessageWriter(256);
    writeMember(w, member, family);
    const d = new Datagram(w.bytes, w.length);
    expect(d.u16(0)).toBe(w.length);
    expect(new MemberReader().read(d, 4, w.length)).toBe(member);
  });

  test('a network of one address is told as the address', () => {
    const w = new MessageWriter(256);
    writeMember(w, '10.0.0.1/32', 4);
    expect(new MemberReader().read(new Datagram(w.bytes, w.length), 4, w.length)).toBe('10.0.0.1');
  });

  test('an exception can be read, and can be taken away, and cannot be written', () => {
    const w = new MessageWriter(256);
    writeMember(w, '10.0.0.0/24', 4);
    w.attrBig32(wire.MEMBER.FLAGS, wire.NO_MATCH);
    expect(new MemberReader().read(new Datagram(w.bytes, w.length), 4, w.length)).toBe('10.0.0.0/24 nomatch');
    const former = hexOf((v) => writeFormerMember(v, '10.0.0.0/24 nomatch', 4));
    expect(former).toBe(hexOf((v) => writeMember(v, '10.0.0.0/24', 4)));
    expect(() => hexOf((v) => writeMember(v, '10.0.0.0/24 nomatch', 4))).toThrow('cannot stand in a set');
  });

  test.each([
    [4, ''],
    [4, '10.0.0.1\n'],
    [4, '10.0.0.1 '],
    [4, '10.0.0.256'],
    [4, '10.0.0.01'],
    [4, '10.0.0'],
    [4, 'fd00::1'],
    [6, '10.0.0.1'],
    [6, 'fe80::1%eth0'],
    [6, 'fd00::/129'],
    [4, '0.0.0.0/0'],
    [4, '10.0.0.0/33'],
    [4, '10.0.0.0/08'],
    [4, '10.0.0.0/'],
    [4, '10.0.0.0/24/24'],
    [4, '10.0.0.0/24,tcp:80'],
    [4, '10.0.0.1,tcp'],
    [4, '10.0.0.1,tcp:'],
    [4, '10.0.0.1,tcp:65536'],
    [4, '10.0.0.1,256:80'],
    [4, '10.0.0.1,icmp:8'],
    [4, '10.0.0.1,tcp:80,tcp:81'],
  ] as const)('IPv%i %j is refused', (family, member) => {
    expect(() => hexOf((w) => writeMember(w, member, family))).toThrow(/cannot stand in a set/);
  });
});

describe.skipIf(!little)('messages', () => {
  test('a set is made, changed, swapped and destroyed', () => {
    const text = (value: string) => Buffer.from(`${value}\0`).toString('hex');
    const head = (length: number, command: string, flags: string) =>
      `${length.toString(16).padStart(2, '0')}000000 ${command}06 ${flags} 07000000 00000000 02000000 0500010006000000`;
    const name = `0e000200 ${text('cali40s:a')} 0000`;
    const shape = { type: 'hash:net', family: 4, maxElements: 1 << 20, members: new Set<string>() } as const;
    expect(hexOf((w) => wire.writeCreate(w, 'cali40s:a', shape, 7, 7))).toBe(
      clean(`${head(96, '02', '0106')} ${name} 0d000300 ${text('hash:net')} 000000 05000400 07000000 05000500 02000000
        14000780 08001240 00000040 08001340 00100000`),
    );
    expect(hexOf((w) => wire.writeDestroy(w, 'cali40s:a', 7))).toBe(clean(`${head(44, '03', '0102')} ${name}`));
    expect(hexOf((w) => wire.writeSwap(w, 'cali40s:a', 'cali40s:b', 7))).toBe(
      clean(`${head(60, '06', '0100')} ${name} 0e000300 ${text('cali40s:b')} 0000`),
    );
    expect(hexOf((w) => wire.writeChange(w, 'add', 'cali40s:a', () => writeMember(w, '10.0.0.1', 4), 7))).toBe(
      clean(`${head(72, '09', '0100')} ${name} 08000940 00000000 14000880 ${MEMBERS[0][2]}`),
    );
    expect(hexOf((w) => wire.writeList(w, 7))).toBe(clean(`${head(36, '07', '0103')} 08000640 00000004`));
    expect(hexOf((w) => wire.writeSave(w, 'cali40s:a', 7))).toBe(clean(`${head(44, '08', '0103')} ${name}`));
    expect(hexOf((w) => wire.writeSave(w, undefined, 7))).toBe(clean(head(28, '08', '0103')));
    expect(hexOf((w) => wire.writeTypeQuery(w, 'hash:net', 6, 7))).toBe(
      clean(`${head(52, '0d', '0100')} 0d000300 ${text('hash:net')} 000000 05000500 0a000000`),
    );
  });

  const SAVED = `c4000000 0706 0200 01000000 00000000 02000000 0500010007000000 0e00020063616c693430733a61000000
    0d000300686173683a6e6574000000 00 0500050002000000 0500040007000000 06000b4000000000
    3c000780 0800124000000400 0800134000100000 050015000c000000 0800114013eeb52f 0800194000000000 08001a4000000228 0800184000000002
    34000880 18000780 0c000180 08000100 0a000001 05000300 20000000 18000780 0c000180 08000100 0a000000 05000300 18000000`;
  const parse = (...texts: string[]) => {
    const d = new Datagram(Buffer.from(clean(texts.join('')), 'hex'), clean(texts.join('')).length / 2);
    return [...d.messages()].map((m) => [d, m] as const);
  };

  test('a listed set is read', () => {
    const [[d, m]] = parse(SAVED);
    expect(stateOf(d, m)).toEqual({ name: 'cali40s:a', type: 'hash:net', maxElements: 1 << 20, entries: 2 });
    const answer = `44000000 0d06 0000 01000000 00000000 02000000 0500010007000000 0d000300686173683a6e6574000000 00
      0500050002000000 0500040007000000 05000a0000000000`;
    expect(revisionOf(...parse(answer)[0])).toBe(7);
  });

  test('members of the sets that are asked for are told, a set of several messages whole, one that is listed anew afresh', () => {
    const more = `40000000 0706 0200 01000000 00000000 02000000 0500010007000000 0e00020063616c693430733a61000000
      14000880 10000780 0c000180 08000100 0a000009`;
    const told: [string, string[]][] = [];
    const listing = new MemberListing(new Set(['cali40s:a']), (name, members) => told.push([name, [...members]]));
    for (const message of parse(SAVED, more, SAVED)) listing.add(...message);
    listing.end();
    listing.end();
    expect(told).toEqual([
      ['cali40s:a', ['10.0.0.1', '10.0.0.0/24', '10.0.0.9']],
      ['cali40s:a', ['10.0.0.1', '10.0.0.0/24']],
    ]);
    const nothing = new MemberListing(new Set(['cali40s:b']), (name) => told.push([name, []]));
    for (const message of parse(SAVED, more)) nothing.add(...message);
    nothing.end();
    expect(told).toHaveLength(2);
  });
});

describe('writes', () => {
  const create = (current?: SetType, members = ['10.0.0.1']): SetWrite => ({
    op: 'create',
    name: 'cali40s:a',
    type: 'hash:net',
    family: 4,
    members: new Set(members),
    maxElements: 10,
    current: current && { type: current },
  });
  const said = (write: SetWrite) => phasesOf(write, () => 7).map((phase) => phase.map(({ what }) => what));

  test('what must not be done when the step before was refused is in a phase of its own', () => {
    expect(said(create())).toEqual([['create cali40s:a hash:net', 'add 1 members to cali40s:a']]);
    expect(said(create('hash:ip'))).toEqual([
      ['destroy cali40s:a', 'create cali40s:a hash:net'],
      ['add 1 members to cali40s:a'],
    ]);
    const beside = said(create('hash:net')).map((phase) => phase.map((what) => what.replaceAll(/cali4t\w+/g, 'T')));
    expect(beside).toEqual([
      ['destroy T', 'create T hash:net'],
      ['add 1 members to T'],
      ['swap T cali40s:a', 'destroy T'],
    ]);
  });

  test('members beyond a thousand go into another message, and each goes once', () => {
    const members = Array.from({ length: 2001 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    const steps = phasesOf(create(undefined, members), () => 7)[0].slice(1);
    const found = steps.flatMap((step) => {
      const w = new MessageWriter(1 << 17);
      step.encode(w, 1);
      const d = new Datagram(w.bytes, w.length);
      const out: string[] = [];
      for (const m of d.messages())
        d.attributes(m.start + wire.NFGENMSG, m.end, (attr, at, end) => {
          if (attr === wire.ATTR.MEMBERS)
            d.attributes(at, end, (_, from, to) => out.push(new MemberReader().read(d, from, to)));
        });
      return [out];
    });
    expect(found.map((list) => list.length)).toEqual([1000, 1000, 1]);
    expect(found.flat()).toEqual(members);
  });

  /** A kernel that answers what it is told to, when it is told to. */
  function kernel(refuse: Record<string, string> = {}) {
    const steps: string[][] = [];
    let release = () => {};
    let held: Promise<void> | undefined;
    const requests = {
      ask: async () => ({ told: 7 }),
      writeColumns: async ({ count, encode }: Writes) => {
        await held;
        const w = new MessageWriter(1 << 17);
        for (let i = 0; i < count; i++) encode(i, w, i);
        const d = new Datagram(w.bytes, w.length);
        const commands = [...d.messages()].map((m) => String(m.type & 0xff));
        steps.push(commands);
        return commands.flatMap((command, index) =>
          refuse[command] ? [{ index, error: refuse[command], detail: '' }] : [],
        );
      },
    } as unknown as Requester;
    const clock = new FakeClock();
    const socket = new IpsetSocket(clock, 1000, () => requests);
    const hold = () => {
      held = new Promise((resolve) => {
        release = resolve;
      });
    };
    return { backend: createIpset(socket), clock, steps, hold, release: () => release() };
  }

  test('a set whose members were refused is not swapped in, and another one is', async () => {
    const { backend, steps } = kernel({ 9: 'errno 4352' });
    const failures = await backend.write([create('hash:net'), { ...create('hash:net', []), name: 'cali40s:b' }]);
    expect(failures).toMatchObject([
      {
        key: 'cali40s:a',
        error: 'errno 4352',
        detail: expect.stringMatching(/^the set is full, at 'add 1 members to cali4t/),
      },
    ]);
    expect(steps).toEqual([['3', '2', '3', '2'], ['9'], ['6', '3']]);
  });

  test('a kernel without ip_set says so', async () => {
    const { backend } = kernel({ 2: 'EINVAL' });
    expect(await backend.write([create()])).toMatchObject([{ detail: expect.stringContaining('modprobe ip_set') }]);
  });

  test('a kernel that does not come back is waited for no longer, and asked nothing more until it has', async () => {
    const { backend, clock, steps, hold, release } = kernel();
    await backend.write([create()]);
    hold();
    const first = backend.destroy('cali40s:a');
    clock.advance(1000);
    const late = (error: unknown) => hasCode(error, 'TIMEOUT');
    await expect(first).rejects.toSatisfy(late);
    await expect(backend.destroy('cali40s:a')).rejects.toSatisfy(late);
    expect(steps).toHaveLength(1);
    release();
    await expect.poll(() => steps).toHaveLength(2);
    await backend.destroy('cali40s:b');
    expect(steps).toHaveLength(3);
  });
});

test('flags of requests', () => {
  // A stranger's set under our name must not be taken for our own.
  const w = new MessageWriter(256);
  wire.writeCreate(w, 'cali40s:a', { type: 'hash:ip', family: 6, maxElements: 1, members: new Set() }, 0, 1);
  const [m] = new Datagram(w.bytes, w.length).messages();
  expect(m.flags).toBe(F.REQUEST | F.CREATE | F.EXCL);
});
