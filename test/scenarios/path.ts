import { evaluateEndpoint, type FlowSettings, holds, type Packet, type World } from '#policy';

/** Where a packet enters or leaves a node: at a workload's interface, at one of the host's, or at the host's own stack. */
export type Place =
  | { readonly at: 'workload'; readonly id: string | undefined }
  | { readonly at: 'link'; readonly endpoint: string | undefined }
  | { readonly at: 'host' };

/**
 * Whether the first packet of a flow gets through one node (calico-datastore.md 4.5), from the evaluator's verdicts of single lists. An
 * interface of a workload without endpoint passes nothing; a host interface without endpoint is not touched.
 */
export function passesNode(world: World, from: Place, to: Place, packet: Packet, settings: FlowSettings): boolean {
  const node = new NodePath(world, packet, settings);
  const entry = from.at === 'link' ? node.enter(from.endpoint) : 'None';
  if (entry === 'Deny') return false;
  if (from.at === 'host') return to.at !== 'link' || node.leaveHost(to.endpoint);
  if (from.at === 'workload' && !node.workload(from.id, 'egress')) return false;
  if (to.at === 'host') {
    if (from.at === 'link') return entry === 'Allow' || node.arrive(from.endpoint);
    return settings.endpointToHostAction === 'Accept' || settings.endpointToHostAction === 'Return';
  }
  if (from.at === 'link' && entry === 'None' && !node.forward(from.endpoint, 'ingress')) return false;
  if (to.at === 'workload') return node.workload(to.id, 'ingress');
  return node.forward(to.endpoint, 'egress');
}

type Verdict = 'Allow' | 'Deny' | 'None';
type List = Parameters<typeof evaluateEndpoint>[3];
type Direction = Parameters<typeof evaluateEndpoint>[2];

class NodePath {
  readonly #world: World;
  readonly #packet: Packet;
  readonly #settings: FlowSettings;

  constructor(world: World, packet: Packet, settings: FlowSettings) {
    this.#world = world;
    this.#packet = packet;
    this.#settings = settings;
  }

  /** What untracked and preDNAT policy say before routing. */
  enter(id: string | undefined): Verdict {
    if (id === undefined || this.#isFailsafe('ingress')) return 'None';
    const untracked = this.#isAny(id) ? 'None' : this.#host(id, 'ingress', 'untracked');
    return untracked === 'None' ? this.#host(id, 'ingress', 'preDNAT') : untracked;
  }

  arrive(id: string | undefined): boolean {
    return id === undefined || this.#isFailsafe('ingress') || this.#host(id, 'ingress', 'normal') === 'Allow';
  }

  leaveHost(id: string | undefined): boolean {
    if (id === undefined || this.#isFailsafe('egress')) return true;
    const untracked = this.#isAny(id) ? 'None' : this.#host(id, 'egress', 'untracked');
    return (untracked === 'None' ? this.#host(id, 'egress', 'normal') : untracked) === 'Allow';
  }

  forward(id: string | undefined, direction: Direction): boolean {
    return id === undefined || this.#host(id, direction, 'forward') !== 'Deny';
  }

  workload(id: string | undefined, direction: Direction): boolean {
    if (id === undefined) return false;
    const ref = { kind: 'WorkloadEndpoint', id } as const;
    return evaluateEndpoint(this.#world, ref, direction, 'normal', this.#packet).verdict === 'Allow';
  }

  #host(id: string, direction: Direction, list: List): Verdict {
    return evaluateEndpoint(this.#world, { kind: 'HostEndpoint', id }, direction, list, this.#packet).verdict;
  }

  #isAny(id: string): boolean {
    return this.#world.resources.HostEndpoint?.get(id)?.spec.interfaceName === '*';
  }

  #isFailsafe(direction: Direction): boolean {
    const { failsafeInbound, failsafeOutbound } = this.#settings;
    const { protocol, destinationPort, source, destination } = this.#packet;
    const [open, remote] = direction === 'ingress' ? [failsafeInbound, source] : [failsafeOutbound, destination];
    return open.some(
      (f) => f.protocol === protocol && f.port === destinationPort && (!f.net || holds([f.net], remote)),
    );
  }
}
