import { FAMILIES, type Family, OperationalError } from '#core';
import type { ResolvedChanges, ResolvedSet } from '../resolved.ts';
import type { SetChange, SetId, SetType } from '../types.ts';
import type { RenderConfig } from './config.ts';
import { EVERYTHING, NONE, type Share, shares } from './sets.ts';

/** What a set is called in chains of the family now: sets of which one has to hold the address. None: it is vacant there, so no packet's address is in it. */
export type SetNames = (id: SetId, family: Family) => readonly SetId[];

/** What one set of the kernel holds of a set of policy. */
type Part = 'all' | 'addresses' | 'networks' | 'ports';
const PARTS: Readonly<Record<Part, { readonly type: SetType; readonly prefix: string }>> = {
  all: { type: 'hash:net', prefix: '' },
  addresses: { type: 'hash:ip', prefix: 'a' },
  networks: { type: 'hash:net', prefix: 'n' },
  ports: { type: 'hash:ip,port', prefix: '' },
};
const named = (id: SetId, part: Part): SetId => PARTS[part].prefix + id;
/** The part that holds the other members. */
const OTHER: Readonly<Partial<Record<Part, Part>>> = { addresses: 'networks', networks: 'addresses' };

/** One family's half of a set. */
interface Half {
  members: number;
  /** Members that are more than one address. */
  networks: number;
  /** Those members that are everything, or a half of it (`EVERYTHING`). */
  wide: ReadonlySet<string>;
  /** Those that stand, as they were told. */
  parts: readonly Part[];
}
interface Known {
  readonly set: ResolvedSet;
  readonly halves: Map<Family, Half>;
}

/**
 * Sets of policy, split by family. nftables keeps a set that may hold networks in another structure than one of addresses alone, and puts all of it in
 * order at each change: milliseconds, if it is large. Most members are addresses of endpoints. So there the addresses of a set and its networks are two sets
 * of the kernel, and rules ask those that stand: the one of networks while there are any, the one of addresses while there are any or nothing else is. With
 * its first network a set gets another part, and the rules that ask it are written anew. What stands follows from the members alone, so a restart finds
 * what it left.
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

  readonly namesOf: SetNames = (id, family) => {
    const half = this.#known.get(id)?.halves.get(family);
    return half ? half.parts.map((part) => named(id, part)) : [id];
  };

  /** What changes of the kernel's sets, and those sets that have other names than before. */
  apply({ sets, added, removed }: ResolvedChanges): SetsChanged {
    const out = new SetsChanged();
    for (const id of new Set([...sets.keys(), ...added.keys(), ...removed.keys()])) {
      const now = sets.get(id);
      const known = now ? { set: now, halves: new Map<Family, Half>() } : this.#known.get(id);
      if (!known) continue;
      if (now) this.#known.set(id, known);
      if (now === null) {
        this.#known.delete(id);
        for (const family of this.#config.families) out.changes.push(...gone(known, family));
        continue;
      }
      const [plus, minus] = [shares(added.get(id) ?? NONE), shares(removed.get(id) ?? NONE)];
      for (const family of this.#config.families) {
        const isKnown = known.halves.has(family);
        count(known, family, plus[family], minus[family]);
        const members = { added: plus[family].members, removed: minus[family].members };
        this.#change(known, family, deltaOf(known, family, members, added.get(id), removed.get(id)), isKnown, out);
      }
    }
    return out;
  }

  /** @throws OperationalError CONFIG for another form of dispatch: what members a set has is not known any more */
  configure(config: RenderConfig): void {
    if (config.dispatch !== this.#config.dispatch && this.#known.size > 0)
      throw new OperationalError('CONFIG', 'a change between iptables and nftables needs a new renderer');
    this.#config = config;
  }
  /** @param families without a use now */
  setIdle(families: ReadonlySet<Family>): SetsChanged {
    const out = new SetsChanged();
    if (FAMILIES.every((family) => families.has(family) === this.#idle.has(family))) return out;
    this.#idle = families;
    for (const known of this.#known.values())
      for (const family of this.#config.families) this.#change(known, family, NOTHING, true, out);
    return out;
  }

  #change({ set, halves }: Known, family: Family, delta: Delta, isKnown: boolean, out: SetsChanged): void {
    const half = halves.get(family)!;
    const before = half.parts;
    const now = this.#partsOf(set, family, half);
    half.parts = now;
    if (isKnown && before.join() !== now.join()) out.renamed.add(set.id);
    for (const part of before) if (!now.includes(part)) out.changes.push(change(set, part, family, null));
    for (const part of now) {
      const members = { added: ofPart(delta.added, part), removed: ofPart(delta.removed, part) };
      if (!before.includes(part) || members.added.size > 0 || members.removed.size > 0)
        out.changes.push(change(set, part, family, members));
    }
  }

  #partsOf({ kind }: ResolvedSet, family: Family, { members, networks }: Half): readonly Part[] {
    if (members === 0 && this.#idle.has(family)) return [];
    if (kind === 'ports') return ['ports'];
    if (this.#config.dispatch === 'tree') return ['all'];
    if (networks === 0) return ['addresses'];
    return members > networks ? ['addresses', 'networks'] : ['networks'];
  }
}

/** What changes of the kernel's sets, and those sets that have other names than before. */
export class SetsChanged {
  readonly changes: SetChange[] = [];
  readonly renamed = new Set<SetId>();
}

const gone = ({ set, halves }: Known, family: Family): SetChange[] =>
  (halves.get(family)?.parts ?? []).map((part) => change(set, part, family, null));

type Delta = NonNullable<SetChange['members']>;
const NOTHING: Delta = { added: NONE, removed: NONE };

/** What changes for the kernel. Where everything is a member its halves are too, and one that is a member by itself stays when everything goes. */
function deltaOf(
  { halves }: Known,
  family: Family,
  delta: Delta,
  added: ReadonlySet<string> = NONE,
  removed: ReadonlySet<string> = NONE,
): Delta {
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

function change({ id, owner }: ResolvedSet, part: Part, family: Family, members: Delta | null): SetChange {
  const other = OTHER[part];
  const { type } = PARTS[part];
  return { id: named(id, part), type, family, owner, members, ...(other && { other: named(id, other) }) };
}

/** Those members that the part holds. */
function ofPart(members: ReadonlySet<string>, part: Part): ReadonlySet<string> {
  if (OTHER[part] === undefined || members.size === 0) return members;
  return new Set([...members].filter((member) => member.includes('/') === (part === 'networks')));
}

/** Members that came and members that went, counted. */
function count({ halves }: Known, family: Family, plus: Share, minus: Share): void {
  const half: Half = halves.get(family) ?? { members: 0, networks: 0, wide: NONE, parts: [] };
  halves.set(family, half);
  half.members += plus.count - minus.count;
  half.networks += plus.networks - minus.networks;
}
