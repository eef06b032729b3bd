import { type Addr, parsePrefix } from '#core';
import { felixSpec, type Kinds } from '#datastore';
import { type FlowEnd, type FlowSettings, flowSettings, type PolicyResources } from '#policy';
import { type ClusterReader, holdsOneOf } from './cluster-reader.ts';
import type { End } from './end.ts';
import type { Ends } from './find-ends.ts';

/** All that the verdict of one flow depends on. */
export interface FlowCluster {
  readonly resources: PolicyResources;
  /** Of the nodes of its ends. */
  readonly settings: { readonly from: FlowSettings; readonly to: FlowSettings };
  readonly notes: readonly string[];
}

/** Reads what else the verdict depends on: policies that can concern the ends, and what rules can ask about the two addresses. */
export async function readCluster(reader: ClusterReader, ends: Ends): Promise<FlowCluster> {
  const { from, to, source, destination, known } = ends;
  const { workloads: WorkloadEndpoint, hosts: HostEndpoint } = known;
  const addresses = [source, destination];
  const namespaces = namespacesOf(ends);
  const keep = ({ spec }: { spec: Readonly<Record<string, unknown>> }) => holdsOneOf(spec.nets, addresses);
  const NetworkSet = await reader.all('NetworkSet', { keep });
  const resources: PolicyResources = {
    WorkloadEndpoint,
    HostEndpoint,
    NetworkSet,
    GlobalNetworkSet: await reader.all('GlobalNetworkSet', { keep }),
    Tier: await reader.all('Tier'),
    GlobalNetworkPolicy: await reader.all('GlobalNetworkPolicy'),
    NetworkPolicy: await reader.inNamespaces('NetworkPolicy', namespaces),
    StagedGlobalNetworkPolicy: await reader.all('StagedGlobalNetworkPolicy'),
    StagedNetworkPolicy: await reader.inNamespaces('StagedNetworkPolicy', namespaces),
    StagedKubernetesNetworkPolicy: await reader.inNamespaces('StagedKubernetesNetworkPolicy', namespaces),
    Profile: await reader.byName('Profile', profilesOf(WorkloadEndpoint, concerned(ends), NetworkSet)),
  };
  const configurations = await reader.all('FelixConfiguration');
  const settingsOf = ({ node }: End): FlowSettings =>
    flowSettings(node === null ? {} : felixSpec(configurations, node, known.nodes.get(node)?.metadata.labels ?? {}));
  return {
    resources,
    settings: { from: settingsOf(from), to: settingsOf(to) },
    notes: await serviceNotes(reader, ends),
  };
}

/** The host endpoints that the flow can meet, or whose addresses it is between. */
function concerned({ from, to, source, destination, known }: Ends): Kinds['HostEndpoint'][] {
  const nodes = new Set([from.node, to.node]);
  return [...known.hosts.values()].filter(
    ({ spec }) => nodes.has(spec.node) || holdsOneOf(spec.expectedIPs, [source, destination]),
  );
}

/** Policies of other namespaces select none of the ends. A host endpoint is in a namespace if it is labelled so. */
function namespacesOf(ends: Ends): Set<string> {
  const namespaces = new Set<string>();
  for (const { flow } of [ends.from, ends.to]) {
    const id = workloadId(flow);
    if (id !== null) namespaces.add(id.slice(0, id.indexOf('/')));
  }
  for (const { metadata } of concerned(ends)) {
    const namespace = metadata.labels?.['projectcalico.org/namespace'];
    if (namespace) namespaces.add(namespace);
  }
  return namespaces;
}

const workloadId = (flow: FlowEnd): string | null =>
  flow.at === 'endpoint' && flow.ref.kind === 'WorkloadEndpoint' ? flow.ref.id : null;

function profilesOf(
  workloads: ReadonlyMap<string, Kinds['WorkloadEndpoint']>,
  hosts: readonly Kinds['HostEndpoint'][],
  sets: ReadonlyMap<string, unknown>,
): string[] {
  const endpoints = [...workloads.values(), ...hosts];
  const named = endpoints.flatMap(({ spec }) => spec.profiles ?? []);
  return [...named, ...[...sets.keys()].map((id) => `kns.${id.slice(0, id.indexOf('/'))}`)];
}

/** A service's address is translated by the service proxy before ingress policy sees it. */
async function serviceNotes(reader: ClusterReader, { to, destination }: Ends): Promise<string[]> {
  if (to.kind !== 'Address') return [];
  const bgp = (await reader.byName('BGPConfiguration', ['default'])).get('default')?.spec;
  const ranges = [
    ...(bgp?.serviceClusterIPs ?? []),
    ...(bgp?.serviceExternalIPs ?? []),
    ...(bgp?.serviceLoadBalancerIPs ?? []),
  ].flatMap(({ cidr }) => {
    const parsed = parsePrefix(cidr);
    return parsed.ok ? [parsed.value as string] : [];
  });
  return isIn(ranges, destination)
    ? [
        `${destination} is in a range of service addresses: the service proxy translates it to a workload's, which is what policy sees; ask with that workload`,
      ]
    : [];
}

const isIn = (ranges: readonly string[], address: Addr): boolean => holdsOneOf(ranges, [address]);
