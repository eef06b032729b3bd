import { assertNever } from '#core';
import type { AttributeTable } from './attributes.ts';
import { REACH } from './next-hops.ts';
import type { PathTable } from './paths.ts';
import type { Source } from './source.ts';

/**
 * The decision process of RFC 4271 §9.1.2 as elimination over the set of paths of a prefix. MED orders only paths of one neighbouring
 * AS, so there is no order among paths in general, and comparing them in pairs would depend on the order of arrival.
 */

/** The steps in their order; the name of a step is the reason of those that fall in it. */
export const STEPS = [
  'not accepted',
  'next hop unreachable',
  'long-lived stale',
  'local preference',
  'not local',
  'AS path length',
  'origin',
  'MED',
  'not external',
  'interior cost',
  'BGP identifier',
  'cluster list length',
  'peer address',
  'path identifier',
] as const;
export type Step = (typeof STEPS)[number];

/** Steps that compare numbers. */
type Measured = Exclude<Step, 'MED' | 'peer address'>;

export interface Candidates {
  readonly paths: PathTable;
  readonly attributes: AttributeTable;
  sourceOf(index: number): Source;
  /** Whether the next hop of the path can be reached; what starts here needs none. */
  isReachable(row: number): boolean;
}

/** Loses in which step, beside the row. */
export type Losers = Map<number, Step>;

const rows: number[] = [];

/**
 * The best path among the chain that begins at `head`; 0: none is good. `losers` learns who fell where; `equal` gets those that
 * are as good for forwarding (all that are left before the tie-breakers).
 */
export function decide(head: number, c: Candidates, losers: Losers | null, equal: number[] | null): number {
  const left = rows;
  left.length = 0;
  for (let row = head; row !== 0; row = c.paths.next[row]) left.push(row);
  return winner(left, c, losers, equal);
}

/** The best paths of the chain, the best one first: the decision again and again, each time without those that won before. */
export function bestOf(head: number, most: number, c: Candidates): number[] {
  const left: number[] = [];
  for (let row = head; row !== 0; row = c.paths.next[row]) left.push(row);
  const best: number[] = [];
  while (best.length < most) {
    const row = winner([...left], c, null, null);
    if (row === 0) break;
    best.push(row);
    left.splice(left.indexOf(row), 1);
  }
  return best;
}

/** Leaves only the winner in `left`. */
function winner(left: number[], c: Candidates, losers: Losers | null, equal: number[] | null): number {
  for (const step of STEPS) {
    if (step === 'BGP identifier' && equal) equal.push(...left);
    if (left.length === 0) return 0;
    // The last one standing has yet to be acceptable.
    if (left.length === 1 && step !== 'not accepted' && step !== 'next hop unreachable') continue;
    if (step === 'MED') eliminateMed(left, c, losers);
    else if (step === 'peer address') eliminateAddress(left, c, losers);
    else eliminate(left, step, c, losers);
  }
  return left.length === 0 ? 0 : left[0];
}

/** Keeps the rows with the smallest value. */
function eliminate(left: number[], step: Measured, c: Candidates, losers: Losers | null): void {
  let least = Number.POSITIVE_INFINITY;
  if (step === 'not accepted' || step === 'next hop unreachable') least = 0;
  else for (const row of left) least = Math.min(least, merit(row, step, c));
  keep(left, losers, step, (row) => merit(row, step, c) === least);
}

function keep(left: number[], losers: Losers | null, step: Step, stays: (row: number) => boolean): void {
  let kept = 0;
  const verdicts = left.map(stays);
  for (let i = 0; i < verdicts.length; i++) {
    if (verdicts[i]) left[kept++] = left[i];
    else losers?.set(left[i], step);
  }
  left.length = kept;
}

/** What a step compares; smaller is better. */
function merit(row: number, step: Measured, c: Candidates): number {
  const { paths, attributes } = c;
  const attr = paths.attr[row];
  const source = () => c.sourceOf(paths.source[row]);
  switch (step) {
    case 'not accepted':
      return attr === 0 ? 1 : 0;
    case 'next hop unreachable':
      return c.isReachable(row) ? 0 : 1;
    case 'long-lived stale':
      return attributes.longLivedStale[attr];
    case 'local preference':
      return -attributes.localPref[attr];
    case 'not local':
      return paths.source[row] === 0 ? 0 : 1;
    case 'AS path length':
      return attributes.pathLength[attr];
    case 'origin':
      return attributes.origin[attr];
    case 'not external':
      return source().ebgp ? 0 : 1;
    case 'interior cost':
      // §9.1.2.2 e), as far as it is known here: what is on a network of ours is nearer than what is behind a gateway.
      return attributes.nextHops.reach[attributes.nextHop[attr]] === REACH.gateway ? 1 : 0;
    case 'BGP identifier':
      // RFC 4456 §9: of a reflected route the one that brought it into the AS.
      return attributes.originatorOf(attr) ?? source().routerId;
    case 'cluster list length':
      return attributes.clusters[attr];
    case 'path identifier':
      return paths.pathIdOf(row);
    default:
      return assertNever(step);
  }
}

/** Keeps the paths from the lowest address (RFC 4271 §9.1.2.2 g); addresses have an order, but are no numbers. */
function eliminateAddress(left: number[], { paths, sourceOf }: Candidates, losers: Losers | null): void {
  const orderOf = (row: number) => sourceOf(paths.source[row]).order;
  let least = orderOf(left[0]);
  for (const row of left) if (orderOf(row) < least) least = orderOf(row);
  keep(left, losers, 'peer address', (row) => orderOf(row) === least);
}

/** RFC 4271 §9.1.2.2 c): a path falls to a lower MED from the same neighbouring AS; a path without one has the lowest, 0. */
function eliminateMed(left: number[], { paths, attributes }: Candidates, losers: Losers | null) {
  const beaten = (row: number) => {
    const attr = paths.attr[row];
    return left.some((other) => {
      const rival = paths.attr[other];
      return attributes.neighbour[rival] === attributes.neighbour[attr] && attributes.med[rival] < attributes.med[attr];
    });
  };
  keep(left, losers, 'MED', (row) => !beaten(row));
}
