import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, hasCode, realClock, silentLog } from '#core';
import type { SetChange } from '#policy';
import { createIpset } from '../../../agent/kernel/ipset/index.ts';
import { IpsetSocket } from '../../../agent/kernel/ipset/socket.ts';
import { NftSocket } from '../../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../../agent/kernel/nftables/sets.ts';
import type { SetBackend } from '../../../agent/kernel/types.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

/** Sets in the kernel: differences only, and what strangers and crashes leave of them. */

let ns: Namespace;
let socket: NftSocket;
let ipset: IpsetSocket;
beforeAll(() => {
  ns = enterNamespace('sets');
  socket = new NftSocket().open();
  ipset = new IpsetSocket(realClock).open();
});
afterEach(() => ns.sh('nft flush ruleset; ipset flush; ipset destroy'));
afterAll(() => {
  ipset?.close();
  socket?.close();
  ns?.leave();
});

const NET = { 4: '10.65', 6: 'fd00:65:' } as const;
const member = (family: 4 | 6, n: number) =>
  family === 4 ? `${NET[4]}.${n >> 8}.${n & 255}` : `${NET[6]}:${(n + 1).toString(16)}`;
const range = (family: 4 | 6, from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => member(family, from + i));
const change = (
  id: string,
  family: 4 | 6,
  added: string[],
  removed: string[] = [],
  type: SetChange['type'] = 'hash:ip',
) =>
  ({
    id,
    type,
    family,
    owner: `selector of ${id}`,
    members: { added: new Set(added), removed: new Set(removed) },
  }) as const;
const gone = (id: string, family: 4 | 6): SetChange => ({ id, type: 'hash:ip', family, owner: '', members: null });

interface Kind {
  backend(): SetBackend;
  members(family: 4 | 6, id: string): string[];
  /** What a stranger does to a set. */
  add(family: 4 | 6, id: string, member: string): string;
  remove(family: 4 | 6, id: string, member: string): string;
  flush(family: 4 | 6, id: string): string;
  /** A rule of somebody else that uses the set. */
  use(family: 4 | 6, id: string): string;
  unuse: string;
}
const inNft = (family: 4 | 6, id: string) =>
  `${family === 4 ? 'ip' : 'ip6'} tsnet 'cali${family}0${id.replace(':', '/')}'`;
const KINDS: Record<'ipset' | 'nftables', Kind> = {
  ipset: {
    backend: () => createIpset(ipset),
    members: (family, id) =>
      ns
        .sh(`ipset save cali${family}0${id}`)
        .split('\n')
        .filter((line) => line.startsWith('add'))
        .map((line) => line.split(' ')[2])
        .sort(),
    add: (family, id, m) => `ipset add cali${family}0${id} ${m}`,
    remove: (family, id, m) => `ipset del cali${family}0${id} ${m}`,
    flush: (family, id) => `ipset flush cali${family}0${id}`,
    use: (family, id) =>
      `${family === 4 ? 'iptables' : 'ip6tables'}-nft -A INPUT -m set --match-set cali${family}0${id} src -j ACCEPT`,
    unuse: 'nft flush ruleset',
  },
  nftables: {
    backend: () => createNftSets(socket),
    members: (family, id) =>
      (/elements = \{([^}]*)\}/.exec(ns.sh(`nft list set ${inNft(family, id)}`))?.[1] ?? '')
        .split(',')
        .map((m) => m.trim())
        .filter((m) => m !== '')
        .sort(),
    add: (family, id, m) => `nft add element ${inNft(family, id)} '{ ${m} }'`,
    remove: (family, id, m) => `nft delete element ${inNft(family, id)} '{ ${m} }'`,
    flush: (family, id) => `nft flush set ${inNft(family, id)}`,
    use: (family, id) =>
      `nft "add chain ${family === 4 ? 'ip' : 'ip6'} tsnet his; add rule ${family === 4 ? 'ip' : 'ip6'} tsnet his ${
        family === 4 ? 'ip' : 'ip6'
      } saddr @cali${family}0${id.replace(':', '/')} accept"`,
    unuse: 'nft delete chain ip tsnet his; nft delete chain ip6 tsnet his',
  },
};

describe.each(['ipset', 'nftables'] as const)('%s', (name) => {
  const kind = KINDS[name];
  function rig(backend = kind.backend(), maxElements = 1000) {
    const clock = new FakeClock();
    const metrics = createMetrics();
    const sets = new SetReconciler({ backend, clock, log: silentLog, metrics, maxElements });
    return { sets, clock };
  }

  describe.each([4, 6] as const)('IPv%i', (family) => {
    test('a change writes what differs, and a restart nothing', async () => {
      const { sets } = rig();
      sets.update([change('s:a', family, range(family, 0, 300)), change('s:b', family, range(family, 0, 3))]);
      expect((await sets.applyUpdates()).written).toBe(305);
      sets.update([change('s:a', family, range(family, 300, 310), range(family, 0, 5))]);
      expect(await sets.applyUpdates()).toEqual({ written: 15, failures: [] });
      expect(kind.members(family, 's:a')).toEqual(range(family, 5, 310).sort());
      const again = rig().sets;
      again.update([change('s:a', family, range(family, 5, 310)), change('s:b', family, range(family, 0, 3))]);
      expect(await again.applyUpdates()).toEqual({ written: 0, failures: [] });
      expect(await again.applyDeletes()).toMatchObject({ written: 0 });
      expect(await again.check()).toBe(true);
    });

    test('whatever a stranger does to the members is noticed and put right, also where their number stays', async () => {
      const { sets } = rig();
      sets.update([change('s:a', family, range(family, 0, 5)), change('s:b', family, range(family, 0, 9))]);
      await sets.applyUpdates();
      const right = () => [kind.members(family, 's:a'), kind.members(family, 's:b')];
      const before = right();
      const [first, other] = [member(family, 0), member(family, 77)];
      for (const harm of [
        kind.add(family, 's:b', other),
        kind.remove(family, 's:a', first),
        `${kind.remove(family, 's:b', first)}; ${kind.add(family, 's:b', other)}`,
        kind.flush(family, 's:a'),
        ...(name === 'ipset'
          ? [`ipset destroy cali${family}0s:a`, `ipset swap cali${family}0s:a cali${family}0s:b`]
          : []),
        ...(name === 'ipset' ? ['ipset destroy'] : ['nft flush ruleset']),
      ]) {
        ns.sh(harm);
        expect([harm, await sets.check()]).toEqual([harm, false]);
        expect((await sets.applyUpdates()).failures).toEqual([]);
        expect([harm, right()]).toEqual([harm, before]);
        expect(await sets.check()).toBe(true);
      }
    });

    test('another type under our name gives way', async () => {
      const { sets } = rig();
      const nets = [family === 4 ? '10.65.0.0/16' : 'fd00:65::/64'];
      sets.update([change('s:a', family, range(family, 0, 5))]);
      await sets.applyUpdates();
      const again = rig().sets;
      again.update([change('s:a', family, nets, [], 'hash:net')]);
      expect((await again.applyUpdates()).failures).toEqual([]);
      expect(kind.members(family, 's:a')).toHaveLength(1);
    });

    test.runIf(name === 'ipset')('another family under our name gives way', async () => {
      const { sets } = rig();
      sets.update([change('s:a', family, range(family, 0, 5))]);
      await sets.applyUpdates();
      const before = kind.members(family, 's:a');
      const other = family === 4 ? 'inet6' : 'inet';
      ns.sh(`ipset destroy cali${family}0s:a && ipset create cali${family}0s:a hash:ip family ${other}`);
      expect(await sets.check()).toBe(false);
      expect((await sets.applyUpdates()).failures).toEqual([]);
      expect(kind.members(family, 's:a')).toEqual(before);
    });

    test.runIf(name === 'ipset')('another size is made beside and swapped in under the rules that use it', async () => {
      const { sets } = rig();
      sets.update([change('s:a', family, range(family, 0, 50))]);
      await sets.applyUpdates();
      ns.sh(kind.use(family, 's:a'));
      // What a crash between two commands leaves.
      const left = rig();
      left.sets.setMaxElements(2000);
      left.sets.update([change('s:a', family, range(family, 0, 50))]);
      await left.sets.applyUpdates();
      sets.setMaxElements(3000);
      sets.update([change('s:a', family, [], range(family, 0, 1))]);
      sets.resync();
      expect((await sets.applyUpdates()).failures).toEqual([]);
      expect(ns.sh('ipset list -t')).toMatch(/maxelem 3000[\s\S]*References: 1[\s\S]*entries: 49/);
      expect(ns.sh('ipset list -n').trim()).toBe(`cali${family}0s:a`);
    });

    test('what nobody wants goes a few at a time; one that a rule of somebody else holds harms nothing', async () => {
      const { sets, clock } = rig();
      const ids = Array.from({ length: 12 }, (_, i) => `s:${i}`);
      sets.update(ids.map((id) => change(id, family, [member(family, 1)])));
      await sets.applyUpdates();
      ns.sh(kind.use(family, 's:0'));
      sets.update(ids.map((id) => gone(id, family)));
      const passes = [];
      for (let pass = 0; pass < 3; pass++) {
        passes.push(await sets.applyDeletes());
        clock.advance(100);
      }
      expect(passes.map((p) => p.written)).toEqual([4, 5, 2]);
      expect(passes.map((p) => p.failures)).toEqual([[], [], []]);
      expect(passes[0].again).toBe(100);
      expect(passes[2].again).toBeGreaterThan(100);
      expect(sets.problems).toMatchObject([{ key: `cali${family}0s:0` }]);
      ns.sh(`${kind.unuse} 2>/dev/null || true`);
      clock.advance(60_000);
      expect(await sets.applyDeletes()).toMatchObject({ written: 1 });
      expect(sets.problems).toEqual([]);
    });

    test('a set that was too large to be made is forgotten without a trace', async () => {
      const { sets } = rig(kind.backend(), 10);
      sets.update([change('s:a', family, range(family, 0, 11))]);
      expect((await sets.applyUpdates()).failures).toMatchObject([
        { detail: 'selector of s:a: 11 members; maxIpsetSize is 10' },
      ]);
      sets.update([gone('s:a', family)]);
      expect(await sets.applyDeletes()).toEqual({ written: 0, failures: [] });
      expect(sets.problems).toEqual([]);
    });
  });
});

describe('ipset', () => {
  const kind = KINDS.ipset;
  function rig(maxElements = 10_000) {
    const clock = new FakeClock();
    const metrics = createMetrics();
    const sets = new SetReconciler({ backend: createIpset(ipset), clock, log: silentLog, metrics, maxElements });
    return { sets, clock };
  }
  /** Tries again what has failed. */
  async function retry({ sets, clock }: ReturnType<typeof rig>): Promise<void> {
    clock.advance(60_000);
    expect((await sets.applyUpdates()).failures).toEqual([]);
    expect(sets.problems).toEqual([]);
    expect(await sets.check()).toBe(true);
  }

  test.each([4, 6] as const)(
    'IPv%i: sets of many messages, among more than are asked for by name, beside a foreign one',
    async (family) => {
      ns.sh(
        `ipset create stranger hash:ip; ipset add stranger 192.0.2.1; ipset create ${'x'.repeat(31)} list:set; ipset add ${'x'.repeat(31)} stranger`,
      );
      const large = range(family, 0, 3500);
      const ports = range(family, 0, 40).flatMap((a) => [
        `${a},tcp:80`,
        `${a},udp:53`,
        `${a},sctp:65535`,
        `${a},udplite:1`,
      ]);
      const nets =
        family === 4
          ? ['10.0.0.0/8', '0.0.0.0/1', '192.0.2.7', '192.0.2.0/31']
          : ['fd00::/8', '::/1', 'fd00::7', 'fd00::/127'];
      const wanted = [
        change('s:large', family, large),
        change('p:ports', family, ports, [], 'hash:ip,port'),
        change('s:nets', family, nets, [], 'hash:net'),
        change('s:empty', family, [], [], 'hash:net'),
        ...Array.from({ length: 300 }, (_, i) => change(`s:${i}`, family, range(family, i, i + 2), [], 'hash:net')),
      ];
      const first = rig().sets;
      first.update(wanted);
      const members = wanted.reduce((sum, set) => sum + set.members.added.size, 0);
      expect(await first.applyUpdates()).toEqual({ written: members + wanted.length, failures: [] });
      expect(kind.members(family, 'p:ports')).toEqual(ports.sort());
      expect(kind.members(family, 's:nets')).toEqual(nets.sort());
      expect(kind.members(family, 's:large')).toEqual(large.sort());
      expect(ns.sh('ipset list -t')).toMatch(family === 4 ? /family inet hashsize/ : /family inet6 hashsize/);
      ns.sh(
        `ipset del cali${family}0s:large ${member(family, 3000)}; ipset add cali${family}0s:nets ${member(family, 9)}`,
      );
      const again = rig().sets;
      again.update(wanted);
      expect(await again.applyUpdates()).toEqual({ written: 2, failures: [] });
      expect(await again.applyUpdates()).toEqual({ written: 0, failures: [] });
      expect(await again.check()).toBe(true);
      expect(ns.sh('ipset save stranger')).toContain('add stranger 192.0.2.1');
      again.update(wanted.map(({ id }) => gone(id, family)));
      await again.applyDeletes();
      expect(ns.sh('ipset list -n').split('\n')).toContain('stranger');
    },
  );

  test('a set of another type that a rule uses is refused by itself, untouched, and follows when it is free', async () => {
    ns.sh(
      'ipset create cali40s:a hash:ip; ipset add cali40s:a 10.65.0.1; iptables-nft -A INPUT -m set --match-set cali40s:a src -j ACCEPT',
    );
    const at = rig();
    at.sets.update([change('s:a', 4, ['10.65.0.0/16'], [], 'hash:net'), change('s:b', 4, range(4, 0, 3))]);
    const { written, failures, again } = await at.sets.applyUpdates();
    expect(failures).toMatchObject([
      { key: 'cali40s:a', detail: "selector of s:a: the set is in use, at 'destroy cali40s:a'" },
    ]);
    expect([written, again! > 0]).toEqual([4, true]);
    expect(kind.members(4, 's:a')).toEqual(['10.65.0.1']);
    expect(kind.members(4, 's:b')).toHaveLength(3);
    ns.sh('nft flush ruleset');
    await retry(at);
    expect(kind.members(4, 's:a')).toEqual(['10.65.0.0/16']);
  });

  test('a set that a stranger has filled is refused, named, and set right', async () => {
    const at = rig(5);
    at.sets.update([change('s:a', 4, range(4, 0, 3))]);
    await at.sets.applyUpdates();
    ns.sh('ipset add cali40s:a 192.0.2.1; ipset add cali40s:a 192.0.2.2');
    at.sets.update([change('s:a', 4, range(4, 3, 5)), change('s:b', 4, range(4, 0, 3))]);
    const { failures } = await at.sets.applyUpdates();
    expect(failures).toMatchObject([
      { key: 'cali40s:a', detail: "selector of s:a: the set is full, at 'add 2 members to cali40s:a'" },
    ]);
    await retry(at);
    expect(kind.members(4, 's:a')).toEqual(range(4, 0, 5));
  });

  test('a set that came to be under our name is read before it is written', async () => {
    const at = rig();
    await at.sets.applyUpdates();
    ns.sh('ipset create cali40s:a hash:ip; ipset add cali40s:a 192.0.2.1');
    at.sets.update([change('s:a', 4, range(4, 0, 3))]);
    expect((await at.sets.applyUpdates()).failures[0].detail).toMatch(/there is such a set already/);
    await retry(at);
    expect(kind.members(4, 's:a')).toEqual(range(4, 0, 3));
  });

  test('an exception that a stranger makes in a set is a difference, and goes', async () => {
    const at = rig();
    at.sets.update([change('s:a', 4, ['10.65.0.0/16'], [], 'hash:net')]);
    await at.sets.applyUpdates();
    ns.sh(
      'ipset add cali40s:a 10.65.1.0/24 nomatch; ipset del cali40s:a 10.65.0.0/16; ipset add cali40s:a 10.65.0.0/16 nomatch',
    );
    expect(await at.sets.check()).toBe(false);
    expect((await at.sets.applyUpdates()).failures).toEqual([]);
    expect(ns.sh('ipset save cali40s:a').match(/^add.*$/gm)).toEqual(['add cali40s:a 10.65.0.0/16']);
  });

  test.each([
    ['cali40s:a', '10.65.0.1\nadd stranger 10.0.0.1'],
    ['cali40s:a', '10.65.0.0/33'],
    ['cali40s:a', '10.65.0.1/'],
    ['cali40s:a', 'fd00::1'],
    ['cali60s:a', '10.65.0.1'],
    ['cali60s:a', 'fd00::1,tcp:65536'],
    ['cali60s:a', 'fd00::1,256:80'],
    ['stranger', '10.65.0.1'],
    [`cali40${'x'.repeat(40)}`, '10.65.0.1'],
    ['cali40s:a b', '10.65.0.1'],
  ])('%j with %j never reaches the kernel', async (name, value) => {
    const backend = createIpset(ipset);
    const family = name.startsWith('cali6') ? 6 : 4;
    const create = {
      op: 'create',
      name,
      type: 'hash:ip,port',
      family,
      members: new Set([value]),
      maxElements: 10,
      current: undefined,
    } as const;
    const refused = (error: unknown) => hasCode(error, 'VALIDATION');
    await expect(backend.write([create])).rejects.toSatisfy(refused);
    const change = { op: 'change', name, added: new Set([value]), removed: new Set<string>() } as const;
    await expect(backend.write([change])).rejects.toSatisfy(refused);
    expect(ns.sh('ipset list -n')).toBe('');
  });

  test('what is not there cannot be destroyed, and is said to be none', async () => {
    await expect(createIpset(ipset).destroy('cali40s:a')).rejects.toThrow(
      "there is no such set, at 'destroy cali40s:a'",
    );
    const told: string[] = [];
    await createIpset(ipset).members(['cali40s:a'], (name) => told.push(name));
    expect(told).toEqual([]);
  });
});
