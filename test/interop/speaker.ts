import { join } from 'node:path';
import { callControl, type PeerStatus, type RouteInfo } from '#bgp';
import { prefixOf } from '#core';
import {
  type Cell,
  FEEDERS,
  OPERATIONS,
  type Operation,
  OUR_AS,
  OUR_COMMUNITIES,
  OUR_MAIN,
  OUR_ROUTES,
  PASSWORD,
  type Seen,
  SHOWN_AS,
  THEIR_AS,
  THEIR_ROUTES,
  WITNESS,
} from './cells.ts';
import { type Lab, type Program, until } from './lab.ts';

/** tsnet-bgpd from bin/, configured for a set of cells, and asked over its control socket. */

/** The prefix that only the `customer` cell may bring. */
export const PROVIDED = THEIR_ROUTES[4][2];

export const PROGRAM = join(import.meta.dirname, '../../bin/tsnet-bgpd');

export interface Settings {
  readonly cells: readonly Cell[];
  /** A neighbour more, for the operations. */
  readonly witness?: boolean;
  /** External BGP with the daemon in an AS of its own, or internal with everybody our reflector client. */
  readonly internal: boolean;
  readonly networks?: readonly string[];
}

const FEATURE_KEYS: Partial<Record<Cell['feature'], object>> = {
  md5: { password: PASSWORD },
  gtsm: { ttlSecurity: 1 },
  // Short enough that a helper who leaves the dialling to us dials again within the time that a test waits.
  restart: { gracefulRestart: { restartTime: 20 } },
  'add-path': { addPath: 'both' },
  bfd: { bfd: { interval: 300, multiplier: 3 } },
  limit: { maxPrefixes: 1 },
  'out limit': { maxPrefixesOut: 1 },
  llgr: { gracefulRestart: { restartTime: 1, longLivedTime: 300 } },
  customer: { role: 'customer' },
  provider: { role: 'provider' },
  peer: { role: 'peer' },
  'wrong role': { role: 'customer' },
  range: { password: PASSWORD, ttlSecurity: 1 },
  'own as': { allowOwnAs: 1 },
  'local as': { localAs: SHOWN_AS },
  hold: { holdTime: 3 },
  'too far': { ttlSecurity: 1 },
  'range too far': { ttlSecurity: 1 },
  'wrong key': { password: 'not what they think' },
};

/** Who it is: the address, or for the ranges a network around it and the AS numbers that may come from there. */
function identity({ feature, theirs, ours }: Cell, asNumber: number): object {
  if (!feature.startsWith('range')) return { address: theirs, localAddress: ours, asNumber };
  const range = prefixOf(theirs, 31);
  return { range, maxPeers: 1, asNumbers: [asNumber - 1, asNumber] };
}

function peerOf(cell: Cell, internal: boolean): object {
  const { add, large } = { add: OUR_COMMUNITIES.standard, large: OUR_COMMUNITIES.large };
  const mark = (value: string) => ({ addCommunity: { value } });
  const own = [...OUR_ROUTES[4], ...OUR_ROUTES[6]].map((cidr) => ({
    action: 'Accept',
    cidr,
    matchOperator: 'Equal',
    operations: [mark(add), mark(large)],
  }));
  // Of a provider alone one prefix is taken, so that everybody sees whose mark it bears.
  const rejected = { action: 'Reject', cidr: PROVIDED, matchOperator: 'Equal' };
  return {
    ...identity(cell, internal ? OUR_AS : THEIR_AS),
    passive: cell.dial === 'they',
    ...(OPERATIONS.includes(cell.feature as Operation) && cell.feature !== 'customer' && { import: [rejected] }),
    families: cell.families.map((family) => `ipv${family}`),
    ...(cell.families.length > 1 && { nextHopSelf: [cell.ourHops[4], cell.ourHops[6]] }),
    ...(internal && { routeReflectorClient: true }),
    export: own,
    ...FEATURE_KEYS[cell.feature],
  };
}

export class Speaker {
  readonly #lab: Lab;
  readonly #socket: string;
  #settings: Settings;
  program: Program;

  constructor(lab: Lab, settings: Settings) {
    this.#lab = lab;
    this.#settings = settings;
    this.#socket = join(lab.dir, 'tsnet.sock');
    this.program = this.#start();
  }
  #start(): Program {
    const path = this.#write();
    return this.#lab.start('ours', 'tsnet-bgpd', [PROGRAM, '--config', path, '--socket', this.#socket]);
  }
  #write(): string {
    const { cells, internal, networks } = this.#settings;
    const feeders = FEEDERS.map(({ address, asNumber }) => ({
      address: address[4],
      localAddress: OUR_MAIN[4],
      asNumber: internal ? OUR_AS : asNumber,
      passive: true,
      families: ['ipv4', 'ipv6'],
      ...(internal && { routeReflectorClient: true }),
    }));
    const witness = {
      address: WITNESS.address,
      localAddress: OUR_MAIN[4],
      asNumber: WITNESS.asNumber,
      families: ['ipv4', 'ipv6'],
      nextHopSelf: [OUR_MAIN[4], OUR_MAIN[6]],
    };
    const config = {
      asNumber: OUR_AS,
      routerId: '10.99.0.1',
      listen: [{ address: '0.0.0.0' }, { address: '::' }],
      connectRetry: 1,
      ...(internal && { clusterId: '10.99.0.1' }),
      networks: networks ?? [...OUR_ROUTES[4], ...OUR_ROUTES[6]],
      peers: [...feeders, ...(this.#settings.witness ? [witness] : []), ...cells.map((cell) => peerOf(cell, internal))],
    };
    return this.#lab.write('tsnet.yaml', JSON.stringify(config, null, 1));
  }
  /** Starts anew after its end, with other networks. */
  async again(networks: readonly string[]): Promise<void> {
    this.#settings = { ...this.#settings, networks };
    this.program = this.#start();
    await this.ready();
  }
  /** Other networks for the one that runs. */
  announce(networks: readonly string[]): void {
    this.#settings = { ...this.#settings, networks };
    this.#write();
    this.program.signal('SIGHUP');
  }
  /** The table's paths for the prefix, or with `advertised` what the peer is told and why not. */
  async routes(query: { prefix: string; advertised?: string }): Promise<RouteInfo[]> {
    return (await callControl(this.#socket, 'bgp.routes', query)) as RouteInfo[];
  }
  /** Waits until the control socket answers. */
  ready(): Promise<void> {
    return until('the control socket', () =>
      this.peers().then(
        () => null,
        (error: Error) => error.message,
      ),
    );
  }
  async peers(): Promise<Map<string, PeerStatus>> {
    const all = (await callControl(this.#socket, 'bgp.peers')) as PeerStatus[];
    return new Map(all.map((peer) => [peer.address, peer]));
  }
  /** Asks the peer for all routes again. */
  async refresh(peer: string): Promise<void> {
    await callControl(this.#socket, 'bgp.refresh', { peer });
  }
  /** What the peer has told us and we accepted, our own routes that come back aside. */
  async received(address: string): Promise<Seen[]> {
    const all = (await callControl(this.#socket, 'bgp.routes', { received: address })) as RouteInfo[];
    return all.map(
      ({ prefix, nextHops, asPath, communities, largeCommunities, med, stale, originatorId, clusterList }) => ({
        prefix,
        nextHop: nextHops[0],
        asPath: asPath.flatMap((step) => (typeof step === 'number' ? [step] : step.set)),
        communities,
        large: largeCommunities,
        extended: [],
        med,
        stale,
        originatorId,
        clusterList,
      }),
    );
  }
}
