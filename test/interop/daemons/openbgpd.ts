import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cell,
  FEEDERS,
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

/** OpenBGPD 7.7, portable: JSON over bgpctl. */
export const openbgpd: DaemonKind = {
  name: 'OpenBGPD',
  lacks: {
    bfd: 'it has no BFD',
    llgr: 'its configuration has no long-lived graceful restart',
    'over v6': 'its configuration has no word for IPv4 over IPv6 next hops',
  },
  refresh: {
    asks: true,
    answers: 'it says "AID not negotiated" of families that are, and sends nothing',
    borders: true,
    knowsBorders: true,
  },
  omits: ({ feature, dial }) =>
    feature === 'md5' && dial === 'we'
      ? 'its portable version gives the key to sockets that dial, and not to those that listen'
      : null,
  restartLacks: {
    restarting: 'of the capability it announces End-of-RIB alone: no family whose routes could be kept for it',
  },
  create: (lab, settings) => new Openbgpd(lab, settings),
};

/** Its processes change their root to here; Debian's service makes it at each start. */
const CHROOT = '/run/openbgpd';

const FEATURE_LINES: Partial<Record<Cell['feature'], readonly string[]>> = {
  md5: [`tcp md5sig password ${PASSWORD}`],
  'wrong key': [`tcp md5sig password ${PASSWORD}`],
  gtsm: ['ttl-security yes'],
  as2: ['announce as-4byte no'],
  'add-path': ['announce add-path recv yes', 'announce add-path send ecmp'],
  refresh: ['announce enhanced refresh yes'],
  'their limit': ['max-prefix 1'],
  customer: ['announce policy provider'],
  provider: ['announce policy customer'],
  peer: ['announce policy peer'],
  'wrong role': ['announce policy customer'],
  range: [`tcp md5sig password ${PASSWORD}`, 'ttl-security yes'],
};

function neighbourLines(cell: Cell, internal: boolean): string[] {
  const lines = [
    `remote-as ${ourAsFor(cell)}`,
    `local-address ${cell.theirs}`,
    ...([4, 6] as const).map((f) => `announce IPv${f} ${cell.families.includes(f) ? 'unicast' : 'none'}`),
    ...(cell.families.length > 1 ? ['multihop 2'] : []),
    ...(cell.dial === 'we' ? ['passive'] : []),
    ...(internal ? ['route-reflector 10.99.1.1'] : []),
    ...(cell.feature === 'restart' ? [] : ['announce restart no']),
    ...(FEATURE_LINES[cell.feature] ?? []),
  ];
  return [`neighbor ${cell.ours} {`, ...lines.map((line) => `  ${line}`), '}'];
}

function feederLines(i: number, internal: boolean): string[] {
  const { address, asNumber } = FEEDERS[i];
  const lines = [
    `remote-as ${internal ? OUR_AS : asNumber}`,
    `local-address ${THEIR_MAIN[4]}`,
    'announce IPv4 unicast',
    'announce IPv6 unicast',
    'passive',
    ...(internal ? ['route-reflector 10.99.1.1'] : []),
  ];
  return [`neighbor ${address[4]} {`, ...lines.map((line) => `  ${line}`), '}'];
}

/**
 * Left alone it names the feeder itself on the wire they share. Of a next hop of the session's other family it wants to hear from peers
 * alone that are more than a hop away, and then only when it is told to leave it as it is.
 */
function hopRules({ ours, families, theirHops }: Cell, internal: boolean): string[] {
  const isCrossed = families.length > 1;
  const own = { 4: '10.20.0.0/16', 6: 'fd20::/16' };
  const any = { 4: '0.0.0.0/0', 6: '::/0' };
  return families.flatMap((family) => {
    const rule = `match to ${ours} prefix ${(internal ? own : any)[family]} or-longer set nexthop`;
    return [`${rule} ${theirHops[family]}`, ...(isCrossed ? [`${rule} no-modify`] : [])];
  });
}

class Openbgpd implements Daemon {
  readonly #lab: Lab;
  readonly #settings: DaemonSettings;
  readonly #socket: string;
  #program: Program | null = null;

  constructor(lab: Lab, settings: DaemonSettings) {
    this.#lab = lab;
    this.#settings = settings;
    this.#socket = join(lab.dir, 'openbgpd.ctl');
    mkdirSync(CHROOT, { recursive: true });
  }
  async start(routes: readonly string[]): Promise<Program> {
    const path = this.#lab.write('openbgpd.conf', this.#config(routes));
    this.#program = this.#lab.start('theirs', 'openbgpd', ['/usr/sbin/bgpd', '-d', '-v', '-f', path]);
    await until('bgpctl', async () => ((await this.#ask('show neighbor')).includes('neighbors') ? null : 'no answer'));
    return this.#program;
  }
  #config(routes: readonly string[]): string {
    const { cells, internal } = this.#settings;
    const marks = `community ${THEIR_COMMUNITIES.standard} large-community ${THEIR_COMMUNITIES.large}`;
    return [
      `AS ${internal ? OUR_AS : THEIR_AS}`,
      'router-id 10.99.1.1',
      'fib-update no',
      'connect-retry 1',
      `socket "${this.#socket}"`,
      ...routes.map((prefix) => `network ${prefix} set { med ${THEIR_MED} ${marks} }`),
      ...FEEDERS.flatMap((_, i) => feederLines(i, internal)),
      ...cells.flatMap((cell) => neighbourLines(cell, internal)),
      'allow from any',
      'allow to any',
      ...cells.flatMap((cell) => hopRules(cell, internal)),
      ...cells
        .filter(({ feature }) => feature === 'gshut')
        .map(({ ours }) => `match to ${ours} set community GRACEFUL_SHUTDOWN`),
      '',
    ].join('\n');
  }
  async #ask(question: string): Promise<string> {
    return (await this.#lab.run('theirs', ['bgpctl', '-s', this.#socket, '-j', ...question.split(' ')])).stdout;
  }
  async established(): Promise<Set<string>> {
    const { neighbors } = JSON.parse((await this.#ask('show neighbor')) || '{"neighbors":[]}') as {
      neighbors: { remote_addr: string; state: string }[];
    };
    const up = new Set(neighbors.filter(({ state }) => state === 'Established').map((n) => n.remote_addr));
    return new Set(this.#settings.cells.filter(({ ours }) => up.has(ours)).map(({ id }) => id));
  }
  async received(): Promise<Map<string, Seen[]>> {
    const found = new Map<string, Seen[]>();
    const cellOf = new Map(this.#settings.cells.map(({ ours, id }) => [ours as string, id]));
    const { rib } = JSON.parse((await this.#ask('show rib detail')) || '{}') as { rib?: OpenbgpdPath[] };
    for (const path of rib ?? []) {
      const id = cellOf.get(path.neighbor.remote_addr);
      if (id !== undefined) found.set(id, [...(found.get(id) ?? []), seen(path)]);
    }
    return found;
  }
  async refresh(cell: Cell): Promise<void> {
    await this.#ask(`neighbor ${cell.ours} refresh`);
  }
  async shutdown(cell: Cell, text: string): Promise<void> {
    await this.#ask(`neighbor ${cell.ours} down ${text}`);
  }
  async lastEnd(cell: Cell): Promise<string> {
    const log = this.#program?.logText().split('\n') ?? [];
    const own = log.filter((line) => line.includes(`neighbor ${cell.ours}:`)).slice(-10);
    return [await this.#ask(`show neighbor ${cell.ours}`), ...own].join('\n');
  }
}

interface OpenbgpdPath {
  readonly prefix: string;
  readonly aspath: string;
  readonly exit_nexthop: string;
  readonly neighbor: { readonly remote_addr: string };
  readonly metric: number;
  readonly stale?: boolean;
  readonly communities?: readonly string[];
  readonly extended_communities?: readonly string[];
  readonly large_communities?: readonly string[];
  readonly attributes?: readonly { readonly originator?: string; readonly cluster_list?: readonly string[] }[];
}

/** As a reflector it puts at import what a client's route has at export: its cluster, and the client where there is no originator yet. */
function asReceived({ attributes }: OpenbgpdPath): Pick<Seen, 'originatorId' | 'clusterList'> {
  const clusters = attributes?.find(({ cluster_list }) => cluster_list)?.cluster_list ?? [];
  const own = clusters[0] === '10.99.1.1';
  const clusterList = own ? clusters.slice(1) : clusters;
  const originator = attributes?.find(({ originator }) => originator)?.originator ?? null;
  return { clusterList, originatorId: own && clusterList.length === 0 ? null : originator };
}

const seen = (path: OpenbgpdPath): Seen => ({
  prefix: path.prefix,
  nextHop: path.exit_nexthop,
  asPath: path.aspath.split(' ').filter(Boolean).map(Number),
  communities: path.communities ?? [],
  large: path.large_communities ?? [],
  extended: (path.extended_communities ?? []).map((text) => text.replace(' ', ':')),
  med: path.metric,
  stale: path.stale ?? false,
  ...asReceived(path),
});
