import { FAMILIES, type Family } from '#core';
import type { SetChange, SetId, SetType } from '../types.ts';
import type { ClusterFacts, RenderConfig } from './config.ts';
import { VXLAN_HOSTS } from './filter-table.ts';
import { ALL_HOSTS, ALL_POOLS, MASQUERADED_POOLS } from './nat-table.ts';

export const NONE: ReadonlySet<string> = new Set();

/** Those members of the family, as the kernel's sets have them. */
export function ofFamily(members: ReadonlySet<string> | undefined, family: Family): ReadonlySet<string> {
  if (!members || members.size === 0) return NONE;
  const out = new Set<string>();
  for (const member of members) if (isSix(member) === (family === 6)) addMember(out, member, family);
  return out;
}

/** `address,protocol:port` holds a colon of its own, after the comma. */
export function isSix(member: string): boolean {
  const comma = member.indexOf(',');
  return (comma < 0 ? member : member.slice(0, comma)).includes(':');
}

/** hash:net takes no /0; two halves say the same. */
export const EVERYTHING: Record<Family, { readonly prefix: string; readonly halves: readonly string[] }> = {
  4: { prefix: '0.0.0.0/0', halves: ['0.0.0.0/1', '128.0.0.0/1'] },
  6: { prefix: '::/0', halves: ['::/1', '8000::/1'] },
};

/** Behind a member of one address. */
const HOST: Record<Family, string> = { 4: '/32', 6: '/128' };

/** Host prefixes are written as ipset prints them. */
function addMember(out: Set<string>, member: string, family: Family): void {
  const { prefix, halves } = EVERYTHING[family];
  const host = HOST[family];
  if (member.endsWith(host)) out.add(member.slice(0, -host.length));
  else if (member === prefix) for (const half of halves) out.add(half);
  else out.add(member);
}

/** What a family has of some members. */
export interface Share {
  /** As the kernel's sets have them. */
  readonly members: Set<string>;
  /** How many there were. */
  count: number;
  /** How many of those are more than one address. */
  networks: number;
}
/** The same for both families, with the members looked at once: there may be a million. */
export function shares(members: ReadonlySet<string>): Record<Family, Share> {
  const out = { 4: noShare(), 6: noShare() };
  for (const member of members) {
    const family = isSix(member) ? 6 : 4;
    const share = out[family];
    share.count++;
    if (!member.endsWith(HOST[family])) share.networks++;
    addMember(share.members, member, family);
  }
  return out;
}
const noShare = (): Share => ({ members: new Set(), count: 0, networks: 0 });

export interface WantedSet {
  readonly id: SetId;
  readonly type: SetType;
  readonly family: Family;
  readonly members: ReadonlySet<string>;
}

/**
 * Sets that follow from the cluster and not from policy: pools, hosts, overlay peers.
 * @param hasCodePoints whether an endpoint's packets are marked when they leave the cluster.
 */
export function clusterSets(config: RenderConfig, facts: ClusterFacts, hasCodePoints: boolean): Map<string, WantedSet> {
  const sets = new Map<string, WantedSet>();
  const add = (id: SetId, members: readonly string[]) => {
    for (const family of FAMILIES.filter((f) => config.families.includes(f)))
      sets.set(`${family} ${id}`, { id, type: 'hash:net', family, members: ofFamily(new Set(members), family) });
  };
  const pools = (list: ClusterFacts['pools']) => list.map((pool) => pool.cidr);
  const translated = facts.pools.filter((pool) => pool.natOutgoing);
  if (translated.length > 0) add(MASQUERADED_POOLS, pools(translated));
  if (translated.length > 0 || hasCodePoints) add(ALL_POOLS, pools(facts.pools));
  if ((translated.length > 0 && config.nat.excludeHosts) || hasCodePoints) add(ALL_HOSTS, facts.hosts);
  if (config.vxlan) add(VXLAN_HOSTS, facts.vxlanHosts);
  return sets;
}

/** What turns one collection of sets into another. */
export function diffSets(before: ReadonlyMap<string, WantedSet>, after: ReadonlyMap<string, WantedSet>): SetChange[] {
  const out: SetChange[] = [];
  for (const [key, { id, type, family, members }] of after) {
    const had = before.get(key)?.members ?? NONE;
    const added = new Set([...members].filter((m) => !had.has(m)));
    const removed = new Set([...had].filter((m) => !members.has(m)));
    if (!before.has(key) || added.size > 0 || removed.size > 0)
      out.push({ id, type, family, owner: id, members: { added, removed } });
  }
  for (const [key, { id, type, family }] of before)
    if (!after.has(key)) out.push({ id, type, family, owner: id, members: null });
  return out;
}
