import { hostPrefix, type Prefix, PrefixTrie, parseAddr, parsePrefix } from '#core';
import type { SetType } from '#policy';

/**
 * Members as they were asked for, and what of them the kernel holds. An interval set takes no network inside another, so only those that no
 * other member covers are written; when such a one goes, what it covered comes forth.
 */
export class Members {
  readonly type: SetType;
  readonly all = new Set<string>();
  readonly written = new Set<string>();
  /** Elements of the kernel that stand for what is written: an interval has a beginning and, mostly, an end. */
  elements = 0;
  /** All members, as soon as one is more than an address; addresses alone cannot cover one another. */
  #nets: PrefixTrie<string> | undefined;

  constructor(type: SetType) {
    this.type = type;
  }

  /** What has to be written for a change. */
  change(added: ReadonlySet<string>, removed: ReadonlySet<string>): { add: string[]; remove: string[] } {
    for (const member of removed) this.#put(member, false);
    for (const member of added) this.#put(member, true);
    if (!this.#nets) {
      const isNew = (member: string) => this.all.has(member) && !this.written.has(member);
      const isOld = (member: string) => !this.all.has(member) && this.written.has(member);
      return { add: [...added].filter(isNew), remove: [...removed].filter(isOld) };
    }
    const add = new Set<string>();
    const remove = new Set<string>();
    for (const changed of [...removed, ...added])
      for (const member of this.#concerned(this.#nets, changed)) {
        const effective = this.all.has(member) && !this.isCovered(member);
        if (effective && !this.written.has(member)) add.add(member);
        if (!effective && this.written.has(member)) remove.add(member);
      }
    return { add: [...add], remove: [...remove] };
  }
  confirm({ add, remove }: { add: readonly string[]; remove: readonly string[] }): void {
    for (const member of remove) this.written.delete(member);
    for (const member of add) this.written.add(member);
  }

  #put(member: string, present: boolean): void {
    if (present) this.all.add(member);
    else this.all.delete(member);
    if (!this.#nets) {
      if (!present || this.type === 'hash:ip,port' || isAddress(member)) return;
      this.#nets = new PrefixTrie<string>();
      for (const one of this.all) this.#file(this.#nets, one, true);
    } else this.#file(this.#nets, member, present);
  }
  #file(nets: PrefixTrie<string>, member: string, present: boolean): void {
    const net = this.#net(member);
    if (net && present) nets.set(net, member);
    else if (net) nets.delete(net);
  }
  #net(member: string): Prefix | undefined {
    if (this.type === 'hash:ip,port') return undefined;
    const prefix = parsePrefix(member);
    if (prefix.ok) return prefix.value;
    const address = parseAddr(member);
    return address.ok ? hostPrefix(address.value) : undefined;
  }
  #concerned(nets: PrefixTrie<string>, member: string): string[] {
    if (isAddress(member)) return [member];
    const net = this.#net(member);
    return net ? [member, ...[...nets.within(net)].map((e) => e.value)] : [member];
  }
  /** Whether another member covers it. */
  isCovered(member: string): boolean {
    if (!this.#nets) return false;
    const net = this.#net(member);
    const widest = net && this.#nets.covering(net).next().value;
    return widest !== undefined && widest.value !== member;
  }
}

const isAddress = (member: string): boolean => !/[/-]/.test(member);
