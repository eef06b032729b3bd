import { type Addr, addr, type Family, familyOf, hostPrefix, isHostPrefix, type Prefix, parsePrefix } from '#core';
import type { UpdateOf, WorkloadEndpoint } from '#datastore';
import { type Link, type Route, WORKLOAD_GATEWAY } from './kernel/types.ts';
import type { Candidate, RouteTable } from './routes.ts';

/** What of the cluster's settings bears on the routes to local workloads. */
export interface EndpointSettings {
  /** Metric of the routes by family; 1024 is Calico's normal priority. */
  readonly metric: Record<Family, number>;
  /** FelixConfiguration deviceRouteSourceAddress, by family. */
  readonly source: Partial<Record<Family, Addr>>;
  /** False under --policy-only: no route is offered. */
  readonly routes: boolean;
  /** FelixConfiguration floatingIPs: external addresses of endpoints are routed as their own are, so that peers learn where they are. */
  readonly floatingIps: boolean;
  /** FelixConfiguration workloadSourceSpoofing: allowSpoofedSourcePrefixes of endpoints count. */
  readonly spoofing: boolean;
  readonly isWorkloadLink: (name: string) => boolean;
}
export const DEFAULT_ENDPOINT_SETTINGS: EndpointSettings = {
  metric: { 4: 1024, 6: 1024 },
  source: {},
  routes: true,
  floatingIps: false,
  spoofing: false,
  isWorkloadLink: (name) => name.startsWith('cali'),
};

/** A WorkloadEndpoint of this node, in the words of the dataplane. */
export interface LocalEndpoint {
  readonly id: string;
  readonly interfaceName: string;
  readonly addresses: readonly Prefix[];
  /** External addresses of its ipNATs. */
  readonly floating: readonly Prefix[];
  /** allowSpoofedSourcePrefixes is set. */
  readonly spoofing: boolean;
  readonly resource: WorkloadEndpoint;
}

/** Whether packets can reach the endpoint, as far as interfaces and routes decide. */
export type EndpointState =
  | { readonly state: 'programmed' }
  | { readonly state: 'pending' }
  | { readonly state: 'down'; readonly reason: string }
  | { readonly state: 'failed'; readonly reason: string };

/**
 * The workloads of this node: from WorkloadEndpoint resources and the interfaces that exist to offered routes.
 *
 * Two endpoints with one address: the one whose interface exists wins; of two such, the one created last (the older is
 * the remains of an earlier workload); of two created in the same second, the one with the smaller id. The rule needs no memory and
 * no order of events, so a restart decides the same.
 */
export class LocalEndpoints {
  readonly #node: string;
  readonly #table: RouteTable;
  readonly #endpoints = new Map<string, LocalEndpoint>();
  readonly #offered = new Map<string, Set<Prefix>>();
  readonly #byInterface = new Map<string, Set<string>>();
  #links: ReadonlyMap<string, Link> = new Map();
  #settings: EndpointSettings = DEFAULT_ENDPOINT_SETTINGS;

  /** @param table where the routes are offered, as class `workload` */
  constructor(node: string, table: RouteTable) {
    this.#node = node;
    this.#table = table;
  }

  get all(): ReadonlyMap<string, LocalEndpoint> {
    return this.#endpoints;
  }
  /**
   * Those whose interface is a workload's by its name. One that names another, such as eth0, has neither routes nor settings nor limits there: policy of
   * workloads is not applied on it, and it is not ours to change.
   */
  *served(): Iterable<LocalEndpoint> {
    for (const endpoint of this.#endpoints.values()) if (this.#isServed(endpoint)) yield endpoint;
  }
  /** Addresses that are routed to the endpoint. */
  routedTo(endpoint: LocalEndpoint): readonly Prefix[] {
    if (!this.#settings.routes || !this.#isServed(endpoint)) return [];
    const { addresses, floating } = endpoint;
    return this.#settings.floatingIps ? [...addresses, ...floating] : addresses;
  }
  /** Whether the kernel is not to check the reverse path of its interface. */
  maySpoof({ spoofing }: LocalEndpoint): boolean {
    return spoofing && this.#settings.spoofing;
  }
  /** Endpoints that name the interface: more than one only while an old and a new resource overlap. */
  onInterface(name: string): readonly LocalEndpoint[] {
    return [...(this.#byInterface.get(name) ?? [])].map((id) => this.#endpoints.get(id)!);
  }

  /** Takes any WorkloadEndpoint update; those of other nodes only make an endpoint that was ours go. True: something of ours changed. */
  onUpdate({ id, value }: UpdateOf<'WorkloadEndpoint'>): boolean {
    const endpoint = value && value.spec.node === this.#node ? localEndpoint(id, value) : null;
    const before = this.#endpoints.get(id);
    if (!endpoint && !before) return false;
    if (before) this.#unlist(before);
    if (endpoint) {
      this.#endpoints.set(id, endpoint);
      const ids = this.#byInterface.get(endpoint.interfaceName) ?? new Set();
      this.#byInterface.set(endpoint.interfaceName, ids.add(id));
    }
    this.#offer(id);
    return true;
  }
  /** Interfaces changed: `names` of `links`, or all. */
  onLinks(links: ReadonlyMap<string, Link>, names?: ReadonlySet<string>): void {
    this.#links = links;
    for (const name of names ?? this.#byInterface.keys())
      for (const id of this.#byInterface.get(name) ?? []) this.#offer(id);
    this.#offerGateway();
  }
  configure(settings: EndpointSettings): void {
    this.#settings = settings;
    this.#offerGateway();
    for (const id of this.#endpoints.keys()) this.#offer(id);
  }

  /** @param programmed whether the kernel holds the route, and if not, why; asked for the addresses that this endpoint has won */
  stateOf(id: string, programmed: (route: Route) => true | string): EndpointState {
    const endpoint = this.#endpoints.get(id);
    if (!endpoint) return { state: 'pending' };
    const { interfaceName } = endpoint;
    if (!this.#isServed(endpoint))
      return {
        state: 'failed',
        reason: `interface ${interfaceName} is not a workload's: its name begins in none of the ways of interfacePrefix`,
      };
    const link = this.#links.get(interfaceName);
    if (!link) return { state: 'down', reason: `interface ${interfaceName} does not exist` };
    if (!link.up) return { state: 'down', reason: `interface ${interfaceName} is down` };
    if (!this.#settings.routes) return { state: 'programmed' };
    for (const to of endpoint.addresses) {
      const winner = this.#table.explain(to)?.winner;
      if (winner?.owner !== id) return { state: 'failed', reason: `address ${to} belongs to ${winner?.owner}` };
      const told = programmed(winner.route);
      if (told !== true) return { state: 'failed', reason: `route ${to}: ${told}` };
    }
    return { state: 'programmed' };
  }

  #isServed({ interfaceName }: LocalEndpoint): boolean {
    return this.#settings.isWorkloadLink(interfaceName);
  }
  #offerGateway(): void {
    const route = this.#settings.routes ? gatewayRoute(this.#links, this.#settings.isWorkloadLink) : null;
    this.#table.replaceClass('gateway', route ? [{ owner: 'gateway', route }] : []);
  }
  #unlist(endpoint: LocalEndpoint): void {
    this.#endpoints.delete(endpoint.id);
    const ids = this.#byInterface.get(endpoint.interfaceName);
    ids?.delete(endpoint.id);
    if (ids?.size === 0) this.#byInterface.delete(endpoint.interfaceName);
  }

  #offer(id: string): void {
    const endpoint = this.#endpoints.get(id);
    const before = this.#offered.get(id);
    const now = new Set(endpoint ? this.routedTo(endpoint) : []);
    for (const to of before ?? []) if (!now.has(to)) this.#table.withdraw(to, 'workload', id);
    if (endpoint) for (const to of now) this.#table.offer(this.#candidate(endpoint, to));
    if (now.size > 0) this.#offered.set(id, now);
    else this.#offered.delete(id);
  }
  #candidate(endpoint: LocalEndpoint, to: Prefix): Candidate {
    const source = this.#settings.source[familyOf(to)];
    const route: Route = {
      to,
      metric: this.#settings.metric[familyOf(to)],
      via: { type: 'link', link: endpoint.interfaceName },
      table: 254,
      ...(source && { source }),
    };
    return { class: 'workload', owner: endpoint.id, route, rank: this.#rank(endpoint, to) };
  }
  /**
   * Seconds since the epoch of its creation, a step above all dates if its interface exists, and two steps below if the address is only translated to one of its
   * own: nobody takes another workload's address by calling it his floating one.
   */
  #rank({ resource, interfaceName, addresses }: LocalEndpoint, to: Prefix): number {
    const created = Date.parse(resource.metadata.creationTimestamp ?? '');
    const step = (this.#links.has(interfaceName) ? 1 : 0) - (addresses.includes(to) ? 0 : 2);
    return (Number.isNaN(created) ? 0 : created / 1000) + step * 1e12;
  }
}

/** Interfaces on which a packet to an address that nobody has is asked for and dropped; tunnels would carry it away. */
const QUIET_KINDS = ['', 'bond', 'team', 'bridge', 'vlan', 'macvlan', 'veth', 'dummy'];

/**
 * A route to the workloads' gateway address. The kernel answers ARP by proxy only for what it could forward out of another interface, so
 * without a default route it would be silent. The way it points to is never meant to be used: an interface of the node on which nobody
 * has the address. Through `lo`, the last resort, a packet to the gateway circles until its TTL ends. A blackhole or a proxy
 * neighbour entry does not do: the kernel looks for a unicast route before either.
 */
export function gatewayRoute(
  links: ReadonlyMap<string, Link>,
  isWorkloadLink: (name: string) => boolean,
): Route | null {
  const usable = [...links.values()]
    .filter((l) => l.up && l.name !== 'lo' && QUIET_KINDS.includes(l.linkKind) && !isWorkloadLink(l.name))
    .sort((a, b) => QUIET_KINDS.indexOf(a.linkKind) - QUIET_KINDS.indexOf(b.linkKind) || a.index - b.index);
  const link = usable[0]?.name ?? (links.get('lo')?.up ? 'lo' : undefined);
  return link === undefined ? null : { to: GATEWAY, metric: 1024, table: 254, via: { type: 'link', link } };
}
const GATEWAY = hostPrefix(addr(WORKLOAD_GATEWAY));

/** Null: no address yet, so for the dataplane it does not exist (calico-datastore.md 2.2). */
function localEndpoint(id: string, resource: WorkloadEndpoint): LocalEndpoint | null {
  const { interfaceName, ipNetworks = [], ipNATs = [], allowSpoofedSourcePrefixes = [] } = resource.spec;
  const addresses = hostPrefixes(ipNetworks);
  if (addresses.length === 0 || !interfaceName) return null;
  const floating = hostPrefixes(ipNATs.map(({ externalIP }) => externalIP));
  return { id, interfaceName, addresses, floating, spoofing: allowSpoofedSourcePrefixes.length > 0, resource };
}

const hostPrefixes = (texts: readonly string[]): Prefix[] =>
  texts.flatMap((text) => {
    const parsed = parsePrefix(text);
    return parsed.ok && isHostPrefix(parsed.value) ? [parsed.value] : [];
  });
