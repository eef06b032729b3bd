import { onlyDefault } from './cluster-information.ts';
import { bool, int, object, opt } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

/** The resource; IPAM in etcd obeys its own key (`IPAM_CONFIG_KEY`), not this (calico-datastore.md 3.1). */
export interface IPAMConfigurationSpec {
  strictAffinity?: boolean;
  autoAllocateBlocks?: boolean;
  maxBlocksPerHost?: number;
}
export type IPAMConfiguration = Resource<'IPAMConfiguration', IPAMConfigurationSpec>;

export const ipamConfiguration: KindInfo<'IPAMConfiguration', IPAMConfigurationSpec> = {
  kind: 'IPAMConfiguration',
  plural: 'ipamconfigurations',
  singular: 'ipamconfiguration',
  shortNames: ['ipamconfig', 'ipamconfigs'],
  namespaced: false,
  name: onlyDefault,
  spec: object<IPAMConfigurationSpec>({
    strictAffinity: bool,
    autoAllocateBlocks: bool,
    maxBlocksPerHost: opt(int(0, 2147483647)),
  }),
};
