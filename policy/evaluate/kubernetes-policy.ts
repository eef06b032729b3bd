import { err, ok, parseCidr, type Result } from '#core';
import type { EntityRule, NetworkPolicySpec, Port, Protocol, Rule } from '#datastore';
import { protocolNumberOf } from './match.ts';

/** The name under which kube-controllers keeps a Kubernetes NetworkPolicy (calico-datastore.md 1.3). */
export const kubernetesPolicyName = (name: string): string => `knp.default.${name}`;

/**
 * A Kubernetes NetworkPolicySpec as the NetworkPolicy that kube-controllers makes of it: order 1000, tier default, one rule for each pair of peer
 * and port. The spec is carried in the datastore without a check, so whatever is wrong with it is an error that names the field.
 */
export function fromKubernetes(spec: Readonly<Record<string, unknown>>): Result<NetworkPolicySpec, string> {
  try {
    return ok(convert(spec));
  } catch (error) {
    if (error instanceof Unreadable) return err(error.message);
    throw error;
  }
}

class Unreadable extends Error {}

function convert(spec: Readonly<Record<string, unknown>>): NetworkPolicySpec {
  const ingress = list(spec.ingress, 'ingress').flatMap((rule, i) => rulesOf(rule, `ingress[${i}]`, 'from', 'source'));
  const egress = list(spec.egress, 'egress').flatMap((rule, i) => rulesOf(rule, `egress[${i}]`, 'to', 'destination'));
  const named = list(spec.policyTypes, 'policyTypes').map((type, i) => {
    if (type === 'Ingress' || type === 'Egress') return type;
    throw new Unreadable(`policyTypes[${i}] must be Ingress or Egress`);
  });
  const derived = egress.length > 0 ? (['Ingress', 'Egress'] as const) : (['Ingress'] as const);
  const types = named.length > 0 ? named : [...derived];
  return {
    tier: 'default',
    order: 1000,
    selector: podSelector(spec.podSelector, 'podSelector'),
    types,
    ...(types.includes('Ingress') && { ingress }),
    ...(types.includes('Egress') && { egress }),
  };
}

function rulesOf(value: unknown, field: string, peersField: string, side: 'source' | 'destination'): Rule[] {
  const rule = object(value, field);
  const peers = list(rule[peersField], `${field}.${peersField}`).map((p, i) => peer(p, `${field}.${peersField}[${i}]`));
  const ports = list(rule.ports, `${field}.ports`).map((p, i) => portOf(p, `${field}.ports[${i}]`));
  const noPeers: EntityRule[] = [{}];
  const noPorts: PortOf[] = [{}];
  return (peers.length > 0 ? peers : noPeers).flatMap((from) =>
    (ports.length > 0 ? ports : noPorts).map(({ protocol, port }): Rule => {
      const to = port === undefined ? {} : { ports: [port] };
      const entities = side === 'source' ? { source: from, destination: to } : { destination: { ...from, ...to } };
      return { action: 'Allow', ...(protocol !== undefined && { protocol }), ...entities };
    }),
  );
}

function peer(value: unknown, field: string): EntityRule {
  const { ipBlock, podSelector: pods, namespaceSelector: namespaces } = object(value, field);
  if (ipBlock !== undefined) {
    const block = object(ipBlock, `${field}.ipBlock`);
    const except = list(block.except, `${field}.ipBlock.except`);
    return {
      nets: [net(block.cidr, `${field}.ipBlock.cidr`)],
      ...(except.length > 0 && { notNets: except.map((one, i) => net(one, `${field}.ipBlock.except[${i}]`)) }),
    };
  }
  if (pods === undefined && namespaces === undefined)
    throw new Unreadable(`${field} must have podSelector, namespaceSelector or ipBlock`);
  return {
    selector: podSelector(pods, `${field}.podSelector`),
    ...(namespaces !== undefined && {
      namespaceSelector: terms(namespaces, `${field}.namespaceSelector`).join(' && ') || 'all()',
    }),
  };
}

interface PortOf {
  readonly protocol?: Protocol;
  readonly port?: Port;
}

function portOf(value: unknown, field: string): PortOf {
  const { protocol = 'TCP', port, endPort } = object(value, field);
  if (typeof protocol !== 'string' || protocolNumberOf(protocol as Protocol) === undefined)
    throw new Unreadable(`${field}.protocol must be TCP, UDP or SCTP`);
  const of = protocol as Protocol;
  if (port === undefined) return { protocol: of };
  if (endPort === undefined && (typeof port === 'string' || isPort(port))) return { protocol: of, port: port as Port };
  if (isPort(port) && isPort(endPort) && port <= endPort) return { protocol: of, port: `${port}:${endPort}` };
  throw new Unreadable(`${field}.port must be a port or a name, and endPort a port that is not below it`);
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65535;

function net(value: unknown, field: string): string {
  if (typeof value === 'string' && parseCidr(value).ok) return value;
  throw new Unreadable(`${field} must be a CIDR`);
}

/** Pods only: other workloads are not Kubernetes' to select. */
const podSelector = (value: unknown, field: string): string =>
  ["projectcalico.org/orchestrator == 'k8s'", ...(value === undefined ? [] : terms(value, field))].join(' && ');

/** The terms of a label selector. */
function terms(value: unknown, field: string): string[] {
  const { matchLabels, matchExpressions } = object(value, field);
  const labels = Object.entries(object(matchLabels ?? {}, `${field}.matchLabels`)).sort(([a], [b]) => (a < b ? -1 : 1));
  const equal = labels.map(
    ([key, one]) => `${label(key, `${field}.matchLabels`)} == ${quoted(one, `${field}.matchLabels`)}`,
  );
  const expressions = list(matchExpressions, `${field}.matchExpressions`).map((one, i) =>
    expression(one, `${field}.matchExpressions[${i}]`),
  );
  return [...equal, ...expressions];
}

function expression(value: unknown, field: string): string {
  const { key: name, operator, values } = object(value, field);
  const key = label(name, `${field}.key`);
  const set = () =>
    `{${list(values, `${field}.values`)
      .map((one) => quoted(one, `${field}.values`))
      .join(', ')}}`;
  switch (operator) {
    case 'In':
      return `${key} in ${set()}`;
    case 'NotIn':
      return `${key} not in ${set()}`;
    case 'Exists':
      return `has(${key})`;
    case 'DoesNotExist':
      return `!has(${key})`;
    default:
      throw new Unreadable(`${field}.operator must be In, NotIn, Exists or DoesNotExist`);
  }
}

function label(value: unknown, field: string): string {
  if (typeof value === 'string' && /^[A-Za-z0-9_./-]{1,512}$/.test(value)) return value;
  throw new Unreadable(`${field} must be a label`);
}

/** A label's value cannot hold a quote; what does is no label's value, and would be another selector. */
function quoted(value: unknown, field: string): string {
  if (typeof value === 'string' && !value.includes("'")) return `'${value}'`;
  throw new Unreadable(`${field} must hold label values`);
}

function object(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Unreadable(`${field} must be an object`);
}

function list(value: unknown, field: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value)) return value;
  throw new Unreadable(`${field} must be a list`);
}
