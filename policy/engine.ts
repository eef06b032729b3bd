import type { Update } from '#datastore';
import { createPolicyGraph, type PolicyGraphCounts } from './graph.ts';
import type { ClusterFacts, HostInterface, RenderConfig } from './render/config.ts';
import { createRenderer } from './render/renderer.ts';
import type { ResolvedChanges } from './resolved.ts';
import type { PolicyChanges } from './types.ts';

export interface PolicyEngineOptions {
  /** Endpoints whose spec.node is this are local. */
  readonly node: string;
  readonly config: RenderConfig;
}

/** Calculation and rendering behind one door: updates and facts in, changes of sets, chains and hooks out. */
export interface PolicyEngine {
  onUpdate(update: Update): void;
  /** Replaces the configuration; its families cannot change. */
  setConfig(config: RenderConfig): void;
  /** Pools, hosts and services of the cluster, whole. */
  setFacts(facts: ClusterFacts): void;
  /** This host's interfaces, whole; host endpoints are found by them. */
  setHostInterfaces(interfaces: readonly HostInterface[]): void;
  /** Endpoints to close, whole, by owner (`WorkloadEndpoint/namespace/name`): those of which the kernel refused a rule. */
  setClosed(ids: ReadonlySet<string>): void;
  /** Does some of the calculation ahead of `flush`, about `limit` objects' worth; true if nothing is left. */
  settle(limit: number): boolean;
  /** What differs from the flush before. Changes of one set stand in the order in which they apply; the last of one chain counts. */
  flush(): PolicyChanges;
  /** Policies and profiles that could not be used as they are, by id or name, with the reason. */
  readonly problems: ReadonlyMap<string, string>;
  readonly counts: PolicyGraphCounts;
}

/** A policy engine for one node. Setters only take note; all work is done in `settle` and `flush`. */
export function createPolicyEngine({ node, config }: PolicyEngineOptions): PolicyEngine {
  const graph = createPolicyGraph({ node });
  const renderer = createRenderer(config);
  let interfaces: readonly HostInterface[] = [];
  /** What to render at the next flush, by setter: only the last call of each counts. */
  const waiting = new Map<string, () => PolicyChanges>();
  /** Whether `apply` has to run even if nothing was resolved anew: at first, and for other interfaces. */
  let due = true;

  function flush(): PolicyChanges {
    const resolved = graph.flush();
    const parts = [...waiting.values()].map((render) => render());
    waiting.clear();
    if (due || !isEmpty(resolved)) parts.push(renderer.apply(resolved, interfaces));
    due = false;
    return joined(parts);
  }

  return {
    onUpdate: (update) => graph.onUpdate(update),
    setConfig(next) {
      waiting.set('config', () => renderer.configure(next));
    },
    setFacts(facts) {
      waiting.set('facts', () => renderer.setFacts(facts));
    },
    setHostInterfaces(next) {
      interfaces = next;
      due = true;
    },
    setClosed(ids) {
      waiting.set('closed', () => renderer.close(ids));
    },
    settle: (limit) => graph.settle(limit),
    flush,
    get problems() {
      return graph.problems;
    },
    get counts() {
      return graph.counts;
    },
  };
}

const isEmpty = (changes: ResolvedChanges): boolean => Object.values(changes).every((part) => part.size === 0);

function joined(parts: readonly PolicyChanges[]): PolicyChanges {
  const hooks = parts.findLast((part) => part.hooks)?.hooks;
  return {
    sets: parts.flatMap((part) => part.sets),
    chains: parts.flatMap((part) => part.chains),
    ...(hooks && { hooks }),
    endpoints: new Map(parts.flatMap((part) => [...part.endpoints])),
  };
}
