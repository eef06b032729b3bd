import { covers, type Family, familyOf, type Prefix } from '#core';
import type {
  ActivePolicy,
  ActiveProfile,
  Packet,
  ResolvedChanges,
  ResolvedEndpoint,
  ResolvedEntity,
  ResolvedRule,
  ResolvedSet,
  TierPolicies,
} from '#policy';

/**
 * What the policy graph has said so far, and what it means for a packet. It takes changes strictly: a member that is added twice, a set that
 * leaves unknown, a rule that names a set that is not there is an error.
 */
export class Interpreter {
  readonly sets = new Map<string, ResolvedSet>();
  readonly members = new Map<string, Set<string>>();
  readonly policies = new Map<string, ActivePolicy>();
  readonly profiles = new Map<string, ActiveProfile>();
  readonly endpoints = new Map<string, ResolvedEndpoint>();

  apply(changes: ResolvedChanges): void {
    take(this.sets, changes.sets);
    for (const [id, set] of changes.sets) if (set) this.members.set(id, this.members.get(id) ?? new Set());
    for (const [id, members] of changes.removed)
      for (const member of members) must(this.members.get(id)?.delete(member), `${member} was in ${id}`);
    for (const [id, members] of changes.added)
      for (const member of members) {
        const set = this.members.get(id);
        must(set && !set.has(member), `${member} was not in ${id}`);
        set?.add(member);
      }
    for (const [id, set] of changes.sets) if (!set) this.members.delete(id);
    take(this.policies, changes.policies);
    take(this.profiles, changes.profiles);
    take(this.endpoints, changes.endpoints);
    this.#checkReferences();
  }

  /** The whole state as something that can be compared. */
  snapshot(): unknown {
    const sorted = <V>(map: ReadonlyMap<string, V>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      sets: sorted(this.sets),
      members: sorted(this.members).map(([id, members]) => [id, [...members].sort()]),
      policies: sorted(this.policies),
      profiles: sorted(this.profiles),
      endpoints: sorted(this.endpoints),
    };
  }

  /** Whether the packet passes one of a workload endpoint's two directions. */
  workload(id: string, direction: 'ingress' | 'egress', packet: Packet): 'Allow' | 'Deny' {
    const endpoint = this.endpoints.get(`WorkloadEndpoint/${id}`);
    if (endpoint?.kind !== 'workload') return 'Deny';
    return this.#tiers(endpoint.tiers, direction, packet, true) ?? this.#profiles(endpoint.profiles, direction, packet);
  }

  /** One list of a host endpoint. */
  host(
    name: string,
    list: 'normal' | 'forward' | 'preDNAT' | 'untracked',
    direction: 'ingress' | 'egress',
    packet: Packet,
  ): 'Allow' | 'Deny' | 'None' {
    const endpoint = this.endpoints.get(`HostEndpoint/${name}`);
    if (endpoint?.kind !== 'host') return 'Deny';
    const tiers = list === 'preDNAT' ? endpoint.preDnat : endpoint[list];
    const verdict = this.#tiers(tiers, direction, packet, list === 'normal' || list === 'forward');
    if (verdict) return verdict;
    if (list === 'forward') return tiers.length === 0 ? 'Allow' : 'None';
    return list === 'normal' ? this.#profiles(endpoint.profiles, direction, packet) : 'None';
  }

  #tiers(
    tiers: readonly TierPolicies[],
    direction: 'ingress' | 'egress',
    packet: Packet,
    hasDefault: boolean,
  ): 'Allow' | 'Deny' | undefined {
    for (const tier of tiers) {
      if (tier[direction].length === 0) continue;
      const action = this.#first(
        tier[direction].map((id) => this.policies.get(id)?.[direction] ?? []),
        packet,
      );
      if (action === 'Allow' || action === 'Deny') return action;
      if (!action && hasDefault && tier.defaultAction === 'Deny') return 'Deny';
    }
    return undefined;
  }

  #profiles(names: readonly string[], direction: 'ingress' | 'egress', packet: Packet): 'Allow' | 'Deny' {
    for (const name of names) {
      const action = this.#first([this.profiles.get(name)?.[direction] ?? []], packet);
      if (action === 'Allow' || action === 'Deny') return action;
    }
    return 'Deny';
  }

  #first(lists: readonly (readonly ResolvedRule[])[], packet: Packet): 'Allow' | 'Deny' | 'Pass' | undefined {
    for (const rule of lists.flat()) if (rule.action !== 'Log' && this.#matches(rule, packet)) return rule.action;
    return undefined;
  }

  #matches(rule: ResolvedRule, packet: Packet): boolean {
    const family = familyOf(packet.source);
    if (rule.family !== undefined && rule.family !== family) return false;
    if (rule.protocol !== undefined && rule.protocol !== packet.protocol) return false;
    if (rule.notProtocol !== undefined && rule.notProtocol === packet.protocol) return false;
    if (rule.icmp && !isIcmp(rule.icmp, family, packet)) return false;
    if (rule.notIcmp && isIcmp(rule.notIcmp, family, packet)) return false;
    const { source, destination, protocol, sourcePort, destinationPort } = packet;
    return (
      this.#entityMatches(rule.source, source, protocol, sourcePort) &&
      this.#entityMatches(rule.destination, destination, protocol, destinationPort)
    );
  }

  #entityMatches(entity: ResolvedEntity, address: string, protocol: number, port: number | undefined): boolean {
    const inNet = (net: string) => covers(net as Prefix, address as Prefix);
    const inSet = (id: string) => [...(this.members.get(id) ?? [])].some(inNet);
    const isPort = ([low, high]: readonly [number, number]) => port !== undefined && port >= low && port <= high;
    const name = { 6: 'tcp', 17: 'udp', 132: 'sctp' }[protocol];
    const inPortSet = (id: string) => this.members.get(id)?.has(`${address},${name}:${port}`) ?? false;
    const hasPorts = entity.ports.length + entity.portSets.length > 0;
    return (
      (entity.nets.length === 0 || entity.nets.some(inNet)) &&
      !entity.notNets.some(inNet) &&
      entity.sets.every(inSet) &&
      !entity.notSets.some(inSet) &&
      (!hasPorts || entity.ports.some(isPort) || entity.portSets.some(inPortSet)) &&
      !entity.notPorts.some(isPort) &&
      !entity.notPortSets.some(inPortSet)
    );
  }

  #checkReferences(): void {
    const rules = [...this.policies.values(), ...this.profiles.values()].flatMap((p) => [...p.ingress, ...p.egress]);
    for (const { source, destination } of rules)
      for (const side of [source, destination])
        for (const id of [...side.sets, ...side.notSets, ...side.portSets, ...side.notPortSets])
          must(this.sets.has(id), `set ${id} is there`);
    for (const endpoint of this.endpoints.values())
      for (const list of endpoint.kind === 'workload'
        ? [endpoint.tiers]
        : [endpoint.normal, endpoint.forward, endpoint.preDnat, endpoint.untracked])
        for (const { ingress, egress } of list)
          for (const id of [...ingress, ...egress]) must(this.policies.has(id), `policy ${id} is there`);
  }
}

function isIcmp(icmp: { type?: number; code?: number }, family: Family, packet: Packet): boolean {
  if (packet.protocol !== (family === 4 ? 1 : 58) || packet.icmpType !== icmp.type) return false;
  return icmp.code === undefined || icmp.code === packet.icmpCode;
}

function take<V>(known: Map<string, V>, changes: ReadonlyMap<string, V | null>): void {
  for (const [id, value] of changes)
    if (value === null) must(known.delete(id), `${id} was there`);
    else known.set(id, value);
}

function must(holds: unknown, what: string): void {
  if (!holds) throw new Error(`expected that ${what}`);
}
