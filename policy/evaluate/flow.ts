import type { WorkloadEndpoint } from '#datastore';
import { type EndpointRef, type Evaluation, evaluateEndpoint, type Step } from './evaluate.ts';
import type { Packet } from './match.ts';
import type { FlowSettings } from './settings.ts';
import { holds, type World } from './world.ts';

/** Where a flow begins or ends: at an endpoint, at a node itself without one, or anywhere else. */
export type FlowEnd =
  | { readonly at: 'endpoint'; readonly ref: EndpointRef }
  | { readonly at: 'node'; readonly node: string }
  | { readonly at: 'elsewhere' };

/**
 * What becomes of a new flow (calico-datastore.md 4.5): egress at its source, then ingress at its destination. What a node forwards through a
 * host endpoint that is neither end is not part of this: which interface that is, only the node knows.
 */
export function evaluateFlow(
  world: World,
  from: FlowEnd,
  to: FlowEnd,
  packet: Packet,
  settings: FlowSettings,
): Evaluation {
  const steps: Step[] = [];
  const out = leave(world, from, packet, settings);
  steps.push(...out.steps);
  if (out.verdict === 'Deny') return { verdict: 'Deny', steps };
  const arrived = arrive(world, from, to, packet, settings);
  steps.push(...arrived.steps);
  return { verdict: arrived.verdict === 'Deny' ? 'Deny' : 'Allow', steps };
}

const OPEN: Evaluation = { verdict: 'Allow', steps: [] };

function leave(world: World, from: FlowEnd, packet: Packet, settings: FlowSettings): Evaluation {
  if (from.at !== 'endpoint') return OPEN;
  if (from.ref.kind === 'WorkloadEndpoint') return evaluateEndpoint(world, from.ref, 'egress', 'normal', packet);
  return evaluateHost(world, from.ref, 'egress', packet, settings);
}

function arrive(world: World, from: FlowEnd, to: FlowEnd, packet: Packet, settings: FlowSettings): Evaluation {
  const near = nodeOf(world, from);
  const isSameNode = near !== undefined && near === nodeOf(world, to);
  if (to.at === 'endpoint' && to.ref.kind === 'WorkloadEndpoint') {
    // The host itself always reaches its own workloads.
    const isOwnHost = isSameNode && !isWorkload(from);
    return isOwnHost ? OPEN : evaluateEndpoint(world, to.ref, 'ingress', 'normal', packet);
  }
  if (isSameNode && isWorkload(from) && to.at !== 'elsewhere') return toOwnHost(from, settings);
  return to.at === 'endpoint' ? evaluateHost(world, to.ref, 'ingress', packet, settings) : OPEN;
}

const isWorkload = (end: FlowEnd): end is { at: 'endpoint'; ref: EndpointRef } =>
  end.at === 'endpoint' && end.ref.kind === 'WorkloadEndpoint';

function toOwnHost(from: { ref: EndpointRef }, { endpointToHostAction }: FlowSettings): Evaluation {
  const action = endpointToHostAction === 'Drop' || endpointToHostAction === 'Reject' ? 'Deny' : 'Allow';
  const where = `${from.ref.kind}/${from.ref.id}`;
  const reason = `defaultEndpointToHostAction is ${endpointToHostAction}`;
  const step: Step = {
    where,
    direction: 'egress',
    list: 'normal',
    tier: null,
    policy: null,
    rule: null,
    action,
    reason,
  };
  return { verdict: action, steps: [step] };
}

/** A host endpoint at the end of a flow: failsafe ports, then untracked, pre-DNAT and normal policy. */
export function evaluateHost(
  world: World,
  ref: EndpointRef,
  direction: Step['direction'],
  packet: Packet,
  { failsafeInbound, failsafeOutbound }: FlowSettings,
): Evaluation {
  const [open, remote] =
    direction === 'ingress' ? [failsafeInbound, packet.source] : [failsafeOutbound, packet.destination];
  const isFailsafe = open.some(
    ({ protocol, port, net }) =>
      protocol === packet.protocol && port === packet.destinationPort && (net === undefined || holds([net], remote)),
  );
  if (isFailsafe) {
    const reason = `port ${packet.destinationPort} is a failsafe port`;
    const where = `${ref.kind}/${ref.id}`;
    return {
      verdict: 'Allow',
      steps: [{ where, direction, list: 'normal', tier: null, policy: null, rule: null, action: 'Allow', reason }],
    };
  }
  const isAny = world.resources.HostEndpoint?.get(ref.id)?.spec.interfaceName === '*';
  const steps: Step[] = [];
  for (const list of ['untracked', 'preDNAT', 'normal'] as const) {
    if (list === 'untracked' && isAny) continue;
    if (list === 'preDNAT' && direction === 'egress') continue;
    const evaluation = evaluateEndpoint(world, ref, direction, list, packet);
    steps.push(...evaluation.steps);
    if (evaluation.verdict !== 'None') return { verdict: evaluation.verdict, steps };
  }
  return { verdict: 'None', steps };
}

function nodeOf({ resources }: World, end: FlowEnd): string | undefined {
  if (end.at === 'elsewhere') return undefined;
  if (end.at === 'node') return end.node;
  const { kind, id } = end.ref;
  const endpoint: { spec: Pick<WorkloadEndpoint['spec'], 'node'> } | undefined = resources[kind]?.get(id);
  return endpoint?.spec.node;
}
