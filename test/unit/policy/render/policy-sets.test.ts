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
const short = ({ id, type, family, members, like }: SetChange): string => {
  const delta = members
    ? [...[...members.added].map((m) => `+${m}`), ...[...members.removed].map((m) => `-${m}`)]
    : ['gone'];
  return [`${family} ${id} ${type}`, ...(like === undefined ? [] : [`like ${like}`]), ...delta].join(' ');
};

describe('with nftables', () => {
  const config = { ...DEFAULT_RENDER_CONFIG, dispatch: 'map' as const };

  test('a set of addresses alone has a name and a type of its own, in each family by itself', () => {
    const sets = new PolicySets(config);
    const first = sets.apply(changes(nets, nets, ['10.0.0.1/32', 'fd00::1/128', 'fd00:1::/64']));
    expect(first.changes.map(short)).toEqual(['4 as:1 hash:ip +10.0.0.1', '6 s:1 hash:net +fd00::1 +fd00:1::/64']);
    expect(first.renamed.size).toBe(0);
    expect([sets.nameOf('s:1', 4), sets.nameOf('s:1', 6)]).toEqual(['as:1', 's:1']);
  });

  test('with its first network it is another set that begins with the same members, and again when the last one goes', () => {
    const sets = new PolicySets(config);
    sets.apply(changes(nets, nets, ['10.0.0.1/32']));
    const joined = sets.apply(changes(nets, undefined, ['10.1.0.0/16', '10.0.0.2/32'], ['10.0.0.1/32']));
    expect(joined.changes.map(short)).toEqual([
      '4 s:1 hash:net like as:1 +10.1.0.0/16 +10.0.0.2 -10.0.0.1',
      '4 as:1 hash:ip gone',
    ]);
    expect([...joined.renamed]).toEqual(['s:1']);
    expect([sets.nameOf('s:1', 4), sets.nameOf('s:1', 6)]).toEqual(['s:1', 'as:1']);
    const more = sets.apply(changes(nets, undefined, ['10.2.0.0/16'], ['10.1.0.0/16']));
    expect(more.changes.map(short)).toEqual(['4 s:1 hash:net +10.2.0.0/16 -10.1.0.0/16']);
    expect(more.renamed.size).toBe(0);
    const left = sets.apply(changes(nets, undefined, [], ['10.2.0.0/16']));
    expect(left.changes.map(short)).toEqual(['4 as:1 hash:ip like s:1 -10.2.0.0/16', '4 s:1 hash:net gone']);
    expect(sets.apply(changes(nets, null)).changes.map(short)).toEqual(['4 as:1 hash:ip gone', '6 as:1 hash:ip gone']);
    expect(sets.nameOf('s:1', 4)).toBe('s:1');
  });

  test.each([
    ['4', '0.0.0.0/0', '0.0.0.0/1', '128.0.0.0/1'],
    ['6', '::/0', '::/1', '8000::/1'],
  ])('IPv%s: everything is two halves, and a half that is a member by itself outlives it', (family, all, low, high) => {
    const sets = new PolicySets({ ...config, families: family === '4' ? [4] : [6] });
    const id = `${family} s:1 hash:net`;
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

  test('another configuration may want the other names', () => {
    const sets = new PolicySets(DEFAULT_RENDER_CONFIG);
    sets.apply(changes(nets, nets, ['10.0.0.1/32', 'fd00:1::/64']));
    const changed = sets.configure(config);
    expect(changed.changes.map(short)).toEqual(['4 as:1 hash:ip like s:1', '4 s:1 hash:net gone']);
    expect([...changed.renamed]).toEqual(['s:1']);
    expect(sets.configure(config).changes).toEqual([]);
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
