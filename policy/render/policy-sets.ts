import { FAMILIES, type Family } from '#core';
import type { ResolvedChanges, ResolvedSet } from '../resolved.ts';
import type { SetChange, SetId, SetType } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { EVERYTHING, isSix, NONE, ofFamily } from './sets.ts';

/** What a set is called in chains of the family now; null: it is vacant there, so no packet's address is in it. */
export type SetName = (id: SetId, family: Family) => SetId | null;

/** One family's half of a set. */
interface Half {
  members: number;
  /** Members that are more than one address. */
  networks: number;
  /** Those members that are everything, or a half of it (`EVERYTHING`). */
  wide: ReadonlySet<string>;
  /** As it was told; undefined: it is vacant. */
  type: SetType | undefined;
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
 *
 * A family is idle while the node shows no use of it. There a set without members is vacant: it need not exist, nor rules that ask it, so a cluster of
 * IPv4 pays little for IPv6. Where a family is in use its empty sets stand, so that a first member is a member more and not a change of rules.
 */
export class PolicySets {
  readonly #known = new Map<SetId, Known>();
  #config: RenderConfig;
  #idle: ReadonlySet<Family> = new Set();

  constructor(config: RenderConfig) {
    this.#config = config;
  }

  readonly nameOf: SetName = (id, family) => {
    const half = this.#known.get(id)?.halves.get(family);
    if (!half) return id;
    return half.type ? named(id, half.type) : null;
  };

  /** What changes of the kernel's sets, and those sets that have another name than before. */
  apply({ sets, added, removed }: ResolvedChanges): SetsChanged {
    const out = new SetsChanged();
    for (const id of new Set([...sets.keys(), ...added.keys(), ...removed.keys()])) {
      const now = sets.get(id);
      const known = now ? { set: now, halves: new Map<Family, Half>() } : this.#known.get(id);
      if (!known) continue;
      if (now) this.#known.set(id, known);
      if (now === null) this.#known.delete(id);
      for (const family of this.#config.families)
        if (now === null) out.changes.push(...gone(known, family));
        else {
          const isKnown = known.halves.has(family);
          count(known, family, added.get(id), 1);
          count(known, family, removed.get(id), -1);
          this.#change(known, family, deltaOf(known, family, added.get(id), removed.get(id)), isKnown, out);
        }
    }
    return out;
  }

  /** Another configuration may want other names. */
  configure(config: RenderConfig): SetsChanged {
    this.#config = config;
    return this.#changeAll();
  }
  /** @param families without a use now */
  setIdle(families: ReadonlySet<Family>): SetsChanged {
    const isSame = FAMILIES.every((family) => families.has(family) === this.#idle.has(family));
    this.#idle = families;
    return isSame ? new SetsChanged() : this.#changeAll();
  }

  #changeAll(): SetsChanged {
    const out = new SetsChanged();
    for (const known of this.#known.values())
      for (const family of this.#config.families) this.#change(known, family, NOTHING, true, out);
    return out;
  }

  #change({ set, halves }: Known, family: Family, delta: Delta, isKnown: boolean, out: SetsChanged): void {
    const half = halves.get(family)!;
    const old = half.type;
    half.type = this.#typeOf(set, family, half);
    if (isKnown && half.type !== old) out.renamed.add(set.id);
    if (half.type === undefined) {
      if (old) out.changes.push(change(set, old, family, null));
    } else if (old === undefined) out.changes.push(change(set, half.type, family, delta));
    else if (half.type !== old) {
      const like = named(set.id, old);
      out.changes.push({ ...change(set, half.type, family, delta), like }, change(set, old, family, null));
    } else if (delta.added.size > 0 || delta.removed.size > 0) out.changes.push(change(set, old, family, delta));
  }

  #typeOf({ kind }: ResolvedSet, family: Family, { members, networks }: Half): SetType | undefined {
    if (members === 0 && this.#idle.has(family)) return undefined;
    if (kind === 'ports') return 'hash:ip,port';
    return this.#config.dispatch === 'map' && networks === 0 ? 'hash:ip' : 'hash:net';
  }
}

/** What changes of the kernel's sets, and those sets that have another name than before, or one at all. */
export class SetsChanged {
  readonly changes: SetChange[] = [];
  readonly renamed = new Set<SetId>();
}

function gone({ set, halves }: Known, family: Family): SetChange[] {
  const type = halves.get(family)?.type;
  return type ? [change(set, type, family, null)] : [];
}

type Delta = NonNullable<SetChange['members']>;
const NOTHING: Delta = { added: NONE, removed: NONE };

/** What changes for the kernel. Where everything is a member its halves are too, and one that is a member by itself stays when everything goes. */
function deltaOf(
  { halves }: Known,
  family: Family,
  added: ReadonlySet<string> = NONE,
  removed: ReadonlySet<string> = NONE,
): Delta {
  const delta = { added: ofFamily(added, family), removed: ofFamily(removed, family) };
  const { prefix, halves: both } = EVERYTHING[family];
  const half = halves.get(family)!;
  const all = [prefix, ...both];
  if (half.wide.size === 0 && !all.some((member) => added.has(member))) return delta;
  const before = new Set(half.wide.has(prefix) ? both : half.wide);
  half.wide = new Set(all.filter((m) => added.has(m) || (half.wide.has(m) && !removed.has(m))));
  const after = new Set(half.wide.has(prefix) ? both : half.wide);
  const others = (members: ReadonlySet<string>) => [...members].filter((member) => !both.includes(member));
  return {
    added: new Set([...others(delta.added), ...[...after].filter((m) => !before.has(m))]),
    removed: new Set([...others(delta.removed), ...[...before].filter((m) => !after.has(m))]),
  };
}

const change = ({ id, owner }: ResolvedSet, type: SetType, family: Family, members: Delta | null): SetChange => ({
  id: named(id, type),
  type,
  family,
  owner,
  members,
});

const named = (id: SetId, type: SetType): SetId => (type === 'hash:ip' ? `a${id}` : id);

/** Adds the members of the family to what is counted, or, with -1, takes them away. */
function count({ halves }: Known, family: Family, members: ReadonlySet<string> | undefined, sign: 1 | -1): void {
  const half: Half = halves.get(family) ?? { members: 0, networks: 0, wide: NONE, type: undefined };
  halves.set(family, half);
  const host = family === 4 ? '/32' : '/128';
  for (const member of members ?? NONE) {
    if (isSix(member) !== (family === 6)) continue;
    half.members += sign;
    if (!member.endsWith(host)) half.networks += sign;
  }
}
