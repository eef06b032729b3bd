import type { SetType } from '#policy';
import { forEach, type Sliced } from '../../slices.ts';
import { Networks } from './networks.ts';

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
  /** All members, where one may cover another. */
  readonly #nets: Networks | undefined;

  constructor(type: SetType) {
    this.type = type;
    this.#nets = type === 'hash:net' ? new Networks() : undefined;
  }

  /** What has to be written for a change. */
  *change(
    added: ReadonlySet<string>,
    removed: ReadonlySet<string>,
  ): Sliced<{ readonly add: string[]; readonly remove: string[] }> {
    yield* forEach(removed, (member) => this.all.delete(member));
    yield* forEach(added, (member) => this.all.add(member));
    if (this.#nets) yield* this.#nets.change(added, removed);
    const [add, remove] = [new Set<string>(), new Set<string>()];
    const decide = (one: string) => {
      this.#decide(one, add, remove);
      for (const member of this.#nets?.inside(one) ?? []) this.#decide(member, add, remove);
    };
    yield* forEach(removed, decide);
    yield* forEach(added, decide);
    return { add: [...add], remove: [...remove] };
  }
  #decide(member: string, add: Set<string>, remove: Set<string>): void {
    const isWanted = this.all.has(member) && !this.isCovered(member);
    const isWritten = this.written.has(member);
    if (isWanted && !isWritten) add.add(member);
    if (!isWanted && isWritten) remove.add(member);
  }
  confirm({ add, remove }: { add: readonly string[]; remove: readonly string[] }): void {
    for (const member of remove) this.written.delete(member);
    for (const member of add) this.written.add(member);
  }

  /** Whether another member covers it. */
  isCovered(member: string): boolean {
    return this.#nets?.isCovered(member) ?? false;
  }
}
