import { describe, expect, test } from 'vitest';
import { DEFAULT_RENDER_CONFIG, type SetChange } from '#policy';
import { PolicySets } from '../../../../policy/render/policy-sets.ts';
import type { ResolvedChanges, ResolvedSet } from '../../../../policy/resolved.ts';

const nets: ResolvedSet = { id: 's:1', kind: 'nets', owner: 'all()' };
const ports: ResolvedSet = { id: 'n:1', kind: 'ports', owner: 'port http' };
const changes = (
  set: ResolvedSet,
  now: ResolvedSet | null | undefined,
  added: string[] = [],
  removed: string[] = [],
): ResolvedChanges => ({
  sets: new Map(now === undefined ? [] : [[set.id, now]]),
  added: new Map([[set.id, new Set(added)]]),
  removed: new Map([[set.id, new Set(removed)]]),
  policies: new Map(),
  profiles: new Map(),
  endpoints: new Map(),
});
const short = ({ id, type, family, members }: SetChange): string => {
  const delta = members
    ? [...[...members.added].map((m) => `+${m}`), ...[...members.removed].map((m) => `-${m}`)]
    : ['gone'];
  return [`${family} ${id} ${type}`, ...delta].join(' ');
};

describe('with nftables', () => {
  const config = { ...DEFAULT_RENDER_CONFIG, dispatch: 'map' as const };

  test('addresses and networks are apart, in each family by itself, and each knows the other', () => {
    const sets = new PolicySets(config);
    const first = sets.apply(changes(nets, nets, ['10.0.0.1/32', 'fd00::1/128', 'fd00:1::/64']));
    expect(first.changes.map(short)).toEqual([
      '4 as:1 hash:ip +10.0.0.1',
      '6 as:1 hash:ip +fd00::1',
      '6 ns:1 hash:net +fd00:1::/64',
    ]);
    expect(first.changes.map(({ other }) => other)).toEqual(['ns:1', 'ns:1', 'as:1']);
    expect(first.renamed.size).toBe(0);
    expect([sets.namesOf('s:1', 4), sets.namesOf('s:1', 6)]).toEqual([['as:1'], ['as:1', 'ns:1']]);
  });

  test('networks stand while there are any, addresses while there are any or nothing else', () => {
    const sets = new PolicySets({ ...config, families: [4] });
    const apply = (added: string[], removed: string[] = []) => {
      const { changes: told, renamed } = sets.apply(changes(nets, undefined, added, removed));
      return [sets.namesOf('s:1', 4).join(), renamed.size, ...told.map(short)];
    };
    sets.apply(changes(nets, nets));
    expect(apply(['10.0.0.1/32'])).toEqual(['as:1', 0, '4 as:1 hash:ip +10.0.0.1']);
    expect(apply(['10.1.0.0/16', '10.0.0.2/32'], ['10.0.0.1/32'])).toEqual([
      ...['as:1,ns:1', 1, '4 as:1 hash:ip +10.0.0.2 -10.0.0.1', '4 ns:1 hash:net +10.1.0.0/16'],
    ]);
    expect(apply(['10.2.0.0/16'], ['10.1.0.0/16'])).toEqual([
      ...['as:1,ns:1', 0, '4 ns:1 hash:net +10.2.0.0/16 -10.1.0.0/16'],
    ]);
    expect(apply([], ['10.0.0.2/32'])).toEqual(['ns:1', 1, '4 as:1 hash:ip gone']);
    expect(apply(['10.0.0.3/32'])).toEqual(['as:1,ns:1', 1, '4 as:1 hash:ip +10.0.0.3']);
    expect(apply([], ['10.2.0.0/16'])).toEqual(['as:1', 1, '4 ns:1 hash:net gone']);
    expect(apply([], ['10.0.0.3/32'])).toEqual(['as:1', 0, '4 as:1 hash:ip -10.0.0.3']);
    expect(apply(['10.3.0.0/16'])).toEqual(['ns:1', 1, '4 as:1 hash:ip gone', '4 ns:1 hash:net +10.3.0.0/16']);
    expect(sets.apply(changes(nets, null)).changes.map(short)).toEqual(['4 ns:1 hash:net gone']);
    expect(sets.namesOf('s:1', 4)).toEqual(['s:1']);
  });

  test.each([
    ['4', '0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1'],
    ['6', '::/0', '::/1', '8000::/1'],
  ])('IPv%s: everything is two halves, and a half that is a member by itself outlives it', (family, all, low, high) => {
    const sets = new PolicySets({ ...config, families: family === '4' ? [4] : [6] });
    const id = `${family} ns:1 hash:net`;
    const apply = (added: string[], removed: string[] = []) =>
      sets.apply(changes(nets, undefined, added, removed)).changes.map(short);
    expect(sets.apply(changes(nets, nets, [low])).changes.map(short)).toEqual([`${id} +${low}`]);
    expect(apply([all])).toEqual([`${id} +${high}`]);
    expect(apply([high], [low])).toEqual([]);
    expect(apply([], [all])).toEqual([`${id} -${low}`]);
    expect(apply([all], [high])).toEqual([`${id} +${low}`]);
  });

  test('a set of ports is what it is', () => {
    const sets = new PolicySets(config);
    expect(sets.apply(changes(ports, ports, ['10.0.0.1,tcp:80'])).changes.map(short)).toEqual([
      '4 n:1 hash:ip,port +10.0.0.1,tcp:80',
      '6 n:1 hash:ip,port',
    ]);
  });

  test('another form of dispatch needs another renderer as soon as there are sets', () => {
    const sets = new PolicySets(DEFAULT_RENDER_CONFIG);
    sets.configure(config);
    expect(sets.apply(changes(nets, nets, ['10.0.0.1/32'])).changes.map(({ id }) => id)).toEqual(['as:1', 'as:1']);
    sets.configure({ ...config, floatingIps: true });
    expect(() => sets.configure(DEFAULT_RENDER_CONFIG)).toThrow('needs a new renderer');
  });
});

test('with iptables every set of addresses may hold networks, under one name', () => {
  const sets = new PolicySets(DEFAULT_RENDER_CONFIG);
  const first = sets.apply(changes(nets, nets, ['10.0.0.1/32']));
  expect(first.changes.map(short)).toEqual(['4 s:1 hash:net +10.0.0.1', '6 s:1 hash:net']);
  const joined = sets.apply(changes(nets, undefined, ['0.0.0.0/0']));
  expect(joined.changes.map(short)).toEqual(['4 s:1 hash:net +0.0.0.0/1 +128.0.0.0/1']);
  expect(joined.renamed.size).toBe(0);
});
