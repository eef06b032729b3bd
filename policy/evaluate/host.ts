import { type EndpointRef, type Evaluation, evaluateEndpoint, ownStep, refText, type Step } from './evaluate.ts';
import type { Packet } from './match.ts';
import type { Direction, ListName } from './order.ts';
import type { FlowSettings } from './settings.ts';
import { holds, type World } from './world.ts';

/** A host endpoint at the end of a flow: failsafe ports, then untracked, pre-DNAT and normal policy (calico-datastore.md 4.5). */
export function evaluateHost(
  world: World,
  ref: EndpointRef,
  direction: Direction,
  packet: Packet,
  settings: FlowSettings,
): Evaluation {
  if (isFailsafe(direction, packet, settings)) {
    const place = { where: refText(ref), direction, list: 'normal' } as const;
    return { verdict: 'Allow', steps: [ownStep(place, 'Allow', `port ${packet.destinationPort} is a failsafe port`)] };
  }
  return firstOf(world, ref, direction, [...beforeRouting(world, ref, direction), 'normal'], packet);
}

/**
 * A host endpoint that a node forwards a packet through: what comes in meets untracked and pre-DNAT policy, and what they leave open meets
 * forward policy, as does what goes out. Failsafe ports are exempt from the former only. `None`: it has no opinion, and the packet passes.
 */
export function evaluateForwarding(
  world: World,
  ref: EndpointRef,
  direction: Direction,
  packet: Packet,
  settings: FlowSettings,
): Evaluation {
  const early =
    direction === 'ingress' && !isFailsafe(direction, packet, settings) ? beforeRouting(world, ref, direction) : [];
  return firstOf(world, ref, direction, [...early, 'forward'], packet);
}

/** An endpoint of all interfaces has no untracked policy, and pre-DNAT policy is about what comes in. */
function beforeRouting(world: World, { id }: EndpointRef, direction: Direction): ListName[] {
  const isAny = world.resources.HostEndpoint?.get(id)?.spec.interfaceName === '*';
  return [...(isAny ? [] : (['untracked'] as const)), ...(direction === 'ingress' ? (['preDNAT'] as const) : [])];
}

function firstOf(
  world: World,
  ref: EndpointRef,
  direction: Direction,
  lists: readonly ListName[],
  packet: Packet,
): Evaluation {
  const steps: Step[] = [];
  for (const list of lists) {
    const evaluation = evaluateEndpoint(world, ref, direction, list, packet);
    steps.push(...evaluation.steps);
    if (evaluation.verdict !== 'None') return { verdict: evaluation.verdict, steps };
  }
  return { verdict: 'None', steps };
}

function isFailsafe(
  direction: Direction,
  { protocol, source, destination, destinationPort }: Packet,
  { failsafeInbound, failsafeOutbound }: FlowSettings,
): boolean {
  const [open, remote] = direction === 'ingress' ? [failsafeInbound, source] : [failsafeOutbound, destination];
  return open.some(
    (safe) =>
      safe.protocol === protocol &&
      safe.port === destinationPort &&
      (safe.net === undefined || holds([safe.net], remote)),
  );
}
