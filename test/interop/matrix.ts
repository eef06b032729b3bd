import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { PeerStatus } from '#bgp';
import {
  type Cell,
  cellsOf,
  FED_COMMUNITIES,
  FED_ROUTES,
  FEEDERS,
  type Feature,
  OUR_AS,
  OUR_COMMUNITIES,
  OUR_MAIN,
  OUR_ROUTES,
  type Seen,
  THEIR_AS,
  THEIR_COMMUNITIES,
  THEIR_MAIN,
  THEIR_MED,
  THEIR_ROUTES,
} from './cells.ts';
import type { Daemon, DaemonKind } from './daemons/types.ts';
import { startFeeders } from './feeder.ts';
import { Lab, type Program, until } from './lab.ts';
import { Speaker } from './speaker.ts';

/** Milliseconds until every session is up and has told everything. */
const SETTLES = 45_000;

/** One daemon, tsnet-bgpd and the feeders, with a session for every cell at once. */
export class SetUp {
  readonly kind: DaemonKind;
  readonly cells: readonly Cell[];
  readonly internal: boolean;
  readonly lab: Lab;
  readonly speaker: Speaker;
  readonly daemon: Daemon;
  theirs!: Program;
  #since = performance.now();
  #seen: { at: number; value: Promise<Both> } | null = null;

  constructor(kind: DaemonKind, what: string, cells: readonly Cell[], internal: boolean) {
    this.kind = kind;
    this.cells = cells;
    this.internal = internal;
    this.lab = new Lab(what);
    this.lab.addresses('ours', [...Object.values(OUR_MAIN), ...cells.flatMap((c) => Object.values(c.ourHops))]);
    this.lab.addresses('theirs', [...Object.values(THEIR_MAIN), ...cells.flatMap((c) => Object.values(c.theirHops))]);
    this.lab.addresses(
      'between',
      FEEDERS.flatMap(({ address }) => Object.values(address)),
    );
    this.speaker = new Speaker(this.lab, { cells, internal });
    this.daemon = kind.create(this.lab, { cells, internal });
  }
  async start(): Promise<void> {
    await this.speaker.ready();
    startFeeders(this.lab, this.internal);
    this.theirs = await this.daemon.start([...THEIR_ROUTES[4], ...THEIR_ROUTES[6]], false);
  }
  /** Both ends' view; the one before will do for whoever is content with it. */
  look(fresh: boolean): Promise<Both> {
    if (!this.#seen || (fresh && performance.now() - this.#seen.at > 300))
      this.#seen = { at: performance.now(), value: this.#look() };
    return this.#seen.value;
  }
  async #look(): Promise<Both> {
    const [peers, established, received] = await Promise.all([
      this.speaker.peers(),
      this.daemon.established(),
      this.daemon.received(),
    ]);
    const ours = new Map<string, Seen[]>();
    for (const cell of this.cells) ours.set(cell.id, await this.speaker.received(cell.theirs));
    return { peers, established, received, ours };
  }
  /** All sessions come up at once, so the time is the set-up's, not each cell's; late ones get one more look. */
  get patience(): number {
    return Math.max(1_000, this.#since + SETTLES - performance.now());
  }
  /** A new start of one side gives new patience. */
  again(): void {
    this.#seen = null;
    this.#since = performance.now();
  }
  /** Waits until the cell is as it should be on both ends. */
  async settled(cell: Cell, expected: Expected): Promise<void> {
    let fresh = false;
    await until(
      `${this.kind.name}: ${cell.id}`,
      async () => {
        const both = await this.look(fresh);
        fresh = true;
        const status = both.peers.get(cell.theirs);
        if (status?.state !== 'Established') return `tsnet-bgpd has ${status?.state}: ${status?.reason}`;
        if (!both.established.has(cell.id)) return `${this.kind.name} does not call it established`;
        const here = compare('tsnet-bgpd', both.ours.get(cell.id) ?? [], expected.here);
        return here ?? compare(this.kind.name, both.received.get(cell.id) ?? [], expected.there);
      },
      this.patience,
    );
  }
}

export interface Both {
  readonly peers: Map<string, PeerStatus>;
  readonly established: Set<string>;
  /** What the daemon got, and what we got, by cell id. */
  readonly received: Map<string, Seen[]>;
  readonly ours: Map<string, Seen[]>;
}

export interface Expected {
  readonly here: readonly string[];
  readonly there: readonly string[];
}

/** A route in one line, as the comparison has it; ExaBGP and the others print the same communities in different order. */
export const lineOf = (route: Omit<Seen, 'stale'>): string =>
  [
    route.prefix,
    `via ${route.nextHop}`,
    `[${route.asPath.join(' ')}]`,
    [...route.communities].sort().join(' '),
    [...route.large].sort().join(' '),
    route.med === null || route.med === 0 ? '' : `med ${route.med}`,
    route.originatorId === null ? '' : `from ${route.originatorId}`,
    route.clusterList.length === 0 ? '' : `through ${route.clusterList.join(' ')}`,
  ]
    .filter(Boolean)
    .join(', ');

/** Every expected route is there as expected, and of the prefixes it names nothing else. */
function compare(who: string, seen: readonly Seen[], expected: readonly string[]): string | null {
  const named = new Set(expected.map((line) => line.split(',')[0]));
  // What came back to where it has been is shown, and not accepted.
  const looped = (path: readonly number[]) => path.includes(OUR_AS) && path.includes(THEIR_AS);
  const there = seen.filter(({ prefix, asPath }) => named.has(prefix) && !looped(asPath)).map(lineOf);
  const missing = expected.filter((line) => !there.includes(line));
  const extra = there.filter((line) => !expected.includes(line));
  if (missing.length === 0 && extra.length === 0) return null;
  return `${who} lacks\n  ${missing.join('\n  ')}\nand has\n  ${extra.join('\n  ')}`;
}

const plain = { med: null, originatorId: null, clusterList: [] };

/** What both ends of an external session should have got. */
export function expectedOf(cell: Cell, ours: Routes = OUR_ROUTES, theirs: Routes = THEIR_ROUTES): Expected {
  const marks = { communities: [OUR_COMMUNITIES.standard], large: [OUR_COMMUNITIES.large] };
  const theirMarks = { communities: [THEIR_COMMUNITIES.standard], large: [THEIR_COMMUNITIES.large], med: THEIR_MED };
  const fed = { communities: [FED_COMMUNITIES.standard], large: [FED_COMMUNITIES.large] };
  const feeders = cell.feature === 'add-path' ? FEEDERS : FEEDERS.slice(0, 1);
  return {
    there: cell.families.flatMap((family) => {
      const via = { ...plain, nextHop: cell.ourHops[family] };
      return [
        ...ours[family].map((prefix) => lineOf({ ...via, prefix, asPath: [OUR_AS], ...marks })),
        ...FED_ROUTES[family].flatMap((prefix) =>
          feeders.map(({ asNumber }) => lineOf({ ...via, prefix, asPath: [OUR_AS, asNumber], ...fed })),
        ),
      ];
    }),
    here: cell.families.flatMap((family) => {
      const via = { ...plain, nextHop: cell.theirHops[family] };
      return [
        ...theirs[family].map((prefix) => lineOf({ ...via, prefix, asPath: [THEIR_AS], ...theirMarks })),
        ...FED_ROUTES[family].flatMap((prefix) =>
          feeders.map(({ asNumber }) => lineOf({ ...via, prefix, asPath: [THEIR_AS, asNumber], ...fed })),
        ),
      ];
    }),
  };
}
export type Routes = Readonly<Record<4 | 6, readonly string[]>>;

/** The set-up for a file's tests: up before them, down after them; a failed test shows what the programs said. */
export function useSetUp(kind: DaemonKind, what: string, features: readonly Feature[], extra: readonly Feature[] = []) {
  const internal = features.includes('reflector');
  const has = features.filter((feature) => !kind.lacks[feature]);
  const cells = cellsOf(has, extra).filter((cell) => !kind.omits?.(cell));
  let setUp: SetUp | undefined;
  beforeAll(async () => {
    setUp = new SetUp(kind, what, cells, internal);
    await setUp.start();
  });
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => void process.stderr.write(setUp?.lab.evidence() ?? ''));
  });
  afterAll(() => setUp?.lab.down());
  return {
    cells,
    get: (): SetUp => {
      if (!setUp) throw new Error('the set-up is not up');
      return setUp;
    },
  };
}
