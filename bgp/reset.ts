import type { PeerConfig } from './types.ts';

/** What a change of a peer's setting does to its session; the one place that says so. */
export type Effect = 'none' | 'policy' | 'session';

/**
 * `none`: takes effect by itself. `policy`: routes are judged anew, the session stays. `session`: Cease/Other Configuration Change (RFC 4486), and the
 * session begins anew.
 */
export const EFFECTS: Readonly<Record<keyof PeerConfig, Effect>> = {
  name: 'session',
  type: 'none',
  resource: 'none',
  address: 'session',
  port: 'session',
  asNumbers: 'session',
  range: 'session',
  maxPeers: 'none',
  localAs: 'session',
  localAddress: 'session',
  passive: 'session',
  families: 'session',
  password: 'session',
  missingPassword: 'session',
  ttlSecurity: 'session',
  routeReflectorClient: 'session',
  addPath: 'session',
  gracefulRestart: 'session',
  holdTime: 'session',
  keepaliveTime: 'session',
  nextHop: 'policy',
  nextHopSelf: 'policy',
  maxPrefixes: 'none',
  maxPrefixesOut: 'none',
  allowOwnAs: 'policy',
  bfd: 'session',
  role: 'session',
  requirePolicy: 'policy',
  reachableBy: 'none',
  importPolicy: 'policy',
  exportPolicy: 'policy',
  filterNames: 'none',
};

const STRENGTH: readonly Effect[] = ['none', 'policy', 'session'];

/** The strongest effect of the fields that differ. */
export function changeOf(before: PeerConfig, after: PeerConfig): Effect {
  let effect: Effect = 'none';
  for (const field of Object.keys(EFFECTS) as (keyof PeerConfig)[])
    if (JSON.stringify(before[field]) !== JSON.stringify(after[field]))
      if (STRENGTH.indexOf(EFFECTS[field]) > STRENGTH.indexOf(effect)) effect = EFFECTS[field];
  return effect;
}
