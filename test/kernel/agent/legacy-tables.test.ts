import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { realClock } from '#core';
import { LegacyTables } from '../../../agent/kernel/legacy-tables.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';

/** Tables of legacy iptables told apart without a program. */

let ns: Namespace;
beforeAll(() => {
  ns = enterNamespace('tables');
});
afterAll(() => ns?.leave());

describe.each([4, 6] as const)('IPv%i', (family) => {
  const tool = `${family === 4 ? 'iptables' : 'ip6tables'}-legacy -w`;
  const restore = `${family === 4 ? 'iptables' : 'ip6tables'}-legacy-restore`;
  const names = () =>
    ns
      .sh(`cat /proc/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`)
      .split('\n')
      .filter(Boolean)
      .sort();
  const tables = new LegacyTables(realClock);
  const look = async () => {
    const fingerprint = await tables.fingerprint(family);
    expect(fingerprint).toBeDefined();
    return fingerprint;
  };

  test('asking makes no table', async () => {
    expect(names()).toEqual([]);
    await look();
    expect(names()).toEqual([]);
    const none = await look();
    ns.sh(`${tool} -t mangle -S`);
    expect(await look()).not.toBe(none);
    expect(names()).toEqual(['mangle']);
  });

  test('packets change nothing, and every change of a rule does, in any table, also one that leaves sizes as they are', async () => {
    // More than a portion of the digest, so that the end of one is somewhere among them.
    ns.sh(`{ echo '*filter'; echo ':cali-many - [0:0]'
      for i in $(seq 4000); do echo "-A cali-many -m comment --comment cali:$i -j RETURN"; done
      echo '-A OUTPUT -m limit --limit 1/hour -j cali-many'; echo COMMIT; } | ${restore} --noflush`);
    const address = family === 4 ? '127.0.0.1' : '::1';
    let before = await look();
    const packets = () => Number(/^\s*(\d+)/m.exec(ns.sh(`${tool} -vxnL OUTPUT | tail -n +3`))?.[1]);
    expect(packets()).toBe(0);
    ns.sh(`ping -c 2 -i 0.1 ${address}`);
    expect(packets()).toBeGreaterThan(0);
    expect(await look()).toBe(before);
    for (const change of [
      '-R cali-many 1 -m comment --comment cali:a -j RETURN',
      '-R cali-many 4000 -m comment --comment cali:4001 -j RETURN',
      '-R cali-many 2000 -m comment --comment cali:2000 -j ACCEPT',
      '-I OUTPUT -o lo -j ACCEPT',
      '-R OUTPUT 1 -o lp -j ACCEPT',
      '-R OUTPUT 1 ! -o lp -j ACCEPT',
      '-D OUTPUT 1',
      '-N his',
      '-E his hers',
      '-P FORWARD DROP',
      '-t mangle -A OUTPUT -j MARK --set-mark 1',
      '-t mangle -R OUTPUT 1 -j MARK --set-mark 2',
      '-t raw -S',
      '-F',
    ]) {
      ns.sh(`${tool} ${change}`);
      const after = await look();
      expect(after, change).not.toBe(before);
      expect(await look(), change).toBe(after);
      before = after;
    }
  });
});
