import type {
  BGPConfiguration,
  BGPFilter,
  BGPPeer,
  ClusterInformation,
  FelixConfiguration,
  IPPool,
  IpamAffinity,
  IpamBlock,
  Node,
  Update,
  WorkloadEndpoint,
} from '#datastore';
import { borrowedAddresses } from './vxlan.ts';

/** What may have to be computed again after an update. */
export type Dirty = 'policy' | 'endpoints' | 'bgp' | 'overlay' | 'config';

/**
 * The resources that the agent itself reads, as they are now. Policy keeps its own, compact picture of the endpoints and policies of the
 * whole cluster; here are only the few kinds that concern routing and settings, and this node's own endpoints.
 */
export class Cluster {
  readonly nodes = new Map<string, Node>();
  readonly bgpConfigurations = new Map<string, BGPConfiguration>();
  readonly bgpPeers = new Map<string, BGPPeer>();
  readonly bgpFilters = new Map<string, BGPFilter>();
  readonly pools = new Map<string, IPPool>();
  readonly affinities = new Map<string, IpamAffinity>();
  readonly blocks = new Map<string, IpamBlock>();
  readonly felixConfigurations = new Map<string, FelixConfiguration>();
  readonly clusterInformation = new Map<string, ClusterInformation>();
  /** WorkloadEndpoints of this node. */
  readonly localEndpoints = new Map<string, WorkloadEndpoint>();
  readonly #node: string;

  constructor(node: string) {
    this.#node = node;
  }

  /** Takes the update in and says what depends on it. */
  onUpdate(update: Update): readonly Dirty[] {
    switch (update.kind) {
      case 'Node':
        put(this.nodes, update);
        return ['bgp', 'overlay', 'config', 'policy'];
      case 'BGPConfiguration':
        put(this.bgpConfigurations, update);
        return ['bgp'];
      case 'BGPPeer':
        put(this.bgpPeers, update);
        return ['bgp'];
      case 'BGPFilter':
        put(this.bgpFilters, update);
        return ['bgp'];
      case 'IPPool':
        put(this.pools, update);
        return ['bgp', 'overlay', 'policy', 'config'];
      case 'IpamAffinity':
        put(this.affinities, update);
        return ['bgp', 'overlay'];
      case 'IpamBlock':
        return this.#onBlock(update.id, update.value);
      case 'FelixConfiguration':
        put(this.felixConfigurations, update);
        return ['config', 'overlay'];
      case 'ClusterInformation':
        put(this.clusterInformation, update);
        return ['config'];
      case 'WorkloadEndpoint':
        return this.#onEndpoint(update.id, update.value);
      default:
        return ['policy'];
    }
  }

  /** False only when the cluster says so: a datastore being restored or migrated must not be acted on. */
  get datastoreReady(): boolean {
    return this.clusterInformation.get('default')?.spec.datastoreReady !== false;
  }

  /** Every new workload of the cluster changes a block; routing is concerned only by addresses that leave their block's node. */
  #onBlock(id: string, value: IpamBlock | null): readonly Dirty[] {
    const before = this.blocks.get(id);
    if (value) this.blocks.set(id, value);
    else this.blocks.delete(id);
    const lent = [before, value].map((block) => JSON.stringify(block ? borrowedAddresses(block) : []));
    return lent[0] === lent[1] ? ['policy'] : ['policy', 'overlay'];
  }
  #onEndpoint(id: string, value: WorkloadEndpoint | null): readonly Dirty[] {
    const local = value !== null && value.spec.node === this.#node;
    const was = this.localEndpoints.has(id);
    if (local) this.localEndpoints.set(id, value);
    else if (was) this.localEndpoints.delete(id);
    return local || was ? ['policy', 'endpoints', 'bgp'] : ['policy'];
  }
}

function put<V>(map: Map<string, V>, update: { id: string; value: V | null }): void {
  if (update.value === null) map.delete(update.id);
  else map.set(update.id, update.value);
}
