import type { Update } from '#datastore';
import { createPolicyGraph, type PolicyGraphCounts } from './graph.ts';
import type { ClusterFacts, HostInterface, RenderConfig } from './render/config.ts';
import { createRenderer } from './render/renderer.ts';
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
  /** Does some of calculation and rendering ahead of `flush`, about `limit` objects' worth; true if nothing is left. */
  settle(limit: number): boolean;
  /** What differs from the flush before; what is not settled is done first. Changes of sets stand in an order in which they can be applied. */
  flush(): PolicyChanges;
  /** Policies and profiles that could not be used as they are, by id or name, with the reason. */
  readonly problems: ReadonlyMap<string, string>;
  readonly counts: PolicyGraphCounts;
}

/** A policy engine for one node. Setters only take note; all work is done in `settle` and `flush`. */
export function createPolicyEngine({ node, config }: PolicyEngineOptions): PolicyEngine {
  const graph = createPolicyGraph({ node });
  const renderer = createRenderer(config);
  /** What the renderer is to be told, by setter: only the last call of each counts. */
  const waiting = new Map<string, () => void>();

  function settle(limit: number): boolean {
    if (!graph.settle(limit)) return false;
    for (const tell of waiting.values()) tell();
    waiting.clear();
    const changes = graph.drain(limit);
    if (!changes) return renderer.settle(limit);
    renderer.take(changes);
    return false;
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
      waiting.set('interfaces', () => renderer.setInterfaces(next));
    },
    setClosed(ids) {
      waiting.set('closed', () => renderer.close(ids));
    },
    settle,
    flush() {
      while (!settle(Number.POSITIVE_INFINITY)) {
        // Calculated and drained in one go, rendered in the next.
      }
      return renderer.flush();
    },
    get problems() {
      return graph.problems;
    },
    get counts() {
      return graph.counts;
    },
  };
}
