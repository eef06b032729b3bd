import { cidr, list, net, object, shown, text } from './fields.ts';
import type { KindInfo, Report } from './kind.ts';
import type { Metadata, Resource } from './meta.ts';

export interface NetworkSetSpec {
  nets?: string[];
}
export type NetworkSet = Resource<'NetworkSet', NetworkSetSpec>;
export type GlobalNetworkSet = Resource<'GlobalNetworkSet', NetworkSetSpec>;

/** The label that a namespaced object has by itself and nobody may set. */
export const NAMESPACE_LABEL = 'projectcalico.org/namespace';

const spec = object<NetworkSetSpec>({ nets: list(text(cidr(), net())) });

function check({ metadata, spec }: { metadata: Metadata; spec: NetworkSetSpec }, report: Report): void {
  if (metadata.labels && Object.hasOwn(metadata.labels, NAMESPACE_LABEL))
    report.limit(`metadata.labels.${NAMESPACE_LABEL}`, 'is set by the datastore and may not be given');
  const seen = new Set<string>();
  for (const [i, value] of (spec.nets ?? []).entries()) {
    if (seen.has(value)) report.limit(`spec.nets[${i}]`, `'${shown(value)}' is there already`);
    seen.add(value);
  }
}

export const networkSet: KindInfo<'NetworkSet', NetworkSetSpec> = {
  kind: 'NetworkSet',
  plural: 'networksets',
  singular: 'networkset',
  shortNames: ['netset', 'netsets'],
  namespaced: true,
  spec,
  check,
};

export const globalNetworkSet: KindInfo<'GlobalNetworkSet', NetworkSetSpec> = {
  kind: 'GlobalNetworkSet',
  plural: 'globalnetworksets',
  singular: 'globalnetworkset',
  shortNames: ['gnetset', 'gnetsets'],
  namespaced: false,
  spec,
  check,
};
