import {
  type Addr,
  addr,
  covers,
  InheritedLabels,
  type Labels,
  labelsOf,
  type Prefix,
  parseCidr,
  prefixOf,
} from '#core';
import type {
  EndpointPort,
  GlobalNetworkPolicy,
  GlobalNetworkSet,
  HostEndpoint,
  NetworkPolicy,
  NetworkSet,
  Profile,
  StagedGlobalNetworkPolicy,
  StagedKubernetesNetworkPolicy,
  StagedNetworkPolicy,
  Tier,
  WorkloadEndpoint,
} from '#datastore';

/** The resources that a verdict depends on, by id as in `Update`: `name` or `namespace/name`. A missing kind has no resources. */
export interface PolicyResources {
  readonly WorkloadEndpoint?: ReadonlyMap<string, WorkloadEndpoint>;
  readonly HostEndpoint?: ReadonlyMap<string, HostEndpoint>;
  readonly NetworkPolicy?: ReadonlyMap<string, NetworkPolicy>;
  readonly GlobalNetworkPolicy?: ReadonlyMap<string, GlobalNetworkPolicy>;
  readonly Profile?: ReadonlyMap<string, Profile>;
  readonly Tier?: ReadonlyMap<string, Tier>;
  readonly NetworkSet?: ReadonlyMap<string, NetworkSet>;
  readonly GlobalNetworkSet?: ReadonlyMap<string, GlobalNetworkSet>;
  /** Never enforced: what they would do is asked for by itself. */
  readonly StagedNetworkPolicy?: ReadonlyMap<string, StagedNetworkPolicy>;
  readonly StagedGlobalNetworkPolicy?: ReadonlyMap<string, StagedGlobalNetworkPolicy>;
  readonly StagedKubernetesNetworkPolicy?: ReadonlyMap<string, StagedKubernetesNetworkPolicy>;
}

/** Something with labels that an address belongs to: an endpoint, or a network set. */
export interface Owner {
  readonly labels: Labels;
  readonly ports: readonly Pick<EndpointPort, 'name' | 'protocol' | 'port'>[];
}

/** What an address belongs to, by the resources alone: no index, one look through all of them per address. */
export class World {
  readonly resources: PolicyResources;
  readonly #owners = new Map<Addr, readonly Owner[]>();
  readonly #names: ReadonlyMap<string, string>;

  /** Whether steps tell of rules that did not match, which takes most of the time where there are many. */
  readonly tellsMissed: boolean;

  /** @param names what steps call a policy, by its own `Kind/id`, where that is not its name */
  constructor(resources: PolicyResources, names: ReadonlyMap<string, string> = new Map(), tellsMissed = true) {
    this.resources = resources;
    this.#names = names;
    this.tellsMissed = tellsMissed;
  }

  nameOf(policy: string): string {
    return this.#names.get(policy) ?? policy;
  }

  /** Every endpoint that has the address and every network set that covers it. */
  ownersOf(address: Addr): readonly Owner[] {
    let owners = this.#owners.get(address);
    if (!owners) {
      owners = [...this.#find(address)];
      this.#owners.set(address, owners);
    }
    return owners;
  }

  /** Labels of a workload endpoint, for any selector; own ones win over those of profiles, earlier profiles over later. */
  workloadLabels(id: string, { metadata, spec }: WorkloadEndpoint): Labels {
    const own = Object.fromEntries(
      Object.entries(metadata.labels ?? {}).filter(([name]) => !/^pc(ns|sa)\./.test(name)),
    );
    own['projectcalico.org/namespace'] = id.split('/')[0];
    if (spec.orchestrator) own['projectcalico.org/orchestrator'] = spec.orchestrator;
    if (spec.serviceAccountName) own['projectcalico.org/serviceaccount'] = spec.serviceAccountName;
    return this.#inherited(own, spec.profiles);
  }

  hostLabels({ metadata, spec }: HostEndpoint): Labels {
    return this.#inherited(metadata.labels, spec.profiles);
  }

  *#find(address: Addr): Iterable<Owner> {
    const { WorkloadEndpoint, HostEndpoint, NetworkSet, GlobalNetworkSet } = this.resources;
    for (const [id, endpoint] of WorkloadEndpoint ?? [])
      if (holds(endpoint.spec.ipNetworks, address))
        yield { labels: this.workloadLabels(id, endpoint), ports: endpoint.spec.ports ?? [] };
    for (const endpoint of HostEndpoint?.values() ?? [])
      if (holds(endpoint.spec.expectedIPs, address))
        yield { labels: this.hostLabels(endpoint), ports: endpoint.spec.ports ?? [] };
    for (const [id, set] of NetworkSet ?? []) {
      const namespace = id.split('/')[0];
      const own = { ...set.metadata.labels, 'projectcalico.org/namespace': namespace };
      if (holds(set.spec.nets, address)) yield { labels: this.#inherited(own, [`kns.${namespace}`]), ports: [] };
    }
    for (const set of GlobalNetworkSet?.values() ?? []) {
      const { 'projectcalico.org/namespace': _, ...own } = set.metadata.labels ?? {};
      if (holds(set.spec.nets, address)) yield { labels: labelsOf(own), ports: [] };
    }
  }

  #inherited(own: Record<string, string> | undefined, profiles: readonly string[] | undefined): Labels {
    const parents = (profiles ?? []).map((name) => labelsOf(this.resources.Profile?.get(name)?.spec.labelsToApply));
    return new InheritedLabels(labelsOf(own), parents);
  }
}

/** Whether one of the nets holds the address; host bits do not count, and what is not a net holds nothing. */
export const holds = (nets: readonly string[] | undefined, address: Addr): boolean =>
  (nets ?? []).some((text) => {
    const net = masked(text);
    return net !== null && covers(net, address);
  });

function masked(text: string): Prefix | null {
  const parsed = parseCidr(text);
  return parsed.ok ? prefixOf(addr(parsed.value.addr), parsed.value.length) : null;
}
