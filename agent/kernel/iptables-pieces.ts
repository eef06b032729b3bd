import type { Chain } from '#policy';
import type { TableChange } from './types.ts';

/** A part of a change, to be written on what the parts before it have left. */
export type Piece = Omit<TableChange, 'base'>;

/** Rules in a piece, about; one chain is never divided. So many are as a rule no more text than a program that stays is fed at once (iptables-standing.ts). */
export const PIECE = 1000;

/**
 * A change with many new chains as several, to be made one after the other: new chains some thousand rules at a time, each after those that it leads
 * to, and at the end, at once, all that a packet can notice: chains that stand already, hooks, and what goes. Nothing leads to a new chain until then.
 *
 * iptables-nft-restore keeps the chains that it was told of in a sorted list and walks it for every rule, so twice the chains in one command
 * take four times as long: 60 000 rules in 10 000 chains 5.1 s at once, 1.9 s in pieces of 2 000 fed to one program, 2.3 s with a program for each
 * (docs/BENCH.md).
 */
export function* piecesOf(change: TableChange): Iterable<Piece> {
  const { update, remove, hooks, base, atOnce } = change;
  const isNew = (chain: Chain) => !base.chains.has(chain.name);
  let part: Chain[] = [];
  let size = 0;
  if (!atOnce)
    for (const chain of referentsFirst(update.filter(isNew))) {
      if (size >= PIECE) {
        yield { update: part, remove: [] };
        [part, size] = [[], 0];
      }
      part.push(chain);
      size += chain.rules.length;
    }
  const rest = atOnce ? update : [...part, ...update.filter((chain) => !isNew(chain))];
  yield { update: rest, remove, ...(hooks && { hooks }) };
}

/** Each chain after those of the list that it leads to; chains lead only downwards. */
function referentsFirst(chains: readonly Chain[]): Iterable<Chain> {
  const byName = new Map(chains.map((chain) => [chain.name, chain]));
  const ordered = new Set<Chain>();
  const seen = new Set<Chain>();
  const visit = (chain: Chain) => {
    if (seen.has(chain)) return;
    seen.add(chain);
    for (const { action } of chain.rules)
      if (action.do === 'jump' || action.do === 'goto') {
        const target = byName.get(action.chain);
        if (target) visit(target);
      }
    ordered.add(chain);
  };
  for (const chain of chains) visit(chain);
  return ordered;
}
