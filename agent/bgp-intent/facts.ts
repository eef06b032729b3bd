import { createHash } from 'node:crypto';
import { type Addr, addr, FAMILIES, type Family, parseAddr, parseCidr } from '#core';
import { type BGPConfiguration, type Node, parseAsNumber } from '#datastore';
import { DEFAULT_AS, DEFAULT_PORT, type IntentInput, MULTIPROTOCOL_ANNOTATION, type NodeFacts } from './input.ts';

/** The settings that hold for a node: `node.<name>` before `default` where the field may be set per node. */
export function listenPortOf(configurations: IntentInput['configurations'], node: string): number {
  const own = configurations.get(`node.${node}`)?.spec.listenPort;
  return own ?? configurations.get('default')?.spec.listenPort ?? DEFAULT_PORT;
}

export function clusterAs(configurations: ReadonlyMap<string, BGPConfiguration>): number {
  return readAs(configurations.get('default')?.spec.asNumber) ?? DEFAULT_AS;
}

/** A number, or undefined for absent and unreadable ones (validation has reported those). */
export function readAs(value: number | string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const parsed = parseAsNumber(value);
  return parsed.ok && parsed.value !== 0 ? parsed.value : undefined;
}

export function nodeFacts(node: Node, configurations: IntentInput['configurations']): NodeFacts {
  const bgp = node.spec.bgp ?? {};
  const addresses: Partial<Record<Family, Addr>> = {};
  const texts: Record<Family, string | undefined> = { 4: bgp.ipv4Address, 6: bgp.ipv6Address };
  for (const family of FAMILIES) {
    const text = texts[family];
    const parsed = text === undefined ? undefined : parseCidr(text);
    if (parsed?.ok) addresses[family] = parsed.value.addr;
  }
  const cluster = bgp.routeReflectorClusterID ? parseAddr(bgp.routeReflectorClusterID) : undefined;
  return {
    name: node.metadata.name,
    labels: node.metadata.labels ?? {},
    addresses,
    asNumber: readAs(bgp.asNumber),
    listenPort: listenPortOf(configurations, node.metadata.name),
    clusterId: cluster?.ok ? cluster.value : undefined,
    multiprotocol: node.metadata.annotations?.[MULTIPROTOCOL_ANNOTATION] === 'true',
  };
}

/**
 * The BGP Identifier: a given address, the IPv4 address, or a hash of the node's name where there is none (RFC 6286 asks only that it be
 * not zero and unique within the AS).
 */
export function routerIdOf(setting: string | undefined, facts: NodeFacts): Addr {
  if (setting !== undefined && setting !== 'hash') {
    const given = parseAddr(setting);
    if (given.ok) return given.value;
  }
  if (setting === undefined && facts.addresses[4]) return facts.addresses[4];
  const digest = createHash('sha256').update(facts.name).digest();
  // The first octet stays within 1 to 223, so that the value also reads as a unicast address.
  return addr(`${1 + (digest[0] % 223)}.${digest[1]}.${digest[2]}.${digest[3]}`);
}
