import { join } from 'node:path';
import { callControl, type PeerStatus, type RouteInfo } from '#bgp';
import {
  type Cell,
  FEEDERS,
  OUR_AS,
  OUR_COMMUNITIES,
  OUR_MAIN,
  OUR_ROUTES,
  PASSWORD,
  type Seen,
  THEIR_AS,
} from './cells.ts';
import { type Lab, type Program, until } from './lab.ts';

/** tsnet-bgpd from bin/, configured for a set of cells, and asked over its control socket. */

const PROGRAM = join(import.meta.dirname, '../../bin/tsnet-bgpd');

export interface Settings {
  readonly cells: readonly Cell[];
  /** External BGP with the daemon in an AS of its own, or internal with everybody our reflector client. */
  readonly internal: boolean;
  readonly networks?: readonly string[];
}

const FEATURE_KEYS: Partial<Record<Cell['feature'], object>> = {
  md5: { password: PASSWORD },
  'wrong key': { password: 'not what they think' },
  gtsm: { ttlSecurity: 1 },
  'too far': { ttlSecurity: 1 },
  restart: { gracefulRestart: { restartTime: 60 } },
  'add-path': { addPath: 'both' },
  limit: { maxPrefixes: 1 },
  hold: { holdTime: 3 },
};

function peerOf(cell: Cell, internal: boolean): object {
  const { add, large } = { add: OUR_COMMUNITIES.standard, large: OUR_COMMUNITIES.large };
  const mark = (value: string) => ({ addCommunity: { value } });
  const own = [...OUR_ROUTES[4], ...OUR_ROUTES[6]].map((cidr) => ({
    action: 'Accept',
    cidr,
    matchOperator: 'Equal',
    operations: [mark(add), mark(large)],
  }));
  return {
    address: cell.theirs,
    localAddress: cell.ours,
    asNumber: internal ? OUR_AS : THEIR_AS,
    passive: cell.dial === 'they',
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
    const config = {
      asNumber: OUR_AS,
      routerId: '10.99.0.1',
      listen: [{ address: '0.0.0.0' }, { address: '::' }],
      connectRetry: 1,
      ...(internal && { clusterId: '10.99.0.1' }),
      networks: networks ?? [...OUR_ROUTES[4], ...OUR_ROUTES[6]],
      peers: [...feeders, ...cells.map((cell) => peerOf(cell, internal))],
    };
    return this.#lab.write('tsnet.yaml', JSON.stringify(config, null, 1));
  }
  /** Starts anew after its end, with other networks. */
  async again(networks: readonly string[]): Promise<void> {
    this.#settings = { ...this.#settings, networks };
    this.program = this.#start();
    await this.ready();
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
        med,
        stale,
        originatorId,
        clusterList,
      }),
    );
  }
}
