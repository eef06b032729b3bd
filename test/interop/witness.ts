import { join } from 'node:path';
import { callControl, type RouteInfo } from '#bgp';
import { OUR_AS, OUR_MAIN, WITNESS } from './cells.ts';
import type { Lab } from './lab.ts';
import { PROGRAM } from './speaker.ts';

export interface Witness {
  /** Routes within the network. */
  count(within: string): Promise<number>;
}

/** A neighbour between the two, who gets what the daemon gets: a tsnet-bgpd that only listens. */
export function startWitness(lab: Lab): Witness {
  const socket = join(lab.dir, 'witness.sock');
  const config = {
    asNumber: WITNESS.asNumber,
    routerId: WITNESS.address,
    listen: { address: WITNESS.address },
    peers: [
      {
        address: OUR_MAIN[4],
        localAddress: WITNESS.address,
        asNumber: OUR_AS,
        passive: true,
        families: ['ipv4', 'ipv6'],
      },
    ],
  };
  const path = lab.write('witness.yaml', JSON.stringify(config));
  lab.start('between', 'witness', [PROGRAM, '--config', path, '--socket', socket]);
  return {
    count: async (within) =>
      ((await callControl(socket, 'bgp.routes', { prefix: within, longer: true })) as RouteInfo[]).length,
  };
}
