import { err, FAMILIES, type Family, ok, type Result } from '#core';
import type { EntityRule, Icmp, Port, Protocol, Rule } from '#datastore';
import type { ResolvedEntity, ResolvedRule } from '../resolved.ts';
import type { PortRange } from '../types.ts';
import { canonicalNet } from './contents.ts';
import { entitySelectors } from './conversion.ts';
import { NEVER, namedPortSet, type SetDefinition, selectorSet, serviceSet } from './sets.ts';

/** Rules without names in them, and the sets that they refer to. */
export interface ScannedRules {
  readonly rules: readonly ResolvedRule[];
  readonly sets: readonly SetDefinition[];
}

/** IANA protocol numbers of the names in the model, by lower case name. */
export const PROTOCOLS: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['tcp', 6],
  ['udp', 17],
  ['icmpv6', 58],
  ['sctp', 132],
  ['udplite', 136],
]);
/** ICMP of each family; the protocol implies the family. */
const ICMP: Record<Family, number> = { 4: 1, 6: 58 };

/**
 * Resolves the rules of one direction. The error names the first rule that cannot be read; the resource then counts as absent.
 * @param namespace of a NetworkPolicy; '' for a global policy or a profile.
 */
export function scanRules(rules: readonly Rule[] | undefined, namespace: string): Result<ScannedRules, string> {
  const resolved: ResolvedRule[] = [];
  const sets: SetDefinition[] = [];
  for (const [i, rule] of (rules ?? []).entries()) {
    const one = scanRule(rule, namespace, sets);
    if (!one.ok) return err(`rule ${i}: ${one.error}`);
    resolved.push(one.value);
  }
  return ok({ rules: resolved, sets });
}

function scanRule(rule: Rule, namespace: string, sets: SetDefinition[]): Result<ResolvedRule, string> {
  const protocol = protocolNumber(rule.protocol);
  const notProtocol = protocolNumber(rule.notProtocol);
  if (protocol === null || notProtocol === null) return err('unknown protocol');
  const context: EntityContext = { namespace, protocol, sets };
  const source = scanEntity(rule.source, 'nets', context);
  if (!source.ok) return err(`source: ${source.error}`);
  const destination = scanEntity(rule.destination, 'ports', context);
  if (!destination.ok) return err(`destination: ${destination.error}`);
  const families = familiesOf(rule, protocol);
  const icmp = criterionOf(rule.icmp);
  const notIcmp = criterionOf(rule.notICMP);
  const isNever = families.length === 0 || rule.http !== undefined;
  return ok({
    action: rule.action,
    ...(families.length === 1 && { family: families[0] }),
    ...(protocol !== undefined && { protocol }),
    ...(notProtocol !== undefined && { notProtocol }),
    ...(icmp && { icmp }),
    ...(notIcmp && { notIcmp }),
    source: isNever ? neverMatching(source.value, sets) : source.value,
    destination: destination.value,
    annotations: lean(
      Object.entries(rule.metadata?.annotations ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .sort(),
    ),
  });
}

/**
 * The families whose packets the rule can match. A list of nets, negated or not, of one family alone limits the rule to it, as Calico's
 * agent has it; so does ICMP.
 */
function familiesOf({ ipVersion, source, destination }: Rule, protocol: number | undefined): Family[] {
  const lists = [source?.nets, source?.notNets, destination?.nets, destination?.notNets];
  return FAMILIES.filter(
    (family) =>
      (ipVersion ?? family) === family &&
      (impliedFamily(protocol) ?? family) === family &&
      lists.every((nets) => !nets?.length || nets.some((net) => net.includes(':') === (family === 6))),
  );
}

interface EntityContext {
  readonly namespace: string;
  readonly protocol: number | undefined;
  /** Where needed sets are gathered. */
  readonly sets: SetDefinition[];
}

function scanEntity(
  entity: EntityRule | undefined,
  serviceKind: 'nets' | 'ports',
  context: EntityContext,
): Result<ResolvedEntity, string> {
  if (!entity) return ANYBODY;
  const selectors = entitySelectors(entity, context.namespace);
  if (!selectors.ok) return selectors;
  const { selector, notSelector } = selectors.value;
  const need = (set: SetDefinition): string => {
    context.sets.push(set);
    return set.id;
  };
  const nets = readNets(entity.nets);
  const notNets = readNets(entity.notNets);
  if (!nets.ok) return nets;
  if (!notNets.ok) return notNets;
  const named = (name: string) => need(namedPortSet(name, protocolName(context.protocol), selector));
  const ports = readPorts(entity.ports, named);
  const notPorts = readPorts(entity.notPorts, named);
  if (!ports.ok) return ports;
  if (!notPorts.ok) return notPorts;
  const addressSets = selector ? [need(selectorSet(selector))] : [];
  const portSets = [...ports.value.sets];
  if (entity.services) {
    const { namespace = context.namespace, name } = entity.services;
    (serviceKind === 'nets' ? addressSets : portSets).push(need(serviceSet(namespace, name, serviceKind)));
  }
  return ok({
    nets: lean(nets.value),
    notNets: lean(notNets.value),
    sets: lean(addressSets),
    notSets: lean(notSelector ? [need(selectorSet(notSelector))] : []),
    ports: lean(ports.value.ranges),
    portSets: lean(portSets),
    notPorts: lean(notPorts.value.ranges),
    notPortSets: lean(notPorts.value.sets),
  });
}

/** Most criteria of most rules are empty, and share one list; the others get one without room to spare. */
const lean = <T>(list: readonly T[]): readonly T[] => (list.length > 0 ? list.slice() : NOTHING);
const NOTHING: readonly never[] = [];
const ANYBODY = ok<ResolvedEntity>({
  nets: NOTHING,
  notNets: NOTHING,
  sets: NOTHING,
  notSets: NOTHING,
  ports: NOTHING,
  portSets: NOTHING,
  notPorts: NOTHING,
  notPortSets: NOTHING,
});

/** For a rule of contradictory families, and for one about HTTP, which packets cannot be held against: it can only allow, and allows nothing. */
function neverMatching(entity: ResolvedEntity, sets: SetDefinition[]): ResolvedEntity {
  sets.push(NEVER);
  return { ...entity, sets: [...entity.sets, NEVER.id] };
}

function readNets(texts: readonly string[] | undefined): Result<string[], string> {
  const nets: string[] = [];
  for (const text of texts ?? []) {
    const net = canonicalNet(text);
    if (net === null) return err(`${JSON.stringify(text.slice(0, 64))} is not a CIDR`);
    nets.push(net);
  }
  return ok(nets);
}

/** A number, `lo:hi`, or a name. */
function readPorts(
  ports: readonly Port[] | undefined,
  named: (name: string) => string,
): Result<{ ranges: PortRange[]; sets: string[] }, string> {
  const ranges: PortRange[] = [];
  const sets: string[] = [];
  for (const port of ports ?? []) {
    const numeric = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(String(port));
    if (!numeric) {
      sets.push(named(String(port)));
      continue;
    }
    const low = Number(numeric[1]);
    const high = Number(numeric[2] ?? numeric[1]);
    if (low > high || high > 65535) return err(`${JSON.stringify(port)} is not a port or a range of ports`);
    ranges.push([low, high]);
  }
  return ok({ ranges, sets });
}

/** null: not a protocol. */
function protocolNumber(protocol: Protocol | undefined): number | undefined | null {
  if (protocol === undefined) return undefined;
  if (/^\d{1,3}$/.test(String(protocol))) return Number(protocol) <= 255 ? Number(protocol) : null;
  return PROTOCOLS.get(String(protocol).toLowerCase()) ?? null;
}

const impliedFamily = (protocol: number | undefined): Family | undefined =>
  FAMILIES.find((family) => ICMP[family] === protocol);

/** As in the members of port sets; one without a name is nobody's port. */
function protocolName(protocol: number | undefined): string | undefined {
  for (const [name, number] of PROTOCOLS) if (number === protocol) return name;
  return protocol?.toString();
}

/** Without a type there is no criterion, negated or not, as in Calico. */
const criterionOf = (icmp: Icmp | undefined): Icmp | undefined => (icmp?.type === undefined ? undefined : icmp);
