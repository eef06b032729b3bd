import type { Chain, ChainRule } from '../types.ts';
import { chainName } from './names.ts';

/** Interface name to the chain that polices it. */
export type Targets = ReadonlyMap<string, string>;

export interface Dispatch {
  readonly root: string;
  readonly side: 'in' | 'out';
  readonly targets: Targets;
  /** Rules that stand before the branching, in the root only. */
  readonly first: readonly ChainRule[];
  /** What happens to an interface that is not among the targets. */
  readonly otherwise: readonly ChainRule[];
}

/**
 * Names that a chain tells apart by itself; more, and it branches on the next character. A packet of 1 000 endpoints with hexadecimal
 * names then passes about 8 + 8 + 3 rules; one level of branching, as Felix builds it, takes four times as many with iptables-nft.
 */
const LEAF = 6;

/** A chain of the tree, and what decides what is in it beside what all its chains share. */
export interface Made {
  readonly key: string;
  readonly chain: Chain;
}

/**
 * Chains that lead a packet to its endpoint's chain by the name of the interface. Chains of a tree made before, with the same rules first
 * and otherwise, are taken over where they still hold.
 */
export function dispatchTree(dispatch: Dispatch, before: readonly Made[] = []): Made[] {
  const names = [...dispatch.targets.keys()].sort();
  const common = commonPrefix(names);
  const growth = { dispatch, common, before: new Map(before.map((m) => [m.chain.name, m])), made: [] };
  grow(growth, dispatch.root, names, common.length);
  return growth.made;
}

interface Growth {
  readonly dispatch: Dispatch;
  readonly common: string;
  readonly before: ReadonlyMap<string, Made>;
  readonly made: Made[];
}

function grow(growth: Growth, name: string, names: readonly string[], depth: number): void {
  const { dispatch, common, before, made } = growth;
  const branches: [iface: string, chain: string][] = [];
  for (const [prefix, members] of bins(names, depth)) {
    if (members.length === 1 || names.length <= LEAF) {
      for (const member of members) branches.push([member, dispatch.targets.get(member)!]);
      continue;
    }
    const child = chainName(`${dispatch.root}-`, prefix.slice(common.length));
    branches.push([`${prefix}+`, child]);
    grow(growth, child, members, prefix.length);
  }
  const key = branches.join(' ');
  const known = before.get(name);
  made.push(known?.key === key ? known : { key, chain: branching(dispatch, name, branches) });
}

function branching(dispatch: Dispatch, name: string, branches: readonly (readonly [string, string])[]): Chain {
  const rules = branches.map(
    ([iface, chain]): ChainRule => ({ match: [{ m: dispatch.side, iface }], action: { do: 'goto', chain } }),
  );
  return { name, rules: [...(name === dispatch.root ? dispatch.first : []), ...rules, ...dispatch.otherwise] };
}

/** Groups names by the character at `depth`, each under the longest prefix that its members share. A name that ends there is its own group. */
function* bins(names: readonly string[], depth: number): Iterable<[string, string[]]> {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const key = name.length > depth ? name.slice(0, depth + 1) : `${name}$`;
    const group = groups.get(key);
    if (group) group.push(name);
    else groups.set(key, [name]);
  }
  // An exact name goes before prefixes of the same beginning: otherwise the prefix would take its packets.
  for (const members of groups.values()) yield [commonPrefix(members), members];
}

function commonPrefix(names: readonly string[]): string {
  if (names.length === 0) return '';
  const [first, last] = [names[0], names[names.length - 1]];
  let length = 0;
  // The names are sorted: what the first and the last share, all share.
  while (length < first.length && first[length] === last[length]) length++;
  return first.slice(0, length);
}

/** The same as one lookup, for backends that have verdict maps. */
export const dispatchMap = (dispatch: Dispatch): Chain[] => [
  {
    name: dispatch.root,
    rules: [
      ...dispatch.first,
      ...(dispatch.targets.size > 0
        ? [
            {
              match: [],
              action: {
                do: 'map' as const,
                side: dispatch.side,
                targets: new Map([...dispatch.targets].sort(([a], [b]) => (a < b ? -1 : 1))),
              },
            },
          ]
        : []),
      ...dispatch.otherwise,
    ],
  },
];
