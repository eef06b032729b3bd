import { expect, test } from 'vitest';
import { FakeClock, silentLog } from '#core';
import { Dataplane, type DataplaneParts } from '../../../agent/dataplane.ts';

test('settings of workload interfaces are made when they are other ones, not at every turn', () => {
  const said: [string, string | undefined][] = [];
  let node = '1';
  const parts = {
    sysctl: { read: () => node, write: () => {} },
    settings: {
      set: (name: string, settings?: readonly { path: string; value: string }[]) =>
        said.push([name, settings?.find(({ path }) => path.endsWith('rp_filter'))?.value]),
    },
  } as unknown as DataplaneParts;
  const dataplane = new Dataplane(parts, { applier: undefined as never, clock: new FakeClock(), log: silentLog });
  const turn = (interfaces: Record<string, boolean>) => {
    said.length = 0;
    dataplane.interfaces(new Map(Object.entries(interfaces).map(([name, spoofing]) => [name, { spoofing }])));
    return said;
  };
  expect(turn({ cali1: false, cali2: true })).toEqual([
    ['cali1', '1'],
    ['cali2', '0'],
  ]);
  expect(turn({ cali1: false, cali2: true })).toEqual([]);
  expect(turn({ cali1: true, cali2: true })).toEqual([['cali1', '0']]);
  expect(turn({ cali2: true })).toEqual([['cali1', undefined]]);
  expect(turn({ cali1: true, cali2: true })).toEqual([['cali1', '0']]);
  node = '2';
  expect(turn({ cali1: false, cali2: true })).toEqual([['cali1', '2']]);
});
