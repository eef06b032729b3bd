import type { Milliseconds } from '#core';
import type { InvalidObject } from '#datastore';
import type { Bgp } from './bgp.ts';
import type { Closures } from './closures.ts';
import type { EndpointState, LocalEndpoints } from './endpoints.ts';
import type { Health } from './health.ts';
import { type Route, routeKey } from './kernel/types.ts';
import type { LoopLag } from './loop-lag.ts';
import type { Pipeline } from './pipeline.ts';
import type { BandwidthReconciler } from './reconcile/bandwidth.ts';
import type { ChainReconciler } from './reconcile/chains.ts';
import type { RouteReconciler } from './reconcile/routes.ts';
import type { SetReconciler } from './reconcile/sets.ts';
import type { SettingsReconciler } from './reconcile/settings.ts';

/** `tsnetctl node status` (INTERFACES.md); the very values, before any formatting. */
export interface NodeStatus {
  readonly node: string;
  readonly version: string;
  /** RFC 3339; when the agent started. */
  readonly since: string;
  readonly datastore: {
    readonly type: string;
    readonly state: string;
    /** Why it is waited for. */
    readonly reason: string | null;
    readonly revision: string | null;
  };
  readonly ready: boolean;
  readonly notReady: readonly string[];
  readonly bgp: Readonly<Record<string, number>>;
  readonly endpoints: {
    readonly total: number;
    readonly programmed: number;
    readonly failed: readonly { readonly key: string; readonly reason: string }[];
  };
  readonly routes: number;
  readonly policies: number;
  readonly quarantined: readonly {
    readonly chain: string;
    readonly rule: string;
    readonly owner: string;
    readonly error: string;
  }[];
  readonly invalid: readonly InvalidObject[];
  readonly problems: readonly string[];
  readonly loopLagMs: { readonly p50: Milliseconds; readonly p99: Milliseconds };
}

export interface StatusParts {
  readonly node: string;
  readonly version: string;
  readonly since: string;
  readonly datastoreType: string;
  readonly revision: () => bigint | null;
  readonly pipeline: Pipeline;
  readonly health: Health;
  readonly endpoints: LocalEndpoints;
  readonly routes: RouteReconciler | undefined;
  readonly chains: ChainReconciler;
  readonly sets: SetReconciler;
  readonly settings: Pick<SettingsReconciler, 'problem'>;
  readonly bandwidth: BandwidthReconciler;
  readonly closures: Closures;
  readonly policies: () => number;
  readonly policyProblems: () => ReadonlyMap<string, string>;
  readonly bgp: Bgp | undefined;
  readonly lag: LoopLag;
}

export function nodeStatus(parts: StatusParts): NodeStatus {
  const states = endpointStates(parts);
  const notReady = parts.health.notReadyReasons;
  const sessions: Record<string, number> = {};
  for (const { state } of parts.bgp?.peers() ?? []) sessions[state] = (sessions[state] ?? 0) + 1;
  const { endpoints, routes, pipeline } = parts;
  return {
    node: parts.node,
    version: parts.version,
    since: parts.since,
    datastore: {
      type: parts.datastoreType,
      state: pipeline.status,
      reason: pipeline.reason,
      revision: parts.revision()?.toString() ?? null,
    },
    ready: notReady.length === 0,
    notReady,
    bgp: sessions,
    endpoints: {
      total: endpoints.all.size,
      programmed: [...states.values()].filter(({ state }) => state === 'programmed').length,
      failed: [...states].flatMap(([key, state]) => ('reason' in state ? [{ key, reason: state.reason }] : [])),
    },
    routes: routes?.counts.programmed ?? 0,
    policies: parts.policies(),
    quarantined: quarantinedRules(parts),
    invalid: pipeline.invalid,
    problems: problemsOf(parts),
    loopLagMs: parts.lag.milliseconds(),
  };
}

/** Refused rules: those that the kernel is being asked for now, and those that keep an endpoint closed. */
function quarantinedRules({ chains, closures }: Pick<StatusParts, 'chains' | 'closures'>): NodeStatus['quarantined'] {
  const all = new Map(
    [...closures.refusals, ...chains.quarantined].map((r) => [`${r.family} ${r.table} ${r.chain}`, r]),
  );
  return [...all.values()].map(({ chain, rule, owner, error }) => ({ chain, rule, owner, error }));
}

/** Whether each local endpoint can be reached, and if not, why. */
export function endpointStates({
  endpoints,
  routes,
  chains,
  closures,
  settings,
}: Pick<StatusParts, 'endpoints' | 'routes' | 'chains' | 'closures' | 'settings'>): Map<string, EndpointState> {
  const closed = new Set([...chains.quarantined, ...closures.refusals].map((q) => q.owner));
  const programmed = (route: Route): true | string => {
    if (!routes || routes.isProgrammed(routeKey(route), route)) return true;
    const problem = routes.problem(routeKey(route));
    return problem ? `${problem.error} ${problem.detail}`.trim() : 'not written yet';
  };
  const states = new Map<string, EndpointState>();
  for (const [id, { interfaceName }] of endpoints.all) {
    const refused = closed.has(`WorkloadEndpoint/${id}`)
      ? 'closed: the kernel refuses a rule of its policy'
      : settings.problem(interfaceName);
    states.set(id, refused === null ? endpoints.stateOf(id, programmed) : { state: 'failed', reason: refused });
  }
  return states;
}

/** Whatever is wanted and cannot be, one line each. */
function problemsOf(parts: StatusParts): string[] {
  return [
    ...(parts.bgp?.problems ?? []).map(({ resource, message }) => `${resource}: ${message}`),
    ...parts.pipeline.settingProblems.map(({ field, message }) => `FelixConfiguration ${field}: ${message}`),
    ...parts.pipeline.overlayProblems,
    ...[parts.settings.problem('')].filter((problem) => problem !== null),
    ...[...parts.policyProblems()].map(([id, message]) => `${id}: ${message}`),
    ...parts.sets.problems.map(({ key, detail }) => `set ${key}: ${detail}`),
    ...parts.bandwidth.problems,
    ...parts.chains.fights.map(
      ({ family, table }) => `somebody else keeps changing our chains in table ${table} of IPv${family}`,
    ),
    ...[...(parts.routes?.problems() ?? [])]
      .filter((p) => !p.served)
      .map(({ route, error, detail }) => `route ${route.to}: ${error} ${detail}`.trim()),
  ];
}
