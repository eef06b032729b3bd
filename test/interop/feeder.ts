import { FED_COMMUNITIES, FED_ROUTES, FEEDERS, OUR_AS, OUR_MAIN, THEIR_AS, THEIR_MAIN } from './cells.ts';
import type { Lab, Program } from './lab.ts';

/** Two routers that tell both speakers the same prefixes: ExaBGP between them. */
export function startFeeders(lab: Lab, internal: boolean): Program {
  const neighbours = FEEDERS.flatMap(({ address, asNumber, identifier }) =>
    [
      { to: OUR_MAIN, asTo: OUR_AS },
      { to: THEIR_MAIN, asTo: internal ? OUR_AS : THEIR_AS },
    ].map(({ to, asTo }) => {
      const routes = ([4, 6] as const).flatMap((family) =>
        FED_ROUTES[family].map((prefix) => {
          const { standard, large, extended } = FED_COMMUNITIES;
          const target = `extended-community [ ${extended.replace('rt', 'target')} ]`;
          const marks = `community [ ${standard} ] large-community [ ${large} ] ${target}`;
          return `unicast ${prefix} next-hop ${address[family]} ${marks};`;
        }),
      );
      const of = (family: number) => routes.filter((line) => line.split(' ')[1].includes(':') === (family === 6));
      return `neighbor ${to[4]} {
  router-id ${identifier};
  local-address ${address[4]};
  local-as ${internal ? OUR_AS : asNumber};
  peer-as ${asTo};
  hold-time 90;
  capability { asn4 enable; extended-message disable; }
  family { ipv4 unicast; ipv6 unicast; }
  announce {
    ipv4 { ${of(4).join(' ')} }
    ipv6 { ${of(6).join(' ')} }
  }
}`;
    }),
  );
  return startExabgp(lab, 'between', 'feeder', neighbours.join('\n'));
}

/** ExaBGP in the foreground, without its command line's pipes. */
export function startExabgp(lab: Lab, place: 'between' | 'theirs', name: string, config: string): Program {
  const path = lab.write(`${name}.exabgp`, `${config}\n`, 0o644);
  const settings = {
    'exabgp.daemon.user': 'root',
    'exabgp.daemon.daemonize': 'false',
    'exabgp.api.cli': 'false',
    'exabgp.log.level': 'INFO',
    'exabgp.log.destination': 'stdout',
    'exabgp.log.parser': 'false',
    'exabgp.bgp.openwait': '20',
  };
  const env = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
  return lab.start(place, name, ['env', ...env, 'exabgp', path]);
}
