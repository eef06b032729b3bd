import type { Family } from '#core';
import type { ResolvedWorkload } from '../resolved.ts';
import type { Chain, Hook } from '../types.ts';
import { type Dispatch, dispatchMap, dispatchTree, type Made } from './dispatch.ts';
import { CLOSED_CHAIN, connectionLimitChain, workloadChain } from './endpoint-chains.ts';
import {
  CLOSED_FROM,
  CLOSED_TO,
  clearVerdict,
  type FilterNeeds,
  FROM_WORKLOAD,
  filterHooks,
  forwardChain,
  inputChain,
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
import { DROP, RETURN, rule } from './phrases.ts';
import type { Direction } from './policy-chains.ts';
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
  for (const family of state.config.families) {
    declareHosts(state, family, library, hosts);
    hooks[family] = [
      ...declareFilter(state, family, library, endpoints, hosts),
      ...declareRaw(state, family, library, endpoints, hosts),
      ...declareMangle(state, family, library, hosts),
      ...declareNat(state, family, library),
    ];
  }
  library.end();
  return hooks;
}

type Endpoints = ReadonlyMap<string, ResolvedWorkload>;

function filterNeeds(state: RenderState, family: Family, endpoints: Endpoints, hosts: Hosts): FilterNeeds {
  const limits = [...endpoints.values()].map((w) => w.endpoint.spec.qosControls);
  return {
    closed: [...endpoints.values()].some((w) => isClosed(state, w)),
    rateFrom: limits.some((q) => q?.egressPacketRate),
    rateTo: limits.some((q) => q?.ingressPacketRate),
    hostEndpoints: hosts.some,
    hostForward: hosts.some,
    preAccepted: hosts.untracked || hosts.preDnat,
    untracked: hosts.untracked,
    serviceLoop: serviceLoopChain(state.config, state.facts, family) !== null,
  };
}

const isClosed = (state: RenderState, workload: ResolvedWorkload): boolean =>
  state.closed.has(`WorkloadEndpoint/${workload.id}`);

function declareFilter(
  state: RenderState,
  family: Family,
  library: Library,
  endpoints: Endpoints,
  hosts: Hosts,
): readonly Hook[] {
  const { config } = state;
  const needs = filterNeeds(state, family, endpoints, hosts);
  const loop = serviceLoopChain(config, state.facts, family);
  if (loop) library.declareIn('filter', family, [JSON.stringify(loop)], loop.name, () => loop);
  const key = [config, JSON.stringify(needs)];
  const put = (chain: Chain, deps: readonly unknown[] = key) =>
    library.declareIn('filter', family, deps, chain.name, () => chain);
  put(forwardChain(config, needs));
  put(inputChain(config, needs));
  put(outputChain(config, needs));
  put(workloadToHostChain(config, needs, family));
  for (const chain of verdictChains(config)) library.declare(family, chain.name, key, () => chain);
  put(connectionLimitChain());
  put({ name: CLOSED_CHAIN, rules: [rule([], DROP, 'closed endpoint')] });
  const unknown = [rule([], DROP, 'unknown interface')];
  const all = [...endpoints.values()];
  const tree = (dispatch: Dispatch) => declareDispatch(state, family, library, dispatch);
  tree({
    root: FROM_WORKLOAD,
    side: 'in',
    targets: targets(all, (iface) => workloadChain(iface, 'egress')),
    first: [clearVerdict(config), ...tunnelDrops(config)],
    otherwise: unknown,
  });
  tree({
    root: TO_WORKLOAD,
    side: 'out',
    targets: targets(all, (iface) => workloadChain(iface, 'ingress')),
    first: [clearVerdict(config)],
    otherwise: unknown,
  });
  const closed = targets(
    all.filter((w) => isClosed(state, w)),
    () => CLOSED_CHAIN,
  );
  tree({ root: CLOSED_FROM, side: 'in', targets: closed, first: [], otherwise: [] });
  tree({ root: CLOSED_TO, side: 'out', targets: closed, first: [], otherwise: [] });
  declareRates(all, family, library, tree);
  return filterHooks(config, needs);
}

const targets = (workloads: readonly ResolvedWorkload[], chain: (iface: string) => string): Map<string, string> =>
  new Map(workloads.map((w) => [w.endpoint.spec.interfaceName, chain(w.endpoint.spec.interfaceName)]));

function declareDispatch(state: RenderState, family: Family, library: Library, dispatch: Dispatch): void {
  const { config } = state;
  const names = [...dispatch.targets.keys()].sort().join();
  const tree = library.memo<DispatchTree>(`dispatch ${dispatch.root}`, [config, names], (before) =>
    config.dispatch === 'map'
      ? { config, chains: dispatchMap(dispatch).map((chain) => ({ key: '', chain })) }
      : { config, chains: dispatchTree(dispatch, before?.config === config ? before.chains : []) },
  );
  library.declareAll(
    'filter',
    family,
    tree.chains.map((made) => made.chain),
  );
}

interface DispatchTree {
  readonly config: RenderState['config'];
  readonly chains: readonly Made[];
}

/** Packets per second, counted before anything else: they concern packets, not flows. */
function declareRates(
  workloads: readonly ResolvedWorkload[],
  family: Family,
  library: Library,
  tree: (dispatch: Dispatch) => void,
): void {
  for (const direction of DIRECTIONS) {
    const limited = workloads.flatMap((w) => {
      const qos = w.endpoint.spec.qosControls;
      const rate = direction === 'ingress' ? qos?.ingressPacketRate : qos?.egressPacketRate;
      const burst = (direction === 'ingress' ? qos?.ingressPacketBurst : qos?.egressPacketBurst) || 5;
      return rate ? [{ iface: w.endpoint.spec.interfaceName, rate, burst, owner: `WorkloadEndpoint/${w.id}` }] : [];
    });
    const chainOf = (iface: string) => chainName(direction === 'ingress' ? 'cali-tr-' : 'cali-fr-', iface);
    for (const { iface, rate, burst, owner } of limited)
      library.declareIn('filter', family, [rate, burst, owner], chainOf(iface), () => ({
        name: chainOf(iface),
        owner,
        rules: [rule([{ m: 'limit', perSecond: rate, burst }], RETURN), rule([], DROP, 'packet rate exceeded')],
      }));
    tree({
      root: direction === 'ingress' ? RATE_TO : RATE_FROM,
      side: direction === 'ingress' ? 'out' : 'in',
      targets: new Map(limited.map(({ iface }) => [iface, chainOf(iface)])),
      first: [],
      otherwise: [],
    });
  }
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
  const { config, workloads } = state;
  const points = codePoints(workloads.values(), family);
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
  };
  for (const chain of natChains(needs))
    library.declareIn('nat', family, [config, needs.outgoing, needs.floating], chain.name, () => chain);
  library.declareIn('nat', family, [config], NAT_OUTGOING, () => natOutgoingChain(config, family));
  for (const chain of floatingIpChains(addresses))
    library.declareIn('nat', family, [JSON.stringify(addresses)], chain.name, () => chain);
  return natHooks(needs);
}
