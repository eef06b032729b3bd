import type { Addr } from '#core';
import { felixSpec, type GlobalNetworkPolicy, type Kinds, type NetworkPolicy, type Rule, validate } from '#datastore';
import { type FlowSettings, flowSettings, type PolicyResources, World } from '#policy';
import type { ClusterReader } from '../flow/cluster-reader.ts';
import { type End, hostEnd, workloadEnd } from '../flow/end.ts';
import { AddressIndex } from './address-index.ts';
import { afterChanges, type ChangedObject, concernsPolicy, idOf, versionsOf } from './changed.ts';
import { type ComparedEnd, compareFlows, type FlowChange } from './compare.ts';
import { groupEndpoints, MOST_GROUPS } from './endpoint-groups.ts';
import { MOST_PACKETS, type NamedPort, packetsOf } from './packets.ts';
import { firstOf, touchedBy } from './touched.ts';

/** Whose traffic would be allowed or denied that was not before, and what was looked at to say so. */
export interface Impact {
  readonly flows: readonly FlowChange[];
  readonly asked: {
    /** Ends that the changes concern, and all that were looked at as the other end. */
    readonly ends: number;
    readonly others: number;
    readonly packets: number;
    readonly flows: number;
  };
  /** What was not looked at because there is too much of it; empty: all that was meant to be. */
  readonly limits: readonly string[];
}

/** So many addresses that rules name are taken as other ends. */
const MOST_OUTSIDE = 50;
/** Nobody's (RFC 5737, RFC 3849), for what is outside and in no network. */
const NOBODY = ['192.0.2.1', '2001:db8::1'] as readonly string[] as readonly Addr[];

/** Compares the cluster before and after changes; null: nothing that changes concerns verdicts. */
export async function impactOf(reader: ClusterReader, all: readonly ChangedObject[]): Promise<Impact | null> {
  const changes = all.filter(concernsPolicy).map(asAgentsSeeIt);
  if (changes.length === 0) return null;
  const changed = new Set(
    changes.filter(({ kind }) => kind === 'WorkloadEndpoint').map(({ before, after }) => idOf((after ?? before)!)),
  );
  const policies = {
    GlobalNetworkPolicy: await reader.all('GlobalNetworkPolicy'),
    NetworkPolicy: await reader.all('NetworkPolicy'),
  };
  const rules = rulesOf(changes, policies);
  const named = outsideOf(rules, setsOf(changes));
  const { groups, more } = await groupEndpoints(reader, changed, new AddressIndex(named));
  const [nodes, hosts] = [await reader.all('Node'), await reader.all('HostEndpoint')];
  const WorkloadEndpoint = new Map(groups.map(({ id, endpoint }) => [id, endpoint]));
  const profiles = [
    ...groups.map(({ endpoint }) => endpoint),
    ...hosts.values(),
    ...versionsOf(changes, 'WorkloadEndpoint'),
    ...versionsOf(changes, 'HostEndpoint'),
  ].flatMap(({ spec }) => spec.profiles ?? []);
  const base = { WorkloadEndpoint, HostEndpoint: hosts, ...policies, Tier: await reader.all('Tier') };
  const held = groups.flatMap(({ endpoint }) => workloadEnd('', endpoint, ASKED).addresses);
  const outside = named.filter((address) => !held.includes(address));
  const addresses = [
    ...held,
    ...[...hosts.values()].flatMap(
      (host) => hostEnd('', host, { nodes, hosts, workloads: WorkloadEndpoint }, ASKED).addresses,
    ),
    ...outside,
  ];
  const index = new AddressIndex(addresses);
  const keep = ({ spec }: { spec: Readonly<Record<string, unknown>> }) => index.isInOneOf(spec.nets);
  const NetworkSet = await reader.all('NetworkSet', { keep });
  const resources: PolicyResources = {
    ...base,
    NetworkSet,
    GlobalNetworkSet: await reader.all('GlobalNetworkSet', { keep }),
    Profile: await reader.byName('Profile', [
      ...profiles,
      ...[...NetworkSet.keys()].map((id) => `kns.${id.split('/')[0]}`),
    ]),
  };
  const [before, after] = [resources, afterChanges(resources, changes)].map((one) => new World(one, undefined, false));
  const known = {
    nodes,
    hosts: new Map([...hosts, ...(after.resources.HostEndpoint ?? [])]),
    workloads: WorkloadEndpoint,
  };
  const ends: ComparedEnd[] = [
    ...groups.map(({ id, endpoint, size }) => ({ ...both(workloadEnd(id, endpoint, ASKED)), size })),
    ...[...known.hosts].map(([id, host]) => hostCompared(hostEnd(id, host, known, ASKED), id, before, after)),
    ...outside.map((address) => ({ ...both(elsewhere(address)), size: 1 })),
  ].filter(({ before: was, after: is }) => isThere(was, before) && isThere(is, after));
  const touched = touchedBy(changes, ends, before, after);
  const ports: NamedPort[] = [...groups.flatMap(({ endpoint }) => endpoint.spec.ports ?? [])].filter(hasName);
  const packets = packetsOf(rules, ports);
  const settings = await settingsByNode(reader, nodes);
  const compared = compareFlows(touched, ends, packets.slice(0, MOST_PACKETS), { before, after }, settings);
  const limits = [
    ...touched
      .filter((end) => end.addresses.length === 0)
      .map(({ name }) => `${name} has no address that the datastore knows, and is not looked at`),
    ...(more ? [`endpoints differ in more than ${MOST_GROUPS} ways; the others are not looked at`] : []),
    ...(packets.length > MOST_PACKETS
      ? [`rules name ${packets.length} ports and protocols; ${packets.length - MOST_PACKETS} are not looked at`]
      : []),
    ...(forwards(changes, policies.GlobalNetworkPolicy.values())
      ? ['what nodes forward through their host endpoints is not looked at; tsnetctl explain does it for one flow']
      : []),
    ...compared.limits,
  ];
  return {
    flows: compared.flows,
    asked: {
      ends: touched.length,
      others: ends.length,
      packets: Math.min(packets.length, MOST_PACKETS),
      flows: compared.asked,
    },
    limits,
  };
}

/** What is stored and cannot be used is not there. */
const asAgentsSeeIt = (change: ChangedObject): ChangedObject =>
  change.before && validate(change.before, 'read').length > 0 ? { ...change, before: null } : change;

const ASKED = { flag: '--from', given: '' } as const;
const both = (end: End): Omit<ComparedEnd, 'size'> => ({
  name: end.name,
  node: end.node,
  addresses: end.addresses,
  before: end.flow,
  after: end.flow,
});
const hasName = ({ name }: NamedPort): boolean => Boolean(name);

const elsewhere = (address: Addr): End => ({
  ...ASKED,
  kind: 'Address',
  name: address,
  node: null,
  addresses: [address],
  flow: { at: 'elsewhere' },
});

/** Before a host endpoint is there, and after it is gone, its interface is one of the node. */
function hostCompared(end: End, id: string, before: World, after: World): ComparedEnd {
  const flow = (world: World) =>
    world.resources.HostEndpoint?.has(id) ? end.flow : ({ at: 'node', node: end.node ?? '' } as const);
  return { ...both(end), before: flow(before), after: flow(after), size: 1 };
}

const isThere = (flow: ComparedEnd['before'], { resources }: World): boolean =>
  flow.at !== 'endpoint' || resources[flow.ref.kind]?.has(flow.ref.id) === true;

/** The rules that tell packets apart: those of changed policies and profiles, and of all policies in tiers that change; else of all. */
function rulesOf(
  changes: readonly ChangedObject[],
  policies: { readonly [K in 'GlobalNetworkPolicy' | 'NetworkPolicy']: ReadonlyMap<string, Kinds[K]> },
): Rule[] {
  const tiers = new Set(versionsOf(changes, 'Tier').map(({ metadata }) => metadata.name));
  const isOther = changes.some(({ kind }) => !['NetworkPolicy', 'GlobalNetworkPolicy', 'Tier'].includes(kind));
  const stored: (NetworkPolicy | GlobalNetworkPolicy)[] = [
    ...policies.GlobalNetworkPolicy.values(),
    ...policies.NetworkPolicy.values(),
  ].filter(({ spec }) => isOther || tiers.has(spec.tier || 'default'));
  const named = (['NetworkPolicy', 'GlobalNetworkPolicy', 'Profile'] as const).flatMap((kind) =>
    versionsOf(changes, kind),
  );
  return [...named, ...stored].flatMap(({ spec }) => [...(spec.ingress ?? []), ...(spec.egress ?? [])]);
}

/** Whether it may make a difference to what passes a host endpoint on its way, which neither of its ends shows. */
function forwards(changes: readonly ChangedObject[], stored: Iterable<GlobalNetworkPolicy>): boolean {
  const isOnForward = ({ spec }: GlobalNetworkPolicy): boolean => spec.applyOnForward === true;
  if (versionsOf(changes, 'GlobalNetworkPolicy').some(isOnForward)) return true;
  const all = [...stored];
  return changes.some(({ kind }) => !['NetworkPolicy', 'GlobalNetworkPolicy'].includes(kind)) && all.some(isOnForward);
}

const setsOf = (changes: readonly ChangedObject[]): string[] =>
  (['NetworkSet', 'GlobalNetworkSet'] as const).flatMap((kind) =>
    versionsOf(changes, kind).flatMap(({ spec }) => spec.nets ?? []),
  );

/** An address of each net that changed sets hold or rules name, and one of nobody. */
function outsideOf(rules: readonly Rule[], sets: readonly string[]): Addr[] {
  const nets = rules.flatMap(({ source, destination }) =>
    [source?.nets, source?.notNets, destination?.nets, destination?.notNets].flatMap((all) => all ?? []),
  );
  const found = new Set<Addr>();
  for (const net of [...sets, ...nets]) {
    const address = firstOf(net);
    if (address && found.size < MOST_OUTSIDE) found.add(address);
  }
  return [...found, ...NOBODY];
}

/** Read once, and worked out once for each node. */
async function settingsByNode(
  reader: ClusterReader,
  nodes: ReadonlyMap<string, Kinds['Node']>,
): Promise<(node: string | null) => FlowSettings> {
  const configurations = await reader.all('FelixConfiguration');
  const known = new Map<string | null, FlowSettings>();
  return (node) => {
    const found =
      known.get(node) ??
      flowSettings(node === null ? {} : felixSpec(configurations, node, nodes.get(node)?.metadata.labels ?? {}));
    known.set(node, found);
    return found;
  };
}
