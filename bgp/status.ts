import type { Family } from '#core';
import type { Peer } from './peer.ts';
import type { Rib } from './rib/rib.ts';
import { localAsOf } from './session/open.ts';
import type { FamilyName, PeerStatus, SpeakerConfig } from './types.ts';

export const familyName = (family: Family): FamilyName => (family === 4 ? 'ipv4' : 'ipv6');

/** What `bgp peers` says of one. */
export function peerStatus(peer: Peer, ribs: Readonly<Record<Family, Rib>>, speaker: SpeakerConfig): PeerStatus {
  const { config, machine, negotiated } = peer;
  const link = machine.anyLink;
  const up = machine.state === 'Established';
  const prefixes: PeerStatus['prefixes'] = {};
  for (const family of negotiated?.families ?? config.families)
    prefixes[familyName(family)] = {
      ...ribs[family].countsOf(peer.index),
      advertised: peer.outbound?.advertised(family) ?? 0,
      ...(config.maxPrefixes !== undefined && { limit: config.maxPrefixes }),
    };
  return {
    address: config.address,
    port: config.port,
    asNumber: negotiated?.peerAs ?? config.asNumbers[0],
    localAsNumber: localAsOf(speaker, config),
    localAddress: link?.tcp.localAddress ?? config.localAddress ?? null,
    localPort: link?.tcp.localPort ?? null,
    type: config.type,
    resource: config.resource,
    state: machine.state,
    since: peer.since.toISOString(),
    passive: config.passive,
    families: (negotiated?.families ?? config.families).map(familyName),
    md5: config.password !== undefined,
    ttlSecurity: config.ttlSecurity ?? null,
    routeReflectorClient: config.routeReflectorClient,
    clusterId: speaker.clusterId ?? null,
    allowedOwnAs: config.allowOwnAs,
    filters: [...config.filterNames],
    nextHop: config.nextHop,
    holdTime: negotiated?.holdTime ?? null,
    keepaliveTime: negotiated ? keepaliveTime(negotiated.holdTime, config.keepaliveTime) : null,
    restartTime: config.gracefulRestart?.restartTime ?? null,
    addPath: config.addPath,
    bfd: peer.bfdState === null ? null : { state: peer.bfdState },
    prefixes,
    messages: structuredClone(machine.messages),
    faults: peer.faults.counts,
    flaps: peer.flaps,
    lastError: machine.lastError,
    reason: up ? null : reasonOf(peer),
  };
}

const keepaliveTime = (hold: number, own: number | undefined): number => Math.min(own ?? hold / 3, hold / 3);

function reasonOf({ obstacle, machine, config }: Peer): string {
  if (obstacle !== null) return obstacle;
  const waits = config.passive ? 'waits for the peer to connect' : 'tries to connect';
  const md5 =
    config.password !== undefined && machine.session.connections.length === 0
      ? '; no TCP answer, TCP-MD5 is configured'
      : '';
  return machine.lastError === null ? `${waits}${md5}` : `${machine.lastError}${md5}`;
}
