import {
  type Cell,
  FEEDERS,
  GSHUT,
  OUR_AS,
  ourAsFor,
  PASSWORD,
  type Seen,
  THEIR_AS,
  THEIR_COMMUNITIES,
  THEIR_MAIN,
  THEIR_MED,
} from '../cells.ts';
import { type Lab, type Program, until } from '../lab.ts';
import type { Daemon, DaemonKind, DaemonSettings } from './types.ts';

/** GoBGP 3.10: TOML in, JSON over its command line; routes of its own come by that too. */
export const gobgp: DaemonKind = {
  name: 'GoBGP',
  lacks: {
    as2: 'it announces 4-octet AS numbers always: its configuration has no word for that capability',
    bfd: 'it has no BFD',
    customer: 'it has no roles',
    provider: 'it has no roles',
    peer: 'it has no roles',
    'wrong role': 'it has no roles',
    'own as': 'it tells nobody of a path with their AS in it',
  },
  marksOwnRoutes: true,
  ignoresClusters: true,
  refresh: {
    asks: 'softresetin judges its own table anew, and sends no ROUTE-REFRESH',
    answers: true,
    borders: false,
    knowsBorders: false,
  },
  create: (lab, settings) => new Gobgp(lab, settings),
};

function familyLines(cell: Cell | null, family: 4 | 6): string[] {
  return [
    '  [[neighbors.afi-safis]]',
    '   [neighbors.afi-safis.config]',
    `    afi-safi-name = "ipv${family}-unicast"`,
    ...(cell?.feature === 'restart'
      ? ['   [neighbors.afi-safis.mp-graceful-restart.config]', '    enabled = true']
      : []),
    ...(cell?.feature === 'llgr'
      ? [
          '   [neighbors.afi-safis.mp-graceful-restart.config]',
          '    enabled = true',
          '   [neighbors.afi-safis.long-lived-graceful-restart.config]',
          '    enabled = true',
          '    restart-time = 300',
        ]
      : []),
    ...(cell?.feature === 'their limit'
      ? ['   [neighbors.afi-safis.prefix-limit.config]', '    max-prefixes = 1']
      : []),
    ...(cell?.feature === 'add-path'
      ? ['   [neighbors.afi-safis.add-paths.config]', '    receive = true', '    send-max = 8']
      : []),
  ];
}

interface Neighbour {
  readonly cell: Cell | null;
  readonly to: string;
  readonly asTo: number;
  readonly from: string;
  readonly passive: boolean;
  readonly families: readonly (4 | 6)[];
}

function neighbourLines({ cell, to, asTo, from, passive, families }: Neighbour, internal: boolean): string[] {
  const feature = cell?.feature;
  return [
    '[[neighbors]]',
    ' [neighbors.config]',
    `  neighbor-address = "${to}"`,
    `  peer-as = ${asTo}`,
    ...(feature === 'md5' || feature === 'wrong key' || feature === 'range' ? [`  auth-password = "${PASSWORD}"`] : []),
    ' [neighbors.transport.config]',
    `  local-address = "${from}"`,
    `  passive-mode = ${passive}`,
    ' [neighbors.timers.config]',
    '  connect-retry = 1',
    '  idle-hold-time-after-reset = 1',
    ...(feature === 'gtsm' || feature === 'range'
      ? [' [neighbors.ttl-security.config]', '  enabled = true', '  ttl-min = 255']
      : []),
    ...(feature === 'restart'
      ? [' [neighbors.graceful-restart.config]', '  enabled = true', '  restart-time = 60', '  deferral-time = 5']
      : []),
    ...(feature === 'llgr'
      ? [
          ' [neighbors.graceful-restart.config]',
          '  enabled = true',
          '  restart-time = 1',
          '  deferral-time = 5',
          '  long-lived-enabled = true',
        ]
      : []),
    ...(internal
      ? [
          ' [neighbors.route-reflector.config]',
          '  route-reflector-client = true',
          '  route-reflector-cluster-id = "10.99.1.1"',
        ]
      : []),
    ...families.flatMap((family) => familyLines(cell, family)),
  ];
}

/** GoBGP would name an IPv4-mapped address as next hop of IPv6 over IPv4. */
function hopPolicy(cells: readonly Cell[], internal: boolean): string[] {
  const crossed = cells.filter(({ families }) => families.length > 1);
  const leaving = cells.filter(({ feature }) => feature === 'gshut');
  return [
    ...[...crossed, ...leaving].flatMap(({ id, ours }) => [
      '[[defined-sets.neighbor-sets]]',
      ` neighbor-set-name = "${id}"`,
      ` neighbor-info-list = ["${ours}"]`,
    ]),
    '[[policy-definitions]]',
    ' name = "hops"',
    ...crossed.flatMap(({ id, theirHops }) => [
      ' [[policy-definitions.statements]]',
      '  [policy-definitions.statements.conditions.match-neighbor-set]',
      `   neighbor-set = "${id}"`,
      '  [policy-definitions.statements.conditions.bgp-conditions]',
      '   afi-safi-in-list = ["ipv6-unicast"]',
      // What it reflects keeps its next hop.
      ...(internal ? ['   route-type = "local"'] : []),
      '  [policy-definitions.statements.actions]',
      '   route-disposition = "accept-route"',
      '  [policy-definitions.statements.actions.bgp-actions]',
      `   set-next-hop = "${theirHops[6]}"`,
    ]),
    ...leaving.flatMap(({ id }) => [
      ' [[policy-definitions.statements]]',
      '  [policy-definitions.statements.conditions.match-neighbor-set]',
      `   neighbor-set = "${id}"`,
      '  [policy-definitions.statements.actions]',
      '   route-disposition = "accept-route"',
      '  [policy-definitions.statements.actions.bgp-actions.set-community]',
      '   options = "add"',
      '   [policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]',
      `    communities-list = ["${GSHUT}"]`,
    ]),
  ];
}

class Gobgp implements Daemon {
  readonly #lab: Lab;
  readonly #settings: DaemonSettings;
  #program: Program | null = null;

  constructor(lab: Lab, settings: DaemonSettings) {
    this.#lab = lab;
    this.#settings = settings;
  }
  async start(routes: readonly string[], restarted: boolean): Promise<Program> {
    const path = this.#lab.write('gobgpd.toml', this.#config());
    const command = ['gobgpd', '-f', path, '-p', '--api-hosts', '127.0.0.1:50051', '--pprof-disable'];
    this.#program = this.#lab.start('theirs', 'gobgpd', [...command, ...(restarted ? ['-r'] : [])]);
    await until('gobgp', async () => ((await this.#ask('global')).includes('AS:') ? null : 'no answer'));
    const { standard, large } = THEIR_COMMUNITIES;
    const marks = `med ${THEIR_MED} community ${standard} large-community ${large}`;
    // Busy with sessions it may not answer in time, and then it has not taken the route.
    await until('gobgp to have its own routes', async () => {
      const own = await Promise.all([4, 6].map((family) => this.#ask(`global rib -a ipv${family}`)));
      const missing = routes.filter((prefix) => !own.some((text) => text.includes(` ${prefix} `)));
      for (const prefix of missing)
        await this.#ask(`global rib add ${prefix} ${marks} -a ipv${prefix.includes(':') ? 6 : 4}`);
      return missing.length === 0 ? null : `it lacks ${missing.join(', ')}`;
    });
    return this.#program;
  }
  #config(): string {
    const { cells, internal } = this.#settings;
    const feeders = FEEDERS.map(
      ({ address, asNumber }): Neighbour => ({
        cell: null,
        to: address[4],
        asTo: internal ? OUR_AS : asNumber,
        from: THEIR_MAIN[4],
        passive: true,
        families: [4, 6],
      }),
    );
    const neighbours = cells.map(
      (cell): Neighbour => ({
        cell,
        to: cell.ours,
        asTo: ourAsFor(cell),
        from: cell.theirs,
        passive: cell.dial === 'we',
        families: cell.families,
      }),
    );
    return [
      '[global.config]',
      ` as = ${internal ? OUR_AS : THEIR_AS}`,
      ' router-id = "10.99.1.1"',
      // Of equal paths the lower identifier's, not the one that happens to be older.
      ' [global.route-selection-options.config]',
      '  external-compare-router-id = true',
      ' [global.apply-policy.config]',
      '  export-policy-list = ["hops"]',
      ...hopPolicy(cells, internal),
      ...[...feeders, ...neighbours].flatMap((neighbour) => neighbourLines(neighbour, internal)),
      '',
    ].join('\n');
  }
  async #ask(question: string): Promise<string> {
    return (await this.#lab.run('theirs', ['gobgp', ...question.split(' ')])).stdout;
  }
  async established(): Promise<Set<string>> {
    const all = JSON.parse((await this.#ask('neighbor -j')) || '[]') as GobgpNeighbour[];
    const up = new Set(all.filter(({ state }) => state.session_state === 6).map(({ state }) => state.neighbor_address));
    return new Set(this.#settings.cells.filter(({ ours }) => up.has(ours)).map(({ id }) => id));
  }
  async received(): Promise<Map<string, Seen[]>> {
    const found = new Map<string, Seen[]>();
    const cellOf = new Map(this.#settings.cells.map(({ ours, id }) => [ours as string, id]));
    for (const family of [4, 6]) {
      const text = await this.#ask(`global rib -a ipv${family} -j`);
      for (const [prefix, paths] of Object.entries(JSON.parse(text || '{}') as Record<string, GobgpPath[]>))
        for (const path of paths) {
          const id = cellOf.get(path['neighbor-ip'] ?? '');
          if (id !== undefined) found.set(id, [...(found.get(id) ?? []), seen(prefix, path)]);
        }
    }
    return found;
  }
  refresh(): Promise<void> {
    return Promise.resolve();
  }
  async shutdown(cell: Cell, text: string): Promise<void> {
    await this.#ask(`neighbor ${cell.ours} shutdown --reason ${text}`);
  }
  async lastEnd(cell: Cell): Promise<string> {
    const log = this.#program?.logText().split('\n') ?? [];
    return log
      .filter((line) => line.includes(`${cell.ours} `))
      .slice(-10)
      .join('\n');
  }
}

interface GobgpNeighbour {
  readonly state: { readonly neighbor_address: string; readonly session_state: number };
}

/** Attributes by their type code. */
interface GobgpPath {
  readonly 'neighbor-ip'?: string;
  readonly stale?: boolean;
  readonly attrs: readonly ({ readonly type: number } & Readonly<Record<string, unknown>>)[];
}

function seen(prefix: string, { attrs, stale }: GobgpPath): Seen {
  const value = <T>(type: number, field: string): T | undefined =>
    attrs.find((a) => a.type === type)?.[field] as T | undefined;
  const segments = value<{ asns: number[] }[]>(2, 'as_paths') ?? [];
  const standard = value<number[]>(8, 'communities') ?? [];
  const extended = value<{ value: string }[]>(16, 'value') ?? [];
  const large = value<{ ASN: number; LocalData1: number; LocalData2: number }[]>(32, 'value') ?? [];
  return {
    prefix,
    nextHop: value<string>(14, 'nexthop') ?? value<string>(3, 'nexthop') ?? '',
    asPath: segments.flatMap(({ asns }) => asns),
    communities: standard.map((word) => `${word >>> 16}:${word & 0xffff}`),
    large: large.map(({ ASN, LocalData1, LocalData2 }) => `${ASN}:${LocalData1}:${LocalData2}`),
    extended: extended.map((community) => `rt:${community.value}`),
    med: value<number>(4, 'metric') ?? null,
    stale: stale ?? false,
    originatorId: value<string>(9, 'value') ?? null,
    clusterList: value<string[]>(10, 'value') ?? [],
  };
}
