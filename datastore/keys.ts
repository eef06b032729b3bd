import { familyOf, type Prefix, parsePrefix } from '#core';
import { KINDS, type Kind, kindOfPlural } from './model/index.ts';

/** Where resources are (calico-datastore.md 1.1). Names go into keys as they are; the name rules keep `/` out of them. */
export const RESOURCES_PREFIX = '/calico/resources/v3/projectcalico.org/';
export const IPAM_PREFIX = '/calico/ipam/v2/';
export const IPAM_CONFIG_KEY = '/calico/ipam/v2/config';
export const IPAM_BLOCKS_PREFIX = '/calico/ipam/v2/assignment/';
export const IPAM_HANDLES_PREFIX = '/calico/ipam/v2/handle/';
/** What only tsnet keeps: live status that agents publish. */
export const TSNET_PREFIX = '/tsnet/v1/';
/** What each agent publishes of itself, by node name. */
export const STATUS_PREFIX = `${TSNET_PREFIX}status/`;

/** Owner of a block: a node, or a name that stands for no node, such as `load-balancer`. */
export interface AffinityOwner {
  readonly type: 'host' | 'virtual';
  readonly name: string;
}

/** What a key means. `id` is what `Update`s carry. */
export type ParsedKey =
  | {
      readonly type: 'resource';
      readonly kind: Kind;
      readonly id: string;
      readonly name: string;
      readonly namespace: string | null;
    }
  | { readonly type: 'affinity'; readonly id: string; readonly owner: AffinityOwner; readonly cidr: Prefix }
  | { readonly type: 'block'; readonly id: string; readonly cidr: Prefix }
  | { readonly type: 'handle'; readonly id: string }
  | { readonly type: 'ipam-config' };

/** The key of a resource; a namespaced kind needs its namespace. */
export function resourceKey(kind: Kind, name: string, namespace?: string | null): string {
  return `${kindPrefix(kind, KINDS[kind].namespaced ? namespace || 'default' : null)}${name}`;
}

/** The beginning of all keys of a kind, or of those in one namespace; ends with `/`. */
export function kindPrefix(kind: Kind, namespace?: string | null): string {
  const { plural, namespaced } = KINDS[kind];
  return `${RESOURCES_PREFIX}${plural}/${namespaced && namespace ? `${namespace}/` : ''}`;
}

/** The key of an IPAM block; the CIDR is canonical text. */
export const blockKey = (cidr: Prefix): string => `${IPAM_BLOCKS_PREFIX}ipv${familyOf(cidr)}/block/${dashed(cidr)}`;

export const affinityKey = (owner: AffinityOwner, cidr: Prefix): string =>
  `${IPAM_PREFIX}${owner.type}/${owner.name}/ipv${familyOf(cidr)}/block/${dashed(cidr)}`;

/** All affinities of an owner; ends with `/`, so that `n1` does not also give `n10`. */
export const affinityPrefix = (owner: AffinityOwner, family?: 4 | 6): string =>
  `${IPAM_PREFIX}${owner.type}/${owner.name}/${family ? `ipv${family}/block/` : ''}`;

export const handleKey = (id: string): string => `${IPAM_HANDLES_PREFIX}${id}`;

const dashed = (cidr: Prefix): string => cidr.replace('/', '-');

/** What a key stands for, or null for keys of others, unknown kinds and wrong shapes. */
export function parseKey(key: string): ParsedKey | null {
  if (key.startsWith(RESOURCES_PREFIX)) return parseResourceKey(key.slice(RESOURCES_PREFIX.length));
  return key.startsWith(IPAM_PREFIX) ? parseIpamKey(key.slice(IPAM_PREFIX.length)) : null;
}

function parseResourceKey(rest: string): ParsedKey | null {
  const slash = rest.indexOf('/');
  const kind = kindOfPlural(rest.slice(0, Math.max(0, slash)));
  if (!kind) return null;
  // A part of the key, not a text of its own: of one key in hundreds of thousands both are kept.
  const id = rest.slice(slash + 1);
  const cut = id.indexOf('/');
  if (!KINDS[kind].namespaced)
    return cut < 0 && id !== '' ? { type: 'resource', kind, id, name: id, namespace: null } : null;
  const name = id.slice(cut + 1);
  if (cut <= 0 || name === '' || name.includes('/')) return null;
  return { type: 'resource', kind, id, name, namespace: id.slice(0, cut) };
}

function parseIpamKey(rest: string): ParsedKey | null {
  if (rest === 'config') return { type: 'ipam-config' };
  if (rest.startsWith('handle/')) return rest.length > 7 ? { type: 'handle', id: rest.slice(7) } : null;
  const match = /^(assignment|(?:host|virtual)\/([^/]+))\/ipv[46]\/block\/([^/]+)-([0-9]{1,3})$/.exec(rest);
  if (!match) return null;
  const cidr = parsePrefix(`${match[3]}/${match[4]}`);
  if (!cidr.ok) return null;
  if (match[1] === 'assignment') return { type: 'block', id: cidr.value, cidr: cidr.value };
  const owner: AffinityOwner = { type: rest.startsWith('host/') ? 'host' : 'virtual', name: match[2] };
  return { type: 'affinity', id: `${owner.type}:${owner.name}/${cidr.value}`, owner, cidr: cidr.value };
}
