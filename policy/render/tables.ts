import type { Family } from '#core';
import type { ResolvedEndpoint, ResolvedWorkload } from '../resolved.ts';
import type { Chain, Hook } from '../types.ts';
import { type Branch, chainsOf, type Dispatch, dispatchMap, dispatchTree } from './dispatch.ts';
import {
  CLOSED_CHAIN,
  connectionLimitChain,
  SHARED_ENDS,
  UNKNOWN_INTERFACE_CHAIN,
  workloadChain,
} from './endpoint-chains.ts';
import {
  CLOSED_FROM,
  CLOSED_TO,
  clearVerdict,
  type FilterNeeds,
  FROM_WORKLOAD,
  filterHooks,
  forwardChain,
  inputChain,
  invalidChain,
  outputChain,
  RATE_FROM,
  RATE_TO,
  serviceLoopChain,
  TO_WORKLOAD,
  tunnelDrops,
  verdictChains,
  workloadToHostChain,
} from './filter-table.ts';
import { declareHosts, findHosts, type Hosts } from './host-layout.ts';
import type { HooksByFamily, Library } from './library.ts';
import { codePoints, dscpChain, EGRESS_DSCP, mangleChains, mangleHooks } from './mangle-table.ts';
import { chainName } from './names.ts';
import { floatingIpChains, floatingIps, NAT_OUTGOING, natChains, natHooks, natOutgoingChain } from './nat-table.ts';
import { DROP, goto_, RETURN, rule } from './phrases.ts';
import { type Direction, denyAction } from './policy-chains.ts';
import { rawHooks, rawOutput, rawPrerouting, rpfSkipChain } from './raw-table.ts';
import type { RenderState } from './renderer.ts';

const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/**
 * Declares what depends on which endpoints there are, on facts and on configuration: the fixed chains, the dispatch to endpoints, and host
 * endpoints. Says where the kernel's chains lead to ours. Policies and workloads' own chains declare themselves as they change (workloads.ts).
 */
export function tableLayout(state: RenderState, endpoints: Endpoints, library: Library): HooksByFamily {
  library.begin();
  const hooks: Record<Family, readonly Hook[]> = { 4: [], 6: [] };
  const hosts = findHosts(state);
  const workloads = { ...layOutWorkloads(state, library, endpoints), hosts };
  for (const family of state.config.families) {
    declareHosts(state, family, library, hosts);
    hooks[family] = [
      ...declareFilter(state, family, library, workloads),
      ...declareRaw(state, family, library, endpoints, hosts),
      ...declareMangle(state, family, library, hosts),
      ...declareNat(state, family, library),
    ];
  }
  library.end();
  return hooks;
}

/** Whether `tableLayout` says of the endpoint now what it said before. Most changes of an endpoint are of its addresses and labels. */
export function isSameToLayout(before: ResolvedWorkload | undefined, now: ResolvedEndpoint | null): boolean {
  if (!before || now?.kind !== 'workload') return false;
  const isOrdinary = ({ endpoint: { spec } }: ResolvedWorkload) =>
    !spec.qosControls && !spec.ipNATs?.length && !spec.allowSpoofedSourcePrefixes?.length;
  const [a, b] = [before.endpoint.spec.interfaceName, now.endpoint.spec.interfaceName];
  return a === b && before.id === now.id && isOrdinary(before) && isOrdinary(now);
}

type Endpoints = ReadonlyMap<string, ResolvedWorkload>;

/** What the filter table has for workloads, in both families alike but for those in which nothing of them passes. */
interface WorkloadLayout {
  readonly needs: Pick<FilterNeeds, 'closed' | 'rateFrom' | 'rateTo'>;
  readonly dispatch: Record<Family, readonly Chain[]>;
  readonly rates: readonly RateLimit[];
}

interface RateLimit {
  readonly iface: string;
  readonly chain: string;
  readonly direction: Direction;
  readonly rate: number;
  readonly burst: number;
  readonly owner: string;
}

function layOutWorkloads(state: RenderState, library: Library, endpoints: Endpoints): WorkloadLayout {
  const { config } = state;
  const names = [...endpoints.keys()].sort();
  const isClosed = (iface: string) => state.closed.has(`WorkloadEndpoint/${endpoints.get(iface)!.id}`);
  const closed = state.closed.size > 0 ? names.filter(isClosed) : [];
  const rates = rateLimits(endpoints);
  const unknown = [rule([], goto_(UNKNOWN_INTERFACE_CHAIN))];
  const toClosed = { names: closed, chainOf: () => CLOSED_CHAIN, first: [], otherwise: [] };
  const toWorkloads: Dispatch[] = [
    {
      root: FROM_WORKLOAD,
      side: 'in',
      names,
      chainOf: (iface) => workloadChain(iface, 'egress'),
      first: [clearVerdict(config), ...tunnelDrops(config)],
      otherwise: unknown,
    },
    {
      root: TO_WORKLOAD,
      side: 'out',
      names,
      chainOf: (iface) => workloadChain(iface, 'ingress'),
      first: [clearVerdict(config)],
      otherwise: unknown,
    },
  ];
  const others: Dispatch[] = [
    { root: CLOSED_FROM, side: 'in', ...toClosed },
    { root: CLOSED_TO, side: 'out', ...toClosed },
    ...DIRECTIONS.map((direction) => toRates(direction, rates)),
  ];
  const closing = [rule([], denyAction(config, 'filter'), 'nobody here has an address of this family')];
  const toNobody = toWorkloads.map((to) => ({ ...to, names: [], otherwise: closing }));
  const made = (name: string, dispatches: readonly Dispatch[]) =>
    dispatches.flatMap((dispatch) => dispatchChains(state, library, `${name} ${dispatch.root}`, dispatch));
  const rest = made('dispatch', others);
  const dispatchOf = (family: Family) => [
    ...(state.closedFamilies.has(family) ? made('closing', toNobody) : made('dispatch', toWorkloads)),
    ...rest,
  ];
  return {
    needs: {
      closed: closed.length > 0,
      rateFrom: rates.some((limit) => limit.direction === 'egress'),
      rateTo: rates.some((limit) => limit.direction === 'ingress'),
    },
    dispatch: { 4: dispatchOf(4), 6: dispatchOf(6) },
    rates,
  };
}

/** Chains of one dispatch; those that hold for the interfaces of now are the same as before. */
function dispatchChains({ config }: RenderState, library: Library, name: string, dispatch: Dispatch): readonly Chain[] {
  const made = library.memo<Dispatched>(name, [config, dispatch.names.join()], (before) => {
    if (config.dispatch === 'map') return { config, chains: dispatchMap(dispatch) };
    const tree = dispatchTree(dispatch, before?.config === config ? before.tree : undefined);
    return { config, tree, chains: [...chainsOf(tree)] };
  });
  return made.chains;
}

interface Dispatched {
  readonly config: RenderState['config'];
  readonly tree?: Branch;
  readonly chains: readonly Chain[];
}

/** What iptables takes; rates are no higher, so that it is a second's worth at least. */
const MOST_BURST = 10_000;

/** Packets per second, counted before anything else: they concern packets, not flows. */
function rateLimits(endpoints: Endpoints): RateLimit[] {
  const limited = [...endpoints].filter(([, { endpoint }]) => endpoint.spec.qosControls);
  return limited.sort(byName).flatMap(([iface, { endpoint, id }]) => {
    const qos = endpoint.spec.qosControls!;
    return DIRECTIONS.flatMap((direction) => {
      const isIngress = direction === 'ingress';
      const rate = isIngress ? qos.ingressPacketRate : qos.egressPacketRate;
      const burst = Math.min((isIngress ? qos.ingressPacketBurst : qos.egressPacketBurst) || 5, MOST_BURST);
      const chain = chainName(isIngress ? 'cali-tr-' : 'cali-fr-', iface);
      return rate ? [{ iface, chain, direction, rate, burst, owner: `WorkloadEndpoint/${id}` }] : [];
    });
  });
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

function toRates(direction: Direction, rates: readonly RateLimit[]): Dispatch {
  const chains = new Map(rates.filter((r) => r.direction === direction).map(({ iface, chain }) => [iface, chain]));
  return {
    root: direction === 'ingress' ? RATE_TO : RATE_FROM,
    side: direction === 'ingress' ? 'out' : 'in',
    names: [...chains.keys()],
    chainOf: (iface) => chains.get(iface)!,
    first: [],
    otherwise: [],
  };
}

function declareFilter(
  state: RenderState,
  family: Family,
  library: Library,
  { needs: workloads, dispatch, rates, hosts }: WorkloadLayout & { readonly hosts: Hosts },
): readonly Hook[] {
  const { config } = state;
  const loop = serviceLoopChain(config, state.facts, family);
  const needs: FilterNeeds = {
    ...workloads,
    hostEndpoints: hosts.some,
    hostForward: hosts.some,
    preAccepted: hosts.untracked || hosts.preDnat,
    untracked: hosts.untracked,
    serviceLoop: loop !== null,
  };
  if (loop) library.declareIn('filter', family, [JSON.stringify(loop)], loop.name, () => loop);
  const key = [config, JSON.stringify(needs)];
  const put = (chain: Chain, deps: readonly unknown[] = key) =>
    library.declareIn('filter', family, deps, chain.name, () => chain);
  put(forwardChain(config, needs));
  if (config.dropInvalid) put(invalidChain(config));
  put(inputChain(config, needs));
  put(outputChain(config, needs));
  put(workloadToHostChain(config, needs, family));
  for (const chain of verdictChains(config)) library.declare(family, chain.name, key, () => chain);
  for (const [name, end] of Object.entries(SHARED_ENDS))
    library.declare(family, name, [config], (table) => ({ name, rules: [end(config, denyAction(config, table))] }));
  put(connectionLimitChain());
  put({ name: CLOSED_CHAIN, rules: [rule([], DROP, 'closed endpoint')] });
  library.declareAll('filter', family, 'workloads', dispatch[family]);
  for (const { chain, rate, burst, owner } of rates)
    library.declareIn('filter', family, [rate, burst, owner], chain, () => ({
      name: chain,
      owner,
      rules: [rule([{ m: 'limit', perSecond: rate, burst }], RETURN), rule([], DROP, 'packet rate exceeded')],
    }));
  return filterHooks(config, needs);
}

function declareRaw(
  state: RenderState,
  family: Family,
  library: Library,
  endpoints: Endpoints,
  hosts: Hosts,
): readonly Hook[] {
  const { config } = state;
  const skip = config.workloadSourceSpoofing === 'Any' ? rpfSkipChain(endpoints.values(), family) : null;
  const needs = { rpfSkip: skip !== null, untracked: hosts.untracked };
  if (skip) library.declareIn('raw', family, [JSON.stringify(skip)], skip.name, () => skip);
  for (const chain of [rawPrerouting(config), rawOutput(config)])
    library.declareIn('raw', family, [config], chain.name, () => chain);
  return rawHooks(config, needs);
}

function declareMangle(state: RenderState, family: Family, library: Library, hosts: Hosts): readonly Hook[] {
  const { config, workloads, hosts: hostEndpoints } = state;
  const points = codePoints(workloads.values(), hostEndpoints.values(), family);
  const needs = { hosts: hosts.some, dscp: points.length > 0 };
  if (needs.dscp) library.declareIn('mangle', family, [JSON.stringify(points)], EGRESS_DSCP, () => dscpChain(points));
  for (const chain of mangleChains(config, needs))
    library.declareIn('mangle', family, [config, needs.hosts, needs.dscp], chain.name, () => chain);
  return mangleHooks(needs);
}

function declareNat(state: RenderState, family: Family, library: Library): readonly Hook[] {
  const { config, facts } = state;
  const addresses = config.floatingIps ? floatingIps(state.workloads.values(), family) : [];
  const needs = {
    outgoing: facts.pools.some((p) => p.natOutgoing && p.cidr.includes(':') === (family === 6)),
    floating: addresses.length > 0,
    vxlan: config.vxlan,
  };
  for (const chain of natChains(needs, family))
    library.declareIn('nat', family, [config, needs.outgoing, needs.floating], chain.name, () => chain);
  library.declareIn('nat', family, [config], NAT_OUTGOING, () => natOutgoingChain(config, family));
  for (const chain of floatingIpChains(addresses))
    library.declareIn('nat', family, [JSON.stringify(addresses)], chain.name, () => chain);
  return natHooks(needs);
}
