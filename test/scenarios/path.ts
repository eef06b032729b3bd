import {
  evaluateEndpoint,
  evaluateForwarding,
  evaluateHost,
  type FlowSettings,
  type Packet,
  type World,
} from '#policy';

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
  const workload = (id: string | undefined, direction: Direction): boolean =>
    id !== undefined &&
    evaluateEndpoint(world, { kind: 'WorkloadEndpoint', id }, direction, 'normal', packet).verdict === 'Allow';
  const link = (evaluate: typeof evaluateHost, id: string | undefined, direction: Direction): boolean =>
    id === undefined || evaluate(world, { kind: 'HostEndpoint', id }, direction, packet, settings).verdict !== 'Deny';
  if (from.at === 'host') return to.at !== 'link' || link(evaluateHost, to.endpoint, 'egress');
  if (from.at === 'workload' && !workload(from.id, 'egress')) return false;
  if (to.at === 'host') {
    if (from.at === 'link') return link(evaluateHost, from.endpoint, 'ingress');
    return settings.endpointToHostAction === 'Accept' || settings.endpointToHostAction === 'Return';
  }
  if (from.at === 'link' && !link(evaluateForwarding, from.endpoint, 'ingress')) return false;
  return to.at === 'workload' ? workload(to.id, 'ingress') : link(evaluateForwarding, to.endpoint, 'egress');
}

type Direction = Parameters<typeof evaluateEndpoint>[2];
