import { type Addr, addr, type Family } from '#core';
import type { AnyResource, Kind, Update } from '#datastore';
import { type Packet, protocolNumberOf } from '#policy';

/**
 * Who may talk to whom, as data: resources in, verdicts out. The same scenarios run on the evaluator, on the calculation, and wherever packets
 * can be sent for real; nothing here knows which.
 */
export interface Scenario {
  readonly name: string;
  /** What is there besides the cast. */
  readonly resources: readonly AnyResource[];
  readonly probes: readonly Probe[];
}

/** The first packet of a new flow between two of the cast, and whether it arrives. */
export interface Probe {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly port?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly family: Family;
  readonly allow: boolean;
}

/** Somebody who sends or receives: a workload on a node, or an address outside the cluster. */
export interface Actor {
  readonly name: string;
  /** The id of its WorkloadEndpoint; undefined: outside the cluster. */
  readonly workload?: string;
  readonly addresses: Readonly<Record<Family, Addr>>;
}

const metadata = (id: string, labels?: Record<string, string>) => {
  const [first, second] = id.split('/');
  return {
    ...(second === undefined ? { name: first } : { name: second, namespace: first }),
    ...(labels && { labels }),
  };
};

/** A resource by kind, id (`name` or `namespace/name`), spec and labels; its type is what the datastore says it is. */
export function resource(kind: Kind, id: string, spec: object, labels?: Record<string, string>): AnyResource {
  return { apiVersion: 'projectcalico.org/v3', kind, metadata: metadata(id, labels), spec } as unknown as AnyResource;
}

export const idOf = ({ metadata: { name, namespace } }: AnyResource): string =>
  namespace ? `${namespace}/${name}` : name;

/** The update that says the resource is there, or is not. */
export const updateOf = (value: AnyResource, there = true): Update =>
  ({ kind: value.kind, id: idOf(value), value: there ? value : null, revision: 1n }) as Update;

/**
 * A scenario. A probe is `from > to protocol[/port] [v4|v6] yes|no`, for both families unless it says; ICMP takes type and code for a port
 * (`icmp/8`, `icmp/3.1`, 8 meaning an echo request of either family); a source port stands behind the sender (`lb:1234`).
 */
export const scenario = (name: string, resources: readonly AnyResource[], probes: readonly string[]): Scenario => ({
  name,
  resources,
  probes: probes.flatMap(readProbe),
});

const PROBE = /^([\w-]+)(?::(\d+))? > ([\w-]+) (\w+)(?:\/(\d+)(?:\.(\d+))?)?(?: v([46]))? (yes|no)$/;

function readProbe(text: string): Probe[] {
  const found = PROBE.exec(text);
  if (!found) throw new TypeError(`not a probe: ${text}`);
  const [, from, sourcePort, to, protocol, number, code, family, expected] = found;
  const allow = expected === 'yes';
  return ([4, 6] as const)
    .filter((f) => family === undefined || Number(family) === f)
    .map((f) => ({ from, to, ...transport(protocol, number, code, f, sourcePort), family: f, allow }));
}

function transport(protocol: string, number: string, code: string, family: Family, sourcePort: string) {
  if (protocol !== 'icmp')
    return {
      protocol: protocolNumberOf(protocol as 'TCP') as number,
      ...(number && { port: Number(number), sourcePort: Number(sourcePort ?? 40_000) }),
    };
  const type = family === 6 && number === '8' ? 128 : Number(number);
  return { protocol: family === 4 ? 1 : 58, icmpType: type, icmpCode: Number(code ?? 0) };
}

/** The packet that a probe sends between two actors. */
export function packetOf(probe: Probe, from: Actor, to: Actor): Packet {
  const { protocol, sourcePort, port, icmpType, icmpCode, family } = probe;
  return {
    source: from.addresses[family],
    destination: to.addresses[family],
    protocol,
    ...(port !== undefined && { sourcePort, destinationPort: port }),
    ...(icmpType !== undefined && { icmpType, icmpCode }),
  };
}

export const describeProbe = ({ from, to, protocol, port, icmpType, icmpCode, family }: Probe): string =>
  `${from} > ${to} IPv${family} protocol ${protocol} ${port ?? (icmpType === undefined ? '' : `${icmpType}.${icmpCode}`)}`;

export const actor = (name: string, four: string, six: string, workload?: string): Actor => ({
  name,
  ...(workload !== undefined && { workload }),
  addresses: { 4: addr(four), 6: addr(six) },
});
