import { type Family, familyOf } from '#core';
import { addrToId } from '../attributes.ts';
import type { SessionConfig } from '../fsm/types.ts';
import type { PeerConfig, SpeakerConfig } from '../types.ts';
import { afiOf, ROLES, unicast } from '../wire/codes.ts';
import type { Capability } from '../wire/types.ts';

/** What we say in OPEN, and what we want to hear, from the configuration. */

/** Our AS as the peer is told. */
export const localAsOf = (speaker: SpeakerConfig, peer: PeerConfig): number => peer.localAs ?? speaker.asNumber;

export function sessionConfig(speaker: SpeakerConfig, peer: PeerConfig, restarting: boolean): SessionConfig {
  const localAs = localAsOf(speaker, peer);
  const keepalive = peer.keepaliveTime === undefined ? null : peer.keepaliveTime * 1000;
  return {
    passive: peer.passive || peer.range !== undefined,
    open: {
      asNumber: localAs,
      holdTime: peer.holdTime ?? speaker.holdTime,
      identifier: addrToId(speaker.routerId),
      capabilities: capabilities(speaker, peer, restarting),
    },
    expected: { asNumbers: peer.asNumbers, localAs },
    connectRetry: speaker.connectRetry,
    keepalive,
  };
}

function capabilities(speaker: SpeakerConfig, peer: PeerConfig, restarting: boolean): Capability[] {
  const { families } = peer;
  const list: Capability[] = families.map((family) => ({ name: 'multiprotocol', ...unicast(family) }));
  list.push({ name: 'route-refresh' }, { name: 'enhanced-route-refresh' }, { name: 'extended-message' });
  list.push({ name: 'four-octet-as', asNumber: localAsOf(speaker, peer) });
  // RFC 8950 is of use where the peers meet over IPv6.
  if (families.includes(4) && familyOf(peer.address) === 6)
    list.push({ name: 'extended-next-hop', tuples: [{ ...unicast(4), nextHopAfi: afiOf(6) }] });
  const { receive, send } = peer.addPath;
  if (receive || send)
    list.push({ name: 'add-path', families: families.map((f) => ({ ...unicast(f), receive, send })) });
  if (peer.role !== undefined) list.push({ name: 'role', role: ROLES.indexOf(peer.role) });
  if (peer.gracefulRestart) list.push(...restartCapabilities(peer.gracefulRestart, families, restarting));
  return list;
}

function restartCapabilities(
  { restartTime, longLivedSeconds }: NonNullable<PeerConfig['gracefulRestart']>,
  families: readonly Family[],
  restarting: boolean,
): Capability[] {
  const list: Capability[] = [
    {
      name: 'graceful-restart',
      restarting,
      notification: true,
      restartTime: Math.min(4095, restartTime),
      // Our routes are in the kernel, which goes on forwarding without us.
      families: families.map((family) => ({ ...unicast(family), forwarding: restarting })),
    },
  ];
  if (longLivedSeconds)
    list.push({
      name: 'long-lived-graceful-restart',
      families: families.map((family) => ({ ...unicast(family), forwarding: restarting, staleTime: longLivedSeconds })),
    });
  return list;
}
