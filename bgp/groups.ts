import type { Family } from '#core';
import type { Loop } from './loop.ts';
import { AdjOut, type Member } from './rib/adj-out.ts';
import { encodeWithdrawals } from './rib/chunk.ts';
import { type ExportContext, GroupExporter, type OutboundProfile } from './rib/export.ts';
import { CompiledPolicy } from './rib/policy.ts';
import type { Rib } from './rib/rib.ts';
import type { RoutePolicy } from './types.ts';

/** Prefixes that are brought into a new group at a time. */
const FILL = 4096;

/** Peers that are told the same. */
export class Group {
  readonly key: string;
  readonly out: AdjOut;
  readonly exporter: GroupExporter;
  /** Everything that the table held when the group began is in it: End-of-RIB may be said. */
  isFilled = false;

  constructor(key: string, out: AdjOut, exporter: GroupExporter) {
    this.key = key;
    this.out = out;
    this.exporter = exporter;
  }
  get family(): Family {
    return this.exporter.profile.family;
  }
}

/** A peer's place in a group. */
export interface Membership {
  readonly group: Group;
  readonly member: Member;
}

/** The groups that exist, by what they tell. */
export class Groups {
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #loop: Loop;
  readonly #contextOf: (family: Family) => ExportContext;
  readonly #groups = new Map<string, Group>();

  constructor(ribs: Readonly<Record<Family, Rib>>, loop: Loop, contextOf: (family: Family) => ExportContext) {
    this.#ribs = ribs;
    this.#loop = loop;
    this.#contextOf = contextOf;
  }
  get all(): Iterable<Group> {
    return this.#groups.values();
  }
  /** Puts a peer into the group of its profile, which is made when it is the first. */
  join(source: number, profile: OutboundProfile, policy: RoutePolicy): Membership {
    const key = JSON.stringify([profile, policy]);
    let group = this.#groups.get(key);
    if (!group) {
      group = this.#create(key, profile, policy);
      this.#groups.set(key, group);
    }
    return { group, member: group.out.join(source) };
  }
  leave({ group, member }: Membership): void {
    group.out.leave(member);
    if (group.out.members.size > 0) return;
    this.#groups.delete(group.key);
    this.#ribs[group.family].detach(group.out);
    group.out.clear();
  }
  /**
   * Withdraws from a peer what its former group told it and its new one does not, once that is filled; then the peer leaves the former.
   * What the new group tells comes on its own way, before or after: the two are about different routes.
   */
  takeBack(before: Membership, after: Membership, send: (bytes: Uint8Array) => void): void {
    const { prefixes } = this.#ribs[before.group.family];
    const { maxMessage } = after.group.exporter;
    let at = 1;
    this.#loop.add(() => {
      if (!after.group.out.members.has(after.member)) {
        this.leave(before);
        return false;
      }
      if (!after.group.isFilled) return true;
      const end = Math.min(prefixes.end, at + FILL);
      const ids: number[] = [];
      const pathIds: number[] = [];
      for (; at < end; at++)
        for (const pathId of before.group.out.mayHold(at, before.member.source))
          if (after.group.out.emissionFor(at, pathId, after.member.source) === 0) {
            ids.push(at);
            pathIds.push(pathId);
          }
      if (ids.length > 0)
        send(encodeWithdrawals(prefixes, ids, before.group.out.addPath > 0 ? pathIds : null, maxMessage));
      if (at < prefixes.end) return true;
      this.leave(before);
      return false;
    });
  }
  tidy(): void {
    for (const { out } of this.#groups.values()) out.tidy();
  }

  #create(key: string, profile: OutboundProfile, policy: RoutePolicy): Group {
    const rib = this.#ribs[profile.family];
    const { prefixes, paths, attributes } = rib;
    const exporter = new GroupExporter(profile, new CompiledPolicy(policy), this.#contextOf(profile.family));
    const bestOf = (prefix: number, most: number) => rib.bestOf(prefix, most);
    const out = new AdjOut({ prefixes, paths, attributes, exporter, addPath: profile.addPath, bestOf });
    const group = new Group(key, out, exporter);
    rib.attach(out);
    let at = 1;
    this.#loop.add(() => {
      if (this.#groups.get(key) !== group) return false;
      at = rib.fill(out, at, FILL);
      group.isFilled = at === 0;
      return at !== 0;
    });
    return group;
  }
}
