import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { PeerStatus } from '#bgp';
import type { Addr } from '#core';
import { Capture } from './capture.ts';
import { type Cell, FEEDERS, OUR_MAIN, type Seen, THEIR_MAIN, THEIR_ROUTES, WITNESS } from './cells.ts';
import type { Daemon, DaemonKind } from './daemons/types.ts';
import { compare, type Expected } from './expected.ts';
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
  capture!: Capture;
  #since = performance.now();
  #seen: { at: number; value: Promise<Both> } | null = null;

  constructor(kind: DaemonKind, what: string, cells: readonly Cell[]) {
    this.kind = kind;
    this.cells = cells;
    this.internal = cells.some(({ feature }) => feature === 'reflector');
    const { internal } = this;
    const witness = cells.some(({ feature }) => feature === 'slow');
    this.lab = new Lab(what);
    const sixOnly = cells.filter(({ carries }) => carries === 'v4 over v6');
    const onWire = cells.filter((cell) => !sixOnly.includes(cell));
    this.lab.addresses('ours', [...Object.values(OUR_MAIN), ...onWire.flatMap((c) => Object.values(c.ourHops))]);
    this.lab.addresses('theirs', [...Object.values(THEIR_MAIN), ...cells.flatMap((c) => Object.values(c.theirHops))]);
    for (const { ours } of sixOnly) this.#standAlone(ours);
    this.lab.addresses('between', [
      ...FEEDERS.flatMap(({ address }) => Object.values(address)),
      WITNESS.address,
      WITNESS.six,
    ]);
    // So that the window of one who does not read closes soon.
    if (witness) {
      this.lab.sh('ours', 'sysctl -qw net.ipv4.tcp_wmem="4096 16384 65536"');
      this.lab.sh('theirs', 'sysctl -qw net.ipv4.tcp_rmem="4096 16384 65536"');
    }
    this.speaker = new Speaker(this.lab, { cells, internal, witness });
    this.daemon = kind.create(this.lab, { cells, internal });
  }
  /** An address of ours where no IPv4 address is that could be the next hop. */
  #standAlone(ours: Addr): void {
    this.lab.ip('ours', 'link add alone type veth peer name nobody');
    for (const end of ['alone', 'nobody']) this.lab.ip('ours', `link set ${end} up`);
    this.lab.ip('ours', `addr add ${ours}/128 dev alone nodad`);
    this.lab.ip('theirs', `route add ${ours} via ${OUR_MAIN[6]}`);
  }
  async start(): Promise<void> {
    this.capture = await Capture.of(this.lab);
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

/** A display filter: packets from our side. */
export const OURS_ON_THE_WIRE = '(ip.src == 10.99.0.0/24 || ipv6.src == fd99::a:0/112)';

/** The set-up for a file's tests: up before them, down after them; a failed test shows what the programs said. */
export function useSetUp(kind: DaemonKind, what: string, wanted: readonly Cell[]) {
  const cells = wanted.filter((cell) => !kind.lacks[cell.feature] && !kind.omits?.(cell));
  let setUp: SetUp | undefined;
  beforeAll(async () => {
    setUp = new SetUp(kind, `${kind.name.toLowerCase()}${what}`, cells);
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
