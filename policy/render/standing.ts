import type { Budget } from '../budget.ts';
import type { Chain, ChainRule } from '../types.ts';

/** A chain that something leads to. */
interface Place {
  /** undefined: it has not been made yet. */
  chain: Chain | undefined;
  /** Hooks and chains that lead here. */
  references: number;
}

/** So many rules cost as much to make as a chain does by itself. */
const RULES = 16;
/** What it costs to look at a chain that need not be made. */
const LOOK = 1 / 16;

/**
 * What stands in one table of one family: the chains that its hooks lead to, each made when something first leads to it, and counted; what nothing leads to any
 * more is gone. Chains lead only downwards (hook, dispatch, endpoint, group, policy, verdict), so a count is enough. Work is noted, and done in `settle`
 * bit by bit; it costs what has changed and what that leads to, not what there is.
 */
export class Standing {
  readonly #find: (name: string) => Chain;
  readonly #places = new Map<string, Place>();
  /** To be made, or made again. */
  readonly #due = new Set<string>();
  /** Names that something stopped leading to. */
  readonly #left = new Set<string>();
  /** What was told of the names that may stand otherwise now; undefined: that they do not stand. */
  readonly #told = new Map<string, Chain | undefined>();
  #roots: readonly string[] = [];

  /** @param find makes the chain of that name as it is to be now; the same object as before if it is the same chain */
  constructor(find: (name: string) => Chain) {
    this.#find = find;
  }

  /** What the hooks lead to now. */
  lead(rules: readonly ChainRule[]): void {
    const roots = rules.flatMap(targetsOf);
    for (const name of roots) this.#reach(name);
    for (const name of this.#roots) this.#leave(name);
    this.#roots = roots;
  }
  /** The chain of that name may be another one. */
  touch(name: string): void {
    if (this.#places.has(name)) this.#due.add(name);
  }

  /** Makes what is due and takes away what nothing leads to; true if all is done. */
  settle(budget: Budget): boolean {
    // Both sets grow while they are walked: what is made leads to others, what is dropped leaves others.
    for (const name of this.#due) {
      if (budget.left <= 0) return false;
      this.#due.delete(name);
      this.#make(name, budget);
    }
    for (const name of this.#left) {
      if (budget.left <= 0) return false;
      budget.left -= LOOK;
      this.#left.delete(name);
      this.#drop(name);
    }
    return true;
  }

  /** What differs from what was told before; everything must be settled. */
  *take(): Iterable<[name: string, chain: Chain | null]> {
    for (const [name, told] of this.#told) {
      const now = this.#places.get(name)?.chain;
      if (now !== told) yield [name, now ?? null];
    }
    this.#told.clear();
  }

  #make(name: string, budget: Budget): void {
    const place = this.#places.get(name);
    if (!place) return;
    const { chain: old } = place;
    const made = this.#find(name);
    if (made === old) {
      budget.left -= LOOK;
      return;
    }
    budget.left -= 1 + made.rules.length / RULES;
    if (old && sameChain(old, made)) return;
    if (old) this.#note(name, old);
    const told = this.#told.get(name);
    place.chain = told && sameChain(told, made) ? told : made;
    for (const target of referencesOf(made)) this.#reach(target);
    if (old) for (const target of referencesOf(old)) this.#leave(target);
  }

  #reach(name: string): void {
    const known = this.#places.get(name);
    if (known) {
      known.references++;
      return;
    }
    this.#note(name, undefined);
    this.#places.set(name, { chain: undefined, references: 1 });
    this.#due.add(name);
  }

  #leave(name: string): void {
    const known = this.#places.get(name)!;
    if (--known.references === 0) this.#left.add(name);
  }

  #drop(name: string): void {
    const known = this.#places.get(name);
    if (!known || known.references > 0) return;
    if (known.chain) this.#note(name, known.chain);
    this.#places.delete(name);
    // It came and went: there is nothing to tell.
    if (this.#told.get(name) === undefined) this.#told.delete(name);
    if (known.chain) for (const target of referencesOf(known.chain)) this.#leave(target);
  }

  #note(name: string, told: Chain | undefined): void {
    if (!this.#told.has(name)) this.#told.set(name, told);
  }
}

/** Another text for other contents, to compare them. Maps are written as lists, or JSON would not tell two of them apart. */
export const asText = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (part instanceof Map ? [...part] : part));

function sameChain(a: Chain, b: Chain): boolean {
  if (a === b) return true;
  if (a.rules.length !== b.rules.length || a.owner !== b.owner) return false;
  return asText(a.rules) === asText(b.rules);
}

function targetsOf({ action }: ChainRule): string[] {
  if (action.do === 'jump' || action.do === 'goto') return [action.chain];
  return action.do === 'map' ? [...action.targets.values()] : [];
}

const references = new WeakMap<Chain, string[]>();
/** Names of the chains that a chain leads to, each once. */
function referencesOf(chain: Chain): string[] {
  let found = references.get(chain);
  if (!found) {
    found = [...new Set(chain.rules.flatMap(targetsOf))];
    references.set(chain, found);
  }
  return found;
}
