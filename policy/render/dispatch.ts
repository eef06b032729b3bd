import type { Chain, ChainRule } from '../types.ts';
import { chainName } from './names.ts';

export interface Dispatch {
  readonly root: string;
  readonly side: 'in' | 'out';
  /** Interfaces, sorted, and the chain that polices each. */
  readonly names: readonly string[];
  readonly chainOf: (iface: string) => string;
  /** Rules that stand before the branching, in the root only. */
  readonly first: readonly ChainRule[];
  /** What happens to an interface that is not among the names. */
  readonly otherwise: readonly ChainRule[];
}

/**
 * Names that a chain tells apart by itself; more, and it branches on the next character. A packet of 1 000 endpoints with hexadecimal
 * names then passes about 8 + 8 + 3 rules; one level of branching, as Felix builds it, takes four times as many with iptables-nft.
 */
const LEAF = 6;

/** A chain of the tree with those below it, and what decides what is in it beside what all its chains share. */
export interface Branch {
  /** Interfaces that come this way. */
  readonly names: string;
  readonly key: string;
  readonly chain: Chain;
  readonly below: readonly Branch[];
}

/**
 * Chains that lead a packet to its endpoint's chain by the name of the interface. Of a tree made before, with the same chain of each interface
 * and the same rules first and otherwise, what still holds is taken over.
 */
export function dispatchTree(dispatch: Dispatch, before?: Branch): Branch {
  const common = commonPrefix(dispatch.names);
  return grow({ dispatch, common }, dispatch.root, dispatch.names, common.length, before);
}

export function* chainsOf(branch: Branch): Iterable<Chain> {
  yield branch.chain;
  for (const child of branch.below) yield* chainsOf(child);
}

interface Growth {
  readonly dispatch: Dispatch;
  readonly common: string;
}

function grow(growth: Growth, name: string, names: readonly string[], depth: number, before?: Branch): Branch {
  const { dispatch, common } = growth;
  const joined = names.join();
  if (before?.names === joined && before.chain.name === name) return before;
  const known = new Map(before?.below.map((branch) => [branch.chain.name, branch]));
  const branches: [iface: string, chain: string][] = [];
  const below: Branch[] = [];
  for (const [prefix, members] of bins(names, depth)) {
    if (members.length === 1 || names.length <= LEAF) {
      for (const member of members) branches.push([member, dispatch.chainOf(member)]);
      continue;
    }
    const child = chainName(`${dispatch.root}-`, prefix.slice(common.length));
    branches.push([`${prefix}+`, child]);
    below.push(grow(growth, child, members, prefix.length, known.get(child)));
  }
  const key = branches.join(' ');
  const chain = before?.key === key && before.chain.name === name ? before.chain : branching(dispatch, name, branches);
  return { names: joined, key, chain, below };
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
      ...(dispatch.names.length > 0
        ? [
            {
              match: [],
              action: {
                do: 'map' as const,
                side: dispatch.side,
                targets: new Map(dispatch.names.map((name) => [name, dispatch.chainOf(name)])),
              },
            },
          ]
        : []),
      ...dispatch.otherwise,
    ],
  },
];
