import { bird } from './bird.ts';
import { exabgp } from './exabgp.ts';
import { frr } from './frr.ts';
import { gobgp } from './gobgp.ts';
import { openbgpd } from './openbgpd.ts';
import type { DaemonKind } from './types.ts';

/** All of them; with DAEMON=NAME that one alone, for whoever works on it. */
export const KINDS: readonly DaemonKind[] = [bird, frr, gobgp, openbgpd, exabgp].filter(
  ({ name }) => (process.env.DAEMON ?? name) === name,
);
