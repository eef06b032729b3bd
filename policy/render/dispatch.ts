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

/** Chains that lead a packet to its endpoint's chain by the name of the interface. */
export function dispatchTree(dispatch: Dispatch): Chain[] {
  const names = [...dispatch.targets.keys()].sort();
  const chains: Chain[] = [];
  const common = commonPrefix(names);
  grow(dispatch, dispatch.root, names, common.length, common, dispatch.first, chains);
  return chains;
}

function grow(
  dispatch: Dispatch,
  name: string,
  names: readonly string[],
  depth: number,
  common: string,
  first: readonly ChainRule[],
  chains: Chain[],
): void {
  const rules = [...first];
  for (const [prefix, members] of bins(names, depth)) {
    if (members.length === 1 || names.length <= LEAF) {
      for (const member of members) rules.push(branch(dispatch, member, dispatch.targets.get(member)!));
      continue;
    }
    const child = chainName(`${dispatch.root}-`, prefix.slice(common.length));
    rules.push(branch(dispatch, `${prefix}+`, child));
    grow(dispatch, child, members, prefix.length, common, [], chains);
  }
  chains.push({ name, rules: [...rules, ...dispatch.otherwise] });
}

const branch = (dispatch: Dispatch, iface: string, chain: string): ChainRule => ({
  match: [{ m: dispatch.side, iface }],
  action: { do: 'goto', chain },
});

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
