import { join } from 'node:path';
import {
  type Cell,
  FEEDERS,
  OUR_AS,
  ourAsFor,
  PASSWORD,
  type Seen,
  THEIR_AS,
  THEIR_COMMUNITIES,
  THEIR_MAIN,
  THEIR_MED,
} from '../cells.ts';
import { type Lab, type Program, until } from '../lab.ts';
import type { Daemon, DaemonKind, DaemonSettings } from './types.ts';

/** BIRD 2.0.12: one protocol a session; text over birdc. */
export const bird: DaemonKind = {
  name: 'BIRD',
  lacks: {},
  refresh: { asks: true, answers: true, borders: true, knowsBorders: true },
  extendedMessages: true,
  create: (lab, settings) => new Bird(lab, settings),
};

const QUICK = 'connect delay time 1; connect retry time 1; error wait time 1,2; startup hold time 20;';

const FEATURE_LINES: Partial<Record<Cell['feature'], string>> = {
  md5: `password "${PASSWORD}";`,
  'wrong key': `password "${PASSWORD}";`,
  gtsm: 'ttl security on;',
  restart: 'graceful restart on; graceful restart time 60;',
  as2: 'enable as4 off;',
  slow: 'enable extended messages on;',
  bfd: 'bfd on;',
  llgr: 'graceful restart on; graceful restart time 1; long lived graceful restart on; long lived stale time 300;',
  customer: 'local role provider;',
  provider: 'local role customer;',
  peer: 'local role peer;',
  'wrong role': 'local role customer;',
  range: `password "${PASSWORD}"; ttl security on;`,
};
const CHANNEL_LINES: Partial<Record<Cell['feature'], string>> = {
  'add-path': 'add paths on;',
  'over v6': 'extended next hop on;',
  'their limit': 'import limit 1 action disable;',
};

function protocolOf(cell: Cell, internal: boolean): string {
  const more = [
    FEATURE_LINES[cell.feature],
    cell.dial === 'we' ? 'passive on;' : '',
    internal ? 'rr client; rr cluster id 10.99.1.1;' : '',
    QUICK,
  ];
  const own = CHANNEL_LINES[cell.feature] ?? '';
  const filter = cell.feature === 'gshut' ? 'leaving' : 'marked';
  const channels = cell.families.map((family) => {
    const crossed = cell.families.length > 1 ? `next hop address ${cell.theirHops[family]};` : '';
    // On one network BIRD would name the feeder itself as next hop.
    const self = internal ? '' : 'next hop self;';
    return `ipv${family} { import all; export filter ${filter}; ${own} ${crossed} ${self} };`;
  });
  const ends = `local ${cell.theirs} as ${internal ? OUR_AS : THEIR_AS}; neighbor ${cell.ours} as ${ourAsFor(cell)}; direct;`;
  return `protocol bgp ${cell.id} { ${ends} ${more.join(' ')} ${channels.join(' ')} }`;
}

function feederProtocol(i: number, internal: boolean): string {
  const { address, asNumber } = FEEDERS[i];
  const own = internal ? OUR_AS : THEIR_AS;
  const ends = `local ${THEIR_MAIN[4]} as ${own}; neighbor ${address[4]} as ${internal ? OUR_AS : asNumber}; direct;`;
  const more = internal ? 'rr client; rr cluster id 10.99.1.1;' : '';
  const channels = [4, 6].map((family) => `ipv${family} { import all; export none; };`);
  return `protocol bgp feeder${i} { ${ends} passive on; ${more} ${QUICK} ${channels.join(' ')} }`;
}

class Bird implements Daemon {
  readonly #lab: Lab;
  readonly #settings: DaemonSettings;
  readonly #socket: string;
  #program: Program | null = null;

  constructor(lab: Lab, settings: DaemonSettings) {
    this.#lab = lab;
    this.#settings = settings;
    this.#socket = join(lab.dir, 'bird.ctl');
  }
  async start(routes: readonly string[], restarted: boolean): Promise<Program> {
    const path = this.#lab.write('bird.conf', this.#config(routes));
    const pid = join(this.#lab.dir, 'bird.pid');
    const command = ['bird', '-f', '-c', path, '-s', this.#socket, '-P', pid, ...(restarted ? ['-R'] : [])];
    this.#program = this.#lab.start('theirs', 'bird', command);
    await until('birdc', async () =>
      (await this.#ask('show status')).includes('up and running') ? null : 'no answer',
    );
    return this.#program;
  }
  #config(routes: readonly string[]): string {
    const { cells, internal } = this.#settings;
    const standard = THEIR_COMMUNITIES.standard.replace(':', ',');
    const large = THEIR_COMMUNITIES.large.replaceAll(':', ',');
    const mark = `bgp_community.add((${standard})); bgp_large_community.add((${large}));`;
    const own = [4, 6].map((family) => {
      const lines = routes
        .filter((prefix) => prefix.includes(':') === (family === 6))
        .map((prefix) => `route ${prefix} blackhole { ${mark} };`);
      return `protocol static own${family} { ipv${family}; ${lines.join(' ')} }`;
    });
    return [
      'router id 10.99.1.1;',
      'log stderr all;',
      'graceful restart wait 15;',
      'protocol device { scan time 5; }',
      // A MED that does not come from the export filter stays inside.
      `filter marked { if source = RTS_STATIC then bgp_med = ${THEIR_MED}; accept; }`,
      `filter leaving { if source = RTS_STATIC then bgp_med = ${THEIR_MED}; bgp_community.add((65535,0)); accept; }`,
      'protocol bfd { interface "wire" { interval 300 ms; multiplier 3; }; }',
      ...own,
      ...FEEDERS.map((_, i) => feederProtocol(i, internal)),
      ...cells.map((cell) => protocolOf(cell, internal)),
      '',
    ].join('\n');
  }
  async #ask(question: string): Promise<string> {
    return (await this.#lab.run('theirs', ['birdc', '-s', this.#socket, ...question.split(' ')])).stdout;
  }
  async established(): Promise<Set<string>> {
    const lines = (await this.#ask('show protocols')).split('\n').filter((line) => line.includes('Established'));
    return new Set(lines.map((line) => line.split(/\s+/)[0]));
  }
  async received(): Promise<Map<string, Seen[]>> {
    return routesIn(await this.#ask('show route all'));
  }
  async refresh(cell: Cell): Promise<void> {
    await this.#ask(`reload in ${cell.id}`);
  }
  async shutdown(cell: Cell, text: string): Promise<void> {
    await this.#ask(`disable ${cell.id} "${text}"`);
  }
  async lastEnd(cell: Cell): Promise<string> {
    const log = this.#program?.logText().split('\n') ?? [];
    const own = log.filter((line) => line.includes(`${cell.id}:`)).slice(-10);
    return [await this.#ask(`show protocols all ${cell.id}`), ...own].join('\n');
  }
}

/** `show route all`: a prefix once, then its paths, each with indented attributes. */
function routesIn(text: string): Map<string, Seen[]> {
  const found = new Map<string, Seen[]>();
  let prefix = '';
  for (const block of text.split(/\n(?=\S|\s+unicast)/)) {
    const head = /^(\S+)?\s+(?:unicast|blackhole) \[(\S+) /.exec(block);
    if (!head) continue;
    prefix = head[1] ?? prefix;
    const value = (name: string) => new RegExp(`BGP\\.${name}: (.*)`).exec(block)?.[1].trim() ?? '';
    const communities = (name: string) =>
      [...value(name).matchAll(/\(([^)]*)\)/g)].map((m) => m[1].replaceAll(/,\s*/g, ':'));
    if (!block.includes('BGP.origin')) continue;
    const route: Seen = {
      prefix,
      nextHop: value('next_hop').split(' ')[0],
      asPath: value('as_path').split(' ').filter(Boolean).map(Number),
      communities: communities('community'),
      large: communities('large_community'),
      extended: communities('ext_community'),
      med: value('med') === '' ? null : Number(value('med')),
      stale: false,
      originatorId: value('originator_id') || null,
      clusterList: value('cluster_list').split(' ').filter(Boolean),
    };
    found.set(head[2], [...(found.get(head[2]) ?? []), route]);
  }
  return found;
}
