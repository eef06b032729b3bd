import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Cell, OUR_AS, PASSWORD, type Seen, THEIR_AS, THEIR_COMMUNITIES, THEIR_MED } from '../cells.ts';
import { startExabgp } from '../feeder.ts';
import type { Lab, Program } from '../lab.ts';
import type { Daemon, DaemonKind, DaemonSettings } from './types.ts';

/** ExaBGP 4.2.21: it says what its file says, and what it hears it writes as JSON lines; it has no table. */
export const exabgp: DaemonKind = {
  name: 'ExaBGP',
  lacks: {},
  speaksOnly: true,
  refresh: {
    asks: true,
    answers: 'it closes the connection without a word when a ROUTE-REFRESH comes',
    borders: true,
    knowsBorders: true,
  },
  omits: ({ feature, dial, carries }) =>
    feature === 'gtsm' && dial === 'we' && carries === 'v6'
      ? 'a socket that listens on IPv6 gets the TTL of IPv4 set, and answers with a hop limit of 64'
      : null,
  restartLacks: { helping: 'it has no table in which it could keep routes' },
  create: (lab, settings) => new Exabgp(lab, settings),
};

const CAPABILITIES: Partial<Record<Cell['feature'], string>> = {
  restart: 'graceful-restart 60;',
  'add-path': 'add-path send/receive;',
  as2: 'asn4 disable;',
};
const FEATURE_LINES: Partial<Record<Cell['feature'], string>> = {
  md5: `md5-password "${PASSWORD}";`,
  gtsm: 'outgoing-ttl 255; incoming-ttl 255;',
};

function neighbourOf(cell: Cell, routes: readonly string[], internal: boolean): string {
  const marks = `med ${THEIR_MED} community [ ${THEIR_COMMUNITIES.standard} ] large-community [ ${THEIR_COMMUNITIES.large} ]`;
  const id = cell.feature === 'add-path' ? 'path-information 0.0.0.7' : '';
  const announce = cell.families.map((family) => {
    const own = routes.filter((prefix) => prefix.includes(':') === (family === 6));
    return `ipv${family} { ${own.map((p) => `unicast ${p} next-hop ${cell.theirHops[family]} ${marks} ${id};`).join(' ')} }`;
  });
  return `neighbor ${cell.ours} {
  router-id 10.99.1.1;
  local-address ${cell.theirs};
  local-as ${internal ? OUR_AS : THEIR_AS};
  peer-as ${OUR_AS};
  hold-time 90;
  ${cell.dial === 'we' ? 'passive;' : ''}
  ${cell.dial === 'they' ? '' : 'listen 179;'}
  ${FEATURE_LINES[cell.feature] ?? ''}
  capability { asn4 enable; route-refresh enable; ${CAPABILITIES[cell.feature] ?? ''} }
  family { ${cell.families.map((family) => `ipv${family} unicast;`).join(' ')} }
  api { processes [ notes ]; neighbor-changes; receive { parsed; update; notification; } }
  announce { ${announce.join(' ')} }
}`;
}

class Exabgp implements Daemon {
  readonly #lab: Lab;
  readonly #settings: DaemonSettings;
  #notes = '';
  #commands = '';
  #starts = 0;

  constructor(lab: Lab, settings: DaemonSettings) {
    this.#lab = lab;
    this.#settings = settings;
  }
  start(routes: readonly string[]): Promise<Program> {
    const { cells, internal } = this.#settings;
    this.#notes = join(this.#lab.dir, `exabgp-${this.#starts++}.jsonl`);
    // What the process writes are commands to ExaBGP, what it reads are events.
    this.#commands = this.#lab.write(`commands-${this.#starts}`, '', 0o644);
    const script = `#!/bin/sh\ntail -f --pid=$$ ${this.#commands} &\nexec cat > ${this.#notes}\n`;
    const writer = this.#lab.write('notes.sh', script, 0o755);
    const config = [
      `process notes { run ${writer}; encoder json; }`,
      ...cells.map((cell) => neighbourOf(cell, routes, internal)),
    ].join('\n');
    return Promise.resolve(startExabgp(this.#lab, 'theirs', 'exabgp', config));
  }
  /** What it has noted, by our address of the session. */
  #events(): Map<string, Note[]> {
    const found = new Map<string, Note[]>();
    if (!existsSync(this.#notes)) return found;
    // The last line may not be written to its end.
    for (const line of readFileSync(this.#notes, 'utf8').split('\n').slice(0, -1)) {
      // Answers to commands are no events.
      if (!line.startsWith('{')) continue;
      const note = JSON.parse(line) as Note;
      const address = note.neighbor?.address.peer ?? '';
      const known = found.get(address);
      if (known) known.push(note);
      else found.set(address, [note]);
    }
    return found;
  }
  established(): Promise<Set<string>> {
    const events = this.#events();
    const isUp = ({ ours }: Cell) =>
      (events.get(ours) ?? []).filter(({ type }) => type === 'state').at(-1)?.neighbor?.state === 'up';
    return Promise.resolve(new Set(this.#settings.cells.filter(isUp).map(({ id }) => id)));
  }
  received(): Promise<Map<string, Seen[]>> {
    const events = this.#events();
    return Promise.resolve(
      new Map(this.#settings.cells.map((cell) => [cell.id, tableOf(events.get(cell.ours) ?? [])])),
    );
  }
  refresh({ ours, families }: Cell): Promise<void> {
    for (const family of families)
      appendFileSync(this.#commands, `neighbor ${ours} announce route-refresh ipv${family} unicast\n`);
    return Promise.resolve();
  }
  shutdown(): Promise<void> {
    return Promise.reject(new Error('ExaBGP is in no operation'));
  }
  lastEnd(cell: Cell): Promise<string> {
    return Promise.resolve(JSON.stringify((this.#events().get(cell.ours) ?? []).slice(-10)));
  }
}

interface Nlri {
  readonly nlri: string;
  readonly 'path-information'?: string;
}
interface Note {
  readonly type: string;
  readonly neighbor?: {
    readonly address: { readonly peer: string };
    readonly state?: string;
    readonly message?: {
      readonly update?: {
        readonly attribute?: Attributes;
        readonly announce?: Readonly<Record<string, Readonly<Record<string, readonly Nlri[]>>>>;
        readonly withdraw?: Readonly<Record<string, readonly Nlri[]>>;
      };
    };
  };
}
interface Attributes {
  readonly 'as-path'?: readonly number[];
  readonly med?: number;
  readonly community?: readonly (readonly [number, number])[];
  readonly 'extended-community'?: readonly { readonly string: string }[];
  readonly 'large-community'?: readonly (readonly [number, number, number])[];
  readonly 'originator-id'?: string;
  readonly 'cluster-list'?: readonly string[];
}

/** The table that its notes make: the last word of a path counts, and the end of a session ends all. */
function tableOf(notes: readonly Note[]): Seen[] {
  const table = new Map<string, Seen>();
  const keyOf = (nlri: Nlri) => `${nlri.nlri} ${nlri['path-information'] ?? ''}`;
  for (const { type, neighbor } of notes) {
    if (type === 'state' && neighbor?.state !== 'up') table.clear();
    const update = neighbor?.message?.update;
    for (const gone of Object.values(update?.withdraw ?? {})) for (const nlri of gone) table.delete(keyOf(nlri));
    for (const byHop of Object.values(update?.announce ?? {}))
      for (const [nextHop, all] of Object.entries(byHop))
        for (const nlri of all) table.set(keyOf(nlri), seen(nlri.nlri, nextHop, update?.attribute ?? {}));
  }
  return [...table.values()];
}

const seen = (prefix: string, nextHop: string, attributes: Attributes): Seen => ({
  prefix,
  nextHop,
  asPath: attributes['as-path'] ?? [],
  communities: (attributes.community ?? []).map((c) => c.join(':')),
  extended: (attributes['extended-community'] ?? []).map(({ string }) => string.replace('target', 'rt')),
  large: (attributes['large-community'] ?? []).map((c) => c.join(':')),
  med: attributes.med ?? null,
  stale: false,
  originatorId: attributes['originator-id'] ?? null,
  clusterList: attributes['cluster-list'] ?? [],
});
