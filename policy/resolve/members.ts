import type { ResolvedSet } from '../resolved.ts';
import type { Contribution } from './contents.ts';
import type { SetDefinition } from './sets.ts';

/**
 * The members of one set. An address that several endpoints have is one member, until the last of them leaves; between two flushes an
 * addition and a removal of the same member cancel out.
 */
export class SetMembers {
  readonly definition: SetDefinition;
  readonly #members = new Set<string>();
  /** How many more give the member, where more than one does. */
  readonly #more = new Map<string, number>();
  #added = new Set<string>();
  #removed = new Set<string>();
  /** Whether the outside knows the set. */
  known = false;

  constructor(definition: SetDefinition) {
    this.definition = definition;
  }

  get size(): number {
    return this.#members.size;
  }
  get changed(): boolean {
    return !this.known || this.#added.size > 0 || this.#removed.size > 0;
  }
  get resolved(): ResolvedSet {
    const { id, kind, owner } = this.definition;
    return { id, kind, owner };
  }

  give(from: Contribution): void {
    for (const member of membersOf(this.definition, from)) this.#add(member);
  }

  take(from: Contribution): void {
    for (const member of membersOf(this.definition, from)) this.#remove(member);
  }

  /** What the outside does not know yet; from now on it does. If it did not know the set, `added` is all of it, to be read before the set changes. */
  drain(): { added: ReadonlySet<string>; removed: ReadonlySet<string> } {
    const delta = this.known ? { added: this.#added, removed: this.#removed } : { added: this.#members, removed: NONE };
    this.#added = new Set();
    this.#removed = new Set();
    this.known = true;
    return delta;
  }

  #add(member: string): void {
    const before = this.#members.size;
    this.#members.add(member);
    if (this.#members.size === before) this.#more.set(member, (this.#more.get(member) ?? 0) + 1);
    else if (this.known && !this.#removed.delete(member)) this.#added.add(member);
  }

  #remove(member: string): void {
    const more = this.#more.get(member);
    if (more !== undefined) {
      if (more === 1) this.#more.delete(member);
      else this.#more.set(member, more - 1);
      return;
    }
    this.#members.delete(member);
    if (this.known && !this.#added.delete(member)) this.#removed.add(member);
  }
}

const NONE: ReadonlySet<string> = new Set();

function membersOf(definition: SetDefinition, from: Contribution): Iterable<string> {
  return definition.kind === 'nets' ? from.nets : portsOf(definition, from);
}

function* portsOf({ port }: SetDefinition, { nets, ports }: Contribution): Iterable<string> {
  for (const { name, protocol, port: number } of ports) {
    if (name !== port?.name || (port.protocol !== undefined && port.protocol !== protocol)) continue;
    for (const net of nets) yield `${net.slice(0, net.indexOf('/'))},${protocol}:${number}`;
  }
}
