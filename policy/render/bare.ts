import type { Action, ChainRule, Match } from '../types.ts';

const MATCHES: ReadonlySet<Match['m']> = new Set(['in', 'out', 'mark', 'ctstate']);
const ACTIONS: ReadonlySet<Action['do']> = new Set(['accept', 'return', 'jump', 'goto', 'map', 'mark']);

/**
 * Whether a rule only leads a packet on: it asks for nothing but interface, mark and connection state, and has nothing to say to a person. The first
 * packet of a flow matches some thirty rules of which all but a few are such, and every packet matches one. So they carry nothing that costs:
 * no comment with iptables, which knows them by their text, and no counter with nftables (docs/BENCH.md has what either takes).
 */
export const isBare = ({ match, action, comments = [] }: ChainRule): boolean =>
  comments.length === 0 && ACTIONS.has(action.do) && match.every(({ m }) => MATCHES.has(m));
