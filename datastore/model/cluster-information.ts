import { bool, type Check, matching, maybe, object, shown } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

export interface ClusterInformationSpec {
  /** 32 hexadecimal digits. */
  clusterGUID?: string;
  /** A comma-separated list, such as `cni,bgp`. */
  clusterType?: string;
  /** calicoctl refuses to work with another version than its own, hence tsnet leaves it as it is. */
  calicoVersion?: string;
  /** False or absent: nothing is applied until it is true. */
  datastoreReady?: boolean;
  variant?: string;
}
export type ClusterInformation = Resource<'ClusterInformation', ClusterInformationSpec>;

/** For kinds that exist once. */
export const onlyDefault: Check = (value) =>
  value === 'default' ? null : `must be 'default'; '${shown(value)}' is not`;

export const clusterInformation: KindInfo<'ClusterInformation', ClusterInformationSpec> = {
  kind: 'ClusterInformation',
  plural: 'clusterinformations',
  singular: 'clusterinformation',
  shortNames: ['clusterinfo', 'clusterinfos'],
  namespaced: false,
  readOnly: true,
  name: onlyDefault,
  spec: object<ClusterInformationSpec>({
    clusterGUID: maybe(
      () => null,
      (value) => matching(/^[0-9a-fA-F]*$/, 'hexadecimal digits')(value),
    ),
    clusterType: maybe(),
    calicoVersion: maybe(),
    datastoreReady: bool,
    variant: maybe(),
  }),
};
