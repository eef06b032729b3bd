import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Members } from '../../../agent/reconcile/members.ts';
import { atOnce } from '../../../agent/slices.ts';

/** A set, the kernel's, and what is known of that; everything that can happen to them, also while a write is on its way. */
class Model {
  readonly members = new Members();
  readonly desired = new Set<string>();
  readonly kernel = new Set<string>();
  #known: Set<string> | undefined;
  readonly #given: [now: Set<string>, then: Set<string>][] = [];
  #end: (() => void) | undefined;

  add(member: string): void {
    this.desired.add(member);
    this.members.add(member);
  }
  remove(member: string): void {
    this.desired.delete(member);
    this.members.remove(member);
  }
  /** All at once, where nothing was; what was given stays as it was given. */
  give(member: string): void {
    const all = new Set([member, 'other']);
    const isTaken = this.members.begin(all);
    expect(isTaken).toBe(this.desired.size === 0 && !this.#known);
    if (!isTaken) return;
    for (const each of all) this.desired.add(each);
    this.#given.push([all, new Set(all)]);
  }
  stranger(member: string): void {
    if (!this.kernel.delete(member)) this.kernel.add(member);
  }
  read(): void {
    if (this.#end) return;
    atOnce(this.members.found(new Set(this.kernel)));
    this.#known = new Set(this.kernel);
  }
  forget(): void {
    if (this.#end) return;
    this.members.forget();
    this.#known = undefined;
  }
  begin(): void {
    this.#end ??= this.#known ? this.#change(this.#known) : this.#make();
  }
  end(): void {
    this.#end?.();
    this.#end = undefined;
  }
  #make(): () => void {
    const all = this.members.lend();
    const then = new Set(all);
    return () => {
      expect(all).toEqual(then);
      atOnce(this.members.found(all));
      this.#known = then;
    };
  }
  #change(known: Set<string>): () => void {
    const [added, removed] = [new Set(this.members.missing), new Set(this.members.extra)];
    return () => {
      atOnce(this.members.wrote(added, removed));
      for (const member of added) known.add(member);
      for (const member of removed) known.delete(member);
    };
  }

  holds(): void {
    const { members, desired } = this;
    const known = this.#known;
    for (const [now, then] of this.#given) expect(now).toEqual(then);
    expect(members.desired).toEqual(desired);
    expect(members.inKernel).toBe(known?.size);
    if (!known) return;
    expect(members.missing).toEqual(new Set([...desired].filter((m) => !known.has(m))));
    expect(members.extra).toEqual(new Set([...known].filter((m) => !desired.has(m))));
    expect(members.matches(known)).toBe(true);
    expect(members.matches(new Set([...known, 'else']))).toBe(false);
    const [some] = known;
    if (some === undefined) return;
    expect(members.matches(new Set([...known].map((m) => (m === some ? 'else' : m))))).toBe(false);
  }
}

const member = fc.integer({ min: 0, max: 5 }).map(String);
const step = fc.oneof(
  fc.record({ what: fc.constantFrom('add' as const, 'remove' as const, 'stranger' as const, 'give' as const), member }),
  fc.record({ what: fc.constantFrom('read' as const, 'forget' as const, 'begin' as const, 'end' as const) }),
);

test('whatever happens to a set and to the kernel, what differs is told as far as it is known', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Model();
      for (const one of steps) {
        if ('member' in one) model[one.what](one.member);
        else model[one.what]();
        model.holds();
      }
    }),
    { numRuns: 1000 },
  );
});
