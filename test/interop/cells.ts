import { type Addr, addr } from '#core';

/** The matrix as data: each cell is one session between tsnet-bgpd and a daemon, with addresses of its own. */

export const DIALS = ['we', 'they', 'both'] as const;
export const CARRIES = ['v4', 'v6', 'v4+v6'] as const;
export const FEATURES = ['plain', 'md5', 'gtsm', 'restart', 'add-path', 'as2', 'refresh'] as const;
export type Dial = (typeof DIALS)[number];
export type Carries = (typeof CARRIES)[number];
/** `reflector` is internal BGP and has a set-up of its own; the others stand beside the matrix, and are sessions too. */
export type Feature = (typeof FEATURES)[number] | 'reflector' | 'wrong key' | 'too far' | 'limit' | 'hold';

export interface Cell {
  readonly feature: Feature;
  readonly dial: Dial;
  readonly carries: Carries;
  /** Unique in its set-up, and a word that every daemon takes as a name. */
  readonly id: string;
  readonly families: readonly (4 | 6)[];
  /** The ends of the session. */
  readonly ours: Addr;
  readonly theirs: Addr;
  /** Next hops towards the other side, whatever the session runs over. */
  readonly ourHops: Readonly<Record<4 | 6, Addr>>;
  readonly theirHops: Readonly<Record<4 | 6, Addr>>;
}

export const OUR_AS = 65000;
export const THEIR_AS = 65100;
/** Wide AS numbers: peers that know two octets see 23456 and AS4_PATH. */
export const FEEDERS = [
  { asNumber: 4200000201, address: { 4: addr('10.99.2.1'), 6: addr('fd99::c:1') } },
  { asNumber: 4200000202, address: { 4: addr('10.99.2.2'), 6: addr('fd99::c:2') } },
] as const;
/** Where the feeders find the two speakers. */
export const OUR_MAIN = { 4: addr('10.99.0.1'), 6: addr('fd99::a:1') } as const;
export const THEIR_MAIN = { 4: addr('10.99.1.1'), 6: addr('fd99::b:1') } as const;
export const PASSWORD = 'a_shared_secret';

const FAMILIES_OF: Readonly<Record<Carries, readonly (4 | 6)[]>> = { v4: [4], v6: [6], 'v4+v6': [4, 6] };

/** Every cell of the features, and single sessions for the faults. */
export function cellsOf(features: readonly Feature[], extra: readonly Feature[] = []): Cell[] {
  const wanted = features.flatMap((feature) =>
    DIALS.flatMap((dial) => CARRIES.map((carries) => ({ feature, dial, carries }))),
  );
  const single = extra.map((feature) => ({ feature, dial: 'we', carries: 'v4' }) as const);
  return [...wanted, ...single].map(({ feature, dial, carries }, i) => {
    const at = 10 + i;
    const hex = at.toString(16);
    const ourHops = { 4: addr(`10.99.0.${at}`), 6: addr(`fd99::a:${hex}`) };
    const theirHops = { 4: addr(`10.99.1.${at}`), 6: addr(`fd99::b:${hex}`) };
    const over = carries === 'v6' ? 6 : 4;
    const id = `s${i}_${feature.replaceAll(/\W/g, '')}`;
    const families = FAMILIES_OF[carries];
    return { feature, dial, carries, id, families, ours: ourHops[over], theirs: theirHops[over], ourHops, theirHops };
  });
}

export const nameOf = ({ feature, dial, carries }: Cell): string =>
  `${feature}, ${{ we: 'we dial', they: 'they dial', both: 'both dial' }[dial]}, ${carries}`;

/** What each side originates. The last of each list is there before a restart only. */
export const OUR_ROUTES = {
  4: ['10.10.0.0/24', '10.10.1.0/26', '10.10.1.64/32', '10.10.9.0/24'],
  6: ['fd10::/48', 'fd10:0:1::/64', 'fd10:0:1::1/128', 'fd10:0:9::/48'],
} as const;
export const THEIR_ROUTES = {
  4: ['10.20.0.0/24', '10.20.1.0/25', '10.20.9.0/24'],
  6: ['fd20::/48', 'fd20:0:1::/64', 'fd20:0:9::/48'],
} as const;
/** From both feeders to both speakers. */
export const FED_ROUTES = { 4: ['10.30.0.0/24', '10.30.1.0/24'], 6: ['fd30::/48', 'fd30:0:1::/48'] } as const;

export const OUR_COMMUNITIES = { standard: '65000:4', large: '65000:4:2' } as const;
export const THEIR_COMMUNITIES = { standard: '65100:7', large: '65100:1:2' } as const;
export const FED_COMMUNITIES = { standard: '65200:9', large: '4200000201:9:9' } as const;
export const THEIR_MED = 50;

/** A route as either end says it got it. */
export interface Seen {
  readonly prefix: string;
  readonly nextHop: string;
  readonly asPath: readonly number[];
  readonly communities: readonly string[];
  readonly large: readonly string[];
  readonly med: number | null;
  readonly stale: boolean;
  readonly originatorId: string | null;
  readonly clusterList: readonly string[];
}
