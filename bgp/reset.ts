import type { PeerConfig } from './types.ts';

/** What a change of a peer's setting does to its session; the one place that says so. */
export type Effect = 'none' | 'policy' | 'connection' | 'session';

/**
 * `none`: takes effect by itself. `policy`: routes are judged anew, the session stays. `connection`: Cease/Other Configuration Change (RFC 4486) and a
 * new connection; with graceful restart after notifications (RFC 8538) both sides keep the routes meanwhile. `session`: the same Cease, and everything
 * begins anew, routes included, because they may mean something else now.
 */
export const EFFECTS: Readonly<Record<keyof PeerConfig, Effect>> = {
  name: 'session',
  type: 'none',
  resource: 'none',
  address: 'session',
  port: 'connection',
  asNumbers: 'session',
  range: 'session',
  maxPeers: 'none',
  localAs: 'session',
  localAddress: 'connection',
  passive: 'connection',
  families: 'session',
  password: 'connection',
  missingPassword: 'connection',
  ttlSecurity: 'connection',
  routeReflectorClient: 'session',
  addPath: 'session',
  gracefulRestart: 'session',
  holdTime: 'connection',
  keepaliveTime: 'connection',
  nextHop: 'policy',
  nextHopSelf: 'policy',
  maxPrefixes: 'none',
  maxPrefixesOut: 'none',
  allowOwnAs: 'policy',
  bfd: 'connection',
  role: 'session',
  requirePolicy: 'policy',
  reachableBy: 'none',
  importPolicy: 'policy',
  exportPolicy: 'policy',
  filterNames: 'none',
};

const STRENGTH: readonly Effect[] = ['none', 'policy', 'connection', 'session'];

/** The strongest effect of the fields that differ. */
export function changeOf(before: PeerConfig, after: PeerConfig): Effect {
  let effect: Effect = 'none';
  for (const field of Object.keys(EFFECTS) as (keyof PeerConfig)[])
    if (JSON.stringify(before[field]) !== JSON.stringify(after[field]))
      if (STRENGTH.indexOf(EFFECTS[field]) > STRENGTH.indexOf(effect)) effect = EFFECTS[field];
  return effect;
}
