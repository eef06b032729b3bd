import * as z from 'zod';
import { isHostPrefix, parseAddr, parsePrefix } from '#core';
import { workloadEndpointName } from '../endpoint-name.ts';
import {
  address,
  type Check,
  cidr,
  int,
  interfaceName,
  list,
  mac,
  matching,
  maybe,
  object,
  opt,
  resourceName,
  shown,
  text,
  word,
} from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';
import { NAMESPACE_LABEL } from './network-set.ts';

export interface EndpointPort {
  name?: string;
  protocol: 'TCP' | 'UDP' | 'SCTP';
  port: number;
  hostPort?: number;
  hostIP?: string;
}

/** Bit/s, bit, byte and counts as in calico-datastore.md 2.2; absent is unlimited. */
export interface QosControls {
  ingressBandwidth?: number;
  egressBandwidth?: number;
  ingressBurst?: number;
  egressBurst?: number;
  ingressPeakrate?: number;
  egressPeakrate?: number;
  ingressMinburst?: number;
  egressMinburst?: number;
  ingressPacketRate?: number;
  egressPacketRate?: number;
  ingressPacketBurst?: number;
  egressPacketBurst?: number;
  ingressMaxConnections?: number;
  egressMaxConnections?: number;
  dscp?: number | string;
}

export interface WorkloadEndpointSpec {
  orchestrator: string;
  workload?: string;
  pod?: string;
  containerID?: string;
  node: string;
  endpoint: string;
  interfaceName: string;
  mac?: string;
  /** /32 and /128 prefixes; empty: the dataplane treats the endpoint as absent. */
  ipNetworks?: string[];
  ipNATs?: { internalIP: string; externalIP: string }[];
  ipv4Gateway?: string;
  ipv6Gateway?: string;
  profiles?: string[];
  ports?: EndpointPort[];
  serviceAccountName?: string;
  allowSpoofedSourcePrefixes?: string[];
  qosControls?: QosControls;
}
export type WorkloadEndpoint = Resource<'WorkloadEndpoint', WorkloadEndpointSpec>;

/** Said by whom the endpoint is; set on every write. */
export const ORCHESTRATOR_LABEL = 'projectcalico.org/orchestrator';

/** As `int`, and 0, which Go writes for what was never set. */
const zeroOr = (least: number, most: number) =>
  int(0, most).check((ctx) => {
    if (ctx.value > 0 && ctx.value < least)
      ctx.issues.push({ code: 'custom', message: `must be 0, or ${least} to ${most}`, input: ctx.value });
  });
const MAX_BURST = 34_359_738_360;
const rate = opt(int(1000, 1e15));
const burst = opt(zeroOr(1000, MAX_BURST));
const peak = opt(zeroOr(1010, 1.01e15));
const packets = opt(int(1, 10_000));
const count = opt(int(0, 0xffffffff));
const DSCP = /^([0-9]|[1-5][0-9]|6[0-3]|DF|EF|VA|LE|CS[0-7]|AF[1-4][1-3])$/i;

const qosControls = object<QosControls>({
  ingressBandwidth: rate,
  egressBandwidth: rate,
  ingressBurst: burst,
  egressBurst: burst,
  ingressPeakrate: peak,
  egressPeakrate: peak,
  ingressMinburst: count,
  egressMinburst: count,
  ingressPacketRate: packets,
  egressPacketRate: packets,
  ingressPacketBurst: opt(int(0, 0xffffffff)),
  egressPacketBurst: opt(int(0, 0xffffffff)),
  ingressMaxConnections: count,
  egressMaxConnections: count,
  dscp: opt(
    z.union([z.number(), z.string()]).check((ctx) => {
      if (!DSCP.test(String(ctx.value)))
        ctx.issues.push({ code: 'custom', message: 'must be 0 to 63 or a class such as EF or AF41', input: ctx.value });
    }),
  ),
});

const oneAddress: Check = (value) => {
  const parsed = parsePrefix(value);
  if (!parsed.ok) return parsed.error;
  return isHostPrefix(parsed.value) ? null : `must be one address, /32 or /128; '${shown(value)}' is more`;
};

/** Checks of single fields, where not each word of the vocabulary is one. */
export const ENDPOINT_CHECKS = {
  containerID: matching(/^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$/, 'a container ID'),
  endpoint: matching(/^[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?$/, 'an interface name of the workload'),
  interfaceName: (value) => (value === '*' ? null : interfaceName(value)),
  mac,
  oneAddress,
  portName: matching(/^[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?$/, 'a port name'),
  protocol: word('TCP', 'UDP', 'SCTP'),
} satisfies Record<string, Check>;

const port = object<EndpointPort>({
  name: maybe(ENDPOINT_CHECKS.portName),
  protocol: text(ENDPOINT_CHECKS.protocol),
  port: int(1, 65535),
  hostPort: opt(int(0, 65535)),
  hostIP: maybe(address()),
});

function checkEndpoint({ metadata, spec }: { metadata: Metadata; spec: WorkloadEndpointSpec }, report: Report): void {
  const name = workloadEndpointName(spec);
  if (!name.ok) report(name.error.field, name.error.message);
  else if (metadata.name && metadata.name !== name.value)
    report.limit(
      'metadata.name',
      `must be ${name.value}, which follows from the spec; '${shown(metadata.name)}' is not`,
    );
  const held = new Set((spec.ipNetworks ?? []).map(hostAddress));
  for (const [i, nat] of (spec.ipNATs ?? []).entries()) {
    if (nat.internalIP.includes(':') !== nat.externalIP.includes(':'))
      report(`spec.ipNATs[${i}].externalIP`, 'is not of the family of internalIP');
    if (!held.has(hostAddress(nat.internalIP)))
      report(`spec.ipNATs[${i}].internalIP`, `${shown(nat.internalIP)} is not one of ipNetworks`);
  }
  for (const direction of ['ingress', 'egress'] as const) {
    const controls: QosControls = spec.qosControls ?? {};
    const [bandwidth, peakrate] = [controls[`${direction}Bandwidth`], controls[`${direction}Peakrate`]];
    if (peakrate && bandwidth && peakrate <= bandwidth)
      report.limit(
        `spec.qosControls.${direction}Peakrate`,
        `must be above ${direction}Bandwidth ${bandwidth}; ${peakrate} is not`,
      );
  }
  for (const [i, { name, hostPort }] of (spec.ports ?? []).entries())
    if (!name && !hostPort) report(`spec.ports[${i}].name`, 'is required for a port without hostPort');
}

const hostAddress = (value: string): string => {
  const parsed = parseAddr(value.split('/')[0]);
  return parsed.ok ? parsed.value : value;
};

export const workloadEndpoint: KindInfo<'WorkloadEndpoint', WorkloadEndpointSpec> = {
  kind: 'WorkloadEndpoint',
  plural: 'workloadendpoints',
  singular: 'workloadendpoint',
  shortNames: ['wep', 'weps', 'endpoint', 'endpoints'],
  namespaced: true,
  spec: object<WorkloadEndpointSpec>({
    orchestrator: text(resourceName),
    workload: maybe(resourceName),
    pod: maybe(resourceName),
    containerID: maybe(ENDPOINT_CHECKS.containerID),
    node: text(resourceName),
    endpoint: text(ENDPOINT_CHECKS.endpoint),
    interfaceName: text(ENDPOINT_CHECKS.interfaceName),
    mac: maybe(mac),
    ipNetworks: list(text(oneAddress)),
    ipNATs: list(object({ internalIP: text(address()), externalIP: text(address()) })),
    ipv4Gateway: maybe(address(4)),
    ipv6Gateway: maybe(address(6)),
    profiles: list(text(resourceName)),
    ports: list(port),
    serviceAccountName: maybe(resourceName),
    allowSpoofedSourcePrefixes: list(text(cidr())),
    qosControls: opt(qosControls),
  }),
  check: checkEndpoint,
  fill: ({ metadata, spec }) => {
    const name = workloadEndpointName(spec);
    if (name.ok) metadata.name ||= name.value;
    metadata.labels = {
      ...metadata.labels,
      [NAMESPACE_LABEL]: metadata.namespace ?? '',
      [ORCHESTRATOR_LABEL]: spec.orchestrator,
    };
  },
};
