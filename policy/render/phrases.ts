import type { Action, ChainRule, CtState, Match } from '../types.ts';
import type { Marks } from './marks.ts';

/** The few matches and actions that every chain is written with. */

export const rule = (match: readonly Match[], action: Action, ...comments: string[]): ChainRule =>
  comments.length > 0 ? { match, action, comments } : { match, action };

export const ACCEPT: Action = { do: 'accept' };
export const DROP: Action = { do: 'drop' };
export const RETURN: Action = { do: 'return' };
export const jump = (chain: string): Action => ({ do: 'jump', chain });
export const goto_ = (chain: string): Action => ({ do: 'goto', chain });
export const setMark = (bits: number): Action => ({ do: 'mark', value: bits, mask: bits });
/** Most packets carry none of the bits, and to look costs less than to write: iptables-nft calls a function for a write. */
export const cleared = (bits: number): ChainRule => rule([markedAny(bits)], clearMark(bits));
export const clearMark = (bits: number): Action => ({ do: 'mark', value: 0, mask: bits });

export const from = (iface: string, negate = false): Match => ({ m: 'in', iface, ...(negate && { negate }) });
export const to = (iface: string, negate = false): Match => ({ m: 'out', iface, ...(negate && { negate }) });
export const protocol = (number: number, negate = false): Match => ({
  m: 'protocol',
  protocol: number,
  ...(negate && { negate }),
});
export const ctstate = (...states: CtState[]): Match => ({ m: 'ctstate', states });
export const marked = (bits: number): Match => ({ m: 'mark', value: bits, mask: bits });
/** None of the bits is set. */
export const unmarked = (bits: number): Match => ({ m: 'mark', value: 0, mask: bits });
/** At least one of the bits is set. */
export const markedAny = (bits: number): Match => ({ m: 'mark', value: 0, mask: bits, negate: true });
export const verdictBits = (marks: Marks): number => (marks.accept | marks.pass) >>> 0;

export const PROTOCOL = { icmp: 1, ipip: 4, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 } as const;

/** The chains that a rule goes to: they set the verdict and return to the caller of the rule's chain, so a verdict costs one rule, not two. */
export const ALLOW_CHAIN = 'cali-allow';
export const PASS_CHAIN = 'cali-pass';
