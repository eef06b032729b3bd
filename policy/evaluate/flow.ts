import type { WorkloadEndpoint } from '#datastore';
import { type EndpointRef, type Evaluation, evaluateEndpoint, ownStep, refText, type Step } from './evaluate.ts';
import { evaluateForwarding, evaluateHost } from './host.ts';
import { byAnyInterface, type Part, type Unknown } from './interfaces.ts';
import type { Packet } from './match.ts';
import type { FlowSettings } from './settings.ts';
import type { World } from './world.ts';

/** Where a flow begins or ends: at an endpoint, at a node itself by an interface that is not known, or anywhere else. */
export type FlowEnd =
  | { readonly at: 'endpoint'; readonly ref: EndpointRef }
  | { readonly at: 'node'; readonly node: string }
  | { readonly at: 'elsewhere' };

/** What becomes of a flow. With anything `unknown` the verdict holds only if the packet gets by there. */
export interface Flow extends Evaluation {
  readonly verdict: 'Allow' | 'Deny';
  readonly unknown: readonly Unknown[];
}

/**
 * What becomes of a new flow (calico-datastore.md 4.5): egress at its source, what the nodes of its ends say that forward it, ingress at its
 * destination. Which interface of a node it takes is not in the datastore (`byAnyInterface`); nodes in between are not looked at.
 * @param settings of the node of its source, and of that of its destination where it is another.
 */
export function evaluateFlow(
  world: World,
  from: FlowEnd,
  to: FlowEnd,
  packet: Packet,
  settings: FlowSettings,
  settingsThere: FlowSettings = settings,
): Flow {
  const way = new WayThrough(world, from, to, packet, settings, settingsThere);
  const steps: Step[] = [];
  const unknown: Unknown[] = [];
  for (const part of [way.leave, way.leaveNode, way.enterNode, way.arrive]) {
    const done = part();
    steps.push(...done.steps);
    unknown.push(...done.unknown);
    if (done.verdict === 'Deny') return { verdict: 'Deny', steps, unknown };
  }
  return { verdict: 'Allow', steps, unknown };
}

const certain = (evaluation: Evaluation): Part => ({ ...evaluation, unknown: [] });
const OPEN: Part = { verdict: 'Allow', steps: [], unknown: [] };

/** The parts of a flow's way, in order. */
class WayThrough {
  readonly #world: World;
  readonly #from: FlowEnd;
  readonly #to: FlowEnd;
  readonly #packet: Packet;
  readonly #here: FlowSettings;
  readonly #there: FlowSettings;
  readonly #near: string | undefined;
  readonly #far: string | undefined;

  constructor(world: World, from: FlowEnd, to: FlowEnd, packet: Packet, here: FlowSettings, there: FlowSettings) {
    this.#world = world;
    this.#from = from;
    this.#to = to;
    this.#packet = packet;
    this.#here = here;
    this.#there = there;
    this.#near = nodeOf(world, from);
    this.#far = nodeOf(world, to);
  }

  get #isOneNode(): boolean {
    return this.#near !== undefined && this.#near === this.#far;
  }

  readonly leave = (): Part => {
    const from = this.#from;
    if (from.at === 'elsewhere') return OPEN;
    if (isWorkload(from)) return certain(evaluateEndpoint(this.#world, from.ref, 'egress', 'normal', this.#packet));
    if (from.at === 'endpoint') return certain(this.#host(from.ref, 'egress', this.#here));
    // What a host sends to itself or to its own workloads takes none of its host interfaces.
    if (this.#isOneNode) return OPEN;
    return byAnyInterface(this.#world, from.node, 'egress', 'normal', (ref) => this.#host(ref, 'egress', this.#here));
  };

  /** What a workload sends to elsewhere is forwarded by its node. */
  readonly leaveNode = (): Part => {
    if (!isWorkload(this.#from) || this.#near === undefined || this.#isOneNode) return OPEN;
    return this.#forwarded(this.#near, 'egress', this.#here);
  };

  /** What comes for a workload from elsewhere is forwarded by its node. */
  readonly enterNode = (): Part => {
    if (!isWorkload(this.#to) || this.#far === undefined || this.#isOneNode) return OPEN;
    return this.#forwarded(this.#far, 'ingress', this.#there);
  };

  readonly arrive = (): Part => {
    const [from, to] = [this.#from, this.#to];
    if (isWorkload(to)) {
      // The host itself always reaches its own workloads.
      if (this.#isOneNode && !isWorkload(from)) return OPEN;
      return certain(evaluateEndpoint(this.#world, to.ref, 'ingress', 'normal', this.#packet));
    }
    if (this.#isOneNode && isWorkload(from)) return certain(toOwnHost(from.ref, this.#here));
    if (to.at === 'endpoint') return certain(this.#host(to.ref, 'ingress', this.#there));
    if (to.at === 'elsewhere' || this.#isOneNode) return OPEN;
    return byAnyInterface(this.#world, to.node, 'ingress', 'normal', (ref) => this.#host(ref, 'ingress', this.#there));
  };

  #host(ref: EndpointRef, direction: Step['direction'], settings: FlowSettings): Evaluation {
    return evaluateHost(this.#world, ref, direction, this.#packet, settings);
  }

  #forwarded(node: string, direction: Step['direction'], settings: FlowSettings): Part {
    return byAnyInterface(this.#world, node, direction, 'forward', (ref) =>
      evaluateForwarding(this.#world, ref, direction, this.#packet, settings),
    );
  }
}

const isWorkload = (end: FlowEnd): end is { at: 'endpoint'; ref: EndpointRef } =>
  end.at === 'endpoint' && end.ref.kind === 'WorkloadEndpoint';

function toOwnHost(ref: EndpointRef, { endpointToHostAction }: FlowSettings): Evaluation {
  const action = endpointToHostAction === 'Drop' || endpointToHostAction === 'Reject' ? 'Deny' : 'Allow';
  const place = { where: refText(ref), direction: 'egress', list: 'normal' } as const;
  return {
    verdict: action,
    steps: [ownStep(place, action, `defaultEndpointToHostAction is ${endpointToHostAction}`)],
  };
}

/** The node that an end is on; undefined: none that is known. */
export function nodeOf({ resources }: World, end: FlowEnd): string | undefined {
  if (end.at === 'elsewhere') return undefined;
  if (end.at === 'node') return end.node;
  const { kind, id } = end.ref;
  const endpoint: { spec: Pick<WorkloadEndpoint['spec'], 'node'> } | undefined = resources[kind]?.get(id);
  return endpoint?.spec.node;
}
