import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cell,
  FEEDERS,
  GSHUT,
  LLGR_STALE,
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

/**
 * FRR 8.4.4's bgpd, with zebra and bfdd where there is BFD; JSON over vtysh. While it keeps the routes of a peer that restarts it has no connect
 * timer: one attempt, and then the peer is to dial, or the restart time to pass.
 */
export const frr: DaemonKind = {
  name: 'FRR',
  lacks: {
    as2: 'bgpd announces 4-octet AS numbers, and where it negotiates no capability at all it leaves AS4_PATH unread',
  },
  refresh: { asks: true, answers: true, borders: false, knowsBorders: true },
  extendedMessages: true,
  create: (lab, settings) => new Frr(lab, settings),
};

const BFD = [
  'log stdout',
  'bfd',
  ' profile fast',
  '  detect-multiplier 3',
  '  transmit-interval 300',
  '  receive-interval 300',
  '',
].join('\n');

const ownAs = (internal: boolean) => (internal ? OUR_AS : THEIR_AS);

/** What it is where we are a customer, and so on. */
const ROLES: Partial<Record<Cell['feature'], string>> = {
  customer: 'provider',
  provider: 'customer',
  peer: 'peer',
  'wrong role': 'customer',
};

function neighbourLines(cell: Cell): string[] {
  const { ours, theirs, feature, dial } = cell;
  const lines = [
    `remote-as ${ourAsFor(cell)}`,
    `update-source ${theirs}`,
    'timers connect 1',
    'advertisement-interval 0',
    'disable-connected-check',
  ];
  if (dial === 'we') lines.push('passive');
  if (feature === 'md5' || feature === 'wrong key' || feature === 'range') lines.push(`password ${PASSWORD}`);
  if (feature === 'bfd') lines.push('bfd', 'bfd profile fast');
  if (feature === 'over v6') lines.push('capability extended-nexthop');
  const role = ROLES[feature];
  if (role) lines.push(`local-role ${role}`);
  if (feature === 'gtsm' || feature === 'range') lines.push('ttl-security hops 1');
  if (feature !== 'restart' && feature !== 'llgr') lines.push('graceful-restart-disable');
  return lines.map((line) => ` neighbor ${ours} ${line}`);
}

function familyLines(cell: Cell, family: 4 | 6, internal: boolean): string[] {
  const { ours, feature, id } = cell;
  const lines = ['activate'];
  // A next hop that a route map sets keeps bgpd from naming itself, even in the other family.
  if (family === 6 || feature === 'gshut' || feature === 'over v6') lines.push(`route-map HOP_${id} out`);
  if (internal) lines.push('route-reflector-client');
  else lines.push('next-hop-self');
  if (feature === 'their limit') lines.push('maximum-prefix 1');
  if (feature === 'add-path') lines.push('addpath-tx-all-paths');
  return lines.map((line) => `  neighbor ${ours} ${line}`);
}

/** Without zebra bgpd knows no addresses, so next hops of the other family are said in a route map; what is reflected keeps its own. */
function hopMap({ id, feature, families, theirHops }: Cell, internal: boolean): string[] {
  const name = `route-map HOP_${id} permit`;
  if (feature === 'gshut') return [`${name} 10`, ` set community ${GSHUT} additive`];
  if (feature === 'over v6') return [`${name} 10`, ` set ipv6 next-hop global ${theirHops[4]}`];
  if (!families.includes(6)) return [`${name} 10`];
  const hop = ` set ipv6 next-hop global ${theirHops[6]}`;
  return internal ? [`${name} 10`, ' match ipv6 address prefix-list OWN', hop, `${name} 20`] : [`${name} 10`, hop];
}

class Frr implements Daemon {
  readonly #lab: Lab;
  readonly #settings: DaemonSettings;
  readonly #dir: string;
  #program: Program | null = null;

  constructor(lab: Lab, settings: DaemonSettings) {
    this.#lab = lab;
    this.#settings = settings;
    this.#dir = join(lab.dir, 'frr');
    mkdirSync(this.#dir);
    // bgpd insists on a socket directory that its own user may write.
    chmodSync(this.#dir, 0o777);
  }
  /** BFD is a daemon of its own, and zebra introduces the two. */
  async #startBfd(): Promise<void> {
    const at = (name: string) => join(this.#dir, name);
    const common = (name: string) => [
      '-f',
      at(`${name}.conf`),
      '-i',
      at(`${name}.pid`),
      '-z',
      at('zebra'),
      '--vty_socket',
      this.#dir,
    ];
    this.#lab.write('frr/zebra.conf', 'log stdout\n', 0o644);
    this.#lab.write('frr/bfdd.conf', BFD, 0o644);
    for (const name of ['zebra', 'bfdd']) {
      const more = name === 'bfdd' ? ['--bfdctl', at('bfdd.ctl')] : [];
      this.#lab.start('theirs', name, [`/usr/lib/frr/${name}`, ...common(name), '-P', '0', ...more]);
      await until(name, async () =>
        (await this.#askOf(name, 'show version')).includes('FRRouting') ? null : 'no answer',
      );
    }
  }
  async start(routes: readonly string[], restarted: boolean): Promise<Program> {
    const withBfd = this.#settings.cells.some(({ feature }) => feature === 'bfd');
    if (withBfd && !restarted) await this.#startBfd();
    const path = this.#lab.write('frr/bgpd.conf', this.#config(routes), 0o644);
    const at = (name: string) => join(this.#dir, name);
    const files = ['-f', path, '-i', at('pid'), '-z', at('zebra'), '--vty_socket', this.#dir];
    this.#program = this.#lab.start('theirs', 'frr', [
      '/usr/lib/frr/bgpd',
      ...(withBfd ? [] : ['-Z']),
      '-S',
      ...files,
      '-A',
      '::',
      '-P',
      '0',
    ]);
    await until('vtysh', async () => ((await this.#ask('show version')).includes('FRRouting') ? null : 'no answer'));
    return this.#program;
  }
  #config(routes: readonly string[]): string {
    const { cells, internal } = this.#settings;
    const longLived = cells.some(({ feature }) => feature === 'llgr');
    const family = (number: 4 | 6) => [
      ` address-family ipv${number} unicast`,
      ...routes.filter((p) => p.includes(':') === (number === 6)).map((p) => `  network ${p} route-map OWN`),
      ...FEEDERS.flatMap(({ address }) => [
        `  neighbor ${address[4]} activate`,
        ...(internal ? [`  neighbor ${address[4]} route-reflector-client`] : []),
      ]),
      ...cells.filter((c) => c.families.includes(number)).flatMap((cell) => familyLines(cell, number, internal)),
      ' exit-address-family',
    ];
    return [
      'log stdout',
      'ipv6 prefix-list OWN permit fd20::/16 le 128',
      // A network statement needs its route map to be there already.
      'route-map OWN permit 10',
      ` set metric ${THEIR_MED}`,
      ` set community ${THEIR_COMMUNITIES.standard}`,
      ` set large-community ${THEIR_COMMUNITIES.large}`,
      ...cells.flatMap((cell) => hopMap(cell, internal)),
      `router bgp ${ownAs(internal)}`,
      ' bgp router-id 10.99.1.1',
      ' bgp cluster-id 10.99.1.1',
      // Of equal paths the first peer's, not the one that happens to be older.
      ' bgp bestpath compare-routerid',
      ' no bgp ebgp-requires-policy',
      ' no bgp default ipv4-unicast',
      ' no bgp network import-check',
      ' bgp graceful-restart',
      ` bgp graceful-restart restart-time ${longLived ? 1 : 60}`,
      ...(longLived ? [' bgp long-lived-graceful-restart stale-time 300'] : []),
      ' bgp graceful-restart preserve-fw-state',
      ' bgp graceful-restart select-defer-time 5',
      ...FEEDERS.flatMap(({ address, asNumber }) => [
        ` neighbor ${address[4]} remote-as ${internal ? OUR_AS : asNumber}`,
        ` neighbor ${address[4]} update-source ${THEIR_MAIN[4]}`,
        ` neighbor ${address[4]} passive`,
        ` neighbor ${address[4]} disable-connected-check`,
        ` neighbor ${address[4]} graceful-restart-disable`,
      ]),
      ...cells.flatMap((cell) => neighbourLines(cell)),
      ...family(4),
      ...family(6),
      '',
    ].join('\n');
  }
  #ask(...commands: string[]): Promise<string> {
    return this.#askOf('bgpd', ...commands);
  }
  async #askOf(daemon: string, ...commands: string[]): Promise<string> {
    const words = commands.flatMap((command) => ['-c', command]);
    return (await this.#lab.run('theirs', ['vtysh', '--vty_socket', this.#dir, '-d', daemon, ...words])).stdout;
  }
  async established(): Promise<Set<string>> {
    const all = JSON.parse((await this.#ask('show bgp neighbors json')) || '{}') as Record<
      string,
      { bgpState?: string }
    >;
    return new Set(this.#settings.cells.filter((c) => all[c.ours]?.bgpState === 'Established').map(({ id }) => id));
  }
  async received(): Promise<Map<string, Seen[]>> {
    const found = new Map<string, Seen[]>();
    const cellOf = new Map(this.#settings.cells.map((cell) => [cell.ours as string, cell.id]));
    for (const family of ['ipv4', 'ipv6']) {
      const text = await this.#ask(`show bgp ${family} unicast json detail`);
      const { routes } = JSON.parse(text || '{}') as { routes?: Record<string, FrrPath[]> };
      for (const [prefix, paths] of Object.entries(routes ?? {}))
        for (const path of paths) {
          const id = cellOf.get(path.peer?.peerId ?? '');
          if (id !== undefined) found.set(id, [...(found.get(id) ?? []), seen(prefix, path)]);
        }
    }
    return found;
  }
  async refresh(cell: Cell): Promise<void> {
    for (const family of cell.families) await this.#ask(`clear bgp ipv${family} unicast ${cell.ours} soft in`);
  }
  async shutdown(cell: Cell, text: string): Promise<void> {
    const own = ownAs(this.#settings.internal);
    await this.#ask('configure terminal', `router bgp ${own}`, `neighbor ${cell.ours} shutdown message ${text}`);
  }
  async lastEnd(cell: Cell): Promise<string> {
    return await this.#ask(`show bgp neighbors ${cell.ours} json`);
  }
}

interface FrrPath {
  readonly peer?: { readonly peerId?: string };
  readonly aspath?: { readonly string: string };
  readonly nexthops?: readonly { readonly ip: string; readonly scope?: string }[];
  readonly community?: { readonly list: readonly string[] };
  readonly extendedCommunity?: { readonly string: string };
  readonly largeCommunity?: { readonly list: readonly string[] };
  readonly metric?: number;
  readonly stale?: boolean;
  readonly originatorId?: string;
  readonly clusterList?: { readonly list: readonly string[] };
}

/** What it has names for. */
const WELL_KNOWN: Readonly<Record<string, string>> = { llgrStale: LLGR_STALE, gracefulShutdown: GSHUT };

function seen(prefix: string, path: FrrPath): Seen {
  const hops = path.nexthops ?? [];
  return {
    prefix,
    nextHop: (hops.find(({ scope }) => scope !== 'link-local') ?? hops[0])?.ip ?? '',
    asPath: (path.aspath?.string ?? '')
      .split(' ')
      .map(Number)
      .filter((n) => n > 0),
    communities: (path.community?.list ?? []).map((name) => WELL_KNOWN[name] ?? name),
    large: path.largeCommunity?.list ?? [],
    extended: (path.extendedCommunity?.string ?? '')
      .split(' ')
      .filter(Boolean)
      .map((text) => text.toLowerCase()),
    med: path.metric ?? null,
    stale: path.stale ?? false,
    originatorId: path.originatorId ?? null,
    clusterList: path.clusterList?.list ?? [],
  };
}
