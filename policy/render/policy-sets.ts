import type { Family } from '#core';
import type { ResolvedChanges, ResolvedSet } from '../resolved.ts';
import type { SetChange, SetId, SetType } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { NONE, ofFamily } from './sets.ts';

/** What a set is called in chains of the family now. */
export type SetName = (id: SetId, family: Family) => SetId;

/** One family's half of a set. */
interface Half {
  /** Members that are more than one address. */
  networks: number;
  /** As it was told. */
  type: SetType;
}
interface Known {
  readonly set: ResolvedSet;
  readonly halves: Map<Family, Half>;
}

/**
 * Sets of policy, split by family. nftables keeps a set that may hold networks in another structure than one of addresses alone, and putting it in
 * order costs it milliseconds for each change of a large one; most sets hold the addresses of endpoints and nothing else. So each is there under one of
 * two names, by what it holds now. The kernel cannot change a set under the rules that ask it: with its first network it becomes another set, its
 * rules ask that one, and the old one goes, in the order in which all sets and rules are written.
 */
export class PolicySets {
  readonly #known = new Map<SetId, Known>();
  #config: RenderConfig;

  constructor(config: RenderConfig) {
    this.#config = config;
  }

  readonly nameOf: SetName = (id, family) => {
    const half = this.#known.get(id)?.halves.get(family);
    return half ? named(id, half.type) : id;
  };

  /** What changes of the kernel's sets, and those sets that have another name than before. */
  apply({ sets, added, removed }: ResolvedChanges): { changes: SetChange[]; renamed: Set<SetId> } {
    const changes: SetChange[] = [];
    const renamed = new Set<SetId>();
    for (const id of new Set([...sets.keys(), ...added.keys(), ...removed.keys()])) {
      const now = sets.get(id);
      const known = now ? { set: now, halves: new Map<Family, Half>() } : this.#known.get(id);
      if (!known) continue;
      if (now) this.#known.set(id, known);
      if (now === null) this.#known.delete(id);
      for (const family of this.#config.families)
        if (now === null) changes.push(change(known.set, known.halves.get(family)!.type, family, null));
        else {
          const delta = { added: ofFamily(added.get(id), family), removed: ofFamily(removed.get(id), family) };
          const networks = networksOf(added.get(id), family) - networksOf(removed.get(id), family);
          const made = this.#changes(known, family, delta, networks);
          if (made.length > 1) renamed.add(id);
          changes.push(...made);
        }
    }
    return { changes, renamed };
  }

  /** Another configuration may want other names. */
  configure(config: RenderConfig): { changes: SetChange[]; renamed: Set<SetId> } {
    this.#config = config;
    const changes: SetChange[] = [];
    const renamed = new Set<SetId>();
    for (const [id, known] of this.#known)
      for (const family of config.families) {
        const made = this.#changes(known, family, { added: NONE, removed: NONE }, 0);
        if (made.length > 0) renamed.add(id);
        changes.push(...made);
      }
    return { changes, renamed };
  }

  #changes({ set, halves }: Known, family: Family, delta: Delta, networks: number): SetChange[] {
    const before = halves.get(family);
    const half: Half = before ?? { networks: 0, type: 'hash:ip' };
    half.networks += networks;
    const old = half.type;
    half.type = this.#typeOf(set, half.networks);
    if (!before) halves.set(family, half);
    if (!before) return [change(set, half.type, family, delta)];
    if (half.type !== old)
      return [{ ...change(set, half.type, family, delta), like: named(set.id, old) }, change(set, old, family, null)];
    return delta.added.size > 0 || delta.removed.size > 0 ? [change(set, half.type, family, delta)] : [];
  }

  #typeOf({ kind }: ResolvedSet, networks: number): SetType {
    if (kind === 'ports') return 'hash:ip,port';
    return this.#config.dispatch === 'map' && networks === 0 ? 'hash:ip' : 'hash:net';
  }
}

type Delta = NonNullable<SetChange['members']>;

const change = ({ id, owner }: ResolvedSet, type: SetType, family: Family, members: Delta | null): SetChange => ({
  id: named(id, type),
  type,
  family,
  owner,
  members,
});

const named = (id: SetId, type: SetType): SetId => (type === 'hash:ip' ? `a${id}` : id);

function networksOf(members: ReadonlySet<string> | undefined, family: Family): number {
  const [colon, host] = family === 4 ? [false, '/32'] : [true, '/128'];
  let count = 0;
  for (const member of members ?? NONE) if (member.includes(':') === colon && !member.endsWith(host)) count++;
  return count;
}
