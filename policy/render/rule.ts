import { assertNever, type Family } from '#core';
import type { ResolvedEntity, ResolvedRule } from '../resolved.ts';
import type { Action, ChainRule, Match, PortRange, SetId } from '../types.ts';
import type { Marks } from './marks.ts';
import { clearMark, marked, PROTOCOL, protocol, rule, setMark, unmarked } from './phrases.ts';
import type { SetNames } from './policy-sets.ts';

/** What stands in a chain in the place of a verdict. */
export interface Verdict {
  readonly match: readonly Match[];
  readonly action: Action;
}

/** What a rule's verdict becomes in the chain it stands in. */
export interface Verdicts {
  readonly marks: Marks;
  readonly allow: Action;
  readonly pass: Action;
  readonly deny: Action;
  /** The log statement and its limit, of a Log rule with that number. */
  readonly log: (index: number) => readonly Verdict[];
  /** What a set is called there. */
  readonly setNames: SetNames;
}

/** Alternatives of which one must match (positive), or none may (negative). Each is a list of matches that hold together. */
interface Block {
  readonly negative: boolean;
  readonly alternatives: readonly (readonly Match[])[];
}

/** At most this many rules are written out for two or more alternatives; beyond, mark bits do the OR. */
const WRITTEN_OUT = 6;

/**
 * The chain rules that one policy rule becomes, for one family; empty when it can match nothing there. What one line of iptables cannot say
 * (several nets, more than 15 ports, ports or named ports) is written out as several lines where few suffice; else two mark bits collect
 * it: the first says "all blocks so far match", the second "the current block matches".
 * @param index the rule's number in its policy, for the log
 */
export function renderRule(source: ResolvedRule, index: number, family: Family, verdicts: Verdicts): ChainRule[] {
  const fixed: Match[] = [];
  const blocks: Block[] = [];
  if (!protocolMatches(source, family, fixed, blocks)) return [];
  const from = named(source.source, family, verdicts.setNames);
  const to = named(source.destination, family, verdicts.setNames);
  if (!from || !entityMatches(from, 'src', family, fixed, blocks)) return [];
  if (!to || !entityMatches(to, 'dst', family, fixed, blocks)) return [];
  const multiple = blocks.filter((b) => b.negative || b.alternatives.length > 1);
  for (const block of blocks) if (!multiple.includes(block)) fixed.push(...block.alternatives[0]);
  const verdict = verdictsOf(source, index, verdicts);
  const combinations = multiple.reduce((n, b) => (b.negative ? Infinity : n * b.alternatives.length), 1);
  const lines =
    combinations === 1 || (combinations <= WRITTEN_OUT && source.action !== 'Log')
      ? product(multiple).map((extra) => ({ match: [...fixed, ...extra], marking: [] as ChainRule[] }))
      : [collected(fixed, multiple, verdicts.marks)];
  return lines.flatMap(({ match, marking }) => [
    ...marking,
    ...verdict.map((v) => rule([...match, ...v.match], v.action)),
  ]);
}

function verdictsOf(source: ResolvedRule, index: number, verdicts: Verdicts): readonly Verdict[] {
  switch (source.action) {
    case 'Allow':
      return [{ match: [], action: verdicts.allow }];
    case 'Deny':
      return [{ match: [], action: verdicts.deny }];
    case 'Pass':
      return [{ match: [], action: verdicts.pass }];
    case 'Log':
      return verdicts.log(index);
    default:
      return assertNever(source.action);
  }
}

function protocolMatches(source: ResolvedRule, family: Family, fixed: Match[], blocks: Block[]): boolean {
  if (source.family !== undefined && source.family !== family) return false;
  const icmp = family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6;
  const other = family === 4 ? PROTOCOL.icmpv6 : PROTOCOL.icmp;
  if (source.protocol === other) return false;
  if (source.icmp && source.protocol !== undefined && source.protocol !== icmp) return false;
  const number = source.protocol ?? (source.icmp ? icmp : undefined);
  if (number !== undefined) fixed.push(protocol(number));
  if (source.notProtocol !== undefined) {
    if (number === undefined) fixed.push(protocol(source.notProtocol, true));
    else if (number === source.notProtocol) return false;
  }
  if (source.icmp?.type !== undefined)
    fixed.push({
      m: 'icmp',
      type: source.icmp.type,
      ...(source.icmp.code !== undefined && { code: source.icmp.code }),
    });
  if (source.notIcmp) return notIcmpMatches(source.notIcmp, number, icmp, fixed, blocks);
  return true;
}

function notIcmpMatches(
  not: NonNullable<ResolvedRule['notIcmp']>,
  number: number | undefined,
  icmp: number,
  fixed: Match[],
  blocks: Block[],
): boolean {
  if (number !== undefined && number !== icmp) return true;
  // Without a type it excludes every ICMP packet.
  if (not.type === undefined) {
    if (number === icmp) return false;
    blocks.push({ negative: true, alternatives: [[protocol(icmp)]] });
    return true;
  }
  const match: Match = { m: 'icmp', type: not.type, ...(not.code !== undefined && { code: not.code }) };
  if (number === icmp) fixed.push({ ...match, negate: true });
  else blocks.push({ negative: true, alternatives: [[protocol(icmp), match]] });
  return true;
}

const isFamily = (net: string, family: Family): boolean => net.includes(':') === (family === 6);

/** One side of a rule with sets as they are called in the kernel: of each of `sets` one or the other has to hold the address. */
interface NamedEntity extends Omit<ResolvedEntity, 'sets'> {
  readonly sets: readonly (readonly SetId[])[];
}
/** null: it asks a set that is vacant, so it matches nothing. */
function named(entity: ResolvedEntity, family: Family, setNames: SetNames): NamedEntity | null {
  const names = (ids: readonly SetId[]) => ids.map((id) => setNames(id, family));
  const sets = names(entity.sets);
  const portSets = names(entity.portSets).flat();
  if (sets.some((any) => any.length === 0)) return null;
  if (entity.portSets.length > 0 && portSets.length + entity.ports.length === 0) return null;
  const [notSets, notPortSets] = [names(entity.notSets).flat(), names(entity.notPortSets).flat()];
  return { ...entity, sets, portSets, notSets, notPortSets };
}

function entityMatches(
  entity: NamedEntity,
  side: 'src' | 'dst',
  family: Family,
  fixed: Match[],
  blocks: Block[],
): boolean {
  const nets = entity.nets.filter((net) => isFamily(net, family));
  if (entity.nets.length > 0 && nets.length === 0) return false;
  const notNets = entity.notNets.filter((net) => isFamily(net, family));
  if (notNets.some((net) => net.endsWith('/0'))) return false;
  const wanted = nets.some((net) => net.endsWith('/0')) ? [] : nets;
  if (wanted.length > 0) blocks.push({ negative: false, alternatives: wanted.map((net) => [{ m: side, net }]) });
  // One line holds one address match, so a negated one stands there only if it is alone.
  if (wanted.length === 0 && notNets.length === 1) fixed.push({ m: side, net: notNets[0], negate: true });
  else if (notNets.length > 0) blocks.push({ negative: true, alternatives: notNets.map((net) => [{ m: side, net }]) });
  for (const any of entity.sets) {
    const alternatives = any.map((set): Match[] => [{ m: `${side}-set`, set }]);
    if (any.length === 1) fixed.push(...alternatives[0]);
    else blocks.push({ negative: false, alternatives });
  }
  for (const set of entity.notSets) fixed.push({ m: `${side}-set`, set, negate: true });
  portMatches(entity, side, fixed, blocks);
  return true;
}

function portMatches(entity: NamedEntity, side: 'src' | 'dst', fixed: Match[], blocks: Block[]): void {
  const m = side === 'src' ? 'sports' : 'dports';
  const alternatives: Match[][] = [
    ...slots(entity.ports).map((ports): Match[] => [{ m, ports }]),
    ...entity.portSets.map((set): Match[] => [{ m: `${side}-port-set`, set }]),
  ];
  if (alternatives.length > 0) blocks.push({ negative: false, alternatives });
  for (const ports of slots(entity.notPorts)) fixed.push({ m, ports, negate: true });
  for (const set of entity.notPortSets) fixed.push({ m: `${side}-port-set`, set, negate: true });
}

/** multiport holds 15 slots; a range takes two. */
const SLOTS = 15;
function slots(ports: readonly PortRange[]): PortRange[][] {
  const groups: PortRange[][] = [];
  let free = 0;
  for (const port of ports) {
    const cost = port[0] === port[1] ? 1 : 2;
    if (cost > free) {
      groups.push([]);
      free = SLOTS;
    }
    groups[groups.length - 1].push(port);
    free -= cost;
  }
  return groups;
}

/** Every way to take one alternative of each block. */
const product = (blocks: readonly Block[]): Match[][] =>
  blocks.reduce<Match[][]>(
    (lists, block) => lists.flatMap((list) => block.alternatives.map((alternative) => [...list, ...alternative])),
    [[]],
  );

/** Marks that collect the blocks, and the match that tells whether all of them held. */
function collected(
  fixed: readonly Match[],
  blocks: readonly Block[],
  marks: Marks,
): { match: Match[]; marking: ChainRule[] } {
  const [all, one] = [marks.scratch0, marks.scratch1];
  const both = (all | one) >>> 0;
  const positive = blocks.filter((b) => !b.negative);
  const negative = blocks.filter((b) => b.negative);
  const marking: ChainRule[] = [];
  if (positive.length === 0) marking.push(rule([], { do: 'mark', value: all, mask: both }));
  positive.forEach((block, index) => {
    const bit = index === 0 ? all : one;
    if (index === 0) marking.push(rule([], clearMark(both)));
    else if (index > 1) marking.push(rule([], clearMark(one)));
    for (const match of block.alternatives) marking.push(rule([...portable(match, fixed), ...match], setMark(bit)));
    if (index > 0) marking.push(rule([unmarked(one)], clearMark(all)));
  });
  for (const block of negative)
    for (const match of block.alternatives) marking.push(rule([...portable(match, fixed), ...match], clearMark(all)));
  return { match: [...fixed, marked(all)], marking };
}

/** A port match needs the protocol in the same line. */
const portable = (match: readonly Match[], fixed: readonly Match[]): Match[] =>
  match.some((m) => m.m === 'sports' || m.m === 'dports') ? fixed.filter((m) => m.m === 'protocol') : [];
