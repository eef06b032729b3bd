import { type Family, OperationalError } from '#core';
import type {
  ActivePolicy,
  ActiveProfile,
  PolicyId,
  ResolvedChanges,
  ResolvedEndpoint,
  ResolvedHost,
  ResolvedSet,
  ResolvedWorkload,
} from '../resolved.ts';
import type { Chain, ChainChange, PolicyChanges, SetChange, SetId, Table } from '../types.ts';
import { TABLES } from '../types.ts';
import { type ClusterFacts, type HostInterface, NO_FACTS, type RenderConfig } from './config.ts';
import { Library } from './library.ts';
import { clusterSets, diffSets, policySetChanges, type WantedSet } from './sets.ts';
import { tableLayout } from './tables.ts';

/** What the calculation knows now; the layout of the tables follows from it alone. */
export interface RenderState {
  readonly config: RenderConfig;
  readonly facts: ClusterFacts;
  readonly interfaces: readonly HostInterface[];
  readonly policies: ReadonlyMap<PolicyId, ActivePolicy>;
  readonly profiles: ReadonlyMap<string, ActiveProfile>;
  readonly workloads: ReadonlyMap<string, ResolvedWorkload>;
  readonly hosts: ReadonlyMap<string, ResolvedHost>;
  /** Ids of endpoints that must pass nothing, established flows included. */
  readonly closed: ReadonlySet<string>;
  /** Another number whenever the selector of a known policy changed, because the groups follow from selectors. */
  readonly selectors: number;
}

/** From resolved policy to chains and sets. Each call answers with what differs from the answers before. */
export interface Renderer {
  apply(changes: ResolvedChanges, interfaces: readonly HostInterface[]): PolicyChanges;
  /** A new configuration; everything is rendered again, and what comes out equal is not in the answer. */
  configure(config: RenderConfig): PolicyChanges;
  setFacts(facts: ClusterFacts): PolicyChanges;
  /** Keys of endpoints to close: those of which the kernel refused a rule. Their established flows stop too. */
  close(ids: ReadonlySet<string>): PolicyChanges;
}

export function createRenderer(initial: RenderConfig): Renderer {
  let config = initial;
  let facts = NO_FACTS;
  let interfaces: readonly HostInterface[] = [];
  let closed: ReadonlySet<string> = new Set();
  const policies = new Map<PolicyId, ActivePolicy>();
  const profiles = new Map<string, ActiveProfile>();
  const workloads = new Map<string, ResolvedWorkload>();
  const hosts = new Map<string, ResolvedHost>();
  const sets = new Map<SetId, ResolvedSet>();
  const library = new Library();
  let clusterMembers: ReadonlyMap<string, WantedSet> = new Map();
  let programmed = new Map<string, Chain>();
  let hooksBefore = '';
  let selectors = 0;
  /** Whether the tables have been laid out at all. */
  let isLaidOut = false;

  const state = (): RenderState => ({
    config,
    facts,
    interfaces,
    policies,
    profiles,
    workloads,
    hosts,
    closed,
    selectors,
  });

  function flush(setChanges: readonly SetChange[], endpoints: ReadonlyMap<string, boolean>): PolicyChanges {
    const wantedSets = clusterSets(config, facts);
    const sets = [...setChanges, ...diffSets(clusterMembers, wantedSets)];
    clusterMembers = wantedSets;
    const wantedHooks = tableLayout(state(), library);
    const next = new Map<string, Chain>();
    const chains: ChainChange[] = [];
    for (const family of config.families)
      for (const table of TABLES) {
        const reached = library.reach(family, table, wantedHooks[family]);
        for (const [name, chain] of reached) {
          const key = `${family} ${table} ${name}`;
          next.set(key, chain);
          if (!sameChain(programmed.get(key), chain)) chains.push({ table, family, name, chain });
        }
      }
    for (const key of programmed.keys())
      if (!next.has(key)) {
        const [family, table, name] = key.split(' ');
        chains.push({ table: table as Table, family: Number(family) as Family, name, chain: null });
      }
    programmed = next;
    const text = JSON.stringify(wantedHooks, plain);
    const hooks = text === hooksBefore ? undefined : wantedHooks;
    hooksBefore = text;
    isLaidOut = true;
    return { sets, chains, ...(hooks && { hooks }), endpoints };
  }

  return {
    apply(changes, hostInterfaces) {
      const changed = changes.policies.size + changes.profiles.size + changes.endpoints.size;
      // Members come and go all the time, with every endpoint of the cluster; no chain depends on them.
      const isMembersOnly = isLaidOut && hostInterfaces === interfaces && changed === 0;
      if (isMembersOnly)
        return { sets: policySetChanges(changes, sets, config.families), chains: [], endpoints: new Map() };
      interfaces = hostInterfaces;
      for (const [id, policy] of changes.policies) {
        if (policy && policies.has(id) && policies.get(id)?.selector !== policy.selector) selectors++;
        put(policies, id, policy);
      }
      for (const [name, profile] of changes.profiles) put(profiles, name, profile);
      const endpoints = new Map<string, boolean>();
      for (const [key, endpoint] of changes.endpoints) {
        putEndpoint(workloads, hosts, key, endpoint);
        endpoints.set(key, endpoint !== null);
      }
      return flush(policySetChanges(changes, sets, config.families), endpoints);
    },
    configure(next) {
      if (next.families.join() !== config.families.join())
        throw new OperationalError('CONFIG', 'a change of the IP families needs a new renderer');
      config = next;
      return flush([], new Map());
    },
    setFacts(next) {
      facts = next;
      return flush([], new Map());
    },
    close(ids) {
      closed = ids;
      return flush([], new Map());
    },
  };
}

function put<K, V>(map: Map<K, V>, key: K, value: V | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}

function putEndpoint(
  workloads: Map<string, ResolvedWorkload>,
  hosts: Map<string, ResolvedHost>,
  key: string,
  endpoint: ResolvedEndpoint | null,
): void {
  workloads.delete(key);
  hosts.delete(key);
  if (endpoint?.kind === 'workload') workloads.set(key, endpoint);
  if (endpoint?.kind === 'host') hosts.set(key, endpoint);
}

const plain = (_: string, value: unknown): unknown => (value instanceof Map ? [...value] : value);

function sameChain(a: Chain | undefined, b: Chain): boolean {
  if (a === b) return true;
  if (a === undefined || a.rules.length !== b.rules.length || a.owner !== b.owner) return false;
  return JSON.stringify(a.rules, plain) === JSON.stringify(b.rules, plain);
}
