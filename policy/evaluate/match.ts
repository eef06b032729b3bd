import { type Addr, type Family, familyOf, parseCidr, parseSelector, selectorMatches } from '#core';
import type { EntityRule, Icmp, Port, Protocol, Rule } from '#datastore';
import { holds, type World } from './world.ts';

/** The first packet of a flow. */
export interface Packet {
  readonly source: Addr;
  readonly destination: Addr;
  /** IANA number. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
}

const NUMBERS: ReadonlyMap<string, number> = new Map(
  Object.entries({ icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 }),
);

/** IANA number of a protocol of the model; undefined for what is none. */
export function protocolNumberOf(protocol: Protocol): number | undefined {
  const number = Number(protocol);
  return Number.isInteger(number) ? number : NUMBERS.get(String(protocol).toLowerCase());
}

/** Why the rule cannot be read, or null. Validation refuses such rules; where one got past it, its policy allows nothing. */
export function ruleProblem({ protocol, notProtocol, source, destination }: Rule): string | null {
  for (const name of [protocol, notProtocol])
    if (name !== undefined && !((protocolNumberOf(name) ?? 256) < 256)) return `unknown protocol ${name}`;
  return entityProblem(source ?? {}) ?? entityProblem(destination ?? {});
}

function entityProblem(entity: EntityRule): string | null {
  const { selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  for (const text of [selector, notSelector, namespaceSelector, serviceAccounts?.selector])
    if (text && !parseSelector(text).ok) return `selector ${text} cannot be read`;
  for (const net of [...(entity.nets ?? []), ...(entity.notNets ?? [])])
    if (!parseCidr(net).ok) return `${net} is not a CIDR`;
  const port = [...(entity.ports ?? []), ...(entity.notPorts ?? [])].find(isBadRange);
  return port === undefined ? null : `${port} is not a port`;
}

function isBadRange(port: Port): boolean {
  const range = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(String(port));
  return range !== null && (Number(range[1]) > Number(range[2] ?? range[1]) || Number(range[2] ?? range[1]) > 65535);
}

/** One side of a packet, as a rule's source or destination sees it. */
interface Side {
  readonly address: Addr;
  readonly port: number | undefined;
}

/**
 * Why the rule does not match the packet, or null if it does (calico-datastore.md 2.4 and 4.4).
 * @param namespace of a NetworkPolicy; '' for a global policy or a profile.
 */
export function mismatch(world: World, rule: Rule, namespace: string, packet: Packet): string | null {
  const family = familyOf(packet.source);
  const source = { address: packet.source, port: packet.sourcePort };
  const destination = { address: packet.destination, port: packet.destinationPort };
  if (rule.http) return 'it is about HTTP, which a packet does not show';
  return (
    protocolMismatch(rule, family, packet) ??
    netsMismatch(rule, family) ??
    entityMismatch(world, rule, 'source', source, namespace, packet) ??
    entityMismatch(world, rule, 'destination', destination, namespace, packet)
  );
}

function protocolMismatch(rule: Rule, family: Family, packet: Packet): string | null {
  if (rule.ipVersion !== undefined && rule.ipVersion !== family) return `it is for IPv${rule.ipVersion}`;
  if (rule.protocol !== undefined) {
    const number = protocolNumberOf(rule.protocol);
    if (number !== packet.protocol) return `it is for protocol ${rule.protocol}`;
    if ((number === 1 && family === 6) || (number === 58 && family === 4))
      return `protocol ${rule.protocol} is for the other family`;
  }
  if (rule.notProtocol !== undefined && protocolNumberOf(rule.notProtocol) === packet.protocol)
    return `it excludes protocol ${rule.notProtocol}`;
  if (rule.icmp?.type !== undefined && !icmpMatches(rule.icmp, family, packet)) return 'another ICMP type or code';
  if (rule.notICMP?.type !== undefined && icmpMatches(rule.notICMP, family, packet))
    return 'it excludes this ICMP type or code';
  return null;
}

function icmpMatches({ type, code }: Icmp, family: Family, packet: Packet): boolean {
  if (packet.protocol !== (family === 4 ? 1 : 58)) return false;
  return packet.icmpType === type && (code === undefined || packet.icmpCode === code);
}

/** A rule that has a list of nets without any of the packet's family is not for that family. */
function netsMismatch({ source, destination }: Rule, family: Family): string | null {
  const isForeign = (nets: readonly string[] | undefined) =>
    nets !== undefined && nets.length > 0 && nets.every((net) => net.includes(':') !== (family === 6));
  const lists = [source?.nets, source?.notNets, destination?.nets, destination?.notNets];
  return lists.some(isForeign) ? 'its nets are of the other family' : null;
}

function entityMismatch(
  world: World,
  rule: Rule,
  which: 'source' | 'destination',
  side: Side,
  namespace: string,
  packet: Packet,
): string | null {
  const entity = rule[which];
  if (!entity) return null;
  if (entity.services) return `${which} is a service, whose endpoints are not known`;
  const { address } = side;
  if (entity.nets?.length && !holds(entity.nets, address)) return `${which} is in none of its nets`;
  if (holds(entity.notNets, address)) return `${which} is in one of its notNets`;
  const selected = selectorText(entity, namespace);
  if (selected !== '' && !isSelected(world, selected, address))
    return world.ownersOf(address).length === 0
      ? `${which} is no endpoint and in no network set, so it does not match ${selected}`
      : `${which} does not match ${selected}`;
  if (entity.notSelector && isSelected(world, entity.notSelector, address))
    return `${which} matches ${entity.notSelector}`;
  const isPort = (port: Port) => portMatches(world, port, rule, selected, side, packet);
  if (entity.ports?.length && !entity.ports.some(isPort)) return `${which} port is none of its ports`;
  if (entity.notPorts?.some(isPort)) return `${which} port is one of its notPorts`;
  return null;
}

const isSelected = (world: World, selector: string, address: Addr): boolean =>
  world.ownersOf(address).some(({ labels }) => selectorMatches(selector, labels));

const PORT_PROTOCOLS: readonly number[] = [6, 17, 132, 136];

function portMatches(world: World, port: Port, rule: Rule, selector: string, side: Side, packet: Packet): boolean {
  const range = /^(\d+)(?::(\d+))?$/.exec(String(port));
  if (range) {
    if (side.port === undefined || !PORT_PROTOCOLS.includes(packet.protocol)) return false;
    return side.port >= Number(range[1]) && side.port <= Number(range[2] ?? range[1]);
  }
  if (rule.protocol !== undefined && protocolNumberOf(rule.protocol) !== packet.protocol) return false;
  return world
    .ownersOf(side.address)
    .some(
      ({ labels, ports }) =>
        ports.some(
          (p) => p.name === port && p.port === side.port && protocolNumberOf(p.protocol) === packet.protocol,
        ) &&
        (selector === '' || selectorMatches(selector, labels)),
    );
}

/** The selector that a rule's entity comes down to, as text (calico-datastore.md 2.5); '' for no criterion. */
export function selectorText(entity: EntityRule, namespace: string): string {
  const { serviceAccounts, selector = '', notSelector = '', namespaceSelector = '' } = entity;
  const account = serviceAccounts?.selector ? prefixed('pcsa.', serviceAccounts.selector) : '';
  const names = serviceAccounts?.names?.length
    ? `projectcalico.org/serviceaccount in {${serviceAccounts.names.map((name) => `"${name}"`).join(', ')}}`
    : '';
  const own = both(both(account, names), selector);
  let scope = namespace === '' ? '' : inNamespace(namespace);
  if (namespaceSelector !== '')
    scope = prefixed('pcns.', namespaceSelector)
      .replaceAll('all()', 'has(projectcalico.org/namespace)')
      .replaceAll('global()', '!has(projectcalico.org/namespace)');
  if (scope === '' || (own === '' && notSelector === '' && namespaceSelector === '')) return own;
  return both(scope, own);
}

/** The selector of endpoints that a policy applies to, as text. */
export function policySelectorText(
  spec: { selector?: string; namespaceSelector?: string; serviceAccountSelector?: string },
  namespace: string,
): string {
  const { selector = '', namespaceSelector = '', serviceAccountSelector = '' } = spec;
  const accounts = serviceAccountSelector === '' ? '' : prefixed('pcsa.', serviceAccountSelector);
  if (namespace !== '') return both(both(selector, inNamespace(namespace)), accounts);
  let text = selector;
  if (namespaceSelector !== '')
    text = both(text, prefixed('pcns.', namespaceSelector)).replaceAll('all()', 'has(projectcalico.org/namespace)');
  if (accounts !== '') text = both(text, accounts).replaceAll('all()', 'has(projectcalico.org/serviceaccount)');
  return text;
}

const inNamespace = (namespace: string): string => `projectcalico.org/namespace == '${namespace}'`;

const both = (a: string, b: string): string => (a === '' ? b : b === '' ? a : `(${a}) && (${b})`);

/** The selector about labels with the prefix; one that cannot be read stays so. */
function prefixed(prefix: string, selector: string): string {
  const parsed = parseSelector(selector);
  return parsed.ok ? parsed.value.prefixed(prefix).text : selector;
}
