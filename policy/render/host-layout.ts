import type { Family } from '#core';
import type { ResolvedHost } from '../resolved.ts';
import type { Table } from '../types.ts';
import { chainsOf, type Dispatch, dispatchMap, dispatchTree } from './dispatch.ts';
import { FROM_HOST_ENDPOINT, FROM_HOST_FORWARD, TO_HOST_ENDPOINT, TO_HOST_FORWARD } from './filter-table.ts';
import { renderGroup } from './groups.ts';
import { ANY_INTERFACE, failsafeChain, type HostList, hostChain, hostEndpoints, renderHost } from './host-chains.ts';
import type { Library } from './library.ts';
import { goto_, RETURN, rule } from './phrases.ts';
import type { Direction } from './policy-chains.ts';
import type { RenderState } from './renderer.ts';

export interface Hosts {
  readonly byInterface: ReadonlyMap<string, ResolvedHost>;
  readonly any: ResolvedHost | undefined;
  readonly some: boolean;
  readonly preDnat: boolean;
  readonly untracked: boolean;
}

export function findHosts(state: RenderState): Hosts {
  const isWorkload = (name: string) => state.config.interfacePrefixes.some((prefix) => name.startsWith(prefix));
  const found = hostEndpoints(state.hosts.values(), state.interfaces, isWorkload);
  return {
    ...found,
    some: found.byInterface.size > 0 || found.any !== undefined,
    preDnat: [...found.byInterface.values(), ...(found.any ? [found.any] : [])].some((h) => h.preDnat.length > 0),
    // `*` has no untracked policy.
    untracked: [...found.byInterface.values()].some((h) => h.untracked.length > 0),
  };
}

/** Which list stands in which table, in which direction, behind which root. */
const PLACES: readonly { table: Table; list: HostList; direction: Direction; root: string }[] = [
  { table: 'filter', list: 'normal', direction: 'ingress', root: FROM_HOST_ENDPOINT },
  { table: 'filter', list: 'normal', direction: 'egress', root: TO_HOST_ENDPOINT },
  { table: 'filter', list: 'forward', direction: 'ingress', root: FROM_HOST_FORWARD },
  { table: 'filter', list: 'forward', direction: 'egress', root: TO_HOST_FORWARD },
  { table: 'mangle', list: 'preDnat', direction: 'ingress', root: FROM_HOST_ENDPOINT },
  { table: 'mangle', list: 'normal', direction: 'egress', root: TO_HOST_ENDPOINT },
  { table: 'raw', list: 'untracked', direction: 'ingress', root: FROM_HOST_ENDPOINT },
  { table: 'raw', list: 'untracked', direction: 'egress', root: TO_HOST_ENDPOINT },
];

/** Declares the chains of host endpoints and the dispatch to them, in every table where they have policy. */
export function declareHosts(state: RenderState, family: Family, library: Library, hosts: Hosts): void {
  if (!hosts.some) return;
  const { config } = state;
  for (const { table, list, direction, root } of PLACES) {
    const targets = new Map<string, string>();
    for (const [iface, host] of hosts.byInterface)
      targets.set(iface, declareHost(state, family, library, { host, iface, direction, list, table }));
    const any = list === 'untracked' ? undefined : hosts.any;
    const otherwise = any
      ? [
          ...config.interfacePrefixes.map((p) =>
            rule([{ m: direction === 'ingress' ? 'in' : 'out', iface: `${p}+` }], RETURN),
          ),
          rule(
            [],
            goto_(declareHost(state, family, library, { host: any, iface: ANY_INTERFACE, direction, list, table })),
          ),
        ]
      : [];
    const side = direction === 'ingress' ? 'in' : 'out';
    const names = [...targets.keys()].sort();
    const chainOf = (iface: string) => targets.get(iface)!;
    const dispatch: Dispatch = { root, side, names, chainOf, first: [], otherwise };
    const key = [config, any !== undefined, names.join()];
    const chains = library.memo(`${table} ${root}`, key, () =>
      config.dispatch === 'map' ? dispatchMap(dispatch) : [...chainsOf(dispatchTree(dispatch))],
    );
    library.declareAll(table, family, root, chains);
  }
  for (const table of ['filter', 'mangle', 'raw'] as const)
    for (const direction of ['ingress', 'egress'] as const) {
      const chain = failsafeChain(config, direction, table, family);
      library.declareIn(table, family, [config], chain.name, () => chain);
    }
}

interface Place {
  readonly host: ResolvedHost;
  readonly iface: string;
  readonly direction: Direction;
  readonly list: HostList;
  readonly table: Table;
}

function declareHost(state: RenderState, family: Family, library: Library, place: Place): string {
  const { host, iface, direction, list, table } = place;
  const { config, profiles } = state;
  const policy = {
    groups: state.groups,
    profileExists: (name: string) => profiles.has(name),
  };
  const existing = host.profiles.filter(policy.profileExists).join('\0');
  const deps = [host, config, state.selectors, existing];
  const name = hostChain(iface, direction, list);
  const { chain, groups } = library.memo(`${table} ${name}`, deps, () =>
    renderHost(host, iface, direction, list, table, config, policy),
  );
  library.declareIn(table, family, [chain], name, () => chain);
  for (const group of groups)
    library.declare(family, group.chain, [config], () => renderGroup(group, direction, config));
  return name;
}
