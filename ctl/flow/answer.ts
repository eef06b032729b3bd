import {
  evaluateFlow,
  type Flow,
  type Packet,
  type StagedPolicy,
  type Step,
  stagedPolicies,
  type Unknown,
  World,
  worldIfEnforced,
} from '#policy';
import type { FlowCluster } from './cluster.ts';
import type { End } from './end.ts';
import type { Ends } from './find-ends.ts';
import type { PacketKind } from './kind-of-packet.ts';

/** What `explain` prints as JSON (docs/EXPLAIN.md); stable for scripts. */
export interface Answer {
  /** As in steps; an address that is nobody's by itself. */
  readonly from: string;
  readonly to: string;
  /** `TCP`, `UDP`, ..., or a number. */
  readonly protocol: string | number;
  readonly port: number | null;
  readonly verdict: Flow['verdict'];
  readonly steps: readonly Step[];
  readonly ipVersion: 4 | 6;
  readonly icmp: PacketKind['icmp'];
  readonly source: Side;
  readonly destination: Side;
  /** Interfaces that the datastore cannot tell, where they make a difference; the verdict is that of the ways that pass. */
  readonly unknown: readonly Unknown[];
  readonly staged: {
    readonly verdict: Flow['verdict'];
    readonly steps: readonly Step[];
    readonly unknown: readonly Unknown[];
    readonly policies: readonly StagedPolicy[];
  };
  readonly notes: readonly string[];
}

/** How an end was understood. */
export interface Side {
  /** As it was asked for. */
  readonly given: string;
  readonly kind: End['kind'];
  readonly name: string;
  readonly node: string | null;
  readonly address: string;
  readonly port: number | null;
}

/** Answers the question, now and as it would be with staged policies enforced. */
export function answer(ends: Ends, kind: PacketKind, { resources, settings, notes }: FlowCluster): Answer {
  const { from, to, source, destination } = ends;
  const packet: Packet = {
    source,
    destination,
    protocol: kind.number,
    ...(kind.port !== null && { destinationPort: kind.port }),
    ...(kind.sourcePort !== null && { sourcePort: kind.sourcePort }),
    ...(kind.icmp && { icmpType: kind.icmp.type, icmpCode: kind.icmp.code }),
  };
  const evaluate = (world: World): Flow => evaluateFlow(world, from.flow, to.flow, packet, settings.from, settings.to);
  const world = new World(resources);
  const asked = [
    ...(from.flow.at === 'endpoint' ? [{ ref: from.flow.ref, direction: 'egress' as const }] : []),
    ...(to.flow.at === 'endpoint' ? [{ ref: to.flow.ref, direction: 'ingress' as const }] : []),
  ];
  const now = evaluate(world);
  return {
    from: from.name,
    to: to.name,
    protocol: kind.protocol,
    port: kind.port,
    ...now,
    ipVersion: source.includes(':') ? 6 : 4,
    icmp: kind.icmp,
    source: sideOf(from, source, kind.sourcePort),
    destination: sideOf(to, destination, kind.port),
    staged: { ...evaluate(worldIfEnforced(resources)), policies: stagedPolicies(world, asked, packet) },
    notes: [...ends.notes, ...notes, ...notesOn(ends, now)],
  };
}

const sideOf = ({ given, kind, name, node }: End, address: string, port: number | null): Side => ({
  given,
  kind,
  name,
  node,
  address,
  port,
});

function notesOn({ from, to }: Ends, { steps }: Flow): string[] {
  const notes: string[] = [];
  if (from.name === to.name && from.kind === 'WorkloadEndpoint')
    notes.push(
      'what a workload sends to its own address does not leave it; this is about what comes back to it, as through a service',
    );
  else if (from.kind === 'Address' && to.kind === 'Address')
    notes.push('neither end is of this cluster, so no policy is asked');
  else if (
    from.kind !== 'WorkloadEndpoint' &&
    to.kind !== 'WorkloadEndpoint' &&
    from.node !== null &&
    from.node === to.node
  )
    notes.push(
      'what a host sends to itself takes its loopback interface, which an endpoint of all interfaces polices, too',
    );
  if (steps.some(({ list, action }) => list === 'untracked' && action === 'Allow'))
    notes.push('doNotTrack policy has no connections: answers need a rule of their own in the other direction');
  return notes;
}
