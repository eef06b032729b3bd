import { resolve } from 'node:path';
import type { PeerStatus, RouteInfo, RouteQuery } from '#bgp';
import { OperationalError, type Prefix, parseAddr, parsePrefix } from '#core';
import { ask, published, type Where } from '../agent-client.ts';
import { grid, since } from '../grid.ts';
import { painter } from '../io.ts';
import { DATA_FORMATS, parseFormat, printData } from '../output.ts';
import type { Session } from '../session.ts';
import { columnWidths, tableRow } from '../table.ts';

type OfNode<T> = T & { readonly node?: string };

interface Options extends Where {
  readonly output?: string;
}

/** `bgp peers`: every session, also those that are not up, with the reason. */
export async function peers(session: Session, options: Options): Promise<number> {
  const { type } = parseFormat(options.output, [...DATA_FORMATS, 'wide']);
  const all = await peersOf(session, options);
  if (type === 'json' || type === 'yaml') await printData(session.io, type, all);
  else await showPeers(session, all, { node: options.all ?? false, wide: type === 'wide' });
  return 0;
}

async function peersOf(session: Session, where: Where): Promise<OfNode<PeerStatus>[]> {
  if (!where.node && !where.all) return ask<PeerStatus[]>(session, 'bgp.peers');
  const statuses = await published(session, where);
  return [...statuses].flatMap(([node, { peers }]) => peers.map((peer) => (where.all ? { node, ...peer } : peer)));
}

const TYPES: Record<PeerStatus['type'], string> = {
  NodeMesh: 'node-to-node mesh',
  NodePeer: 'node specific',
  GlobalPeer: 'global',
  LocalWorkload: 'local workload',
  Static: 'static',
};

async function showPeers(
  { io }: Session,
  all: readonly OfNode<PeerStatus>[],
  show: { node: boolean; wide: boolean },
): Promise<void> {
  if (all.length === 0) {
    io.stdout.write('No BGP peers.\n');
    return;
  }
  const paint = painter(io.stdout, io.env);
  const titles = ['PEER ADDRESS', 'ASN', 'PEER TYPE', 'STATE', 'SINCE', 'IN', 'ACCEPTED', 'OUT', 'INFO'];
  const wide = ['LOCAL ADDRESS', 'FAMILIES', 'HOLD', 'FLAPS', 'FILTERS'];
  const rows = all.map((peer) => [
    ...(show.node ? [peer.node ?? ''] : []),
    peer.port === 179 ? peer.address : `${peer.address} port ${peer.port}`,
    String(peer.asNumber),
    TYPES[peer.type] ?? peer.type,
    peer.state,
    since(io, peer.since),
    ...(['received', 'accepted', 'advertised'] as const).map((count) => String(total(peer, count))),
    peer.reason ?? peer.resource,
    ...(show.wide
      ? [
          peer.localAddress ?? '',
          peer.families.join(','),
          `${peer.holdTime ?? ''}`,
          String(peer.flaps),
          peer.filters.join(','),
        ]
      : []),
  ]);
  const state = show.node ? 4 : 3;
  await grid(io, [...(show.node ? ['NODE'] : []), ...titles, ...(show.wide ? wide : [])], rows, (column, text) =>
    column === state ? paint(text === 'Established' ? 'green' : 'red', text) : text,
  );
}

const total = ({ prefixes }: PeerStatus, count: 'received' | 'accepted' | 'advertised'): number =>
  Object.values(prefixes).reduce((sum, family) => sum + (family?.[count] ?? 0), 0);

export interface RouteOptions extends Options {
  readonly received?: string;
  readonly advertised?: string;
  readonly longer?: boolean;
  readonly why?: boolean;
}

/** Routes asked for at once: an answer stays small, and the table is never copied whole. */
const PAGE = 5000;

/** `bgp routes [PREFIX]`: the table, or what one peer sent or gets; `--why` adds the reason of each decision. */
export async function routes(session: Session, prefix: string | undefined, options: RouteOptions): Promise<number> {
  const { type } = parseFormat(options.output, DATA_FORMATS);
  const query = understand(prefix, options);
  const found =
    options.node || options.all ? await publishedRoutes(session, query, options) : await allPages(session, query);
  if (type === 'json' || type === 'yaml') await printData(session.io, type, found);
  else showRoutes(session, found, options);
  return 0;
}

function understand(prefix: string | undefined, options: RouteOptions): RouteQuery {
  const query: RouteQuery = {};
  if (prefix !== undefined) {
    const parsed = parsePrefix(prefix);
    if (!parsed.ok) throw new OperationalError('CONFIG', `'${prefix}' is not a prefix: ${parsed.error}`);
    query.prefix = parsed.value;
    if (options.longer) query.longer = true;
  } else if (options.longer) throw new OperationalError('CONFIG', '--longer needs a prefix');
  for (const side of ['received', 'advertised'] as const) {
    const peer = options[side];
    if (peer === undefined) continue;
    const parsed = parseAddr(peer);
    if (!parsed.ok) throw new OperationalError('CONFIG', `--${side} takes the address of a peer: ${parsed.error}`);
    query[side] = parsed.value;
  }
  if (query.received && query.advertised)
    throw new OperationalError('CONFIG', 'give --received or --advertised, not both');
  return query;
}

/** Page after page. The table changes meanwhile, so a prefix may come again, and the last one of a full page may lack some of its paths. */
async function allPages(session: Session, query: RouteQuery): Promise<RouteInfo[]> {
  const found = new Map<string, RouteInfo[]>();
  for (let after = query.after; ; ) {
    const page = await ask<RouteInfo[]>(session, 'bgp.routes', { ...query, limit: PAGE, ...(after && { after }) });
    const last = page.at(-1)?.prefix;
    const whole = page.length < PAGE ? page : page.filter((route) => route.prefix !== last);
    // One prefix with more paths than a page holds is given as far as it goes.
    const fresh = byPrefix(whole.length > 0 ? whole : page);
    const before = found.size;
    for (const [prefix, routes] of fresh) if (!found.has(prefix)) found.set(prefix, routes);
    after = [...fresh.keys()].at(-1);
    if (page.length < PAGE || found.size === before) return [...found.values()].flat();
  }
}

function byPrefix(routes: readonly RouteInfo[]): Map<Prefix, RouteInfo[]> {
  const groups = new Map<Prefix, RouteInfo[]>();
  for (const route of routes) groups.set(route.prefix, [...(groups.get(route.prefix) ?? []), route]);
  return groups;
}

async function publishedRoutes(session: Session, query: RouteQuery, where: RouteOptions): Promise<OfNode<RouteInfo>[]> {
  if (query.received || query.advertised || query.longer)
    throw new OperationalError(
      'CONFIG',
      '--received, --advertised and --longer ask a running daemon; use --socket on that node instead of --node or --all',
    );
  const found: OfNode<RouteInfo>[] = [];
  for (const [node, { routes }] of await published(session, where)) {
    if (!routes)
      throw new OperationalError(
        'EXHAUSTED',
        `node '${node}' has too many routes to publish; ask its agent on the node itself`,
      );
    for (const route of routes)
      if (!query.prefix || route.prefix === query.prefix) found.push(where.all ? { node, ...route } : route);
  }
  return found;
}

function showRoutes({ io }: Session, found: readonly OfNode<RouteInfo>[], options: RouteOptions): void {
  const titles = [
    ...(options.all ? ['NODE'] : []),
    ...['', 'PREFIX', 'NEXT HOPS', 'SOURCE', 'AS PATH', 'LOCAL PREF', 'MED', 'KERNEL'],
    ...(options.why ? ['WHY'] : []),
  ];
  const rows = found.map((route) => [
    ...(options.all ? [route.node ?? ''] : []),
    `${route.best ? '*' : ' '}${route.stale ? 's' : ' '}`,
    route.prefix,
    route.nextHops.join(','),
    route.source,
    asPath(route),
    `${route.localPref ?? ''}`,
    `${route.med ?? ''}`,
    route.inKernel === null ? '' : route.inKernel ? 'yes' : 'no',
    ...(options.why ? [route.reason ?? ''] : []),
  ]);
  const widths = columnWidths([titles, ...rows]);
  for (const row of [titles, ...rows]) io.stdout.write(tableRow(row, widths));
}

const ORIGIN = { IGP: 'i', EGP: 'e', INCOMPLETE: '?' } as const;
const asPath = ({ asPath: path, origin }: RouteInfo): string =>
  [...path.map((as) => (typeof as === 'number' ? String(as) : `{${as.set.join(',')}}`)), ORIGIN[origin]].join(' ');

/** `bgp refresh PEER`: the daemon asks it for everything again. */
export async function refresh(session: Session, peer: string): Promise<number> {
  await ask(session, 'bgp.refresh', { peer });
  session.io.stdout.write(`${peer} has been asked for its routes\n`);
  return 0;
}

/** `bgp dump FILE`: the daemon writes its table as an MRT file. */
export async function dump(session: Session, file: string): Promise<number> {
  const { bytes } = await ask<{ bytes: number }>(session, 'bgp.dump', { file: resolve(file) });
  session.io.stdout.write(`${bytes} bytes in ${file}\n`);
  return 0;
}
