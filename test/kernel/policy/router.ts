import { createMetrics, type Family, realClock, silentLog } from '#core';
import type { AnyResource } from '#datastore';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, type Packet, type PolicyEngine, type RenderConfig } from '#policy';
import { createIpset } from '../../../agent/kernel/ipset/index.ts';
import { IpsetSocket } from '../../../agent/kernel/ipset/socket.ts';
import { createIptables } from '../../../agent/kernel/iptables.ts';
import { createNftables, NftSocket } from '../../../agent/kernel/nftables/index.ts';
import { createNftSets } from '../../../agent/kernel/nftables/sets.ts';
import { createRunner, type Runner } from '../../../agent/kernel/runner.ts';
import { ChainReconciler } from '../../../agent/reconcile/chains.ts';
import { SetReconciler } from '../../../agent/reconcile/sets.ts';
import { type Actor, idOf, updateOf } from '../../scenarios/index.ts';
import { enterNamespace, type Namespace } from '../namespace.ts';
import { type Arrival, type DatagramOptions, datagram } from './datagram.ts';
import { cable, ownStack, type Port } from './ports.ts';

/** One node as a router in a namespace of its own, whose rules are those of tsnet, with a cable to everybody who sends or receives. */

export type Variant = 'iptables-nft' | 'iptables-legacy' | 'nftables';
export const VARIANTS: readonly Variant[] = ['iptables-nft', 'iptables-legacy', 'nftables'];

/** Name of the router itself, as a sender and receiver. */
export const HOST = 'host';

/** An actor and the interface on which the router has it. */
export interface Plugged {
  readonly actor: Actor;
  readonly link: string;
}

export interface Shot {
  readonly from: string;
  readonly to: string;
  readonly packet: Packet;
  readonly options?: DatagramOptions;
}

export interface Router {
  readonly namespace: Namespace;
  readonly engine: PolicyEngine;
  /** Makes the kernel's state that of these resources and nothing else; throws if the kernel refuses any of it. */
  become(resources: readonly AnyResource[], config?: Partial<RenderConfig>): Promise<void>;
  /** Reads the kernel back and writes what differs; says how much that was. */
  again(): Promise<number>;
  /**
   * Sends each packet as the first of its flow and says what arrived, by the shot's place; `expected` are waited for.
   * @throws if a packet that did not arrive in time in an earlier call has come since.
   */
  fire(shots: readonly Shot[], expected: readonly boolean[]): Promise<(Arrival | undefined)[]>;
  close(): void;
}

const ROUTER_MAC = '02:ff:00:00:00:01';
const FENCE = { a: ['10.255.0.1', '10.255.0.2'] } as const;
const macOf = (i: number): string => `02:00:00:00:00:${(i + 16).toString(16)}`;
const PROTOCOLS = [1, 6, 17, 47, 50, 58, 132, 136];
const NODE = 'node-a';

export async function makeRouter(
  variant: Variant,
  plugged: readonly Plugged[],
  host: Record<Family, string>,
): Promise<Router> {
  const namespace = enterNamespace(`packets-${variant}`);
  const far = `${namespace.name}-far`;
  const fences: Plugged[] = FENCE.a.map((four, i) => ({
    link: `fence${i}`,
    actor: { name: `fence${i}`, addresses: { 4: four, 6: `fd00:ffff::${i + 1}` } as Actor['addresses'] },
  }));
  const all = [...plugged, ...fences];
  namespace.sh(wiring(far, all, host));
  namespace.sh(BRIDGE);
  const ports = new Map<string, Port>(
    plugged.map(({ actor, link }, i) => [actor.name, cable(far, link, macOf(i), ROUTER_MAC)]),
  );
  for (const [i, { actor, link }] of fences.entries())
    ports.set(actor.name, cable(far, link, macOf(plugged.length + i), macOf(plugged.length + 1 - i)));
  ports.set(HOST, ownStack(PROTOCOLS));
  const kernel = makeKernel(variant);
  const wire = new Wire(ports, () => namespace.sh('conntrack -F 2>&1'));
  return {
    namespace,
    engine: kernel.engine,
    become: kernel.become,
    again: kernel.again,
    fire: (shots, expected) => wire.fire(shots, expected),
    close() {
      for (const port of ports.values()) port.close();
      kernel.close();
      namespace.sh(`ip netns del ${far}`);
      namespace.leave();
    },
  };
}

/** The fences are bridged: no rule of ours ever concerns them. */
const BRIDGE = `set -e; ip link add fences type bridge
  for fence in fence0 fence1; do ip addr flush dev $fence; ip link set $fence master fences; done; ip link set fences up
  for f in ip ip6; do sysctl -qw net.bridge.bridge-nf-call-\${f}tables=0 2>/dev/null || true; done`;

/** Cables with fixed link addresses and neighbours: nothing but what is fired moves. */
function wiring(far: string, all: readonly Plugged[], host: Record<Family, string>): string {
  const cables = all.map(({ actor: { addresses }, link }, i) => {
    const routes = ([4, 6] as const).map(
      (f) => `ip -${f} route add ${addresses[f]} dev ${link}
        ip neigh add ${addresses[f]} lladdr ${macOf(i)} dev ${link} nud permanent`,
    );
    return `ip link add ${link} address ${ROUTER_MAC} type veth peer name ${link} address ${macOf(i)} netns ${far}
      ip -n ${far} link set ${link} arp off up; ip link set ${link} up
      ${routes.join('\n')}`;
  });
  return `set -e; ip netns add ${far}
    sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.icmp_ratelimit=0
    ip netns exec ${far} sysctl -qw net.ipv6.conf.default.disable_ipv6=1
    ip addr add ${host[4]}/32 dev lo; ip addr add ${host[6]}/128 dev lo nodad
    ${cables.join('\n')}`;
}

function backends(variant: Variant, runner: Runner) {
  if (variant === 'nftables') {
    const socket = new NftSocket();
    return { rules: createNftables(socket), sets: createNftSets(socket) };
  }
  const kind = variant === 'iptables-nft' ? 'nft' : 'legacy';
  return { rules: createIptables({ runner, variant: kind }), sets: createIpset(new IpsetSocket(realClock)) };
}

function makeKernel(variant: Variant) {
  const runner = createRunner({ log: silentLog });
  const parts = { clock: realClock, log: silentLog };
  const base: RenderConfig = { ...DEFAULT_RENDER_CONFIG, dispatch: variant === 'nftables' ? 'map' : 'tree' };
  const engine = createPolicyEngine({ node: NODE, config: base });
  const { rules, sets: backend } = backends(variant, runner);
  const chains = new ChainReconciler({ ...parts, metrics: createMetrics(), backend: rules, families: [4, 6] });
  const sets = new SetReconciler({
    ...parts,
    metrics: createMetrics(),
    backend,
    maxElements: 65536,
    destroysPerPass: 2,
  });
  let there = new Map<string, AnyResource>();
  let config = base;

  async function become(resources: readonly AnyResource[], change: Partial<RenderConfig> = {}): Promise<void> {
    const next = new Map(resources.map((r) => [`${r.kind}/${idOf(r)}`, r]));
    for (const [key, old] of there) if (!next.has(key)) engine.onUpdate(updateOf(old, false));
    for (const [key, value] of next) if (there.get(key) !== value) engine.onUpdate(updateOf(value));
    there = next;
    const wanted = { ...base, ...change };
    if (JSON.stringify(wanted) !== JSON.stringify(config)) engine.setConfig(wanted);
    config = wanted;
    const changes = engine.flush();
    sets.update(changes.sets);
    chains.update(changes);
    const made = await sets.applyUpdates();
    const written = await chains.apply();
    const removed = await sets.applyRemovals();
    await sets.applyDeletes();
    const failures = [...made.failures, ...written.failures, ...removed.failures];
    if (failures.length > 0) throw new Error(`the kernel refused: ${JSON.stringify(failures)}`);
  }
  async function again(): Promise<number> {
    sets.resync();
    chains.resync();
    return (await sets.applyUpdates()).written + (await chains.apply()).written;
  }
  return { engine, become, again, close: () => runner.close() };
}

/** Longest wait for a packet that must come; one that need not come is waited for no longer than packets sent after it take. */
const PATIENCE = 2_000;
const FENCES = 3;

class Wire {
  readonly #ports: ReadonlyMap<string, Port>;
  readonly #forget: () => void;
  #next = 1;
  /** Where each packet is due that has not come. */
  readonly #due = new Map<number, string>();
  readonly #dropped = new Map<number, string>();
  readonly #come = new Map<number, Arrival>();

  constructor(ports: ReadonlyMap<string, Port>, forget: () => void) {
    this.#ports = ports;
    this.#forget = forget;
  }

  async fire(shots: readonly Shot[], expected: readonly boolean[]): Promise<(Arrival | undefined)[]> {
    const found: (Arrival | undefined)[] = shots.map(() => undefined);
    for (const wave of waves(shots)) {
      this.#forget();
      const numbers = wave.map((i) => [i, this.#send(shots[i])] as const);
      await this.#wait(numbers.filter(([i]) => expected[i]).map(([, number]) => number));
      await this.#fence();
      for (const [i, number] of numbers) {
        found[i] = this.#come.get(number);
        if (!found[i])
          this.#dropped.set(number, `${shots[i].from} > ${shots[i].to} ${JSON.stringify(shots[i].packet)}`);
        this.#due.delete(number);
      }
      this.#come.clear();
    }
    return found;
  }

  #send({ from, to, packet, options }: Shot): number {
    const number = this.#next++;
    this.#due.set(number, to);
    this.#port(from).send(datagram(packet, number, options), packet.destination);
    return number;
  }

  /** Until these have come, or patience ends. */
  async #wait(numbers: readonly number[]): Promise<boolean> {
    const end = performance.now() + PATIENCE;
    for (;;) {
      this.#collect();
      if (numbers.every((number) => this.#come.has(number))) return true;
      if (performance.now() > end) return false;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** What was sent before has been dealt with when packets that nothing stops have come through the same router, each way round. */
  async #fence(): Promise<void> {
    for (let i = 0; i < FENCES; i++) {
      const [source, destination] = FENCE.a
        .toReversed()
        .toSorted(() => (i % 2 ? 1 : -1)) as unknown as Packet['source'][];
      const [from, to] = source === FENCE.a[0] ? ['fence0', 'fence1'] : ['fence1', 'fence0'];
      const packet = { source, destination, protocol: 17, sourcePort: 9, destinationPort: 9 };
      if (!(await this.#wait([this.#send({ from, to, packet })]))) throw new Error('the fence did not come through');
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  #collect(): void {
    for (const [name, port] of this.#ports)
      for (const arrival of port.arrivals()) {
        const late = this.#dropped.get(arrival.number);
        if (late?.includes(`> ${name} `)) throw new Error(`taken for dropped, but it came: ${late}`);
        if (this.#due.get(arrival.number) === name) this.#come.set(arrival.number, arrival);
      }
  }

  #port(name: string): Port {
    const port = this.#ports.get(name);
    if (!port) throw new TypeError(`nobody is called ${name}`);
    return port;
  }
}

/** Splits the shots so that none could pass as the answer to another of its wave. */
function waves(shots: readonly Shot[]): number[][] {
  const list: { pairs: Set<string>; members: number[] }[] = [];
  for (const [i, { packet }] of shots.entries()) {
    const { source, destination, protocol } = packet;
    const answer = `${destination} ${source} ${protocol}`;
    const wave = list.find(({ pairs }) => !pairs.has(answer)) ?? { pairs: new Set(), members: [] };
    if (wave.members.length === 0) list.push(wave);
    wave.pairs.add(`${source} ${destination} ${protocol}`);
    wave.members.push(i);
  }
  return list.map(({ members }) => members);
}
