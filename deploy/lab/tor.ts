import { writeFile } from 'node:fs/promises';
import { Daemon } from './daemon.ts';
import { ip, runIn, sysctl } from './netns.ts';
import { CLUSTER_AS, type LabPlan, type NodePlan, OFFICE } from './plan.ts';
import { lines } from './run.ts';
import type { LabState } from './state.ts';

export interface BirdSession {
  readonly name: string;
  readonly node: string;
  /** RFC 4271's: `Established`, `Active`, … */
  readonly state: string;
  readonly since: string;
  /** Further words of BIRD: the last error. */
  readonly info: string;
}
export interface BirdRoute {
  readonly prefix: string;
  /** Sorted; one per path that BIRD holds. */
  readonly nextHops: readonly string[];
}

/** The top-of-rack router: real BIRD 2 between the nodes and a small office network that it originates. */
export class Tor {
  readonly #state: LabState;
  readonly #plan: LabPlan;
  #daemon: Daemon | null;

  constructor(state: LabState, plan: LabPlan) {
    this.#state = state;
    this.#plan = plan;
    const record = state.daemons().find(({ name }) => name === 'tor');
    this.#daemon = record ? new Daemon(state, record) : null;
  }
  get daemon(): Daemon | null {
    return this.#daemon;
  }

  /** Connects the office and starts BIRD; gives BIRD's own first words. */
  async start(): Promise<string> {
    const { tor, office } = this.#plan;
    await sysctl(tor.netns, { 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
    await ip(tor.netns, [
      `link add office type veth peer name eth0 netns ${office.netns}`,
      ...OFFICE.map((cidr) => `addr add ${firstOf(cidr)} dev office nodad`),
      'link set office up',
    ]);
    await ip(office.netns, [
      ...office.addresses.map((address, at) => `addr add ${address}/${OFFICE[at].split('/')[1]} dev eth0 nodad`),
      'link set eth0 up',
      ...OFFICE.map((cidr) => `route add default via ${firstOf(cidr).split('/')[0]}`),
    ]);
    return this.startBird();
  }
  async startBird(): Promise<string> {
    const config = this.#state.path('bird.conf');
    await writeFile(config, birdConfig(this.#plan));
    this.#daemon = await Daemon.start(this.#state, {
      name: 'tor',
      netns: this.#plan.tor.netns,
      command: ['bird', '-f', '-c', config, '-s', this.#control, '-P', this.#state.path('bird.pid')],
    });
    await this.#daemon.waitFor(
      'BIRD to answer',
      async () => /Daemon is up/.test(await this.birdc('show status')) || 'not up',
    );
    return lines(await this.birdc('show status')).find((line) => line.startsWith('BIRD')) ?? 'BIRD';
  }
  async stopBird(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#daemon?.stop(signal);
    this.#daemon = null;
  }

  /** What `birdc` prints. */
  birdc(command: string): Promise<string> {
    return runIn(this.#plan.tor.netns, ['birdc', '-s', this.#control, ...command.split(' ')]);
  }
  /** BIRD's sessions with the nodes. */
  async sessions(): Promise<BirdSession[]> {
    const rows = lines(await this.birdc('show protocols')).map((line) => line.trim().split(/\s+/));
    return rows
      .filter(([, proto]) => proto === 'BGP')
      .map(([name, , , , since, state = '', ...info]) => {
        const node = name.replace(/_ipv[46]$/, '').replaceAll('_', '-');
        return { name, node, state, since, info: info.join(' ') };
      });
  }
  /** Routes that BIRD learned from the nodes, both families, in order of their text. */
  async routes(): Promise<BirdRoute[]> {
    const text = await this.birdc('show route where source = RTS_BGP');
    const found = new Map<string, string[]>();
    let prefix = '';
    for (const line of lines(text)) {
      prefix = /^[0-9a-f.:]+\/\d+/.exec(line)?.[0] ?? prefix;
      const via = /via (\S+) on/.exec(line)?.[1];
      if (via) found.set(prefix, [...(found.get(prefix) ?? []), via].sort());
    }
    return [...found]
      .map(([to, nextHops]) => ({ prefix: to, nextHops }))
      .sort((a, b) => a.prefix.localeCompare(b.prefix));
  }
  get #control(): string {
    return this.#state.path('bird.ctl');
  }
}

/** The router's own address in an office network: the first. */
const firstOf = (cidr: string): string =>
  cidr.replace(/(\.0|:)\/(\d+)$/, (_, zero, length) => `${zero === ':' ? ':1' : '.1'}/${length}`);

function birdConfig({ tor, nodes }: LabPlan): string {
  const protocols = nodes.flatMap((node) => sessionsWith(node, tor.sessions));
  return `log stderr all;
router id ${tor.addresses[0]};
graceful restart wait 10;

protocol device { scan time 2; }
protocol direct { ipv4; ipv6; interface "office"; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on; scan time 5; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on; scan time 5; }

template bgp node {
  local as ${tor.asNumber};
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 4;
  direct; # iBGP too: next hops are on the wire, and no other protocol resolves them
  hold time 9;
  graceful restart on;
}
${protocols.join('\n')}
`;
}

/** The office networks go out with this router as next hop; nothing that a node said is told to another node. */
function sessionsWith(node: NodePlan, sessions: 'shared' | 'separate'): string[] {
  const channel = (family: string) =>
    `${family} { import all; export where source = RTS_DEVICE; next hop self; gateway direct; };`;
  const session = (suffix: string, address: string, families: string[]) =>
    `protocol bgp ${node.name.replaceAll('-', '_')}${suffix} from node {
  neighbor ${address} as ${CLUSTER_AS};
  ${families.map(channel).join('\n  ')}
}`;
  const [v4, v6] = node.addresses;
  return sessions === 'shared'
    ? [session('', v4, ['ipv4', 'ipv6'])]
    : [session('_ipv4', v4, ['ipv4']), session('_ipv6', v6, ['ipv6'])];
}
