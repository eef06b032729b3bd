import type { SetState } from '../kernel/types.ts';
import { forEach, type Sliced } from '../slices.ts';
import type { Tracked } from './set-writes.ts';

/** Members of a set that is large: handled in slices, and not compared until the resync. So many are compared in one look together. */
export const LARGE = 4096;
/** Sets of which the members are read in one look: with more, a backend would read all that the kernel has. */
const COMPARED = 256;

/** A look at the kernel's sets: whether they are as they were left, and of which the members are to be read to see. */
export class SetLook {
  readonly #desired: ReadonlyMap<string, Tracked>;
  /** Goes round the sets whose members are compared. */
  #comparing: IterableIterator<[string, Tracked]> | undefined;

  constructor(desired: ReadonlyMap<string, Tracked>) {
    this.#desired = desired;
  }

  /** By name, type and number of members. */
  *looksRight(states: readonly SetState[]): Sliced<boolean> {
    const now = new Map<string, SetState>();
    yield* forEach(states, (state) => now.set(state.name, state));
    for (const [name, set] of this.#desired) {
      yield;
      if (set.unread || !set.actual) continue;
      const state = now.get(name);
      if (state?.type !== set.type || state.entries !== set.members.inKernel) return false;
    }
    return true;
  }

  /** Sets whose members are to be compared now: those that follow the ones of the last call. Large ones wait for the resync. */
  nextToCompare(): string[] {
    const names: string[] = [];
    // What comes and goes meanwhile is passed or left out by the iterator itself.
    this.#comparing ??= this.#desired.entries();
    for (let left = LARGE; left > 0 && names.length < COMPARED; ) {
      const { done, value } = this.#comparing.next();
      if (done) {
        this.#comparing = undefined;
        break;
      }
      const [name, { members, actual, unread }] = value;
      const count = members.inKernel ?? 0;
      left--;
      if (!actual || unread || count > LARGE) continue;
      left -= count;
      names.push(name);
    }
    return names;
  }
}
