import {
  type Cell,
  FED_COMMUNITIES,
  FED_ROUTES,
  FEEDERS,
  GSHUT,
  OUR_AS,
  OUR_COMMUNITIES,
  OUR_ROUTES,
  ourAsFor,
  type Seen,
  THEIR_AS,
  THEIR_COMMUNITIES,
  THEIR_MED,
  THEIR_ROUTES,
} from './cells.ts';
import type { DaemonKind } from './daemons/types.ts';

/** What the two ends of a session should have got, a line a route. */
export interface Expected {
  readonly here: readonly string[];
  readonly there: readonly string[];
}
export type Routes = Readonly<Record<4 | 6, readonly string[]>>;

/** A route in one line, as the comparison has it; ExaBGP and the others print the same communities in different order. */
export const lineOf = (route: Omit<Seen, 'stale'>): string =>
  [
    route.prefix,
    `via ${route.nextHop}`,
    `[${route.asPath.join(' ')}]`,
    [...route.communities].sort().join(' '),
    [...route.large].sort().join(' '),
    [...route.extended].sort().join(' '),
    route.med === null || route.med === 0 ? '' : `med ${route.med}`,
    route.originatorId === null ? '' : `from ${route.originatorId}`,
    route.clusterList.length === 0 ? '' : `through ${route.clusterList.join(' ')}`,
  ]
    .filter(Boolean)
    .join(', ');

/** Every expected route is there as expected, and of the prefixes it names nothing else. */
export function compare(who: string, seen: readonly Seen[], expected: readonly string[]): string | null {
  const named = new Set(expected.map((line) => line.split(',')[0]));
  // What came back to where it has been is shown, and not accepted.
  const looped = (path: readonly number[]) => path.includes(OUR_AS) && path.includes(THEIR_AS);
  const there = seen.filter(({ prefix, asPath }) => named.has(prefix) && !looped(asPath)).map(lineOf);
  const missing = expected.filter((line) => !there.includes(line));
  const extra = there.filter((line) => !expected.includes(line));
  if (missing.length === 0 && extra.length === 0) return null;
  return `${who} lacks\n  ${missing.join('\n  ')}\nand has\n  ${extra.join('\n  ')}`;
}

const PLAIN = { med: null, originatorId: null, clusterList: [], extended: [] };
const OUR_MARKS = { ...PLAIN, communities: [OUR_COMMUNITIES.standard], large: [OUR_COMMUNITIES.large] };
const THEIR_MARKS = {
  ...PLAIN,
  communities: [THEIR_COMMUNITIES.standard],
  large: [THEIR_COMMUNITIES.large],
  med: THEIR_MED,
};
const FED_MARKS = { ...PLAIN, communities: [FED_COMMUNITIES.standard], large: [FED_COMMUNITIES.large] };
/** Our listing does not show extended communities; theirs do. */
const FED_MARKS_THERE = { ...FED_MARKS, extended: [FED_COMMUNITIES.extended] };

/** External BGP: paths grow by an AS, and the next hop is the speaker. */
export function expectedOf(
  kind: DaemonKind,
  cell: Cell,
  ours: Routes = OUR_ROUTES,
  theirs: Routes = THEIR_ROUTES,
): Expected {
  const feeders = cell.feature === 'add-path' ? FEEDERS : FEEDERS.slice(0, 1);
  const ourAs = ourAsFor(cell);
  const goes = cell.feature === 'gshut' ? [GSHUT] : [];
  const marked = <T extends { communities: readonly string[] }>(marks: T): T => ({
    ...marks,
    communities: [...marks.communities, ...goes],
  });
  return {
    there: cell.families.flatMap((family) => {
      const nextHop = cell.ourHops[family];
      return [
        ...ours[family].map((prefix) => lineOf({ ...OUR_MARKS, nextHop, prefix, asPath: [ourAs] })),
        ...FED_ROUTES[family].flatMap((prefix) =>
          feeders.map(({ asNumber }) => lineOf({ ...FED_MARKS_THERE, nextHop, prefix, asPath: [ourAs, asNumber] })),
        ),
      ];
    }),
    here: cell.families.flatMap((family) => {
      const nextHop = cell.theirHops[family];
      return [
        ...theirs[family].map((prefix) => lineOf({ ...marked(THEIR_MARKS), nextHop, prefix, asPath: [THEIR_AS] })),
        ...(kind.speaksOnly ? [] : FED_ROUTES[family]).flatMap((prefix) =>
          feeders.map(({ asNumber }) =>
            lineOf({ ...marked(FED_MARKS), nextHop, prefix, asPath: [THEIR_AS, asNumber] }),
          ),
        ),
      ];
    }),
  };
}

/** Internal BGP between two reflectors: what their clients say goes on as it came, with its originator and the cluster (RFC 4456). */
export function expectedReflected(kind: DaemonKind, cell: Cell): Expected {
  const [{ address, identifier }] = FEEDERS;
  const own = kind.marksOwnRoutes ? { originatorId: '10.99.1.1', clusterList: ['10.99.1.1'] } : {};
  const reflected = (family: 4 | 6, cluster: string) => ({
    nextHop: address[family],
    asPath: [],
    originatorId: identifier,
    clusterList: [cluster],
  });
  return {
    there: cell.families.flatMap((family) => [
      ...OUR_ROUTES[family].map((prefix) =>
        lineOf({ ...OUR_MARKS, nextHop: cell.ourHops[family], prefix, asPath: [] }),
      ),
      ...FED_ROUTES[family].map((prefix) => lineOf({ ...FED_MARKS_THERE, prefix, ...reflected(family, '10.99.0.1') })),
    ]),
    here: cell.families.flatMap((family) => [
      ...THEIR_ROUTES[family].map((prefix) =>
        lineOf({ ...THEIR_MARKS, nextHop: cell.theirHops[family], prefix, asPath: [], ...own }),
      ),
      ...(kind.speaksOnly || kind.ignoresClusters ? [] : FED_ROUTES[family]).map((prefix) =>
        lineOf({ ...FED_MARKS, prefix, ...reflected(family, '10.99.1.1') }),
      ),
    ]),
  };
}
