import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createMetrics, FakeClock, silentLog } from '#core';
import type { SetChange } from '#policy';
import { createIpset } from '../../../agent/kernel/ipset.ts';
import { NftSocket } from '../../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../../agent/kernel/nftables/sets.ts';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import type { SetBackend } from '../../../agent/kernel/types.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

/** Sets in the kernel: differences only, and what strangers, crashes and programs that hang leave of them. */

let ns: Namespace;
let runner: Runner;
let socket: NftSocket;
let dir: string;
beforeAll(() => {
  ns = enterNamespace('sets');
  runner = createRunner({ log: silentLog });
  socket = new NftSocket().open();
  dir = mkdtempSync(join(tmpdir(), 'tsn-sets-'));
});
afterEach(() => ns.sh('nft flush ruleset; ipset destroy'));
afterAll(() => {
  runner?.close();
  socket?.close();
  if (dir) rmSync(dir, { recursive: true });
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
  backend(wrapper?: string): SetBackend;
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
    backend: (wrapper) => createIpset({ runner, timeout: 700, ...(wrapper && { prefix: [wrapper] }) }),
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

  test.runIf(name === 'ipset').each([
    ['hangs', 'exec sleep 7333', 'in time'],
    ['fails', 'cat >/dev/null; echo no memory >&2; exit 1', 'no memory'],
    ['is killed', 'kill -9 $$', 'failed'],
  ])('a program that %s: each set is tried again by itself', async (_, script, words) => {
    const wrapper = join(dir, 'wrapper');
    const put = (line: string) => {
      writeFileSync(wrapper, `#!/bin/sh\ncase "$*" in *restore*|*-f*) ${line};; *) exec "$@";; esac\n`);
      chmodSync(wrapper, 0o755);
    };
    put(script);
    const { sets, clock } = rig(kind.backend(wrapper));
    sets.update([change('s:a', 4, range(4, 0, 3)), change('s:b', 6, range(6, 0, 3))]);
    const { failures, again } = await sets.applyUpdates();
    expect(failures.map((f) => f.key)).toEqual(['cali40s:a', 'cali60s:b']);
    expect(failures[0].detail).toMatch(new RegExp(`^selector of s:a: .*${words}`));
    expect(again).toBeGreaterThan(0);
    put('exec "$@"');
    clock.advance(60_000);
    expect(await sets.applyUpdates()).toEqual({ written: 8, failures: [] });
    expect(kind.members(6, 's:b')).toEqual(range(6, 0, 3).sort());
  });
});
