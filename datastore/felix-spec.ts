import { labelsOf, selectorMatches } from '#core';
import type { FelixConfiguration, FelixConfigurationSpec } from './model/index.ts';

/**
 * The settings that hold for a node, each field by itself: `node.<name>` before configurations whose nodeSelector matches (by name)
 * before `default` (calico-datastore.md 2.14). The agent's own flags and variables beat them all.
 * @param labels of the Node.
 */
export function felixSpec(
  configurations: ReadonlyMap<string, FelixConfiguration>,
  node: string,
  labels: Readonly<Record<string, string>>,
): FelixConfigurationSpec {
  const selected = [...configurations]
    .filter(([, { spec }]) => spec.nodeSelector && selectorMatches(spec.nodeSelector, labelsOf(labels)))
    .sort(([a], [b]) => (a < b ? 1 : -1))
    .map(([, { spec }]) => spec);
  const layers = [configurations.get('default')?.spec, ...selected, configurations.get(`node.${node}`)?.spec];
  return Object.assign({}, ...layers.map((spec) => defined(spec ?? {})));
}

const defined = (spec: FelixConfigurationSpec): FelixConfigurationSpec =>
  Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined && value !== null));
