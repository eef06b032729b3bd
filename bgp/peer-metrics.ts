import type { Metrics } from '#core';
import type { PeerStatus, SessionState } from './types.ts';

const STATES: readonly SessionState[] = ['Idle', 'Connect', 'Active', 'OpenSent', 'OpenConfirm', 'Established'];

/** Beyond this many peers only the sums by state are told: one series a peer on every node of a mesh grows with the square of the nodes. */
const MOST_PEERS = 64;

/** Metrics of the sessions, computed when they are scraped, from the same values that `tsnetctl bgp peers` prints. */
export function declarePeerMetrics(metrics: Metrics, peers: () => readonly PeerStatus[]): void {
  const each = () => {
    const all = peers();
    return all.length <= MOST_PEERS ? all : [];
  };
  const perPeer = ['peer'] as const;
  metrics.gauge('tsnet_bgp_sessions', 'BGP sessions, by state', ['state'], (gauge) => {
    const counts = new Map<SessionState, number>(STATES.map((state) => [state, 0]));
    for (const { state } of peers()) counts.set(state, (counts.get(state) ?? 0) + 1);
    for (const [state, count] of counts) gauge.set({ state }, count);
  });
  metrics.gauge(
    `tsnet_bgp_peer_established`,
    `1 while the session is Established; told for up to ${MOST_PEERS} peers`,
    perPeer,
    (gauge) => {
      gauge.reset();
      for (const { address, state } of each()) gauge.set({ peer: address }, state === 'Established' ? 1 : 0);
    },
  );
  metrics.gauge('tsnet_bgp_peer_prefixes', 'Prefixes of the session', ['peer', 'family', 'kind'], (gauge) => {
    gauge.reset();
    for (const { address, prefixes } of each())
      for (const [family, counts] of Object.entries(prefixes))
        for (const [kind, count] of Object.entries(counts)) gauge.set({ peer: address, family, kind }, count);
  });
  metrics.gauge('tsnet_bgp_peer_flaps', 'Times that the session left Established', perPeer, (gauge) => {
    gauge.reset();
    for (const { address, flaps } of each()) gauge.set({ peer: address }, flaps);
  });
  metrics.gauge('tsnet_bgp_peer_faults', 'Faults in UPDATEs of the peer', ['peer', 'kind'], (gauge) => {
    gauge.reset();
    for (const { address, faults } of each())
      for (const [kind, count] of Object.entries(faults)) gauge.set({ peer: address, kind }, count);
  });
  metrics.gauge('tsnet_bgp_peer_messages', 'BGP messages of the session', ['peer', 'type', 'direction'], (gauge) => {
    gauge.reset();
    for (const { address, messages } of each())
      for (const [type, counts] of Object.entries(messages))
        for (const [direction, count] of Object.entries(counts)) gauge.set({ peer: address, type, direction }, count);
  });
}
