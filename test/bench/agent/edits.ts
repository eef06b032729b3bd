import { OptionSocket } from '../../../agent/kernel/netlink/libc.ts';
import { watchRules } from '../../../agent/kernel/rule-events.ts';
import { endpoint, LOCAL, type Shaped } from '../shapes.ts';
import { MeasuredAgent, percentiles, Rig, sh } from './rig.ts';
import type { Report } from './start.ts';

/**
 * One change in a node with 1 000 endpoints and 10 000 rules of policy: from the put to etcd until the kernel has told of the last transaction that it
 * takes, or a table of legacy iptables has another number of rules (there are 300 policies then, so that it has 10 000). A policy edited is one of IPv4; an endpoint added is one of each family that the node uses: IPv4, or both in the lines that end with `-dual`.
 */
const BACKENDS: Record<string, Backend> = {
  'edits-iptables': { env: { FELIX_IPTABLESBACKEND: 'nft' }, felix: {}, chain: (name) => `iptables-nft -S ${name}` },
  'edits-legacy': {
    env: { FELIX_IPTABLESBACKEND: 'legacy' },
    felix: {},
    chain: (name) => `iptables-legacy -S ${name}`,
    policies: 300,
  },
  'edits-nftables': {
    env: {},
    felix: { nftablesMode: 'Enabled' },
    chain: (name) => `nft list chain ip tsnet filter-${name}`,
  },
};
export const EDITS: readonly string[] = Object.keys(BACKENDS).flatMap((line) => [line, `${line}-dual`]);

interface Backend {
  readonly env: Record<string, string>;
  readonly felix: object;
  /** Fails if the kernel has no such chain. */
  readonly chain: (name: string) => string;
  readonly policies?: number;
}

const ENDPOINTS = 1000;
const POLICIES = 2000;
const ROUNDS = Number(process.env.ROUNDS ?? 100);
/** Milliseconds after a change in which the agent writes its routes and statuses. */
const PAUSE = 100;

function workload(n: number, policies: number, isDual: boolean): Shaped {
  const shaped = endpoint(n, LOCAL, 'space', { app: `app-${n % (policies / 2)}` });
  if (!isDual) return shaped;
  const { ipNetworks } = shaped.spec as { readonly ipNetworks: readonly string[] };
  return { ...shaped, spec: { ...shaped.spec, ipNetworks: [...ipNetworks, `fd00:65::${n.toString(16)}/128`] } };
}
/** An edit brings a rule more, so one that was edited is not edited again. */
function policy(n: number, policies: number, edit = 0): Shaped {
  const ingress = [0, 1, 2, 3, 4, ...(edit > 0 ? [5] : [])].map((r) => ({
    action: 'Allow',
    protocol: 'TCP',
    source: { nets: [`10.${r}.${edit & 255}.0/24`] },
    destination: { ports: [8000 + r] },
  }));
  const spec = { tier: 'default', selector: `app == 'app-${n % (policies / 2)}'`, types: ['Ingress'], ingress };
  return { kind: 'GlobalNetworkPolicy', id: `policy-${n}`, spec };
}
function* cluster(felix: object, policies: number, isDual: boolean): Iterable<Shaped> {
  yield { kind: 'FelixConfiguration', id: 'default', spec: felix };
  for (let n = 0; n < policies; n++) yield policy(n, policies);
  for (let n = 0; n < ENDPOINTS; n++) yield workload(n, policies, isDual);
}

/** Counts the kernel's news of transactions, and says when there were so many. */
class Transactions {
  #count = 0;
  #wanted: { at: number; resolve(): void } | undefined;
  readonly stop = watchRules({ changed: () => this.#one(), overrun: () => this.#one() });

  next(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#wanted = { at: this.#count + count, resolve };
    });
  }
  #one(): void {
    this.#count++;
    if (this.#wanted?.at === this.#count) this.#wanted.resolve();
  }
}

/** Asks for the number of entries in table filter without a pause, and says when it has changed in so many families, IPv4 first. */
class Sizes {
  readonly #sockets = [
    [new OptionSocket(2), 0],
    [new OptionSocket(10), 41],
  ] as const;

  async next(count: number): Promise<void> {
    const before = await this.#now(count);
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const now = await this.#now(count);
      if (now.every((size, i) => size !== before[i])) return;
    }
  }
  stop(): void {
    for (const [socket] of this.#sockets) socket.close();
  }
  #now(count: number): Promise<number[]> {
    return Promise.all(
      this.#sockets.slice(0, count).map(async ([socket, level]) => {
        const info = Buffer.alloc(84);
        info.write('filter');
        if (!(await socket.read(level, 64, info))) throw new Error('there is no table filter');
        return info.readUInt32LE(76);
      }),
    );
  }
}

export async function measureEdits(line: string, report: Report): Promise<void> {
  const isDual = line.endsWith('-dual');
  const { env, felix, chain, policies = POLICIES } = BACKENDS[line.replace(/-dual$/, '')];
  const rig = await Rig.make();
  await rig.load(cluster(felix, policies, isDual));
  const agent = new MeasuredAgent({ env });
  try {
    await agent.ready();
    const transactions = line.startsWith('edits-legacy') ? new Sizes() : new Transactions();
    const measure = async (what: string, count: number, change: (round: number) => Shaped) => {
      const times: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        const done = transactions.next(count);
        const started = performance.now();
        await rig.put(change(round));
        await done;
        times.push(performance.now() - started);
      }
      report(line, { what, rounds: ROUNDS, ...percentiles(times) });
    };
    await measure('policy edited, ms', 1, (round) => policy((round * 17) % (policies / 2), policies, round + 1));
    await measure('endpoint added, ms', isDual ? 2 : 1, (round) => workload(ENDPOINTS + round, policies, isDual));
    sh(chain(`cali-tw-cali${ENDPOINTS + ROUNDS - 1}`));
    transactions.stop();
  } finally {
    await agent.stop();
    await rig.close();
  }
}
