import type { RouteOperation, RoutePolicy, RouteRule } from '#bgp';
import {
  bitsOf,
  FAMILIES,
  type Family,
  familyOf,
  type Prefix,
  parseCidr,
  parsePrefix,
  prefixLength,
  prefixOf,
} from '#core';
import type { BGPFilterRule, IPPool } from '#datastore';
import { readAs } from './facts.ts';
import { type IntentInput, NORMAL_PRIORITY } from './input.ts';

/** What the rules of one session depend on. */
export interface PolicyContext {
  readonly input: IntentInput;
  readonly families: readonly Family[];
  /** Names of BGPFilters, in order; one that does not exist rejects everything. */
  readonly filters: readonly string[];
  readonly internal: boolean;
  /** The peer is a node of this cluster. */
  readonly inCluster: boolean;
}

/** reference/bgp.md 7.5: filters, then everything; with the strict profile only what the cluster can own comes in from outside. */
export function importPolicy(context: PolicyContext): RoutePolicy {
  const filtered = context.families.flatMap((family) => filterRules(context, family, 'import'));
  if (context.input.profile === 'calico' || context.inCluster) return { rules: filtered, otherwise: 'accept' };
  const ranges = context.families.flatMap((family) => [
    ...poolRules(context.input, family, (pool) => !pool.spec.disabled),
    ...serviceRanges(context.input, family).map((net) => acceptWithin(`service range ${net}`, net)),
  ]);
  return { rules: [...filtered, ...ranges], otherwise: 'reject' };
}

/** reference/bgp.md 7.6, in its order. */
export function exportPolicy(context: PolicyContext): RoutePolicy {
  const { input } = context;
  const strict = input.profile === 'strict' && !context.inCluster;
  const rules = context.families.flatMap((family) => [
    ...filterRules(context, family, 'export'),
    ...(strict ? [rejectLearned(family)] : []),
    ...disabledExports(input, family),
    ...communityRules(input, family),
    ...blockRules(input, family),
    ...serviceRanges(input, family).map((net) => acceptLocalWithin(`service range ${net}`, net)),
    ...poolRules(input, family, (pool) => !pool.spec.disabled),
  ]);
  return { rules, otherwise: 'reject' };
}

const rejectLearned = (family: Family): RouteRule => ({
  name: 'strict profile: only routes of this node go to peers outside the cluster',
  match: { family, source: 'remote' },
  action: 'reject',
  operations: [],
});

function filterRules(context: PolicyContext, family: Family, direction: 'import' | 'export'): RouteRule[] {
  const field = `${direction}V${family}` as 'importV4' | 'importV6' | 'exportV4' | 'exportV6';
  return context.filters.flatMap((name) => {
    const filter = context.input.filters.get(name);
    if (!filter)
      return [
        { name: `BGPFilter(${name}) does not exist`, match: { family }, action: 'reject' as const, operations: [] },
      ];
    return (filter.spec[field] ?? []).map((rule, i) => filterRule(`BGPFilter(${name}) ${field}[${i}]`, family, rule));
  });
}

function filterRule(name: string, family: Family, rule: BGPFilterRule): RouteRule {
  const match: RouteRule['match'] = { family };
  const cidr = rule.cidr === undefined ? undefined : parseCidr(rule.cidr);
  if (cidr?.ok && rule.matchOperator) {
    const net = prefixOf(cidr.value.addr, cidr.value.length);
    const minLength = rule.prefixLength?.min ?? prefixLength(net);
    match.prefix = { net, op: rule.matchOperator, minLength, maxLength: rule.prefixLength?.max ?? bitsOf(family) };
  }
  if (rule.source === 'RemotePeers') match.source = 'remote';
  if (rule.interface) match.interface = rule.interface;
  if (rule.peerType) match.peerType = rule.peerType;
  if (rule.communities?.values[0]) match.community = rule.communities.values[0];
  if (rule.asPathPrefix) match.asPathPrefix = rule.asPathPrefix.map((as) => readAs(as) ?? 0);
  if (rule.priority !== undefined) match.priority = rule.priority;
  const action = rule.action === 'Accept' ? 'accept' : 'reject';
  return { name, match, action, operations: (rule.operations ?? []).map(operation) };
}

function operation(op: NonNullable<BGPFilterRule['operations']>[number]): RouteOperation {
  if ('addCommunity' in op) return { op: 'addCommunity', value: op.addCommunity.value };
  if ('setPriority' in op) return { op: 'setPriority', value: op.setPriority.value };
  return { op: 'prependAsPath', asNumbers: op.prependASPath.prefix.map((as) => readAs(as) ?? 0) };
}

const within = (net: Prefix) => ({
  net,
  op: 'In' as const,
  minLength: prefixLength(net),
  maxLength: bitsOf(familyOf(net)),
});

const acceptWithin = (name: string, net: Prefix): RouteRule => ({
  name,
  match: { family: familyOf(net), prefix: within(net) },
  action: 'accept',
  operations: [],
});

const acceptLocalWithin = (name: string, net: Prefix): RouteRule => {
  const rule = acceptWithin(name, net);
  return { ...rule, match: { ...rule.match, source: 'local' } };
};

/** Pools of the family, by name, as prefixes; an unreadable CIDR has been reported by validation and names nothing. */
function pools(input: IntentInput, family: Family, keep: (pool: IPPool) => boolean): { name: string; net: Prefix }[] {
  return [...input.pools]
    .filter(([, pool]) => keep(pool))
    .map(([name, pool]) => ({ name, net: parsePrefix(pool.spec.cidr) }))
    .flatMap(({ name, net }) => (net.ok && familyOf(net.value) === family ? [{ name, net: net.value }] : []))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

const poolRules = (input: IntentInput, family: Family, keep: (pool: IPPool) => boolean): RouteRule[] =>
  pools(input, family, keep).map(({ name, net }) => acceptWithin(`IPPool(${name})`, net));

const disabledExports = (input: IntentInput, family: Family): RouteRule[] =>
  pools(input, family, (pool) => pool.spec.disableBGPExport === true).map(({ name, net }) => ({
    name: `IPPool(${name}) has disableBGPExport`,
    match: { family, prefix: within(net) },
    action: 'reject',
    operations: [],
  }));

/** Communities of `prefixAdvertisements`: they are added, and evaluation goes on. */
function communityRules(input: IntentInput, family: Family): RouteRule[] {
  const spec = input.configurations.get('default')?.spec;
  const named = new Map(spec?.communities?.map(({ name, value }) => [name, value]));
  return (spec?.prefixAdvertisements ?? []).flatMap(({ cidr, communities }) => {
    const net = parsePrefix(cidr);
    if (!net.ok || familyOf(net.value) !== family) return [];
    const operations = (communities ?? []).map(
      (c): RouteOperation => ({ op: 'addCommunity', value: named.get(c) ?? c }),
    );
    return [
      {
        name: `prefixAdvertisements ${cidr}`,
        match: { family, prefix: within(net.value) },
        action: 'next',
        operations,
      },
    ];
  });
}

/**
 * Aggregation: of this node's own confirmed blocks the block itself goes out, and what is inside only with a better than normal priority (a
 * workload in live migration); the rest of the block is covered by it.
 */
function blockRules(input: IntentInput, family: Family): RouteRule[] {
  const normal = normalPriority(input, family);
  return ownBlocks(input, family).flatMap((net): RouteRule[] => [
    {
      name: `block ${net}`,
      match: { family, prefix: { net, op: 'Equal', minLength: prefixLength(net), maxLength: prefixLength(net) } },
      action: 'accept',
      operations: [],
    },
    {
      name: `elevated route in block ${net}`,
      match: { family, prefix: within(net), priorityBelow: normal },
      action: 'accept',
      operations: [],
    },
    { name: `covered by own block ${net}`, match: { family, prefix: within(net) }, action: 'reject', operations: [] },
  ]);
}

/** Blocks whose affinity to this node is confirmed (the empty state of old data counts). */
export function ownBlocks(input: IntentInput, family: Family): Prefix[] {
  const blocks: Prefix[] = [];
  for (const { owner, cidr, state } of input.affinities.values()) {
    if (owner.type !== 'host' || owner.name !== input.node || (state !== 'confirmed' && state !== '')) continue;
    const net = parsePrefix(cidr);
    if (net.ok && familyOf(net.value) === family) blocks.push(net.value);
  }
  return blocks.sort();
}

/** Ranges of services that every node announces (reference/bgp.md 7.8); single addresses need Kubernetes and are left out. */
export function serviceRanges(input: Pick<IntentInput, 'configurations'>, family: Family): Prefix[] {
  const spec = input.configurations.get('default')?.spec;
  const balanced = spec?.serviceLoadBalancerAggregation === 'Disabled' ? [] : (spec?.serviceLoadBalancerIPs ?? []);
  const all = [...(spec?.serviceClusterIPs ?? []), ...(spec?.serviceExternalIPs ?? []), ...balanced];
  return all.flatMap(({ cidr }) => {
    const net = parsePrefix(cidr);
    return net.ok && familyOf(net.value) === family && prefixLength(net.value) < bitsOf(family) ? [net.value] : [];
  });
}

export function normalPriority(input: IntentInput, family: Family): number {
  const spec = input.configurations.get('default')?.spec;
  return (family === 4 ? spec?.ipv4NormalRoutePriority : spec?.ipv6NormalRoutePriority) ?? NORMAL_PRIORITY;
}

export const normalPriorities = (input: IntentInput): Record<Family, number> =>
  Object.fromEntries(FAMILIES.map((family) => [family, normalPriority(input, family)])) as Record<Family, number>;
