import { type Addr, addr } from '#core';

/** The matrix as data: each cell is one session between tsnet-bgpd and a daemon, with addresses of its own. */

export const DIALS = ['we', 'they', 'both'] as const;
export const CARRIES = ['v4', 'v6', 'v4+v6'] as const;
/** What an operator configures beside the matrix, and what goes wrong: one session each. */
export const OPERATIONS = [
  'slow',
  'bfd',
  'text',
  'limit',
  'out limit',
  'their limit',
  'llgr',
  'customer',
  'provider',
  'peer',
  'wrong role',
  'over v6',
  'range',
  'own as',
  'local as',
  'hold',
  'gshut',
  'too far',
  'range too far',
  'wrong key',
] as const;
export type Operation = (typeof OPERATIONS)[number];
export const FEATURES = ['plain', 'md5', 'gtsm', 'restart', 'add-path', 'as2', 'refresh'] as const;
export type Dial = (typeof DIALS)[number];
export type Carries = (typeof CARRIES)[number] | 'v4 over v6';
/** `reflector` is internal BGP and has a set-up of its own. */
export type Feature = (typeof FEATURES)[number] | 'reflector' | Operation;

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
/** What the peer of the `local as` cell knows us by. */
export const SHOWN_AS = 65010;
export const ourAsFor = ({ feature }: Cell): number => (feature === 'local as' ? SHOWN_AS : OUR_AS);
/** Who sees that others are not held up: another tsnet-bgpd, between the two. */
export const WITNESS = { asNumber: 65300, address: addr('10.99.2.9'), six: addr('fd99::c:9') } as const;
/** Wide AS numbers: peers that know two octets see 23456 and AS4_PATH. */
export const FEEDERS = [
  { asNumber: 4200000201, identifier: '10.99.2.1', address: { 4: addr('10.99.2.1'), 6: addr('fd99::c:1') } },
  { asNumber: 4200000202, identifier: '10.99.2.2', address: { 4: addr('10.99.2.2'), 6: addr('fd99::c:2') } },
] as const;
/** Where the feeders find the two speakers. */
export const OUR_MAIN = { 4: addr('10.99.0.1'), 6: addr('fd99::a:1') } as const;
export const THEIR_MAIN = { 4: addr('10.99.1.1'), 6: addr('fd99::b:1') } as const;
export const PASSWORD = 'a_shared_secret';

const FAMILIES_OF: Readonly<Record<Carries, readonly (4 | 6)[]>> = {
  v4: [4],
  v6: [6],
  'v4+v6': [4, 6],
  'v4 over v6': [4],
};
/** Operations that are not just IPv4 where we dial. */
const SHAPES: Partial<Record<Operation, { readonly dial?: Dial; readonly carries?: Carries }>> = {
  slow: { carries: 'v4+v6' },
  'over v6': { carries: 'v4 over v6' },
  range: { dial: 'they' },
  'range too far': { dial: 'they' },
};

interface Kind {
  readonly feature: Feature;
  readonly dial: Dial;
  readonly carries: Carries;
}

/** Every cell of the features. */
export const cellsOf = (features: readonly Feature[]): Cell[] =>
  numbered(
    features.flatMap((feature) => DIALS.flatMap((dial) => CARRIES.map((carries) => ({ feature, dial, carries })))),
  );

/** A session for each operation. */
export const operationCells = (operations: readonly Operation[]): Cell[] =>
  numbered(operations.map((feature) => ({ feature, dial: 'we', carries: 'v4', ...SHAPES[feature] })));

const numbered = (kinds: readonly Kind[]): Cell[] =>
  kinds.map(({ feature, dial, carries }, i) => {
    const at = 10 + i;
    const hex = at.toString(16);
    const four = { ours: addr(`10.99.0.${at}`), theirs: addr(`10.99.1.${at}`) };
    const six = { ours: addr(`fd99::a:${hex}`), theirs: addr(`fd99::b:${hex}`) };
    const over = carries === 'v6' || carries === 'v4 over v6' ? six : four;
    const crossing = carries === 'v4 over v6' ? six : four;
    return {
      feature,
      dial,
      carries,
      id: `s${i}_${feature.replaceAll(/\W/g, '')}`,
      families: FAMILIES_OF[carries],
      ...over,
      ourHops: { 4: crossing.ours, 6: six.ours },
      theirHops: { 4: crossing.theirs, 6: six.theirs },
    };
  });

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
/** The extended one is carried unread (RFC 4360): neither rule nor listing of ours knows it. */
export const FED_COMMUNITIES = { standard: '65200:9', large: '4200000201:9:9', extended: 'rt:65200:7' } as const;
export const THEIR_MED = 50;
/** GRACEFUL_SHUTDOWN (RFC 8326) and LLGR_STALE (RFC 9494), as everybody prints them. */
export const GSHUT = '65535:0';
export const LLGR_STALE = '65535:6';

/** A route as either end says it got it. */
export interface Seen {
  readonly prefix: string;
  readonly nextHop: string;
  readonly asPath: readonly number[];
  readonly communities: readonly string[];
  readonly large: readonly string[];
  /** `rt:AS:NUMBER`. */
  readonly extended: readonly string[];
  readonly med: number | null;
  readonly stale: boolean;
  readonly originatorId: string | null;
  readonly clusterList: readonly string[];
}
