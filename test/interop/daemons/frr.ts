import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Cell,
  FEEDERS,
  OUR_AS,
  PASSWORD,
  type Seen,
  THEIR_AS,
  THEIR_COMMUNITIES,
  THEIR_MAIN,
  THEIR_MED,
} from '../cells.ts';
import { type Lab, type Program, until } from '../lab.ts';
import type { Daemon, DaemonKind, DaemonSettings } from './types.ts';

/** FRR 8.4.4's bgpd alone, without zebra; JSON over vtysh. */
export const frr: DaemonKind = {
  name: 'FRR',
  lacks: {
    as2: 'bgpd always announces 4-octet AS numbers, except where it negotiates no capability at all',
  },
  dialsLate: 'bgpd without zebra was not seen to dial again within 45 s of the death of its peer',
  create: (lab, settings) => new Frr(lab, settings),
};

const ownAs = (internal: boolean) => (internal ? OUR_AS : THEIR_AS);

function neighbourLines(cell: Cell): string[] {
  const { ours, theirs, feature, dial } = cell;
  const lines = [
    `remote-as ${OUR_AS}`,
    `update-source ${theirs}`,
    'timers connect 1',
    'advertisement-interval 0',
    'disable-connected-check',
  ];
  if (dial === 'we') lines.push('passive');
  if (feature === 'md5' || feature === 'wrong key') lines.push(`password ${PASSWORD}`);
  if (feature === 'gtsm') lines.push('ttl-security hops 1');
  if (feature !== 'restart') lines.push('graceful-restart-disable');
  return lines.map((line) => ` neighbor ${ours} ${line}`);
}

function familyLines(cell: Cell, internal: boolean): string[] {
  const { ours, feature } = cell;
  const lines = ['activate', `route-map HOP_${cell.id} out`];
  if (internal) lines.push('route-reflector-client');
  else lines.push('next-hop-self');
  if (feature === 'add-path') lines.push('addpath-tx-all-paths');
  return lines.map((line) => `  neighbor ${ours} ${line}`);
}

/** Without zebra bgpd knows no addresses, so next hops of the other family are said in a route map. */
const hopMap = (cell: Cell, internal: boolean): string[] =>
  internal || !cell.families.includes(6)
    ? [`route-map HOP_${cell.id} permit 10`]
    : [`route-map HOP_${cell.id} permit 10`, ` set ipv6 next-hop global ${cell.theirHops[6]}`];

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
  async start(routes: readonly string[]): Promise<Program> {
    const path = this.#lab.write('frr/bgpd.conf', this.#config(routes), 0o644);
    const at = (name: string) => join(this.#dir, name);
    const files = ['-f', path, '-i', at('pid'), '-z', at('zebra'), '--vty_socket', this.#dir];
    this.#program = this.#lab.start('theirs', 'frr', [
      '/usr/lib/frr/bgpd',
      '-Z',
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
    const family = (number: 4 | 6) => [
      ` address-family ipv${number} unicast`,
      ...routes.filter((p) => p.includes(':') === (number === 6)).map((p) => `  network ${p} route-map OWN`),
      ...FEEDERS.flatMap(({ address }) => [
        `  neighbor ${address[4]} activate`,
        ...(internal ? [`  neighbor ${address[4]} route-reflector-client`] : []),
      ]),
      ...cells.filter((c) => c.families.includes(number)).flatMap((cell) => familyLines(cell, internal)),
      ' exit-address-family',
    ];
    return [
      'log stdout',
      // A network statement needs its route map to be there already.
      'route-map OWN permit 10',
      ` set metric ${THEIR_MED}`,
      ` set community ${THEIR_COMMUNITIES.standard}`,
      ` set large-community ${THEIR_COMMUNITIES.large}`,
      ...cells.flatMap((cell) => hopMap(cell, internal)),
      `router bgp ${ownAs(internal)}`,
      ' bgp router-id 10.99.1.1',
      ' bgp cluster-id 10.99.1.1',
      ' no bgp ebgp-requires-policy',
      ' no bgp default ipv4-unicast',
      ' no bgp network import-check',
      ' bgp graceful-restart',
      ' bgp graceful-restart restart-time 60',
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
  async #ask(...commands: string[]): Promise<string> {
    const words = commands.flatMap((command) => ['-c', command]);
    return (await this.#lab.run('theirs', ['vtysh', '--vty_socket', this.#dir, '-d', 'bgpd', ...words])).stdout;
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
  async lastEnd(cell: Cell): Promise<string> {
    return await this.#ask(`show bgp neighbors ${cell.ours} json`);
  }
}

interface FrrPath {
  readonly peer?: { readonly peerId?: string };
  readonly aspath?: { readonly string: string };
  readonly nexthops?: readonly { readonly ip: string; readonly scope?: string }[];
  readonly community?: { readonly list: readonly string[] };
  readonly largeCommunity?: { readonly list: readonly string[] };
  readonly metric?: number;
  readonly stale?: boolean;
  readonly originatorId?: string;
  readonly clusterList?: { readonly list: readonly string[] };
}

function seen(prefix: string, path: FrrPath): Seen {
  const hops = path.nexthops ?? [];
  return {
    prefix,
    nextHop: (hops.find(({ scope }) => scope !== 'link-local') ?? hops[0])?.ip ?? '',
    asPath: (path.aspath?.string ?? '')
      .split(' ')
      .map(Number)
      .filter((n) => n > 0),
    communities: path.community?.list ?? [],
    large: path.largeCommunity?.list ?? [],
    med: path.metric ?? null,
    stale: path.stale ?? false,
    originatorId: path.originatorId ?? null,
    clusterList: path.clusterList?.list ?? [],
  };
}
