import { bitsOf, familyOf, parseCidr, prefixOf } from '#core';
import type { GlobalNetworkSet, HostEndpoint, NetworkSet, WorkloadEndpoint } from '#datastore';
import { NAMESPACE_LABEL, NAMESPACE_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX } from './conversion.ts';

export interface NamedPort {
  readonly name: string;
  /** `tcp`, `udp` or `sctp`. */
  readonly protocol: string;
  readonly port: number;
}

/** What a labelled thing gives to the sets that select it: canonical prefixes, and ports by name. */
export interface Contribution {
  readonly nets: readonly string[];
  readonly ports: readonly NamedPort[];
}

/** All that is kept of an endpoint or network set, wherever in the cluster it is. */
export interface Contents extends Contribution {
  /** Flat: name, value, name, value. */
  readonly labels: readonly string[];
  /** Profiles whose labels it inherits, in order. */
  readonly parents: readonly string[];
}

const NO_PORTS: readonly NamedPort[] = [];
const ORCHESTRATOR_LABEL = 'projectcalico.org/orchestrator';

/**
 * A pseudo label that says "has a port of this name". No selector can be written that names it, because of the blank; sets of a named port use
 * it to be filed under.
 */
export const portLabel = (name: string): string => `port ${name}`;

/**
 * null: without addresses the endpoint counts as absent. Labels that only profiles may give are dropped, and those that clients of the
 * datastore always write are made sure of, whoever wrote this one.
 */
export function workloadContents(id: string, endpoint: WorkloadEndpoint): Contents | null {
  const { spec, metadata } = endpoint;
  const nets = canonicalNets(spec.ipNetworks);
  if (nets.length === 0) return null;
  const own = metadata.labels ?? {};
  const labels: string[] = [];
  for (const name of Object.keys(own))
    if (!name.startsWith(NAMESPACE_PREFIX) && !name.startsWith(SERVICE_ACCOUNT_PREFIX)) labels.push(name, own[name]);
  setLabel(labels, NAMESPACE_LABEL, id.slice(0, id.indexOf('/')));
  if (spec.orchestrator) setLabel(labels, ORCHESTRATOR_LABEL, spec.orchestrator);
  if (spec.serviceAccountName) setLabel(labels, SERVICE_ACCOUNT_LABEL, spec.serviceAccountName);
  const ports = namedPorts(spec.ports, labels);
  return { labels, parents: spec.profiles ?? [], nets, ports };
}

export function hostContents(endpoint: HostEndpoint): Contents {
  const { spec, metadata } = endpoint;
  const labels = Object.entries(metadata.labels ?? {}).flat();
  const ports = namedPorts(spec.ports, labels);
  return { labels, parents: spec.profiles ?? [], nets: canonicalNets(spec.expectedIPs), ports };
}

/** @param id `namespace/name`, or `name` of a global one; the namespace label is not the user's to set. */
export function networkSetContents(id: string, set: NetworkSet | GlobalNetworkSet): Contents {
  const labels: string[] = [];
  for (const [name, value] of Object.entries(set.metadata.labels ?? {}))
    if (name !== NAMESPACE_LABEL) labels.push(name, value);
  const nets = [...new Set(canonicalNets(set.spec.nets))];
  if (set.kind === 'GlobalNetworkSet') return { labels, parents: [], nets, ports: NO_PORTS };
  const namespace = id.slice(0, id.indexOf('/'));
  labels.push(NAMESPACE_LABEL, namespace);
  return { labels, parents: [`kns.${namespace}`], nets, ports: NO_PORTS };
}

export const sameContribution = (a: Contribution, b: Contribution): boolean =>
  a.nets.length === b.nets.length &&
  a.ports.length === b.ports.length &&
  a.nets.every((net, i) => net === b.nets[i]) &&
  a.ports.every(
    (p, i) => p.name === b.ports[i].name && p.protocol === b.ports[i].protocol && p.port === b.ports[i].port,
  );

/** The canonical form of a net with host bits cleared; null for text that is not one. */
export function canonicalNet(text: string): string | null {
  const parsed = parseCidr(text);
  if (!parsed.ok) return null;
  const { addr, length } = parsed.value;
  // Nearly always it is canonical, and then it is its own.
  if (text[addr.length] === '/' && text.startsWith(addr) && length === bitsOf(familyOf(addr))) return text;
  return length === bitsOf(familyOf(addr)) ? `${addr}/${length}` : prefixOf(addr, length);
}

/** Entries that are no net are skipped, as Calico's agent does. A copy of what was given has no room to spare: every endpoint has one. */
function canonicalNets(texts: readonly string[] | undefined): readonly string[] {
  if (texts?.length === 1) {
    const net = canonicalNet(texts[0]);
    return net === texts[0] ? texts : net === null ? [] : [net];
  }
  const nets = (texts ?? []).map(canonicalNet);
  return nets.includes(null) ? nets.filter((net) => net !== null).slice() : (nets as string[]);
}

function namedPorts(
  ports: readonly { name?: string; protocol: string; port: number }[] | undefined,
  labels: string[],
): readonly NamedPort[] {
  const named: NamedPort[] = [];
  for (const { name, protocol, port } of ports ?? []) {
    if (!name || !port) continue;
    named.push({ name, protocol: protocol.toLowerCase(), port });
    setLabel(labels, portLabel(name), '');
  }
  return named.length > 0 ? named : NO_PORTS;
}

function setLabel(labels: string[], name: string, value: string): void {
  for (let i = 0; i < labels.length; i += 2)
    if (labels[i] === name) {
      labels[i + 1] = value;
      return;
    }
  labels.push(name, value);
}
