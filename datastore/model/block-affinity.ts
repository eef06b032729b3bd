import { maybe, net, object, word } from './fields.ts';
import type { KindInfo } from './kind.ts';
import type { Resource } from './meta.ts';

/** The resource mirror; IPAM in etcd uses its own keys (`IpamAffinity`), not this. */
export interface BlockAffinitySpec {
  state?: string;
  node?: string;
  type?: string;
  cidr?: string;
  /** A text, `"true"` or `"false"`. */
  deleted?: string;
}
export type BlockAffinity = Resource<'BlockAffinity', BlockAffinitySpec>;

export const blockAffinity: KindInfo<'BlockAffinity', BlockAffinitySpec> = {
  kind: 'BlockAffinity',
  plural: 'blockaffinities',
  singular: 'blockaffinity',
  shortNames: ['affinity', 'affinities'],
  namespaced: false,
  readOnly: true,
  spec: object<BlockAffinitySpec>({
    state: maybe(word('pending', 'confirmed', 'pendingDeletion')),
    node: maybe(),
    type: maybe(word('host', 'virtual')),
    cidr: maybe(net()),
    deleted: maybe(word('true', 'false')),
  }),
};
